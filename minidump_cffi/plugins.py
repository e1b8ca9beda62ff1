"""Shared libraries as callbacks: `Plugin`.

The shape is that of ProcDump's ``-d``: a library that exports ``MiniDumpCallbackRoutine``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

from ._options import check_extensions
from .enums import PLAIN, Extensions, Phase
from .errors import PluginError
from .protocol._foreign import Callee

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

if sys.platform == "win32":
    from ._os import pe as _libraries
else:
    from ._os import elf as _libraries

__all__ = ["PLUGIN_MAX_STOP", "Plugin"]

PLUGIN_MAX_STOP = 30.0
"""Seconds the target may be stopped while a plug-in answers, by default."""

SYMBOL = "MiniDumpCallbackRoutine"


class Plugin:
    """A shared library that answers the callbacks of a dump.

    Its C source has one function::

        int32_t MiniDumpCallbackRoutine(void *param, MINIDUMP_CALLBACK_INPUT *input, MINIDUMP_CALLBACK_OUTPUT *output);

    with the types of ``minidump_protocol.h`` in `get_include`; on Windows it is ``int32_t MDC_CALL``, and exported.
    It sees the plain protocol. It runs inside this process: loading it runs its constructors, and one that crashes ends
    the process that takes the dump, never the target. It stays loaded.

    A dump with a plug-in has ``max_stop=30`` by default: a plug-in that does not return is then abandoned.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The library, or a path relative to the current directory; the search path of the loader is not used.
    param : int
        CallbackParam: a number or an address.
    extensions : Extensions, str or iterable of str
        What the plug-in knows beyond the plain protocol.

    Raises
    ------
    PluginError
        No such file, not a shared library, made for another machine, without the function, or refused by the loader.

    Attributes
    ----------
    path : str
        Absolute.
    routine, param : int
        Addresses.
    extensions : Extensions
        As given.

    Examples
    --------
    >>> from pathlib import Path
    >>> source = Path(folder, "plugin.c")
    >>> _ = source.write_text("int MiniDumpCallbackRoutine(void *param, void *input, void *output) { return 1; }")
    >>> import subprocess
    >>> _ = subprocess.run(["cc", "-shared", "-fPIC", source, "-o", Path(folder, "plugin.so")], check=True)
    >>> Plugin(Path(folder, "plugin.so")).param
    0
    """

    __slots__ = ("_library", "extensions", "param", "path", "routine")

    extensions: Extensions
    param: int
    path: str
    routine: int

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        *,
        param: int = 0,
        extensions: Extensions | str | Iterable[str] = PLAIN,
    ) -> None:
        self.extensions = check_extensions(extensions)
        if not 0 <= param < 1 << 64:
            raise ValueError("param is an address, or a number of 64 bits")
        self.param = param
        self.path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 -- a link stays a link
        _check_header(self.path)
        try:
            self._library = _libraries.load(self.path)
        except OSError as error:
            raise PluginError(
                f"the plug-in {self.path} cannot be loaded: {error}", phase=Phase.OPEN, filename=self.path
            ) from None
        try:
            function = _libraries.function(self._library, SYMBOL)
        except AttributeError:
            raise PluginError(
                f"the plug-in {self.path} has no function {SYMBOL}: export it, with C linkage",
                phase=Phase.OPEN,
                filename=self.path,
            ) from None
        self.routine = ctypes.cast(function, ctypes.c_void_p).value or 0
        if not _libraries.is_code(self.routine):
            raise PluginError(
                f"the plug-in {self.path}: {SYMBOL} is not a function", phase=Phase.OPEN, filename=self.path
            )

    def _callee(self) -> Callee:
        return Callee(
            routine=self.routine,
            param=self.param,
            extensions=self.extensions,
            name=f"the plug-in {self.path}",
            max_stop=PLUGIN_MAX_STOP,
            keep=self,
        )

    def __repr__(self) -> str:
        return f"Plugin({self.path!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a Plugin cannot be pickled or copied; its path can")


def _check_header(path: str) -> None:
    """Say by name what the loader would say in other words, before any code of the file runs."""

    def refuse(why: str, number: int | None = None) -> PluginError:
        return PluginError(f"the plug-in {path} {why}", phase=Phase.OPEN, errno=number, filename=path)

    try:
        # Not a FIFO: opening one would hang.
        if not Path(path).is_file():
            Path(path).stat()
            raise refuse("is not a regular file", errno.EINVAL)
        why = _libraries.fault(path)
    except ValueError as error:  # an embedded zero byte
        raise refuse(f"is not a file: {error}", errno.EINVAL) from None
    except PluginError:
        raise
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror} (errno {error.errno})", error.errno) from None
    if why is not None:
        raise refuse(why, errno.ENOEXEC)
