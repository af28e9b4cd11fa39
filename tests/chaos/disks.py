"""Disks that are full, by two ways: a small file system, and a limit on the writer's files."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

SMALL_BYTES = 4 * 2**20


class Full(Protocol):
    """A disk that can be filled up, and freed."""

    def fill(self) -> None:
        """Leave no room."""

    def free(self) -> None:
        """Make room again."""


class SmallDisk:
    """A tmpfs of some megabytes, which a file of ours fills up."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        block = bytes(4096)
        with self._filler.open("wb", buffering=0) as file:
            try:
                while file.write(block):
                    pass
            except OSError:
                return

    def free(self) -> None:
        self._filler.unlink()


class SmallQuota:
    """A writer whose files may not grow: the system gives it EFBIG, as it does beyond a quota."""

    def __init__(self, writer: int) -> None:
        self._writer = writer

    def fill(self) -> None:
        resource.prlimit(self._writer, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def free(self) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(self._writer, resource.RLIMIT_FSIZE, unlimited)


@contextmanager
def small_file_system(folder: Path) -> Iterator[bool]:
    """Mount a tmpfs there; False where we may not."""
    folder.mkdir()
    if os.getuid() != 0:
        yield False
        return
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
