"""The house style, checked: sizes, names, docstrings, and what pure modules may import."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
FOLDER_FILES_MAX = 16
BANNED_NAMES = {
    f"{name}.py"
    for name in ("utils", "util", "helpers", "common", "misc", "base", "manager", "handler")
}
IMPURE = {"asyncio", "socket", "ssl", "time", "random", "secrets", "threading", "os", "datetime"}
PURE_FOLDERS = {"sip", "payload", "msrp", "xcap", "sms"}
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sipgram"


def modules(*folders: Path) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            yield path, path.read_text(encoding="utf-8")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def is_pure(path: Path) -> bool:
    return path.relative_to(PACKAGE).parts[0] in PURE_FOLDERS


def test_every_file_keeps_the_house_style() -> None:
    faults = []
    for path, text in modules(PACKAGE, ROOT / "tests", ROOT / "scripts"):
        tree = ast.parse(text)
        if path.name in BANNED_NAMES:
            faults.append(f"{path}: a file is named after what it holds")
        if text.count("\n") > FILE_LINES_MAX:
            faults.append(f"{path}: over {FILE_LINES_MAX} lines")
        if text.strip() and not ast.get_docstring(tree):
            faults.append(f"{path}: no module docstring")
        faults += [
            f"{path}:{node.lineno}: {node.name} is over {FUNCTION_LINES_MAX} lines"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
        ]
    assert not faults, "\n".join(faults)


def test_pure_modules_import_nothing_impure() -> None:
    faults = []
    for path, text in modules(PACKAGE):
        if is_pure(path):
            faults += [
                f"{path}: imports {name}" for name in IMPURE & set(imported(ast.parse(text)))
            ]
    for path in sorted(PACKAGE.rglob("*.pyx")):
        if is_pure(path):
            names = re.findall(r"^\s*(?:from|c?import)\s+([a-z_]+)", path.read_text(), re.MULTILINE)
            faults += [f"{path}: imports {name}" for name in IMPURE & set(names)]
    assert not faults, "\n".join(faults)


def test_public_names_have_docstrings() -> None:
    faults = []
    for path, text in modules(PACKAGE):
        for node in ast.parse(text).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if not node.name.startswith("_") and not ast.get_docstring(node):
                faults.append(f"{path}:{node.lineno}: {node.name} has no docstring")
    assert not faults, "\n".join(faults)


def test_folders_stay_small() -> None:
    for folder in {path.parent for path, _ in modules(PACKAGE)}:
        assert len(list(folder.glob("*.py"))) <= FOLDER_FILES_MAX, folder


def test_no_task_marks_without_an_issue() -> None:
    for path, text in modules(PACKAGE):
        assert not re.search(r"\b(TODO|FIXME|XXX)\b(?! #\d+)", text), path


def test_no_sleeping_in_tests() -> None:
    for path, text in modules(
        ROOT / "tests" / "unit", ROOT / "tests" / "scenario", ROOT / "tests" / "rfc"
    ):
        assert not re.search(r"\b(time|asyncio)\.sleep\((?!0\))", text), path
