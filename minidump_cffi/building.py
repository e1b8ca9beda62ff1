"""For extensions in C or cffi that speak the protocol: where the headers are, and their declarations for cffi."""

from __future__ import annotations

import importlib
from pathlib import Path

from . import _cdef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ffibuilder", "get_include"]


def get_include() -> str:
    """Directory of the C headers: the argument of ``-I``, so that ``#include <minidump_cffi/callback.h>`` works.

    The headers are C11 and C++. They declare functions too; those are inside the extension of this package and cannot
    be linked with: the routine and its parameter are handed over from Python, `Callback.routine` and `Callback.param`.

    Raises
    ------
    FileNotFoundError
        A source tree in which the package has not been built.

    Examples
    --------
    >>> from pathlib import Path
    >>> sorted(path.name for path in Path(get_include(), "minidump_cffi").iterdir())[:2]
    ['callback.h', 'dbghelp.h']
    """
    folder = Path(__file__).resolve().parent / "include"
    if not (folder / "minidump_cffi" / "minidump_protocol.h").is_file():
        raise FileNotFoundError(f"the headers are not in {folder}: build the package (python setup.py build_ext -i)")
    return str(folder)


def ffibuilder() -> Any:
    """Declarations of the public headers, for `cffi.FFI.include` in the build script of another cffi module.

    Returns
    -------
    cffi.FFI
        A fresh one. The types of the module that includes it are those of this package, so `Callback.information` and
        other objects can be passed to its functions. It needs no building itself.

    Examples
    --------
    >>> import cffi
    >>> ffi = cffi.FFI()
    >>> ffi.include(ffibuilder())
    >>> ffi.cdef("int drive(MINIDUMP_CALLBACK_INFORMATION *callback);")
    >>> ffi.set_source(
    ...     "engine",
    ...     "#include <minidump_cffi/minidump_protocol.h>",  # and the function
    ...     include_dirs=[get_include()],
    ... )
    """
    headers = Path(get_include()) / "minidump_cffi"
    builder = importlib.import_module("cffi").FFI()
    builder.cdef("\n".join(_cdef.declarations(headers / name) for name in _cdef.PUBLIC))
    builder.set_source(
        "minidump_cffi._native._ext",
        "".join(f"#include <minidump_cffi/{name}>\n" for name in _cdef.PUBLIC),
        include_dirs=[get_include()],
    )
    return builder
