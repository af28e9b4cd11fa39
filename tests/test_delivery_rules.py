"""Every rule of DELIVERY.md that names a case, and every row of its table, has a test named after it."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
RULES = range(5, 26)
"""D5 to D25: what becomes of a message on its way and in the store."""
ROWS = (
    "2xx",
    "482_to_a_repeated_delivery",
    "415_488_on_cpim",
    "ends_the_copy",
    "405_501_mark_the_binding",
    "404_410_430",
    "a_dead_flow",
    "3xx",
    "all_else_and_none",
)
"""What an answer of a device means."""
NOT_YET: frozenset[str] = frozenset()
"""Of docs/delivery.md, "Not yet"."""


def names() -> frozenset[str]:
    """Every test's name."""
    return frozenset(
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


@pytest.fixture(scope="module")
def known() -> frozenset[str]:
    return names()


@pytest.mark.parametrize("number", RULES)
def test_every_rule_has_its_test(number: int, known: frozenset[str]) -> None:
    pattern = re.compile(rf"(?:^test|_)_?d{number}_")
    if not any(pattern.search(name) for name in known):
        assert f"d{number}" in NOT_YET, f"no test_d{number}_…"


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_table_has_its_test(row: str, known: frozenset[str]) -> None:
    if not any(name.startswith(f"test_row_{row}") for name in known):
        assert f"row_{row}" in NOT_YET, f"no test_row_{row}…"
