"""A Windows CPython under Wine, started from Linux: ``bash .ci/windows`` makes one and tells where it is.

``MDC_WINE_PYTHON`` names its runner. Without one the tests that need it skip with the reason, except where
``MDC_REQUIRE_WINE`` is set (CI): there it is an error.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import live
import pytest

PATIENCE = 120.0  # seconds; not a measurement: longer means hanging
_REASON = "MDC_WINE_PYTHON is not set: no Windows CPython under Wine (bash .ci/windows makes one)"


def wine_required() -> bool:
    """True where Wine may not be missing (CI)."""
    return os.environ.get("MDC_REQUIRE_WINE", "") not in ("", "0")


def python() -> str:
    """The runner of the Windows CPython, or a skip."""
    return _runner("wine-python")


def program() -> str:
    """The runner of any Windows program, or a skip."""
    return _runner("wine-run")


def _runner(name: str) -> str:
    given = os.environ.get("MDC_WINE_PYTHON", "")
    if not given:
        if wine_required():
            pytest.fail(f"{_REASON}, and MDC_REQUIRE_WINE is set")
        pytest.skip(_REASON)
    found = Path(given).parent / name
    assert os.access(found, os.X_OK), f"MDC_WINE_PYTHON: there is no {found}"
    return str(found)


def windows_path(path: os.PathLike[str] | str) -> str:
    """A path of this system as Windows programs under Wine see it."""
    return "Z:" + str(Path(path).resolve()).replace("/", "\\")


def run(command: Iterable[str | os.PathLike[str]], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run to its end; the texts have Unix line ends."""
    done = subprocess.run(
        [os.fspath(word) for word in command],
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "encoding": "utf-8",
            "errors": "replace",
            "timeout": PATIENCE,
            "check": False,
            **options,
        },
    )
    for name in ("stdout", "stderr"):
        if getattr(done, name) is not None:
            setattr(done, name, getattr(done, name).replace("\r\n", "\n"))
    return done


def run_cli(*words: str | os.PathLike[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """``python -m minidump_cffi`` of the Windows CPython."""
    return run([python(), "-P", "-m", "minidump_cffi", *words], **options)


def run_python(script: str | os.PathLike[str], *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A file with a program for the Windows CPython."""
    return run([python(), "-P", windows_path(script), *map(str, words)], **options)


def compile_c(source: Path, target: Path, *flags: str) -> Path:
    """Cross-compile one C file to a Windows program; skips as `python` does."""
    return live.compile_c(source, target, *CROSS_FLAGS, *flags, cross=cross_compiler("x64"))


CROSS = {"x64": "x86_64-w64-mingw32-gcc", "x86": "i686-w64-mingw32-gcc"}
CROSS_FLAGS = ("-std=c11", "-D_WIN32_WINNT=0x0601", "-D__USE_MINGW_ANSI_STDIO=1")


def cross_compiler(cpu: str) -> str:
    """The mingw-w64 compiler for a CPU, or a skip (in CI an error)."""
    import shutil

    found = shutil.which(CROSS[cpu])
    if found is None:
        reason = f"{CROSS[cpu]} is not installed"
        if wine_required():
            pytest.fail(f"{reason}, and MDC_REQUIRE_WINE is set")
        pytest.skip(reason)
    return found


class Target(live.Target):
    """A Windows process under Wine that prints one JSON line when it is ready and answers lines."""

    def __init__(self, *words: str | os.PathLike[str]) -> None:
        super().__init__([program(), *map(str, words)], stderr=subprocess.PIPE)

    def assert_runs_on(self) -> None:
        """It answers."""
        self.ping()

    def close(self) -> None:
        """End its input, which ends it; kill it where that does not help."""
        import contextlib

        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
