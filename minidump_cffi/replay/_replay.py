"""Driving any callback with a recorded or made-up sequence, as an engine would."""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import overload

from .._aliases import AnyCallback
from .._native import recorder as native
from .._record import Record
from ..callback import Callback
from ..enums import CallbackType
from ..errors import CallbackError, ReplayMismatch
from ..protocol._foreign import resolve
from . import _calls
from ._recording import Call, Recording

__all__ = ["Answer", "Answers", "Replay", "ReplayFault"]

_ANSWER = struct.Struct("=iI52s")
_WRONG, _CHANGED = 0x0F, 0x10


class ReplayFault(enum.IntFlag):
    """Where a callback wrote that it must not: in a dump it would have been the engine's own memory.

    Examples
    --------
    >>> ReplayFault.BEYOND_MEMBER | ReplayFault.BEYOND_OUTPUT
    <ReplayFault.BEYOND_MEMBER|BEYOND_OUTPUT: 3>
    """

    BEYOND_MEMBER = 0x01  #: To the output beyond the member of the type
    BEYOND_OUTPUT = 0x02  #: After the 52 bytes of the output
    BEYOND_BUFFER = 0x04  #: After the end of the buffer
    READ_ONLY = 0x08  #: Into the buffer of IoWriteAll


_WORDS = {
    ReplayFault.BEYOND_MEMBER: "to the output beyond the member of the type",
    ReplayFault.BEYOND_OUTPUT: "after the 52 bytes of the output",
    ReplayFault.BEYOND_BUFFER: "after the end of the buffer",
    ReplayFault.READ_ONLY: "into the buffer of IoWriteAll",
}


class Answer(Record):
    """What a callback answered to one call.

    Attributes
    ----------
    index : int
        Number of the call, from 0.
    type : CallbackType or int
        Of the call.
    returned : int
        What the routine returned; 0 is FALSE.
    after : Mapping
        Fields of the output's member of the type, after the call.
    faults : ReplayFault
        Where it wrote that it must not; 0 if it kept to its member.
    changed : bool
        Whether it wrote into the buffer of VmPreRead or VmPostRead, as it may.

    Examples
    --------
    >>> from minidump_cffi import Callback
    >>> with Callback() as callback:
    ...     answer = Replay([Call(CallbackType.CANCEL)]).run(callback)[0]
    >>> answer.returned, dict(answer.after)
    (1, {'CheckCancel': 1, 'Cancel': 0})
    """

    index: int
    type: CallbackType | int
    returned: int
    after: Mapping[str, int]
    faults: ReplayFault
    changed: bool

    def __hash__(self) -> int:
        return hash((self.index, self.type, self.returned, tuple(self.after.values())))


class Answers(Sequence[Answer]):
    """What a callback answered, call by call.

    Attributes
    ----------
    calls : int
        Calls that were made, all repetitions together.
    violations : int
        How many of them wrote outside their members.
    elapsed : float
        Seconds the replay took.

    Examples
    --------
    >>> from minidump_cffi import Callback
    >>> with Callback() as callback:
    ...     answers = Replay([Call(CallbackType.CANCEL)] * 3).run(callback)
    >>> len(answers), answers.calls, answers.violations
    (3, 3, 0)
    """

    __slots__ = ("_data", "_recording", "calls", "elapsed", "violations")

    calls: int
    elapsed: float
    violations: int

    def __init__(self, recording: Recording, outcome: native.Outcome) -> None:
        self._recording = recording
        self._data = outcome.answers
        self.calls = outcome.calls
        self.violations = outcome.violations
        self.elapsed = outcome.elapsed_ns / 1e9

    @property
    def wrong(self) -> tuple[Answer, ...]:
        """The answers that wrote outside their members, of the last repetition."""
        size = native.ANSWER_SIZE
        found = (at for at in range(len(self)) if self._data[size * at + 4] & _WRONG)
        return tuple(map(self.__getitem__, found))

    def __len__(self) -> int:
        return len(self._data) // native.ANSWER_SIZE

    def __iter__(self) -> Iterator[Answer]:
        return map(self.__getitem__, range(len(self)))

    @overload
    def __getitem__(self, index: int, /) -> Answer: ...
    @overload
    def __getitem__(self, index: slice, /) -> tuple[Answer, ...]: ...
    def __getitem__(self, index: int | slice, /) -> Answer | tuple[Answer, ...]:
        numbers = range(len(self))[index]
        return self._at(numbers) if isinstance(numbers, int) else tuple(map(self._at, numbers))

    def _at(self, number: int) -> Answer:
        returned, flags, output = _ANSWER.unpack_from(self._data, number * _ANSWER.size)
        type = self._recording.type_of(number)
        return Answer(
            index=number,
            type=type,
            returned=returned,
            after=MappingProxyType(_calls.output_member(type).unpack(output)),
            faults=ReplayFault(flags & _WRONG),
            changed=bool(flags & _CHANGED),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Answers):
            return NotImplemented
        return self._data == other._data and self._recording == other._recording

    def __hash__(self) -> int:
        return hash(self._data)

    def __repr__(self) -> str:
        wrong = f", {self.violations} wrote outside their members" if self.violations else ""
        return f"<Answers: {self.calls} calls in {self.elapsed:.6f} s{wrong}>"


class Replay:
    """A sequence of calls that can be sent to any callback, at the speed of C.

    Each call gets real structs: the type's member as recorded, all else poisoned. IoWriteAll, VmPreRead and VmPostRead
    get real buffers, filled with one byte, as recordings hold no memory.

    Parameters
    ----------
    calls : Recording or iterable of Call
        A `Recording`, or any `Call` objects.

    Examples
    --------
    >>> from minidump_cffi import Callback, Filter
    >>> from minidump_cffi.replay import Call
    >>> replay = Replay([Call(CallbackType.INCLUDE_THREAD, {"ThreadId": tid}) for tid in (7, 8)])
    >>> with Callback(Filter(threads={"exclude": [8]})) as callback:
    ...     [answer.returned for answer in replay.run(callback)]
    [1, 0]
    """

    def __init__(self, calls: Recording | Iterable[Call]) -> None:
        self.recording: Recording = calls if isinstance(calls, Recording) else Recording(calls)

    @classmethod
    def from_jsonl(cls, source: str | os.PathLike[str]) -> Replay:
        """Read a recording from a file, or from a text (see `Recording.from_jsonl`)."""
        return cls(Recording.from_jsonl(source))

    def __len__(self) -> int:
        return len(self.recording)

    def __repr__(self) -> str:
        return f"<Replay of {self.recording!r}>"

    def run(
        self, callback: AnyCallback, *, repeat: int = 1, fill: int = 0, garbage: int = 0, buffer_max: int = 0
    ) -> Answers:
        """Send all calls, one after the other, whatever is answered.

        Parameters
        ----------
        callback : AnyCallback
            What `write_dump` takes: a `Callback` or `PythonCallback`, which begins anew, as with a dump; a `Plugin`; a
            `Routine`; a pair of routine and parameter; a ctypes or a cffi function.
        repeat : int
            How often the whole sequence is sent. The answers are those of the last time.
        fill : int
            The byte that buffers are filled with.
        garbage : int
            Not 0: seed of the content of all input bytes that the type of the call does not use.
        buffer_max : int
            Largest buffer a call may ask for, bytes; 0 is 64 MiB.

        Raises
        ------
        CallbackError
            The callback is closed or in use, or a table of it overflowed.
        ValueError
            A call asks for too large a buffer.
        TypeError
            Not a callback.
        Exception
            Whatever a hook raised.
        """
        if not isinstance(repeat, int) or repeat < 1:
            raise ValueError(f"repeat must be a number above 0, not {repeat!r}")
        if not 0 <= fill <= 255:
            raise ValueError(f"fill must be a byte, not {fill!r}")
        options = {
            "repeat": _calls.number("repeat", repeat, 64),
            "fill": fill,
            "garbage": _calls.number("garbage", garbage, 64),
            "buffer_max": _calls.number("buffer_max", buffer_max, 64),
        }
        callee = resolve(callback)
        if isinstance(callee, Callback):
            own, extensions = callee, self.recording.extensions
        elif callee.python is not None:
            own, extensions = callee.python, self.recording.extensions & callee.extensions
        else:
            return self._send(callee.routine, callee.param, options)
        with own.in_use(extensions=extensions):
            if own._recorder is not None:
                own._recorder.clear()
            answers = self._send(own.routine, own.param, options)
        try:
            own.raise_error()
        except CallbackError as error:
            # A replay stores nothing: a sequence need not hold the reads that the holes of this filter ask for.
            if error.callback_type != CallbackType.VM_POST_READ:
                raise
        return answers

    def _send(self, routine: int, param: int, options: Mapping[str, int]) -> Answers:
        outcome = native.run(self.recording._packed, len(self.recording), routine, param, options)
        return Answers(self.recording, outcome)

    def check(self, callback: AnyCallback, *, fill: int = 0, garbage: int = 0, buffer_max: int = 0) -> Answers:
        """Send all calls, and compare the answers with those of the recording, where it has any.

        Parameters and exceptions are those of `run`.

        Raises
        ------
        ReplayMismatch
            An answer differs, or the callback wrote where it must not. Names the first such call.
        """
        answers = self.run(callback, fill=fill, garbage=garbage, buffer_max=buffer_max)
        for answer, call in zip(answers, self.recording, strict=True):
            different = _difference(call, answer)
            if different:
                type = call.type
                raise ReplayMismatch(
                    f"call {answer.index}, {_calls.label(type)}: {different}",
                    index=answer.index,
                    callback_type=type if isinstance(type, CallbackType) else None,
                )
        return answers


def _difference(call: Call, answer: Answer) -> str:
    """What is wrong with an answer; nothing if it is as recorded."""
    if answer.faults:
        return "the callback wrote " + " and ".join(_WORDS[fault] for fault in answer.faults)
    if call.returned is not None and bool(call.returned) != bool(answer.returned):
        return f"returned {'TRUE' if answer.returned else 'FALSE'}, recorded {'TRUE' if call.returned else 'FALSE'}"
    if call.after is None or call.after == answer.after:
        return ""
    return ", ".join(
        f"{name} is {answer.after[name]:#x}, recorded {value:#x}"
        for name, value in call.after.items()
        if answer.after[name] != value
    )
