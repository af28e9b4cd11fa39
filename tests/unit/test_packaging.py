"""What the build puts into a wheel and beside the sources (DESIGN.md §2)."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = {"sipgram/net/_udp", "sipgram/sip/message/_scan"}

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not run from a source tree"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources, with something old lying about that no build may pick up."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tree / "src", ignore=ignored)
    for folder in ("src/sipgram/net", "build/lib.linux-x86_64-cpython-311/sipgram/net"):
        old = tree / folder / f"_udp.{sys.implementation.cache_tag}-old.so"
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_bytes(b"old")
    return tree


def build(tree: Path, hook: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of the build backend's hooks, as pip does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIPGRAM_")}
    return subprocess.run(
        [sys.executable, "-c", f"from setuptools.build_meta import {hook}; {hook}('dist')"],
        cwd=tree,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def native_parts(names: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in names if name.endswith(".so")}


def unpacked_wheel(tree: Path) -> Path:
    (wheel,) = (tree / "dist").glob("*.whl")
    folder = tree / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def described(folder: Path, **environment: str) -> str:
    """Return what the package in a folder says of itself."""
    code = "import sipgram.native as n; print(n.__file__); print(n.describe())"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIPGRAM_")}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(folder)} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[0].startswith(str(folder))
    return shown[1]


def files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_wheel_holds_the_native_parts_when_there_is_a_compiler(tree: Path) -> None:
    assert build(tree, "build_wheel").returncode == 0

    folder = unpacked_wheel(tree)
    built = [name for name in files(folder) if name.endswith(".so")]

    assert native_parts(built) == NATIVE
    assert len(built) == len(NATIVE), "an old one is among them"
    assert described(folder) == "native: scan udp"
    assert described(folder, SIPGRAM_PURE="1") == "native: none"


def test_wheel_is_whole_without_a_compiler(tree: Path) -> None:
    done = build(tree, "build_wheel", CC="/bin/false")
    assert done.returncode == 0
    assert "goes on without its native parts" in done.stderr

    folder = unpacked_wheel(tree)

    assert native_parts(files(folder)) == set()
    assert described(folder) == "native: none"


SUITE = ("tests/unit/sip", "tests/unit/net", "tests/scenario", "tests/property")
"""What runs on both twins; the services above them cannot tell which is below."""


@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
@pytest.mark.parametrize(
    ("compiler", "says"), [("cc", "native: scan udp"), ("false", "native: none")]
)
def test_the_suite_passes_on_what_the_wheel_holds(tree: Path, compiler: str, says: str) -> None:
    assert build(tree, "build_wheel", CC=str(shutil.which(compiler))).returncode == 0
    folder = unpacked_wheel(tree)
    assert described(folder) == says

    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIPGRAM_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITE],
        cwd=ROOT,
        env=kept | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3000:]


def test_native_wish_makes_a_failure_an_error(tree: Path) -> None:
    done = build(tree, "build_wheel", CC="/bin/false", SIPGRAM_NATIVE="1")

    assert done.returncode != 0
    assert not list(tree.glob("dist/*.whl"))


def test_nothing_is_compiled_when_that_is_the_wish(tree: Path) -> None:
    assert build(tree, "build_wheel", SIPGRAM_NATIVE="0").returncode == 0

    (wheel,) = (tree / "dist").glob("*.whl")

    assert wheel.name.endswith("-py3-none-any.whl")
    assert native_parts(files(unpacked_wheel(tree))) == set()


def test_editable_install_is_plain(tree: Path) -> None:
    """What an earlier build left beside the sources goes, since nothing tells how old it is."""
    assert build(tree, "build_editable").returncode == 0

    assert native_parts(files(tree / "src")) == set()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_editable_install_is_native_on_wish(tree: Path) -> None:
    assert build(tree, "build_editable", SIPGRAM_NATIVE="1").returncode == 0

    built = [name for name in files(tree / "src") if name.endswith(".so")]

    assert native_parts(built) == NATIVE
    assert len(built) == len(NATIVE), "an old one is among them"
