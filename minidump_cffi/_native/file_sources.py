"""Sources that read a file: an ELF core, or an existing minidump."""

from __future__ import annotations

import os

from .. import sinks
from ._ext import ffi, lib
from .errors import exception, new_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["core", "dump"]


def core(fd: int, *, root: Any, executable: Any, text_files: bool, xstate: bool) -> tuple[int, object]:
    """The source of a core; address and owner of its slot. The descriptor is duplicated."""
    options = ffi.new("mdc_core_options *")
    kept = [_path(root)]
    options.root = kept[0]
    if executable is not None:
        kept.append(_path(executable))
        options.executable = kept[1]
    options.text_files, options.xstate = int(text_files), int(xstate)
    return _made(lib.mdc_core_source_new, fd, options)


def dump(fd: int) -> tuple[int, object]:
    """The source of a minidump; address and owner of its slot. The descriptor is duplicated."""
    return _made(lib.mdc_dump_source_new, fd, ffi.new("mdc_dump_source_options *"))


def _path(path: Any) -> Any:
    return ffi.new("char[]", os.fsencode(path))


def _made(make: Any, fd: int, options: Any) -> tuple[int, object]:
    slot = ffi.gc(ffi.new("mdc_source **"), lib.mdc_source_drop)
    error = new_error()
    if make(sinks.native(fd), options, slot, error) != lib.MDC_OK:
        raise exception(error)
    return int(ffi.cast("uintptr_t", slot)), slot
