"""The extension of the tests: targets that are descriptions, an engine that is not ours, the benchmarks' engine loop.

`load` compiles it when it is first asked for, and again when what it is made of has changed; it is kept in
build/support. A Windows CPython has no compiler: for that one it is cross-compiled on Linux, by

    MDC_WINE_PYTHON=.../wine-python python tests/support/extension.py

which `.ci/windows` does before it runs tests. It is a cffi module that includes the declarations of the package
(`minidump_cffi.protocol.ffibuilder`), as any user's would.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NAME = "mdc_test_support"
PUBLIC = ("callback.h", "dbghelp.h", "engine.h")
HEADERS = ("fake.h", "bench_loop.h", "engine_double.h")
MADE_FROM = ("tests/support/*.[ch]", "tests/support/extension.py", "csrc/api/*.h", "csrc/base/*.[ch]",
             "csrc/source/*.h", "minidump_cffi/**/building.py")  # fmt: skip
FLAGS = ("-std=c11", "-O2")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
POSIX = ("-D_GNU_SOURCE", "-fPIC", "-fvisibility=hidden", "-pthread")
WINDOWS = ("-D_WIN32_WINNT=0x0601", "-D__USE_MINGW_ANSI_STDIO=1")
CROSS = "x86_64-w64-mingw32-gcc"


def load() -> Any:
    """The module: its `lib` and `ffi`."""
    return _load(str(_built()))


@functools.cache
def _load(path: str) -> Any:
    loader = importlib.machinery.ExtensionFileLoader(NAME, path)
    spec = importlib.util.spec_from_file_location(NAME, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@functools.cache
def _built() -> Path:
    path = place("windows" if sys.platform == "win32" else "linux")
    if path.exists():
        return path
    if sys.platform == "win32":
        raise FileNotFoundError(f"there is no {path}: on Linux, bash .ci/windows support makes it")
    import minidump_cffi

    with _beside(path) as folder:
        _emit(folder / f"{NAME}.c")
        include = (Path(minidump_cffi.protocol.get_include()), Path(sysconfig.get_path("include")))
        _compile(shlex.split(os.environ.get("CC") or "cc"), POSIX, "_windows", include, (), folder, path)
    return path


def cross_built(runner: str | os.PathLike[str]) -> Path:
    """On Linux: the extension for the Windows CPython beside this runner, in which the package is installed."""
    path = place("windows")
    python = Path(runner).resolve().parent / "python"
    if not path.exists():
        with _beside(path) as folder:
            emitted = folder / f"{NAME}.c"
            script, target = (f"Z:{name}" for name in (Path(__file__).resolve(), emitted))
            subprocess.run([runner, "-P", script, "--emit", target], check=True, stdin=subprocess.DEVNULL)
            include = (python / "Lib" / "site-packages" / "minidump_cffi" / "include", python / "include")
            libraries = ("-static-libgcc", str(python / "libs" / "python3.lib"))
            _compile([CROSS], WINDOWS, "_posix", include, libraries, folder, path)
    return path


def place(system: str) -> Path:
    """Where it is kept: the name changes with all that it is made of."""
    digest = hashlib.sha256()
    for pattern in MADE_FROM:
        found = sorted(ROOT.glob(pattern))
        assert found, f"nothing is called {pattern}"
        for path in found:
            digest.update(path.read_bytes())
    if system == "linux":
        digest.update(repr((os.environ.get("CC"), sysconfig.get_config_var("SOABI"))).encode())
    suffix = "pyd" if system == "windows" else "so"
    return ROOT / "build" / "support" / f"{NAME}-{system}-{digest.hexdigest()[:16]}.{suffix}"


class _beside:
    """A temporary folder on the file system of a path: several processes may build at once, and each file is whole."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=path.parent, ignore_cleanup_errors=True)

    def __enter__(self) -> Path:
        return Path(self._folder.name)

    def __exit__(self, *exception: object) -> None:
        self._folder.cleanup()


def _emit(target: Path) -> None:
    """The C source of the module."""
    import cffi

    import minidump_cffi

    ffi = cffi.FFI()
    ffi.include(minidump_cffi.protocol.ffibuilder())
    ffi.cdef("typedef struct mdc_source mdc_source;" + "".join(_declarations()))
    includes = (*(f"<minidump_cffi/{name}>" for name in PUBLIC), *(f'"{name}"' for name in HEADERS))
    ffi.set_source(NAME, "".join(f"#include {name}\n" for name in includes))
    ffi.emit_c_code(str(target))


def _declarations() -> Iterator[str]:
    for name in HEADERS:
        text = (HERE / name).read_text(encoding="utf-8")
        (part,) = re.findall(r"/\* cdef: begin \*/(.*?)/\* cdef: end \*/", text, re.DOTALL)
        yield re.sub(r"/\*.*?\*/", " ", part, flags=re.DOTALL)


def _compile(
    compiler: list[str],
    flags: tuple[str, ...],
    absent: str,
    include: tuple[Path, ...],
    libraries: tuple[str, ...],
    folder: Path,
    path: Path,
) -> None:
    """The sources and what of csrc/base belongs to the system (see csrc/ffi_build.py), then the module."""
    base = [source for source in sorted((ROOT / "csrc" / "base").glob("*.c")) if not source.stem.endswith(absent)]
    command = [*compiler, *FLAGS, *flags, *(f"-I{name}" for name in (HERE, *include))]
    subprocess.run([*command, *WARNINGS, "-c", *base, *sorted(HERE.glob("*.c"))], cwd=folder, check=True)
    whole = folder / path.name
    objects = sorted(folder.glob("*.o"))
    subprocess.run([*command, "-shared", f"{NAME}.c", *objects, *libraries, "-o", whole], cwd=folder, check=True)
    whole.replace(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--emit"]:
        _emit(Path(sys.argv[2]))
    else:
        print(cross_built(os.environ["MDC_WINE_PYTHON"]))
