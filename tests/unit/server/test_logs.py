"""Log lines, whatever is behind standard error."""

import io
from errno import ENOSPC

from sipgram.server.logs import Unfailing


class FullDisk(io.StringIO):
    """A log on a disk that is full at times."""

    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(ENOSPC, "No space left on device")
        return super().write(text)

    def flush(self) -> None:
        if self.is_full:
            raise OSError(ENOSPC, "No space left on device")


def test_d11_a_full_disk_behind_the_log_ends_nothing() -> None:
    disk = FullDisk()
    log = Unfailing(disk)
    print("lost", file=log, flush=True)

    disk.is_full = False
    print("written", file=log, flush=True)

    assert disk.getvalue() == "written\n"
