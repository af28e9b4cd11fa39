"""The public names, and what importing them costs."""

import subprocess
import sys

import pytest

import sipgram


def test_names_are_there_when_asked_for() -> None:
    for name in sipgram.__all__:
        assert getattr(sipgram, name) is not None
    assert set(sipgram.__all__) <= set(dir(sipgram))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sipgram' has no attribute 'Nothing'"):
        sipgram.Nothing  # noqa: B018 - looking it up is the test.


def test_importing_the_package_imports_nothing_else() -> None:
    loaded = _modules("import sipgram")

    assert not {name for name in loaded if name.startswith("sipgram.")}
    assert "asyncio" not in loaded


def test_client_needs_nothing_of_the_server() -> None:
    loaded = _modules("from sipgram import *")

    assert "sipgram.client.client" in loaded
    foreign = {"uvloop", "sqlalchemy", "fastapi", "structlog", "rich", "typer", "pydantic"}
    assert not foreign & loaded
    assert not {n for n in loaded if n.startswith(("sipgram.server", "sipgram.services"))}


def _modules(statement: str) -> set[str]:
    """Return what is imported after ``statement`` in a fresh interpreter."""
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())
