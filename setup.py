"""Builds the native twins, see DESIGN.md §2; all else is told in pyproject.toml.

A wheel holds them when there is a C compiler and is whole without them. An editable install and
``build_ext --inplace`` stay plain unless SIPGRAM_NATIVE=1; with that, a failure to build them
is an error everywhere. SIPGRAM_NATIVE=0 never builds them.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError, LinkError

SOURCES = {
    "sipgram.sip.message._scan": (
        "_scan.pyx",
        "_scan_tables.pxi",
        "_scan_read.pxi",
        "_scan_digest.pxi",
    ),
    "sipgram.net._udp": ("_udp.pyx",),
}
WISH = os.environ.get("SIPGRAM_NATIVE", "")


def extensions() -> list[Extension]:
    """Return the two native modules, not yet translated to C."""
    found = []
    for name, (source, *included) in SOURCES.items():
        folder = Path("src", *name.split(".")[:-1])
        found.append(
            Extension(
                name,
                [str(folder / source)],
                depends=[str(folder / each) for each in included],
                extra_compile_args=["-O3", "-g0"],
            )
        )
    return found


class FreshBuild(build):
    """A build in a folder of its own: what an earlier one left in build/ gets into no wheel."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.build_base = tempfile.mkdtemp(prefix="sipgram-build-")
        atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)


class BuildNative(build_ext):
    """Cython and the C compiler in a fresh folder, or nothing."""

    def finalize_options(self) -> None:
        super().finalize_options()
        beside_source = bool(self.inplace) or self.editable_mode
        if beside_source:
            remove_built(Path("src"))
        if WISH == "0" or (beside_source and WISH != "1"):
            self.extensions = []

    def run(self) -> None:
        if not self.extensions:
            return
        # Imported here: who installs without native parts needs no Cython.
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError as TranslationError

        fresh = tempfile.mkdtemp(prefix="sipgram-native-")
        self.build_temp = fresh
        try:
            in_c = cythonize(self.extensions, build_dir=fresh, force=True, quiet=True)
            for extension, translated in zip(self.extensions, in_c, strict=True):
                extension.sources = translated.sources
            super().run()
        except (BaseError, CompileError, LinkError, TranslationError) as error:
            if WISH == "1":
                raise
            sys.stderr.write(f"sipgram goes on without its native parts: {error}\n")
            # Both or none, and the build goes on as if there had been nothing to compile.
            remove_built(Path(self.build_lib))
            self.extensions = []
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def remove_built(root: Path) -> None:
    """Remove what was built in a folder: nothing tells how old it is."""
    for name in SOURCES:
        *folders, module = name.split(".")
        for path in root.joinpath(*folders).glob(f"{module}.*.so"):
            path.unlink()


setup(
    ext_modules=[] if WISH == "0" else extensions(),
    cmdclass={"build": FreshBuild, "build_ext": BuildNative},
)
