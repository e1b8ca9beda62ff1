"""Callbacks that are not compiled filters, as `write_dump` takes them: plug-ins, addresses, ctypes, cffi, Python.

`resolve` makes a `Callee` of each, which is all the dump needs to know. They see the plain protocol, unless they say
that they know the extensions of our engine.
"""

from __future__ import annotations

import sys
import time

from .._native import pointers
from .._options import check_extensions
from .._record import Record
from ..callback import Callback
from ..enums import PLAIN, CallbackType, Extensions
from ..filters._filter import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from .._aliases import AnswerFunction, AnyCallback
    from .._native.session import Session

__all__ = ["Callee", "PythonCallback", "Routine", "Watch", "resolve"]

_CDECL = 1  # FUNCFLAG_CDECL in _flags_ of a function type


class Callee(Record):
    """A callback as a dump calls it.

    Attributes
    ----------
    routine, param : int
        Addresses.
    extensions : Extensions
        What it knows beyond the plain protocol.
    name : str
        For messages.
    max_stop : float or None
        Seconds the target may be stopped by default.
    keep : object
        What must live as long as the engine may call.
    python : PythonCallback or None
        What it is made of.
    """

    routine: int
    param: int
    extensions: Extensions
    name: str
    max_stop: float | None = None
    keep: object = None
    python: PythonCallback | None = None


class Routine(Record):
    """A foreign callback routine: from a C library, ctypes, cffi.

    It is called on a thread of the dump, while the target is stopped.

    Parameters
    ----------
    routine : object
        A MINIDUMP_CALLBACK_ROUTINE: its address, a ctypes function object (``CFUNCTYPE``, on Windows ``WINFUNCTYPE``,
        or a function of a loaded library), or a cffi function pointer of any FFI.
    param : object
        CallbackParam: an address or any number, a ctypes or cffi pointer; 0 for NULL.
    extensions : Extensions, str or iterable of str
        What the routine knows beyond the plain protocol.

    Notes
    -----
    Function objects are kept alive during the dump; the caller must keep alive what a bare address refers to. An
    exception in a ctypes or cffi function is printed by that library and lost; `PythonCallback` keeps it.

    Attributes
    ----------
    routine, param : int
        Addresses.
    extensions : Extensions
        As given.

    Examples
    --------
    >>> from minidump_cffi import Callback
    >>> with Callback() as callback:
    ...     Routine(routine=callback.routine, param=callback.param).extensions
    <Extensions: 0>
    """

    routine: int
    param: int
    extensions: Extensions
    _keep: object

    def __init__(self, *, routine: Any, param: Any = 0, extensions: Extensions | str | Iterable[str] = PLAIN) -> None:
        address, value = _routine_address(routine), _param_address(param)
        if not 0 < address < 1 << 64 or not 0 <= value < 1 << 64:
            raise ValueError("routine and param are addresses, and routine is not 0")
        self._put("routine", address)
        self._put("param", value)
        self._put("extensions", check_extensions(extensions))
        self._put("_keep", (routine, param))

    def _callee(self) -> Callee:
        return Callee(
            routine=self.routine,
            param=self.param,
            extensions=self.extensions,
            name=f"the callback at {self.routine:#x}",
            keep=self._keep,
        )


def _ctypes() -> Any:
    """The module, if it was imported: before that no object can have its types."""
    return sys.modules.get("ctypes")


def _is_function(ctypes: Any, routine: Any) -> bool:
    """Whether ctypes made it; all its functions have one base."""
    return ctypes is not None and isinstance(routine, type(ctypes.pythonapi.Py_IncRef).__mro__[1])


def _routine_address(routine: Any) -> int:
    found = pointers.foreign_function(routine)
    if found is not None:
        return found
    ctypes = _ctypes()
    if _is_function(ctypes, routine):
        types = routine.argtypes
        if types is not None and len(types) not in (0, 3):
            raise ValueError(f"a callback routine takes three arguments, and {routine!r} does not")
        if _is_32_bit_windows(ctypes) and routine._flags_ & _CDECL:
            raise ValueError(f"{routine!r} is cdecl, and a callback routine is stdcall: make it with WINFUNCTYPE")
        return int(ctypes.cast(routine, ctypes.c_void_p).value or 0)
    if isinstance(routine, int) and not isinstance(routine, bool):
        return routine
    hint = ""
    if callable(routine):
        hint = (
            "; a Python function goes into a PythonCallback, a function of a cffi lib through ffi.addressof(lib, name)"
        )
    raise TypeError(
        f"a routine must be an address, a ctypes function or a cffi function pointer, not {routine!r}{hint}"
    )


def _is_32_bit_windows(ctypes: Any) -> bool:
    """Where the caller and the callee of a function have to agree on who cleans the stack."""
    return sys.platform == "win32" and bool(ctypes.sizeof(ctypes.c_void_p) == 4)


def _param_address(param: Any) -> int:
    if param is None:
        return 0
    if isinstance(param, int) and not isinstance(param, bool):
        return param
    if pointers.is_pointer(param):
        return pointers.address(param)
    ctypes = _ctypes()
    if ctypes is not None and (
        isinstance(param, ctypes.c_void_p | ctypes._Pointer | ctypes.Array) or _is_function(ctypes, param)
    ):
        return int(ctypes.cast(param, ctypes.c_void_p).value or 0)
    raise TypeError(f"a param must be a number, or a ctypes or cffi pointer, not {param!r}")


class PythonCallback(Callback):
    """A callback whose answers are given by Python: the slow path.

    Any type from 0 to 20 may be answered, so that Python can narrow regions, serve memory itself (VmStart answered
    S_FALSE, then VmQuery, VmPreRead and VmPostRead) or take over the output (IoStart answered S_FALSE, then IoWriteAll
    and IoFinish). Types without a function are answered in C, without Python: keep everything, tolerate read failures.

    Cost: each call of a function waits for the GIL while the target is stopped: some microseconds when Python is
    otherwise idle, and up to the switch interval (5 ms) when another thread computes; a full dump of 10,000 mappings
    then takes seconds instead of a millisecond for the same answers by a `Filter`. Give functions for few types.

    Parameters
    ----------
    functions : mapping or AnswerFunction
        ``{CallbackType: function}``, or one function for all types from MODULE to VM_POST_READ. Called with an `Input`
        and an `Output`, valid during the call; returns True or False.
    extensions : Extensions, str or iterable of str
        What the functions know beyond the plain protocol.

    Raises
    ------
    ValueError
        A type that no engine sends.
    TypeError
        A value is not a function.

    Notes
    -----
    An exception of a function cancels the dump and is raised by `write_dump`; with another engine, by `raise_error`.
    CheckCancel is always answered TRUE, which makes that possible.

    Examples
    --------
    >>> from minidump_cffi.protocol import CallbackType
    >>> def no_mapped_files(question, answer):
    ...     if answer.vm_region.type & 0x40000:
    ...         answer.vm_region.region_size = 0
    ...     answer.continue_ = True
    ...     return True
    >>> callback = PythonCallback({CallbackType.INCLUDE_VM_REGION: no_mapped_files})
    >>> callback.hook_types
    frozenset({<CallbackType.INCLUDE_VM_REGION: 10>})
    """

    def __init__(
        self,
        functions: Mapping[CallbackType, AnswerFunction] | AnswerFunction,
        *,
        extensions: Extensions | str | Iterable[str] = PLAIN,
    ) -> None:
        self.extensions: Extensions = check_extensions(extensions)
        if callable(functions):
            table = dict.fromkeys(_ANSWERABLE, functions)
        else:
            table = {CallbackType(number): function for number, function in functions.items()}
        facts = bool(self.extensions & Extensions.REGION_FACTS)
        hooks = {}
        for number, function in table.items():
            if number not in _ANSWERABLE:
                raise ValueError(f"{number.name} is never sent by any known engine; it is answered FALSE")
            if not callable(function):
                raise TypeError(f"the function for {number.name} is not callable: {function!r}")
            hooks[int(number)] = _hook(function, facts)
        self._set_up(Filter(), hooks)

    def _callee(self) -> Callee:
        routine, param = self._open().addresses()
        return Callee(
            routine=routine, param=param, extensions=self.extensions, name="the Python callback", keep=self, python=self
        )


_ANSWERABLE = tuple(CallbackType(number) for number in range(21))


def _hook(function: AnswerFunction, facts: bool) -> Callable[[Any, Any], bool]:
    from ._views import Input, Output

    def answer(raw_input: Any, raw_output: Any) -> bool:
        question = Input(raw_input, facts=facts)
        output = Output(raw_output, raw_input.CallbackType)
        try:
            result = function(question, output)
        finally:
            question._end()
            output._end()
        if result is not True and result is not False:
            raise TypeError(f"a callback must return True or False, and {function!r} returned {result!r}")
        return result

    return answer


def resolve(callback: AnyCallback) -> Callback | Callee:
    """What a caller gave for `callback`.

    Raises
    ------
    TypeError
        Nothing that can be called by an engine.
    """
    if isinstance(callback, Callee):
        return callback
    make = getattr(callback, "_callee", None)
    if make is not None:
        found: Callee = make()
        return found
    if isinstance(callback, Callback):
        return callback
    if isinstance(callback, tuple):
        if len(callback) != 2:
            raise TypeError(f"a pair must be (routine, param), not {callback!r}")
        return Routine(routine=callback[0], param=callback[1])._callee()
    if isinstance(callback, int):
        raise TypeError("a bare number is not a callback: give Routine(routine=address, param=...)")
    return Routine(routine=callback)._callee()


class Watch:
    """Notices that a foreign callback does not return, also before the target is stopped."""

    def __init__(self, session: Session, seconds: float) -> None:
        self._session, self._seconds = session, seconds
        self._seen = session.callee()
        self._since = time.monotonic()

    def hangs(self) -> bool:
        """Whether it has been inside one call for as long as the target may be stopped."""
        state = self._session.callee()
        if state != self._seen or state.type < 0:
            self._seen, self._since = state, time.monotonic()
        return time.monotonic() - self._since >= self._seconds
