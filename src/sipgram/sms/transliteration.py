"""Typographic characters as GSM 7-bit has them, so that a text need not go as UCS2.

It changes what people wrote: only on request.
"""

from typing import Final

_PLAIN: Final = str.maketrans(
    {
        "\u00a0": " ",
        "\u00ab": '"',
        "\u00ad": "",
        "\u00b4": "'",
        "\u00bb": '"',
        "\u2002": " ",
        "\u2003": " ",
        "\u2009": " ",
        "\u200b": "",
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "-",
        "\u2013": "-",
        "\u2014": "-",
        "\u2018": "'",
        "\u2019": "'",
        "\u201a": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2022": "-",
        "\u2026": "...",
        "\u202f": " ",
        "\u2039": "'",
        "\u203a": "'",
        "\u2212": "-",
        "\ufeff": "",
    }
)


def plain(text: str) -> str:
    """Return ``text`` with quotation marks, dashes, spaces and ellipses made plain."""
    return text.translate(_PLAIN)
