"""Build of the extension. The metadata is in pyproject.toml, the C side is described in csrc/ffi_build.py.

Two variables of the environment turn a build on another system into one for Windows (see docs/windows.md):
MDC_TARGET=win_amd64, and MDC_WINDOWS_PYTHON, the folder of a Windows CPython, of which include/ and libs/ are read.
MDC_TARGET_CC names the compiler if it is not x86_64-w64-mingw32-gcc.
"""

import os
import runpy
import shlex
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

# The public headers are part of the package (minidump_cffi.protocol.get_include), but have one home: csrc/api.
root = Path(__file__).resolve().parent
installed = root / "minidump_cffi" / "include" / "minidump_cffi"
installed.mkdir(parents=True, exist_ok=True)
headers = {path.name: path.read_bytes() for path in (root / "csrc" / "api").glob("*.h")}
for stale in installed.iterdir():
    if stale.name not in headers:
        stale.unlink()
for name, text in headers.items():
    if not (installed / name).is_file() or (installed / name).read_bytes() != text:
        (installed / name).write_bytes(text)

# On a free-threaded build cffi switches the limited API off by itself, and the tag must not promise it.
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
target = os.environ.get("MDC_TARGET", "")


class NativeBuild(build_ext):
    """What only the compiler that was found can tell."""

    def run(self) -> None:
        """Symbols are for those who build in place. setuptools forgets meanwhile that it does."""
        self.stripped = not self.inplace and not self.editable_mode
        super().run()

    def build_extensions(self) -> None:
        """MSVC has C11's atomics only with a switch."""
        if self.compiler.compiler_type == "unix" and self.stripped:
            for extension in self.extensions:
                extension.extra_compile_args += ["-g0"]
                extension.extra_link_args += ["-Wl,-s"]
        if self.compiler.compiler_type == "msvc":
            for extension in self.extensions:
                extension.extra_compile_args += ["/std:c11", "/experimental:c11atomics"]
        super().build_extensions()


class WindowsBuild(build_ext):
    """Compiles with mingw-w64 for a Windows CPython. Nothing of the Python that runs this gets in."""

    def finalize_options(self) -> None:
        """Headers and import library are those of the Windows CPython."""
        super().finalize_options()
        python = Path(os.environ.get("MDC_WINDOWS_PYTHON", ""))
        if not (python / "include" / "Python.h").is_file() or not (python / "libs" / "python3.lib").is_file():
            raise SystemExit("MDC_WINDOWS_PYTHON: no folder of a Windows CPython (include/Python.h, libs/python3.lib)")
        self.include_dirs = [str(python / "include")]
        self.link_objects = [str(python / "libs" / "python3.lib")]

    def build_extensions(self) -> None:
        """The same input gives the same bytes: no time stamp, no symbols."""
        cc = shlex.split(os.environ.get("MDC_TARGET_CC", "x86_64-w64-mingw32-gcc"))
        link = ["-shared", "-static-libgcc", "-s", "-Wl,--no-insert-timestamp"]
        self.compiler.set_executables(
            compiler=cc, compiler_so=cc, linker_so=[*cc, *link], linker_exe=cc, preprocessor=[*cc, "-E"]
        )
        super().build_extensions()

    def get_libraries(self, extension: object) -> list[str]:
        """Not the library of the Python that runs this."""
        return list(extension.libraries)

    def get_ext_filename(self, fullname: str) -> str:
        """Of what the limited API covers, one file serves every version."""
        return str(Path(*fullname.split("."))) + ".pyd"


if target not in ("", "win_amd64"):
    raise SystemExit(f"MDC_TARGET: {target} is not known; there is win_amd64")
if target and (free_threaded or sys.platform == "win32"):
    raise SystemExit("MDC_TARGET is for another system than Windows, and for a Python with a GIL")

options = {} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp311"}}
if target:
    options["bdist_wheel"]["plat_name"] = target
    options["build"] = {"build_base": f"build/{target}"}  # objects of two systems do not go together

setup(
    # A package index shows the README alone: its links have to be absolute.
    long_description=runpy.run_path(str(root / "tools" / "links.py"))["standalone"]("README.md"),
    long_description_content_type="text/markdown",
    cffi_modules=["csrc/ffi_build.py:ffibuilder"],
    cmdclass={"build_ext": WindowsBuild if target else NativeBuild},
    options=options,
)
