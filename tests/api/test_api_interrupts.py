"""An exception out of nowhere, as a signal handler raises it: whatever it hits, no dump runs on without an owner."""

from __future__ import annotations

import dis
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake
import live
import pytest

import minidump_cffi as md
from minidump_cffi import _running
from minidump_cffi._native import session as native_session

FULL = md.DumpType.WITH_FULL_MEMORY
LARGE = fake.Target(regions=(fake.Region(base=0x1000_0000, size=1 << 28),))
"""Is still being written when the interrupt comes."""


class Interrupt(BaseException):
    """What a signal handler raises."""


class Meddler:
    """The C side, raising when the first call of each of some functions has come back."""

    def __init__(self, *names: str) -> None:
        self._real = native_session.lib
        self._names = list(names)
        self.raised = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in self._names:
            return found

        def call(*arguments: Any) -> Any:
            found(*arguments)
            self._names.remove(name)
            self.raised += 1
            raise Interrupt

        return call


class Io:
    """Takes a dump, and counts what comes after the end."""

    def __init__(self) -> None:
        self.over = False
        self.late = 0

    def write(self, offset: int, data: memoryview) -> None:
        self.late += self.over

    def finish(self) -> None:
        pass


@pytest.fixture(autouse=True)
def without_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception between two instructions of `logging` can leave a lock of it held for ever."""
    monkeypatch.setattr(logging.getLogger("minidump_cffi"), "disabled", True)


def use_again(callback: md.Callback) -> None:
    """Refused as long as a session has it."""
    with callback.in_use():
        pass


def test_an_interrupt_right_behind_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meddler = Meddler("mdc_session_start")
    with open(tmp_path / "a.dmp", "wb", buffering=0) as file, md.Callback() as callback:
        file.write(b"before")
        with monkeypatch.context() as patch:
            patch.setattr(native_session, "lib", meddler)
            with pytest.raises(Interrupt):
                fake.write(LARGE, file.fileno(), FULL, callback=callback)
        use_again(callback)
        assert meddler.raised == 1
        assert os.fstat(file.fileno()).st_size == file.tell() == 6, "cut back, and no more writes"
    assert not native_session._started


def test_an_interrupt_right_behind_the_start_of_a_dump_with_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    io, meddler = Io(), Meddler("mdc_session_start")
    with md.Callback(io=io) as callback:
        with monkeypatch.context() as patch:
            patch.setattr(native_session, "lib", meddler)
            with pytest.raises(Interrupt):
                fake.write(LARGE, None, FULL, callback=callback)
        io.over = True
        use_again(callback)
    assert (meddler.raised, io.late) == (1, 0)


def test_a_live_target_runs_on(
    start_pattern: Callable[..., live.Target], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern, folder = start_pattern(), tmp_path / "out"
    folder.mkdir()
    for _ in range(20):
        with monkeypatch.context() as patch:
            patch.setattr(native_session, "lib", Meddler("mdc_session_start"))
            with pytest.raises(Interrupt):
                md.write_dump(pattern.pid, folder / "a.dmp", FULL)
            status = Path(f"/proc/{pattern.pid}/status").read_text()
            assert "TracerPid:\t0\n" in status
            assert "State:\tt" not in status and "State:\tT" not in status
    assert fake.names(folder) == []


@pytest.mark.parametrize("second", ["mdc_session_cancel", "mdc_session_wait"])
def test_an_interrupt_of_the_cleaning_up(second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meddler = Meddler("mdc_session_start", second)
    with md.Callback() as callback:
        with monkeypatch.context() as patch:
            patch.setattr(native_session, "lib", meddler)
            with pytest.raises(Interrupt):
                fake.write(LARGE, tmp_path / "a.dmp", FULL, callback=callback)
        use_again(callback)
    assert meddler.raised == 2
    assert fake.names(tmp_path) == []


def test_what_a_lost_job_uses_lives_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the caller is taken away before he can free it."""

    def fail(*_: object, **__: object) -> None:
        raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr(native_session.Session, "close", fail)
        with pytest.raises(Interrupt):
            fake.plan(LARGE, FULL)
    assert len(native_session._started) == 1
    monkeypatch.setattr(native_session, "LOST", 0.0)
    fake.plan(LARGE, FULL)
    assert not native_session._started


def places(function: Any) -> set[int]:
    """Offsets in its bytecode where a signal handler may raise: the entry, and after each call."""
    found, before = set(), "RESUME"
    for instruction in dis.get_instructions(function):
        if before == "RESUME" or (before.startswith("CALL") and "INTRINSIC" not in before):
            found.add(instruction.offset)
        before = instruction.opname
    return found


WATCHED = {
    function.__code__: places(function)
    for function in (
        _running.run,
        _running._wait,
        _running._settle,
        _running._session_options,
        native_session.Session.__init__,
        native_session.Session.start,
        native_session.Session.wait,
        native_session.Session.cancel,
        native_session.Session.close,
        native_session.new_error,
    )
}


class Tracer:
    """Raises at the given one of the places that a dump comes by."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seen = 0

    def __call__(self, frame: Any, event: str, _argument: object) -> Any:
        found = WATCHED.get(frame.f_code)
        if found is None:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and frame.f_lasti in found:
            self.seen += 1
            if self.seen == self.number:
                raise Interrupt
        return self


@pytest.mark.parametrize("kind", ["filter", "python"])
def test_an_interrupt_anywhere(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = fake.Target(regions=(fake.Region(base=0x1000_0000, size=1 << 24),))
    own = md.Callback()
    callback: Any = own if kind == "filter" else md.protocol.PythonCallback({})
    number, before = 0, sys.gettrace()
    while True:
        number += 1
        tracer = Tracer(number)
        try:
            sys.settrace(tracer)
            fake.write(target, tmp_path / "a.dmp", FULL, callback=callback)
            break
        except Interrupt:
            pass
        finally:
            sys.settrace(before)
        with open(os.devnull, "wb") as other:  # refused if a session still has the callback
            fake.write(fake.small(), other, callback=callback)
        assert fake.names(tmp_path) == [], number
    assert number > 50
    assert fake.names(tmp_path) == ["a.dmp"]
    monkeypatch.setattr(native_session, "LOST", 0.0)
    fake.plan(fake.small(), FULL)
    assert not native_session._started
    own.close()


def test_alarms_at_all_times(start_pattern: Callable[..., live.Target], tmp_path: Path) -> None:
    pattern = start_pattern()

    def interrupt(*_: object) -> None:
        raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    hits = 0
    try:
        with open(tmp_path / "a.dmp", "wb", buffering=0) as file, md.Callback() as callback:
            for number in range(300):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 20e-6 + number * 2e-6)
                    md.write_dump(pattern.pid, file.fileno(), FULL, callback=callback)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Interrupt:
                    hits += 1
                    use_again(callback)
                    assert os.fstat(file.fileno()).st_size == 0
                os.ftruncate(file.fileno(), 0)
                os.lseek(file.fileno(), 0, os.SEEK_SET)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits
    assert "TracerPid:\t0\n" in Path(f"/proc/{pattern.pid}/status").read_text()
