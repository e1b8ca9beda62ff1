"""One dump that C runs."""

from __future__ import annotations

import atexit
import struct
import sys
import time

from .. import errors
from .._record import Record
from ._ext import ffi, lib
from .callback import NativeCallback, counters
from .errors import exception, new_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


class RawProgress(Record, kw_only=False):
    phase: int
    stopped: bool
    bytes_done: int
    bytes_total: int
    elapsed: float
    aborted: bool
    stalled: bool


_HEAD = struct.Struct("=15Q2IiIQ256s2Ii3I64s")
"""The head of mdc_report (csrc/api/report.h): numbers, calls, numbers, dropped streams."""
_DROPPED = struct.Struct("=16I")
HEAD = _HEAD.size
_WINDOWS = int(sys.platform == "win32")


class CalleeState(Record, kw_only=False):
    """Where a foreign callee is: number of its last call, and the type it is inside of, -1 if it is outside."""

    call: int
    type: int


class Doing(Record, kw_only=False):
    """What a session does right now: for one that hangs."""

    text: str
    callback_type: int
    address: int


SINK_FD: int = lib.MDC_SINK_FD

_kept: list[Any] = []
_started: set[Session] = set()
"""Jobs that may be running: each keeps what its worker thread uses alive, whatever becomes of its caller."""


LOST = 1.0
"""Seconds without a call of `wait` after which the caller of a job is taken to be gone."""


def _sweep() -> None:
    """Drop the jobs that were given up and have ended since. `close` drops all others.

    Jobs that are waited for are passed over: each look releases the GIL.
    """
    now = time.monotonic()
    for session in tuple(_started):  # also of other threads: each is alive as long as it is in the tuple
        if session._begun and now - session._asked >= LOST and lib.mdc_session_wait(session.pointer, 0):
            _started.discard(session)


def keep_for_good(value: object) -> None:
    """Keep what an engine that is not known here may still call."""
    _kept.append(value)


def _end_all() -> None:
    """End what runs at the exit of the interpreter (in daemon threads, or abandoned) while Python still exists.

    A worker that went on would use objects that Python frees, and a hook would wait for a GIL that is gone.
    """
    running = tuple(_started)
    for session in running:
        session.cancel()
    until = time.monotonic() + EXIT_GRACE
    for session in running:
        session.wait(until - time.monotonic())


EXIT_GRACE = 2.0
"""Seconds that running dumps may take to end when the interpreter exits."""
atexit.register(_end_all)


class Session:
    """One dump. It runs from `start` until `wait` says that it has ended; `close` it then.

    Ownership: the session of C lives exactly as long as this object, so a thread that holds a reference to it may
    call `wait`, `cancel` and `progress`. The results are for the thread that called `start`, until it calls `close`.
    What the worker uses (`_keep`) lives until the session has ended: `_started` holds the object that long, also if an
    exception took the caller away, and drops it only after C said so.

    A signal handler may raise between any two steps of Python. So the slot that C stores the running session in has an
    owner before there is a session, and the caller of `start` cancels it and waits for it whatever comes of the call.
    """

    __slots__ = ("_asked", "_begun", "_entries", "_error", "_keep", "_report", "_rules", "_slot", "_spec")

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
        entries: int = 0,
    ) -> None:
        """`entries`: of `rule_bytes`, 0 for none."""
        spec = ffi.new("mdc_session_spec *")
        for part, members in ((spec.engine, engine), (spec, options)):
            for name, value in members.items():
                if value:  # all is 0 in the beginning
                    setattr(part, name, value)
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
        # What `finish` needs is made while the caches are warm: after the wait they are not.
        self._error = new_error()
        self._entries = entries
        rules = ffi.new("uint64_t[]", 3 * entries)
        self._rules = rules, rules + entries, rules + 2 * entries
        self._asked = time.monotonic()
        self._begun = False  # the thread that started it has finished that: others may use it
        # Not _owned: Python in between could be interrupted, and C does nothing in a forked child.
        self._slot = ffi.gc(ffi.new("mdc_session **"), lib.mdc_session_drop)

    @property
    def pointer(self) -> Any:
        """The C session; NULL before it has started, and if it could not."""
        return self._slot[0]

    def start(self) -> None:
        """Let it run, once."""
        _sweep()
        _started.add(self)
        if lib.mdc_session_start(self._spec, self._slot, self._error) != lib.MDC_OK:
            _started.discard(self)
            raise exception(self._error)
        self._begun = True

    def wait(self, seconds: float) -> bool:
        """True once the session has ended, or if it has not started."""
        ended = bool(lib.mdc_session_wait(self.pointer, max(0, int(seconds * 1e9))))
        self._asked = time.monotonic()
        self._begun = True
        return ended

    def cancel(self, *, deadline: bool = False) -> None:
        lib.mdc_session_cancel(self.pointer, lib.MDC_ERR_DEADLINE if deadline else lib.MDC_ERR_CANCELLED)

    def progress(self) -> RawProgress:
        raw = lib.mdc_session_progress(self.pointer)
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
        raw = lib.mdc_session_callee(self.pointer)
        return CalleeState(raw.call, raw.type)

    def finish(self) -> Exception | None:
        """After it has ended: how; None if it succeeded."""
        self._report = lib.mdc_session_outcome(self.pointer, *self._rules, self._entries, self._error)
        return None if self._report else exception(self._error)

    def report(self) -> dict[str, Any]:
        """Of a session that `finish` found successful: copies of the C data, in the words of `DumpReport`.

        Arrays are bytes, which are unpacked only on access (report.py).
        """
        raw = self._report
        numbers, dropped, calls = head(raw)
        return {
            "numbers": numbers,
            "dropped": dropped,
            "calls": calls,
            "regions": _copy(raw.regions, raw.region_count * _REGION),
            "threads": _copy(raw.threads, raw.thread_count * _THREAD),
            "modules": _copy(raw.modules, raw.module_count * _MODULE),
            "extents": _copy(raw.extents, raw.extent_count * _EXTENT),
            "gaps": _copy(raw.gaps, raw.gap_count * _GAP),
            "names": _copy(raw.names, raw.names_size),
        }

    def counters(self) -> dict[str, Any]:
        return counters(lib.mdc_session_counters(self.pointer))

    def hidden(self) -> Any:
        """mdc_hidden: variables hidden, values searched for, values too short for that, whether some are unknown."""
        return lib.mdc_session_hidden(self.pointer)

    def rule_bytes(self) -> tuple[list[int], list[int], list[int]]:
        """Bytes kept and excluded by each rule, and of those kept what is over the budget; the last is the default."""
        kept, excluded, over = self._rules
        entries = self._entries
        return ffi.unpack(kept, entries), ffi.unpack(excluded, entries), ffi.unpack(over, entries)

    def doing(self) -> Doing:
        text = ffi.new("char[]", 512)
        raw = lib.mdc_session_doing(self.pointer, text, 512)
        return Doing(ffi.string(text).decode(), raw.callback_type, raw.address)

    def memory(self) -> bytes:
        """The dump, for a session whose sink is memory."""
        size = ffi.new("size_t *")
        data = lib.mdc_session_memory(self.pointer, size)
        return b"" if data == ffi.NULL else bytes(ffi.buffer(data, size[0]))

    def close(self) -> None:
        """Free the results. A session that has not ended is asked to; what it still uses lives on until then."""
        if lib.mdc_session_close(self.pointer):
            _started.discard(self)
        else:
            self._asked = -LOST


def head(raw: Any) -> tuple[dict[str, int], tuple[int, ...], bytes]:
    """Numbers, dropped streams and calls of an mdc_report, unpacked at once: cffi looks up members one by one."""
    values = _HEAD.unpack_from(ffi.buffer(raw, _HEAD.size))
    numbers = {  # a display, which has the right size at once
        "dump_type": values[0],
        "honoured_type": values[1],
        "file_bytes": values[2],
        "memory_bytes": values[3],
        "stored_bytes": values[4],
        "zero_bytes": values[5],
        "left_to_file": values[6],
        "filtered_bytes": values[7],
        "cut_bytes": values[8],
        "late_bytes": values[9],
        "over_budget": values[10],
        "memory_ranges": values[11],
        "memory64_ranges": values[12],
        "memory_info_count": values[13],
        "stop_time_ns": values[14],
        "stop": values[15],
        "stop_reason": values[16],
        "stop_errno": values[17],
        "reserved": values[18],
        "total_ns": values[19],
        "read_failed_gaps": values[21],
        "warnings": values[22],
        "pid": values[23],
        "streams": values[24],
        "omitted_streams": values[25],
        "dropped_count": values[26],
        "windows": _WINDOWS,
    }
    dropped = numbers["dropped_count"]
    return numbers, _DROPPED.unpack(values[27])[:dropped] if dropped else (), values[20]


def _copy(pointer: Any, size: int) -> bytes:
    return ffi.buffer(pointer, size)[:] if size else b""


SIZES = {
    name: ffi.sizeof(name)
    for name in ("mdc_report_region", "mdc_report_thread", "mdc_report_module", "mdc_extent", "mdc_gap")
}
"""Bytes of the structs that report.py unpacks."""
_REGION, _THREAD, _MODULE, _EXTENT, _GAP = SIZES.values()
