"""Which user agents this machine has, and what becomes of a test that lacks one."""

import os
import shutil
import subprocess
from enum import Enum
from typing import NoReturn

import pytest


class Tool(Enum):
    """A program of Debian's that the tests drive: its command, its package, how it says what it is."""

    SIPP = ("sipp", "sip-tester", ("-v",), "SIPp ")
    SIPSAK = ("sipsak", "sipsak", ("--version",), "sipsak ")
    BARESIP = ("baresip", "baresip-core", ("-h",), "baresip ")
    CHROMIUM = ("chromium", "chromium", ("--version",), "Chromium ")
    LINPHONE = ("linphone-daemon", "linphone-cli", ("--help",), "")
    TWINKLE = ("twinkle-console", "twinkle-console", ("--version",), "Twinkle ")
    CURL = ("curl", "curl", ("--version",), "curl ")
    NFT = ("nft", "nftables", ("--version",), "nftables ")

    def __init__(
        self, command: str, package: str, version_flags: tuple[str, ...], version_mark: str
    ) -> None:
        self.command = command
        self.package = package
        self.version_flags = version_flags
        self.version_mark = version_mark

    @property
    def path(self) -> str | None:
        return shutil.which(self.command)


def version_of(tool: Tool) -> str | None:
    """Ask the program itself; None when it is not here."""
    path = tool.path
    if path is None:
        return None
    if not tool.version_mark:
        return _package_version(tool)
    said = subprocess.run(
        [path, *tool.version_flags], capture_output=True, text=True, timeout=10, check=False
    )
    for line in (said.stdout + said.stderr).splitlines():
        if tool.version_mark in line:
            return line.strip()
    return "of unknown version"


def _package_version(tool: Tool) -> str:
    """Some programs do not tell their version; the package manager may."""
    query = shutil.which("dpkg-query")
    if query is None:
        return "of unknown version"
    said = subprocess.run(
        [query, "--show", tool.package], capture_output=True, text=True, timeout=10, check=False
    )
    return " ".join(said.stdout.split()) or "of unknown version"


def report_lines() -> list[str]:
    """One line per program, for the head of the test report."""
    return [
        f"interop: {tool.command}: {version_of(tool) or f'MISSING (apt-get install {tool.package})'}"
        for tool in Tool
    ]


def is_ci() -> bool:
    return os.environ.get("CI") == "true"


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where a missing piece must not look like a pass."""
    if is_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need(tool: Tool) -> str:
    """Give the program's path, or end the test with the reason."""
    path = tool.path
    if path is None:
        unavailable(
            f"{tool.command} is missing: scripts/install-interop, or apt-get install {tool.package}"
        )
    return path
