"""A program under a test's control: its own home, its own process group, its output waited for.

Nothing here sleeps: a test waits for what the program prints, or for its end.
"""

import codecs
import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

TAIL_CHARACTERS = 6000
KILL_AFTER_S = 5.0


class ProgramFailed(AssertionError):
    """The program did not do what the test waited for; the text ends with what it printed."""


class Transcript:
    """All that one output stream has said, read by a thread of its own."""

    def __init__(self, stream: IO[bytes], *, name: str) -> None:
        self.name = name
        self._stream = stream
        self._text = ""
        self._searched_to = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name=f"read {name}", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        with self._changed:
            return self._text

    def expect(self, pattern: str, *, timeout_s: float = 10.0) -> re.Match[str]:
        """Wait for ``pattern`` (multi-line) after the last match; ProgramFailed if it stays away."""
        regex = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                if found := regex.search(self._text, self._searched_to):
                    self._searched_to = found.end()
                    return found
                left_s = deadline - time.monotonic()
                if self._ended or left_s <= 0:
                    why = "it ended" if self._ended else f"nothing for {timeout_s:g} s"
                    raise ProgramFailed(f"{self.name}: no {pattern!r}: {why}\n{self._tail()}")
                self._changed.wait(left_s)

    def join(self, *, timeout_s: float) -> None:
        """Wait until the stream has ended, so that ``text`` is whole."""
        self._thread.join(timeout_s)

    def tail(self) -> str:
        with self._changed:
            return self._tail()

    def _tail(self) -> str:
        return f"---- {self.name} ----\n{self._text[-TAIL_CHARACTERS:]}\n----"

    def _read(self) -> None:
        # A byte that is not UTF-8 (a deflated body in a SIP trace) must not end the reading.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
        with self._stream:
            while chunk := os.read(self._stream.fileno(), 65536):
                with self._changed:
                    self._text += decoder.decode(chunk)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Program:
    """One running program; as a context manager it is gone, with its children, at the end."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        home: Path,
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start ``argv`` with ``home`` as HOME and working directory and an otherwise bare
        environment, to which ``environment`` is added."""
        self.name = name or Path(argv[0]).name
        temporary = home / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        bare = {
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
        }
        if source := os.environ.get("PYTHONPATH"):  # The sipgram under test may be another one.
            bare["PYTHONPATH"] = source
        self._process = subprocess.Popen(
            list(argv),
            cwd=home,
            env=bare | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.stdout = Transcript(self._process.stdout, name=f"{self.name} stdout")
        self.stderr = Transcript(self._process.stderr, name=f"{self.name} stderr")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def expect(self, pattern: str, *, timeout_s: float = 10.0) -> re.Match[str]:
        """Wait for ``pattern`` on standard output; a failure shows standard error as well."""
        try:
            return self.stdout.expect(pattern, timeout_s=timeout_s)
        except ProgramFailed as failed:
            raise ProgramFailed(f"{failed}\n{self.stderr.tail()}") from None

    def write_line(self, line: str) -> None:
        """Type ``line`` and the return key."""
        self.write(line.encode() + b"\n")

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ProgramFailed(f"{self.name} reads no more\n{self.report()}") from None

    def close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Signal the program itself, not its children."""
        self._process.send_signal(number)

    def wait(self, *, timeout_s: float) -> int:
        """Wait for the end and give the exit code; ProgramFailed when it runs on."""
        is_first = self._process.returncode is None
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(
                f"{self.name} still runs after {timeout_s:g} s\n{self.report()}"
            ) from None
        if is_first:
            self._end_group()
        self.stdout.join(timeout_s=KILL_AFTER_S)
        self.stderr.join(timeout_s=KILL_AFTER_S)
        return code

    def kill(self) -> None:
        """End the whole process group at once; harmless when it has ended."""
        if self._process.returncode is None:
            self._end_group()
            self._process.wait(KILL_AFTER_S)
        self.stdout.join(timeout_s=KILL_AFTER_S)
        self.stderr.join(timeout_s=KILL_AFTER_S)
        assert self._process.stdin is not None
        # What was still to be typed has no reader any more.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _end_group(self) -> None:
        """Only while its number is its own: before it is waited for, or at that moment."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def report(self) -> str:
        """What it printed, for a failure's message."""
        return f"{self.stdout.tail()}\n{self.stderr.tail()}"
