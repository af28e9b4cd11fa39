"""CPU and memory of a process and its descendants, from /proc.

``native/meter.c`` does the same within a measurement; this is for before and after it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def tree(root_pid: int) -> tuple[int, ...]:
    """The process and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found = [root_pid]
    for pid in found:
        found += children.get(pid, ())
    return tuple(found)


def cpu_s(root_pid: int) -> float:
    """Time that the tree has spent on a CPU, in seconds; threads that ended are not counted."""
    stats = (text for pid in tree(root_pid) for text in _thread_stats(pid))
    return sum(int(text.split()[0]) for text in stats) / 1e9


def memory_mb(root_pid: int) -> float:
    """Proportional set size of the tree in MB: pages shared by its processes count once."""
    maps = (_text(_PROC / str(pid) / "smaps_rollup") for pid in tree(root_pid))
    return sum(pss_kb(text) for text in maps) / 1024


def pss_kb(smaps_rollup: str) -> int:
    """The figure of the ``Pss:`` line, 0 without one."""
    for line in smaps_rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def parent_of(stat: str) -> int:
    """The parent's id in the text of ``/proc/PID/stat``."""
    # The name stands in brackets and may hold anything, brackets too.
    return int(stat.rpartition(")")[2].split()[1])


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.listdir(_PROC):
        if entry.isdigit() and (stat := _text(_PROC / entry / "stat")):
            yield int(entry), parent_of(stat)


def _thread_stats(pid: int) -> Iterator[str]:
    folder = _PROC / str(pid) / "task"
    try:
        threads = os.listdir(folder)
    except OSError:
        return  # It has ended since the tree was read.
    for thread in threads:
        if text := _text(folder / thread / "schedstat"):
            yield text


def _text(path: Path) -> str:
    """What the file holds, nothing when its process has ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
