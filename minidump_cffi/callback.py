"""The trampoline as a Python object, for any engine that speaks the MiniDumpWriteDump callback protocol."""

from __future__ import annotations

import contextlib
import threading
import weakref

from ._native.callback import NativeCallback
from ._native.hooks import Hooks
from ._native.pointers import address, view
from ._native.recorder import NativeRecorder
from ._options import check_extensions, record_limit
from ._record import Record
from .enums import PLAIN, CallbackType, Extensions
from .errors import CallbackError
from .filters._filter import EVERYTHING, Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Any

    from ._aliases import Hook, IoHandler
    from .replay._recording import Recording

__all__ = ["Callback", "Counters"]

_IDLE_MAX = 4
"""Callbacks of one filter that wait for its next dumps: as many as ran at once, up to this."""

# Sent per region or per read while the target is stopped: Python answers to these would cost seconds to minutes.
_NEVER_PYTHON = (
    CallbackType.INCLUDE_VM_REGION,
    CallbackType.VM_QUERY,
    CallbackType.VM_PRE_READ,
    CallbackType.VM_POST_READ,
)


class Counters(Record):
    """Statistics of a callback since its dump began.

    Attributes
    ----------
    calls : Mapping
        Number of calls by `CallbackType`.
    unknown : int
        Calls of types this package does not know; answered FALSE.
    excluded : int
        Regions of which nothing was kept.
    narrowed : int
        Answers that kept a part of a region.
    tolerated : int
        Read failures that were tolerated.
    kernel_status : int
        HRESULT of the last KernelMinidumpStatus, unsigned.
    redacted_bytes, redacted_hits : int
        Bytes overwritten by ranges and patterns of the filter, and occurrences of patterns, in what it was shown; what
        is in the dump twice counts twice.
    sanitized_words : int
        Stack words that were replaced.
    uncovered_borders : int
        Reads that continued an earlier one without its end being shown again: a pattern across the two
        was not found. 0 with `write_dump`.
    hulls, excluded_gap_bytes, filled_bytes : int
        With an engine that takes only one part of a region: regions that were kept with excluded gaps in them, the
        bytes of these gaps, and how many bytes of reads were overwritten because they are in one; what is read twice
        counts twice.
    lost : int
        Answers that kept only the longest of several kept parts of a region: the engine neither asks again nor sent
        VmStart, or there were more excluded gaps than `excluded_gap_capacity`.

    Examples
    --------
    >>> with Callback() as callback:
    ...     callback.counters.excluded
    0
    """

    calls: Mapping[CallbackType, int]
    unknown: int
    excluded: int
    narrowed: int
    tolerated: int
    kernel_status: int
    redacted_bytes: int = 0
    redacted_hits: int = 0
    sanitized_words: int = 0
    uncovered_borders: int = 0
    hulls: int = 0
    excluded_gap_bytes: int = 0
    filled_bytes: int = 0
    lost: int = 0


class Use:
    """One dump as the user of a callback. The mark ends with this object if a signal handler prevented the end."""

    __slots__ = ("__weakref__",)


class Callback:
    """A compiled filter as a MINIDUMP_CALLBACK_ROUTINE: answers every callback type in C, without the GIL.

    Use it with `write_dump`, or pass its addresses to any other engine. It serves one dump at a time: a second one at
    the same time is refused. Its state is reset for each dump. Close it, or use it in a ``with`` statement.

    Parameters
    ----------
    filter : Filter or None
        What goes into the dump; None keeps everything.
    on_cancel : callable or None
        Called whenever the engine sends Cancel, on its thread, while the target is stopped; returns true to cancel.
        With `write_dump` prefer the parameter `on_cancel` of that function, which costs the target nothing.
    io : IoHandler or None
        Takes the bytes of the dump. Called while the target is stopped.
    hooks : mapping or None
        Python functions for single callback types. This is the slow path: each call waits for the GIL while the target
        is stopped, microseconds when Python is idle and milliseconds when it is busy. Types that are sent per region or
        per read are refused; a `PythonCallback` takes those too.
    module_capacity, name_capacity : int
        Modules and distinct mapping names remembered per dump; 0 is 65,536.
    memory_piece : int
        Largest MemorySize handed out for added and removed memory, in bytes; 0 is 4 GiB - 64 KiB.
    stack_capacity : int
        Stacks remembered per dump to sanitize them; 0 is 65,536.
    excluded_gap_capacity : int
        Excluded gaps remembered per dump for engines that take one part of a region only; 0 is 65,536.
    record : bool or int
        Keep what is asked and what is answered, for `recording`: True, or the most bytes it may take (True is 256 MiB).
        Each call then takes a lock and may allocate.

    Raises
    ------
    FilterError
        The filter cannot be compiled.
    ValueError
        A hook for a type that may not have one, or two for one type.

    Notes
    -----
    An exception of a hook ends the dump and is raised by `write_dump`; with another engine, by `raise_error`.

    Examples
    --------
    >>> from minidump_cffi import Filter, exclude
    >>> with Callback(Filter(exclude(type="mapped"))) as callback:
    ...     callback.routine != 0 and callback.param != 0
    True
    """

    def __init__(
        self,
        filter: Filter | None = None,
        *,
        on_cancel: Callable[[], object] | None = None,
        io: IoHandler | None = None,
        hooks: Mapping[CallbackType, Hook] | None = None,
        module_capacity: int = 0,
        name_capacity: int = 0,
        memory_piece: int = 0,
        stack_capacity: int = 0,
        excluded_gap_capacity: int = 0,
        record: bool | int = False,
    ) -> None:
        if filter is not None and not isinstance(filter, Filter):
            raise TypeError(f"filter must be a Filter, not {filter!r}")
        table: dict[int, Hook] = {}
        for number, hook in (hooks or {}).items():
            if number in _NEVER_PYTHON:
                raise ValueError(f"{CallbackType(number).name} is sent per region or read: use a Filter, not Python")
            if not callable(hook):
                raise TypeError(f"the hook for {CallbackType(number).name} is not callable: {hook!r}")
            table[CallbackType(number)] = hook
        for name, numbers, given in (("on_cancel", _CANCEL, on_cancel), ("io", _IO, io)):
            if given is not None and not table.keys().isdisjoint(numbers):
                raise ValueError(f"{name}= and hooks= answer the same callback type")
        if on_cancel is not None:
            table[CallbackType.CANCEL] = _cancel_hook(on_cancel)
        if io is not None:
            table.update(_io_hooks(io))
        self._set_up(
            Filter() if filter is None else filter,
            table,
            record,
            module_capacity=module_capacity,
            name_capacity=name_capacity,
            memory_piece=memory_piece,
            stack_capacity=stack_capacity,
            excluded_gap_capacity=excluded_gap_capacity,
        )

    def _set_up(self, filter: Filter, table: Mapping[int, Hook], record: bool | int = False, **capacities: int) -> None:
        self._filter = filter
        self._hooks = Hooks(table) if table else None
        self._native: NativeCallback | None = NativeCallback(filter._compiled(), self._hooks, **capacities)
        limit = record_limit(record)
        self._recorder = None if limit is None else NativeRecorder(limit, self._open())
        self._recorder_kept = False
        # Held around every use of the callback of C, so that `close` in another thread does not free it meanwhile. A
        # signal handler may come in between: reentrant.
        self._lock = threading.RLock()
        self._user: weakref.ref[Use] | None = None

    def _open(self) -> NativeCallback:
        native = self._native
        if native is None:
            raise CallbackError("this callback is closed")
        native.check_process()
        return native

    def _in_use(self) -> bool:
        return self._user is not None and self._user() is not None

    def _enter(self, use: Use) -> NativeCallback:
        """Make it the callback of one dump, until what its hooks raised and its recording have been fetched."""
        self._open()  # in a forked child the lock may be held for ever
        with self._lock:
            native = self._open()
            if self._in_use():
                raise CallbackError("the callback is in use by another dump")
            self._user = weakref.ref(use)
            return native

    def _leave(self, use: Use) -> None:
        """End what `_enter` began; nothing if it did not come to that."""
        if self._user is not None and self._user() is use:
            self._user = None

    @property
    def filter(self) -> Filter:
        """What it was made of."""
        return self._filter

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._native is None

    @property
    def hook_types(self) -> frozenset[CallbackType]:
        """The callback types that are answered in Python."""
        return frozenset(CallbackType(number) for number in self._hooks.table) if self._hooks else frozenset()

    @property
    def information(self) -> Any:
        """MINIDUMP_CALLBACK_INFORMATION *, as a cffi object; valid until `close`."""
        self._open()
        with self._lock:
            return self._information()

    def _information(self) -> Any:
        native = self._open()
        if self._recorder is None:
            return native.information()
        if not self._recorder_kept:
            self._recorder.show()  # an engine may call it late, as it may call the routine itself
            weakref.finalize(self, self._recorder.clear)
            self._recorder_kept = True
        return self._recorder.information()

    @property
    def routine(self) -> int:
        """Address of the routine; valid until `close`."""
        return address(self.information.CallbackRoutine)

    @property
    def param(self) -> int:
        """CallbackParam that goes with `routine`, as an address; valid until `close`."""
        return address(self.information.CallbackParam)

    @property
    def recording(self) -> Recording | None:
        """What was asked and answered since it was made or reset, or since the dump of `write_dump` began.

        None without `record`. A copy, as large as the recording; better not taken while an engine waits for answers.
        Valid until `close`, as all else; what it returned lives on.
        """
        self._open()
        return None if self._recorder is None else recording_of(self._recorder)

    @property
    def counters(self) -> Counters:
        """What it was asked since its dump began."""
        self._open()
        with self._lock:
            return Counters(**self._open().counters())

    def cancel(self) -> None:
        """Cancel the dump that uses it: the next Cancel callback is answered so. May be called from any thread.

        `write_dump` begins anew: what was said before it is forgotten.
        """
        self._open()
        with self._lock:
            self._open().cancel()

    def reset(self) -> None:
        """Begin anew: forget modules, counters, a cancel and the exception of a hook.

        Engines that send IsProcessSnapshot or VmStart, as all but very old ones do, have the same effect, but for the
        exception: until `raise_error` has raised it, no hook is asked again and every dump is cancelled.

        Raises
        ------
        CallbackError
            A dump is using it.
        """
        self._open()
        with self._lock:
            if self._in_use():
                raise CallbackError("the callback is in use by a dump")
            self._open().reset()
            if self._recorder is not None:
                self._recorder.clear()

    @contextlib.contextmanager
    def in_use(self, *, extensions: Extensions | str | Iterable[str] = PLAIN) -> Iterator[Callback]:
        """For an engine that is not `write_dump`: around its whole dump.

        Resets its state; until the end it cannot be used elsewhere or closed. Without this, `close` is refused only
        while a call is inside the routine.

        Parameters
        ----------
        extensions : Extensions, str or iterable of str
            What that engine supports beyond the plain protocol; set for this dump only.

        Raises
        ------
        CallbackError
            A dump is using it, or it is closed.

        Examples
        --------
        >>> with Callback() as callback, callback.in_use():
        ...     pass  # let the engine call callback.routine with callback.param
        """
        use = Use()
        native = self._enter(use)
        try:
            native.acquire(int(check_extensions(extensions)))
            try:
                yield self
            finally:
                native.release()
        finally:
            self._leave(use)

    def raise_error(self) -> None:
        """Raise the exception a hook raised during the last dump, or the fault of the routine itself.

        For engines other than `write_dump`, to be called when they have returned.

        Raises
        ------
        CallbackError
            A table overflowed, two engines used the callback at the same time, or bytes that the filter excludes may
            be in the dump because the engine did not show them to VmPostRead: discard it.
        """
        self._open()
        with self._lock:
            native = self._open()
            error = self._hooks.take_error() if self._hooks else None
            if error is not None:
                raise error
            native.check()

    def close(self) -> None:
        """Free it. Closing twice is fine.

        An engine that calls its addresses all the same is answered FALSE.

        Raises
        ------
        CallbackError
            A dump is using it.
        """
        if self._native is not None and not self._native.is_ours():
            self._native = None  # in a forked child nothing is freed, and the lock may be held for ever
            return
        with self._lock:
            if self._native is None:
                return
            if self._in_use():
                raise CallbackError("the callback is in use by a dump")
            self._native.close()
            self._native = None
            if self._recorder is not None:
                self._recorder.clear()

    def __enter__(self) -> Callback:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self.filter)} rules"
        return f"<Callback: {state}>"

    def __reduce__(self) -> Any:
        raise TypeError("a Callback cannot be pickled or copied; its filter can")


def borrowed(filter: Filter) -> Callback:
    """A callback for one dump: one that has served another dump of this filter, or a new one.

    To make one takes longer than all checks of a dump, and, if rules look at names or modules, as long as a third of a
    small one: its tables have room for 65,536 of them.
    """
    try:
        found: Callback = filter._compiled().idle.pop()
    except IndexError:
        return Callback(filter)
    found._filter = filter
    return found


def give_back(callback: Callback) -> None:
    """Keep a borrowed callback whose dump succeeded for as long as its filter lives."""
    idle = callback._filter._compiled().idle
    if len(idle) < _IDLE_MAX:
        callback._filter = EVERYTHING  # it must not keep alive what keeps it alive
        idle.append(callback)
    else:
        callback.close()


def recording_of(recorder: NativeRecorder, engine: str = "") -> Recording:
    """What a recorder has kept."""
    from .replay._recording import Recording

    packed, extensions, dropped = recorder.read()
    return Recording._of(packed, engine, "", extensions, dropped)


_CANCEL = (CallbackType.CANCEL,)
_IO = (CallbackType.IO_START, CallbackType.IO_WRITE_ALL, CallbackType.IO_FINISH)
_S_OK, _S_FALSE = 0, 1


def _cancel_hook(on_cancel: Callable[[], object]) -> Hook:
    def answer(input: Any, output: Any) -> bool:
        output.Cancel.CheckCancel = 1  # not sticky: without it Cancel is never sent again
        output.Cancel.Cancel = bool(on_cancel())
        return True

    return answer


def _io_hooks(io: IoHandler) -> dict[int, Hook]:
    def start(input: Any, output: Any) -> bool:
        output.Status = _S_FALSE  # "I do the writing": S_OK would mean no
        return True

    def write(input: Any, output: Any) -> bool:
        data = input.u.Io
        with view(data.Buffer, data.BufferBytes) as shown:
            io.write(data.Offset, shown)
        output.Status = _S_OK
        return True

    def finish(input: Any, output: Any) -> bool:
        io.finish()
        output.Status = _S_OK
        return True

    return dict(zip(_IO, (start, write, finish), strict=True))
