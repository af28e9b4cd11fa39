"""Builds the two native twins (DESIGN.md §2); everything else is told in pyproject.toml.

A wheel holds them when there is a C compiler and is whole without them. An editable install and
``build_ext --inplace`` stay plain unless SIPGRAM_NATIVE=1; with that a failure to build is an
error everywhere. SIPGRAM_NATIVE=0 never builds them.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

SOURCES = {
    "sipgram.sip.message._scan": ("src/sipgram/sip/message/_scan.pyx", "_scan_read.pxi"),
    "sipgram.net._udp": ("src/sipgram/net/_udp.pyx",),
}
WISH = os.environ.get("SIPGRAM_NATIVE", "")


def extensions() -> list[Extension]:
    found = []
    for name, (source, *included) in SOURCES.items():
        depends = [str(Path(source).with_name(each)) for each in included]
        found.append(Extension(name, [source], depends=depends, extra_compile_args=["-O3"]))
    return found


class FreshBuild(build):
    """A build in a folder of its own: what an earlier one left in build/ goes into no wheel."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.build_base = tempfile.mkdtemp(prefix="sipgram-build-")

    def run(self) -> None:
        super().run()


class BuildNative(build_ext):
    """Cython and the C compiler, or nothing."""

    def finalize_options(self) -> None:
        super().finalize_options()
        beside_source = self.inplace or getattr(self, "editable_mode", False)
        if WISH == "0" or (beside_source and WISH != "1"):
            if beside_source:
                self._remove_old()
            self.extensions = []

    def run(self) -> None:
        if not self.extensions:
            return
        from Cython.Build import cythonize

        with tempfile.TemporaryDirectory(prefix="sipgram-native-") as fresh:
            try:
                self.build_temp = fresh
                self.extensions[:] = self._checked(
                    cythonize(self.extensions, build_dir=fresh, force=True, quiet=True)
                )
                super().run()
            except Exception as error:
                if WISH == "1":
                    raise
                self.extensions = []
                print(f"sipgram: built without native parts: {error}", file=sys.stderr)
