"""The only room that touches the extension: C structs in, Python values and exceptions out.

Every C object that is held here frees itself with its Python object, but only in the process that made it: in a forked
child it is unusable and frees nothing.
"""

from __future__ import annotations

import atexit
import errno
import os
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from . import errors
from ._native import ffi, lib
from .enums import CallbackType, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._bridge_filter import NativeFilter

_lock = threading.Lock()


def _after_fork() -> None:
    # Another thread may have held it when the process was forked.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def compile_lock() -> threading.Lock:
    """The lock under which filters are compiled: one at a time, each once."""
    return _lock


# ---------------------------------------------------------------------------------------------------------- errors

_CLASSES: dict[int, type[errors.DumpError]] = {
    lib.MDC_ERR_FILTER: errors.FilterError,
    lib.MDC_ERR_TARGET: errors.TargetError,
    lib.MDC_ERR_TARGET_GONE: errors.TargetGone,
    lib.MDC_ERR_TARGET_BUSY: errors.TargetBusy,
    lib.MDC_ERR_STALLED: errors.Stalled,
    lib.MDC_ERR_ACCESS: errors.AccessDenied,
    lib.MDC_ERR_READ: errors.ReadError,
    lib.MDC_ERR_SINK: errors.SinkError,
    lib.MDC_ERR_FORMAT: errors.FormatError,
    lib.MDC_ERR_CANCELLED: errors.Cancelled,
    lib.MDC_ERR_DEADLINE: errors.DeadlineExceeded,
    lib.MDC_ERR_CALLBACK: errors.CallbackError,
    lib.MDC_ERR_BUSY: errors.CallbackError,
    lib.MDC_ERR_LIMIT: errors.LimitReached,
}


def new_error() -> Any:
    """An mdc_error that says nothing went wrong."""
    error = ffi.new("mdc_error *")
    error.callback_type = -1
    error.index = -1
    return error


def exception(error: Any) -> Exception:
    """The exception that belongs to an mdc_error."""
    message = ffi.string(error.message).decode("utf-8", "replace")
    if error.code == lib.MDC_ERR_INVALID:
        return ValueError(message)
    if error.code == lib.MDC_ERR_NOMEM:
        return MemoryError(message)
    cls = _CLASSES.get(error.code, errors.DumpError)
    types = {member.value for member in CallbackType}
    number, winerror = _system_error(cls, error.os_errno)
    return cls(
        message,
        phase=Phase(error.phase) if 0 <= error.phase <= Phase.FINISH else None,
        pid=error.pid or None,
        address=error.address or None,
        hresult=error.hresult or None,
        callback_type=CallbackType(error.callback_type) if error.callback_type in types else None,
        index=error.index if error.index >= 0 else None,
        hint=_hint(cls, message),
        errno=number,
        winerror=winerror,
    )


def start_refused(number: int, what: str) -> Exception:
    """The exception for a thread or process that could not be started, which names the limit or who refused."""
    error = new_error()
    lib.mdc_fail_start(error, Phase.OPEN, number, what.encode())
    return exception(error)


def short(number: int, what: str) -> Exception:
    """The exception for something else that the system refuses to us: open files, memory, a call."""
    error = new_error()
    lib.mdc_fail_short(error, Phase.OPEN, number, what.encode())
    return exception(error)


def _system_error(
    cls: type[errors.DumpError], number: int, system: str = sys.platform
) -> tuple[int | None, int | None]:
    """C's number of the system's error as errno and, on Windows, as Windows error."""
    if not number and cls is errors.TargetGone:  # seen without a call that failed; a ProcessLookupError all the same
        return errno.ESRCH, None
    if system != "win32" or not number:
        return number or None, None
    # A pid that is gone is ERROR_INVALID_PARAMETER there, and a missing privilege has no errno that fits the class.
    fixed = {
        errors.TargetGone: errno.ESRCH,
        errors.AccessDenied: errno.EACCES,
        errors.DeadlineExceeded: errno.ETIMEDOUT,
    }
    return fixed.get(cls) or errors.errno_of(number), number


def _hint(cls: type[errors.DumpError], message: str) -> str | None:
    """The advice at the end of a message: "who refused: what would allow it: what the system said"."""
    if cls not in (errors.AccessDenied, errors.LimitReached):
        return None
    text = re.sub(r": [^:]* \((errno|error) \d+\)$", "", message)
    return text.rpartition(": ")[2] if ": " in text else None


def _owned(pointer: Any, release: Callable[[Any], object]) -> Any:
    """The pointer, released with its Python object in the process that made it and nowhere else."""
    maker = os.getpid()

    def free(raw: Any, getpid: Callable[[], int] = os.getpid) -> None:
        if getpid() == maker:
            release(raw)

    return ffi.gc(pointer, free)


# ---------------------------------------------------------------------------------------------------------- hooks


class Hooks:
    """Python functions that answer callback types. C reaches them through `mdc_py_hook`.

    The first exception of any of them is kept, ends the dump, and is raised again by the waiting thread.
    """

    __slots__ = ("callback", "error", "handle", "table")

    def __init__(self, table: Mapping[int, Callable[[Any, Any], object]]) -> None:
        self.table = dict(table)
        self.error: BaseException | None = None
        self.callback: Any = None
        self.handle = ffi.new_handle(self)

    def types(self) -> int:
        bits = 0
        for number in self.table:
            bits |= 1 << number
        return bits

    def call(self, input: Any, output: Any) -> int:
        number = input.CallbackType
        try:
            if self.error is None:
                return 1 if self.table[number](input, output) else 0
            # Nobody has fetched it yet. What the hooks would have said is missing from this dump too.
            lib.mdc_callback_cancel(self.callback)
        except BaseException as error:
            self.error = error
            # The dump shall end although the hook that failed may not be asked again.
            lib.mdc_callback_cancel(self.callback)
        if number == CallbackType.CANCEL:
            output.Cancel.CheckCancel = output.Cancel.Cancel = 1
            return 1
        if number in (CallbackType.IO_WRITE_ALL, CallbackType.IO_FINISH):
            output.Status = _E_FAIL
        return 0

    def take_error(self) -> BaseException | None:
        error, self.error = self.error, None
        return error


_E_FAIL = lib.MDC_E_FAIL - (1 << 32)


@ffi.def_extern(error=0)
def mdc_py_hook(context: Any, input: Any, output: Any) -> int:
    """What C calls; never raises (`Hooks.call` keeps what its function raises)."""
    hooks: Hooks = ffi.from_handle(context)
    return hooks.call(input, output)


# ---------------------------------------------------------------------------------------------------------- callback


class NativeCallback:
    """The trampoline with its per-dump state."""

    __slots__ = ("_maker", "_native", "_shown", "hooks", "pointer")

    def __init__(
        self,
        native: NativeFilter,
        hooks: Hooks | None = None,
        *,
        module_capacity: int = 0,
        name_capacity: int = 0,
        memory_piece: int = 0,
        stack_capacity: int = 0,
        hole_capacity: int = 0,
    ) -> None:
        options = ffi.new("mdc_callback_options *")
        options.stack_capacity, options.hole_capacity = stack_capacity, hole_capacity
        options.module_capacity, options.name_capacity = module_capacity, name_capacity
        options.memory_piece = memory_piece
        if hooks is not None:
            options.hook_types = hooks.types()
            options.hook = lib.mdc_py_hook
            options.hook_context = hooks.handle
        error = new_error()
        pointer = lib.mdc_callback_new(native.pointer, options, error)
        if pointer == ffi.NULL:
            raise exception(error)
        self._shown = [False]
        self.pointer = _owned(pointer, self._release())
        self.hooks = hooks
        if hooks is not None:
            hooks.callback = ffi.cast("mdc_callback *", pointer)
        self._native = native
        self._maker = os.getpid()

    def is_ours(self) -> bool:
        """False in a forked child."""
        return self._maker == os.getpid()

    def check_process(self) -> None:
        if not self.is_ours():
            raise errors.CallbackError("this callback was made before the process was forked: make a new one")

    def close(self) -> None:
        error = new_error()
        ffi.gc(self.pointer, None)  # from here on nothing else frees it
        free = lib.mdc_callback_retire if self._shown[0] else lib.mdc_callback_free
        if free(self.pointer, error) != lib.MDC_OK:
            self.pointer = _owned(self.pointer, self._release())
            raise exception(error)
        self.pointer = ffi.NULL

    def _release(self) -> Callable[[Any], object]:
        """What frees it with its object: an engine that was shown the addresses may still call them."""
        shown, free, ending = self._shown, _free_callback, sys.is_finalizing

        def release(raw: Any) -> None:
            if ending():  # this module may be gone already, and the memory goes with the process
                return
            if shown[0]:
                lib.mdc_callback_retire(raw, new_error())
            else:
                free(raw)

        return release

    def information(self) -> Any:
        self._shown[0] = True
        return lib.mdc_callback_information(self.pointer)

    def addresses(self) -> tuple[int, int]:
        """Routine and param, for an engine that is gone before this object is."""
        found = lib.mdc_callback_information(self.pointer)
        return int(ffi.cast("uintptr_t", found.CallbackRoutine)), int(ffi.cast("uintptr_t", found.CallbackParam))

    def acquire(self, extensions: int) -> None:
        """Begin a dump of an engine that is not paired with it by a job."""
        error = new_error()
        if lib.mdc_callback_acquire(self.pointer, error) != lib.MDC_OK:
            raise exception(error)
        try:
            self.reset()
            self.set_host(extensions)
        except BaseException:
            lib.mdc_callback_release(self.pointer)
            raise

    def release(self) -> None:
        lib.mdc_callback_release(self.pointer)

    def set_host(self, extensions: int) -> None:
        error = new_error()
        if lib.mdc_callback_set_host(self.pointer, extensions, error) != lib.MDC_OK:
            raise exception(error)

    def reset(self) -> None:
        error = new_error()
        if lib.mdc_callback_reset(self.pointer, error) != lib.MDC_OK:
            raise exception(error)
        if self.hooks is not None:
            self.hooks.error = None

    def cancel(self) -> None:
        lib.mdc_callback_cancel(self.pointer)

    def check(self) -> None:
        error = new_error()
        if lib.mdc_callback_check(self.pointer, error) != lib.MDC_OK:
            raise exception(error)

    def counters(self) -> dict[str, Any]:
        return counters(lib.mdc_callback_read_counters(self.pointer))


def _free_callback(raw: Any) -> None:
    lib.mdc_callback_free(raw, new_error())


def view(pointer: Any, size: int, *, writable: bool = False) -> memoryview:
    """Memory of C; read-only unless said otherwise."""
    if not size:
        return memoryview(b"")
    found = memoryview(ffi.buffer(ffi.cast("uint8_t *", pointer), size))
    return found if writable else found.toreadonly()


def address(value: Any) -> int:
    """A pointer as a number."""
    return int(ffi.cast("uintptr_t", value))


def counters(raw: Any) -> dict[str, Any]:
    """The counters of a callback as Python values."""
    calls = list(raw.calls)
    return {
        "calls": {member: calls[member] for member in CallbackType},
        "unknown": calls[31],
        "excluded": raw.excluded,
        "narrowed": raw.narrowed,
        "tolerated": raw.tolerated,
        "kernel_status": raw.kernel_status & 0xFFFFFFFF,
        "scrubbed_bytes": raw.scrubbed_bytes,
        "scrubbed_hits": raw.scrubbed_hits,
        "defaced_words": raw.defaced_words,
        "uncovered_borders": raw.uncovered_borders,
        "hulls": raw.hulls,
        "hole_bytes": raw.hole_bytes,
        "filled_bytes": raw.filled_bytes,
        "lost": raw.lost,
    }


# ---------------------------------------------------------------------------------------------------------- job


class RawProgress(NamedTuple):
    phase: int
    stopped: bool
    bytes_done: int
    bytes_total: int
    elapsed: float
    aborted: bool
    stalled: bool


class RawReport(NamedTuple):
    """Copies of the data of a report: bytes of the C arrays, unpacked only on access (report.py)."""

    numbers: dict[str, int]
    calls: tuple[int, ...]
    regions: bytes
    threads: bytes
    modules: bytes
    extents: bytes
    gaps: bytes
    names: bytes


_NUMBERS = (
    "dump_type",
    "honoured_type",
    "file_bytes",
    "memory_bytes",
    "stored_bytes",
    "zero_bytes",
    "left_to_file",
    "late_bytes",
    "filtered_bytes",
    "memory_ranges",
    "memory64_ranges",
    "memory_info_count",
    "frozen_ns",
    "total_ns",
    "read_failed_gaps",
    "warnings",
    "pid",
    "streams",
    "omitted_streams",
)


class CalleeState(NamedTuple):
    """Where a foreign callee is: number of its last call, and the type it is inside of, -1 if it is outside."""

    call: int
    type: int


class Doing(NamedTuple):
    """What a job does right now: for one that hangs."""

    text: str
    callback_type: int
    address: int


SINK_FD: int = lib.MDC_SINK_FD

_kept: list[Any] = []
_started: set[Job] = set()
"""Jobs that may be running: each keeps what its worker thread uses alive, whatever becomes of its caller."""


def keep_for_good(value: object) -> None:
    """Keep what an engine that is not known here may still call."""
    _kept.append(value)


def _end_all() -> None:
    """End what runs at the exit of the interpreter (in daemon threads, or abandoned) while Python still exists.

    A worker that went on would use objects that Python frees, and a hook would wait for a GIL that is gone.
    """
    running = tuple(_started)
    for job in running:
        job.cancel()
    until = time.monotonic() + EXIT_GRACE
    for job in running:
        job.wait(until - time.monotonic())


EXIT_GRACE = 2.0
"""Seconds that running dumps may take to end when the interpreter exits."""
atexit.register(_end_all)


class Job:
    """One dump. It runs from `start` until `wait` says that it has ended; `close` it then.

    Ownership: the job of C lives exactly as long as this object, so a thread that holds a reference to the object may
    call `wait`, `cancel` and `progress`. The results are for the thread that called `start`, until it calls `close`.
    What the worker uses (`_keep`) lives until the job has ended: `_started` holds the object that long, also if an
    exception took the caller away, and drops it only after C said so.

    A signal handler may raise between any two steps of Python. So the slot that C stores the running job in has an
    owner before there is a job, and the caller of `start` cancels and waits for the job whatever comes of the call.
    """

    __slots__ = ("_begun", "_keep", "_slot", "_spec")

    def __init__(
        self,
        callback: NativeCallback | None,
        engine: Mapping[str, Any],
        options: Mapping[str, Any],
        *,
        routine: tuple[int, int] | None = None,
        recorder: Any = None,
        keep: object = None,
        fill: Sequence[Callable[[Any], object]] = (),
    ) -> None:
        spec = ffi.new("mdc_job_spec *")
        for name, value in engine.items():
            setattr(spec.engine, name, value)
        for name, value in options.items():
            setattr(spec, name, value)
        if callback is not None:
            if callback.pointer == ffi.NULL:
                raise errors.CallbackError("this callback is closed")  # NULL would mean: keep everything
            spec.callback = callback.pointer
        if routine is not None:
            spec.engine.callback.CallbackRoutine = ffi.cast("MINIDUMP_CALLBACK_ROUTINE", routine[0])
            spec.engine.callback.CallbackParam = ffi.cast("void *", routine[1])
        if recorder is not None:
            spec.recorder = recorder.pointer
        self._keep = (callback, keep, recorder, [part(spec) for part in fill])
        self._spec = spec
        self._begun = False  # the thread that started it has finished that: others may use it
        # Not _owned: Python in between could be interrupted, and C does nothing in a forked child.
        self._slot = ffi.gc(ffi.new("mdc_job **"), lib.mdc_job_drop)

    @property
    def pointer(self) -> Any:
        """The C job; NULL before it has started, and if it could not."""
        return self._slot[0]

    def start(self) -> None:
        """Let it run, once."""
        for job in tuple(_started):  # also jobs of other threads: each is alive as long as it is in the tuple
            if job._begun and job.wait(0):
                _started.discard(job)
        error = new_error()
        _started.add(self)
        if lib.mdc_job_start(self._spec, self._slot, error) != lib.MDC_OK:
            _started.discard(self)
            raise exception(error)
        self._begun = True

    def wait(self, seconds: float) -> bool:
        """True once the job has ended, or if it has not started."""
        ended = bool(lib.mdc_job_wait(self.pointer, max(0, int(seconds * 1e9))))
        self._begun = True
        return ended

    def cancel(self, *, deadline: bool = False) -> None:
        lib.mdc_job_cancel(self.pointer, lib.MDC_ERR_DEADLINE if deadline else lib.MDC_ERR_CANCELLED)

    def progress(self) -> RawProgress:
        raw = lib.mdc_job_progress(self.pointer)
        return RawProgress(
            raw.phase,
            bool(raw.stopped),
            raw.bytes_done,
            raw.bytes_total,
            raw.elapsed_ns / 1e9,
            bool(raw.aborted),
            bool(raw.stalled),
        )

    def callee(self) -> CalleeState:
        """Where a foreign callee is."""
        raw = lib.mdc_job_callee(self.pointer)
        return CalleeState(raw.call, raw.type)

    def error(self) -> Exception | None:
        """After it has ended: how; None if it succeeded."""
        error = new_error()
        return None if lib.mdc_job_result(self.pointer, error) == lib.MDC_OK else exception(error)

    def report(self) -> RawReport:
        raw = lib.mdc_job_report(self.pointer)
        return RawReport(
            {name: getattr(raw, name) for name in _NUMBERS} | {"windows": int(sys.platform == "win32")},
            tuple(raw.calls),
            _copy(raw.regions, raw.region_count),
            _copy(raw.threads, raw.thread_count),
            _copy(raw.modules, raw.module_count),
            _copy(raw.extents, raw.extent_count),
            _copy(raw.gaps, raw.gap_count),
            _copy(raw.names, raw.names_size),
        )

    def counters(self) -> dict[str, Any]:
        return counters(lib.mdc_job_counters(self.pointer))

    def hidden_variables(self) -> int:
        return lib.mdc_job_hidden_variables(self.pointer)

    def rule_bytes(self, rules: int) -> tuple[memoryview, memoryview]:
        """Bytes kept and bytes excluded by each rule; the last entry is the default."""
        kept, excluded = ffi.new("uint64_t[]", rules + 1), ffi.new("uint64_t[]", rules + 1)
        error = new_error()
        if lib.mdc_job_rule_bytes(self.pointer, kept, excluded, rules + 1, error) != lib.MDC_OK:
            raise exception(error)
        return memoryview(ffi.buffer(kept)).cast("Q"), memoryview(ffi.buffer(excluded)).cast("Q")

    def doing(self) -> Doing:
        text = ffi.new("char[]", 512)
        raw = lib.mdc_job_doing(self.pointer, text, 512)
        return Doing(ffi.string(text).decode(), raw.callback_type, raw.address)

    def memory(self) -> bytes:
        """The dump, for a job whose sink is memory."""
        size = ffi.new("size_t *")
        data = lib.mdc_job_memory(self.pointer, size)
        return b"" if data == ffi.NULL else bytes(ffi.buffer(data, size[0]))

    def close(self) -> None:
        """Free the results. A job that has not ended is asked to; what it still uses lives on until then."""
        lib.mdc_job_close(self.pointer)
        if self.wait(0):
            _started.discard(self)


def _copy(pointer: Any, count: int) -> bytes:
    return bytes(ffi.buffer(pointer, count * ffi.sizeof(ffi.typeof(pointer).item))) if count else b""


SIZES = {
    name: ffi.sizeof(name)
    for name in ("mdc_report_region", "mdc_report_thread", "mdc_report_module", "mdc_extent", "mdc_gap")
}
"""Bytes of the structs that report.py unpacks."""
