"""Writes docs/settings.md and docs/metrics.md; ``--check`` says whether they are up to date."""

import ast
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

from sipgram import settings as module
from sipgram.server.metrics import FIGURES, LAG_NAME, LAG_TEXT
from sipgram.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"
METRICS_HEADER = """# Metrics

Written by `scripts/reference.py` from `src/sipgram/server/metrics.py`: what `/metrics` shows on the HTTP port, beside the usual
`process_…` of memory, CPU and files. Counters count from the start of the process.

| name | kind | unit | label | meaning |
|---|---|---|---|---|
"""
HEADER = """# Settings

Written by `scripts/reference.py` from `src/sipgram/settings.py`. Each setting stands in `sipgram.toml` under its section, or in
the environment as `SIPGRAM_SECTION__KEY` (lists with commas); a flag of `sipgram serve` wins over both. An unknown name is an
error that tells the nearest known one.
"""


def descriptions() -> dict[tuple[str, str], str]:
    """Return the text behind each field, by class and field name."""
    found = {}
    for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, text in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[node.name, field.target.id] = str(text.value.value)
    return found


def shown(value: object) -> str:
    """Return a default as TOML would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def page() -> str:
    """Return the whole page."""
    texts = descriptions()
    parts = [HEADER]
    for section in fields(Settings):
        tree = getattr(Settings(), section.name)
        assert is_dataclass(tree)
        parts.append(f"\n## [{section.name}]\n\n| key | default | meaning |\n|---|---|---|\n")
        for field in fields(tree):
            default = shown(getattr(tree, field.name))
            text = texts[type(tree).__name__, field.name]
            parts.append(f"| `{field.name}` | `{default}` | {text} |\n")
    return "".join(parts)


def metrics_page() -> str:
    """Return the page of metrics."""
    rows = [
        (
            figure.name + "_total" * (figure.kind == "counter"),
            *figure[:1],
            *figure[2:4],
            figure.label,
        )
        for figure in FIGURES
    ]
    rows.append((LAG_NAME, "histogram", "seconds", LAG_TEXT, ""))
    return METRICS_HEADER + "".join(
        f"| `{name}` | {kind} | {unit} | {label and f'`{label}`'} | {text} |\n"
        for name, kind, unit, text, label in rows
    )


def main() -> int:
    """Write the pages, or compare them."""
    pages = {DOCS / "settings.md": page(), DOCS / "metrics.md": metrics_page()}
    if "--check" in sys.argv:
        return int(any(file.read_text(encoding="utf-8") != text for file, text in pages.items()))
    for file, text in pages.items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
