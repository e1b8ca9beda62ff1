"""Cancel, deadline, progress, Ctrl-C, hooks that raise or hang."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import fake
import live
import pytest

import minidump_cffi as md
from minidump_cffi._native import session as native_session

FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.small()
HUGE = fake.Target(regions=(fake.Region(base=0x1000_0000, size=1 << 33),))
"""Takes far longer to dump than any test waits."""


class Slow:
    """An output that is never done in time."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.entered = threading.Event()

    def write(self, data: Any) -> None:
        self.entered.set()
        self.release.wait(60)


SOON = 0.3  # seconds until what hangs is abandoned


@pytest.fixture
def slow() -> Any:
    """An output that hangs until the test ends."""
    output = Slow()
    yield output
    output.release.set()


def test_on_cancel_is_asked_before_anything_is_touched(tmp_path: Path) -> None:
    with pytest.raises(md.Cancelled) as caught:
        fake.write(TARGET, tmp_path / "a.dmp", on_cancel=lambda: True)
    assert caught.value.hresult == 0x800704C7
    assert fake.names(tmp_path) == []


@pytest.mark.parametrize("stop_after", [2, 3])
def test_on_cancel_ends_a_running_dump(stop_after: int, tmp_path: Path) -> None:
    asked: list[int] = []

    def on_cancel() -> bool:
        asked.append(threading.get_ident())
        return len(asked) >= stop_after

    with pytest.raises(md.Cancelled):
        fake.write(HUGE, tmp_path / "a.dmp", FULL, on_cancel=on_cancel)
    assert len(asked) == stop_after
    assert set(asked) == {threading.get_ident()}, "it runs on the waiting thread"
    assert fake.names(tmp_path) == []


def test_progress_comes_and_ends_with_the_whole(tmp_path: Path) -> None:
    seen: list[md.Progress] = []
    report = fake.write(TARGET, tmp_path / "a.dmp", FULL, progress=seen.append)
    assert seen[-1].bytes_done == seen[-1].bytes_total == report.memory_bytes
    assert seen[-1].fraction == 1.0
    assert not seen[-1].stopped

    def interrupt(state: md.Progress) -> None:
        seen.append(state)
        if state.bytes_done:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fake.write(HUGE, tmp_path / "b.dmp", FULL, progress=interrupt)
    assert 0 < seen[-1].bytes_done < seen[-1].bytes_total == 1 << 33
    assert seen[-1].phase is md.report.Phase.WRITE
    assert seen[-1].elapsed > 0
    assert fake.names(tmp_path) == ["a.dmp"]


class Mine(BaseException):
    """Not even an Exception."""


def test_what_on_cancel_and_progress_raise_comes_out(tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise Mine

    for name in ("on_cancel", "progress"):
        with pytest.raises(Mine):
            fake.write(HUGE, tmp_path / "a.dmp", FULL, **{name: fail})
    assert fake.names(tmp_path) == []


def test_deadline(tmp_path: Path) -> None:
    with pytest.raises(md.DeadlineExceeded) as caught:
        fake.write(HUGE, tmp_path / "a.dmp", FULL, deadline=0.15)
    assert isinstance(caught.value, TimeoutError)
    assert fake.names(tmp_path) == []


def test_ctrl_c(tmp_path: Path) -> None:
    seen: list[md.Progress] = []

    def interrupt(state: md.Progress) -> None:
        if not seen:
            threading.Timer(0.05, live.press_ctrl_c).start()
        seen.append(state)

    with pytest.raises(KeyboardInterrupt):
        fake.write(HUGE, tmp_path / "a.dmp", FULL, progress=interrupt)
    assert fake.names(tmp_path) == []


def test_a_dump_on_another_thread_is_cancelled_from_here(tmp_path: Path) -> None:
    stop = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            fake.write(HUGE, tmp_path / "a.dmp", FULL, on_cancel=stop.is_set)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)
    stop.set()
    thread.join()
    assert [type(error) for error in errors] == [md.Cancelled]


def test_a_hanging_output_and_a_deadline(slow: Slow) -> None:
    with pytest.raises(md.DeadlineExceeded, match="deadline passed, and the output hangs"):
        fake.write(TARGET, slow, FULL, spool=False, grace=SOON, deadline=0.2)
    assert slow.entered.is_set()


def test_a_hanging_output_and_a_cancel(slow: Slow) -> None:
    with pytest.raises(md.Cancelled, match="the output hangs"):
        fake.write(TARGET, slow, FULL, spool=False, grace=SOON, on_cancel=slow.entered.is_set)


def test_a_hanging_output_and_ctrl_c(slow: Slow) -> None:

    def interrupt() -> None:
        slow.entered.wait(10)
        for _ in range(2):  # the second one while the first is dealt with
            live.press_ctrl_c()
            time.sleep(0.15)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        fake.write(TARGET, slow, FULL, spool=False, grace=SOON)
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(0.3)


def test_a_second_ctrl_c_does_not_cut_the_cleaning_up_short(slow: Slow) -> None:
    left_behind = len(native_session._started)

    def interrupt() -> None:
        slow.entered.wait(10)
        for _ in range(3):
            live.press_ctrl_c()
            time.sleep(0.2)
        slow.release.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        fake.write(TARGET, slow, FULL, spool=False, grace=30)
    thread.join()
    assert len(native_session._started) <= left_behind, "the dump was waited for, although it took its time"


def test_what_was_left_behind_comes_back_harmlessly(slow: Slow) -> None:
    before = set(native_session._started)  # of other tests: they may end meanwhile
    for _ in range(3):
        with pytest.raises(md.DeadlineExceeded):
            fake.write(TARGET, slow, FULL, spool=False, grace=SOON, deadline=0.05)
    left_behind = native_session._started - before
    assert len(left_behind) == 3, "what the worker still uses is kept"
    slow.release.set()
    time.sleep(0.2)
    assert fake.write(TARGET, io.BytesIO(), FULL).complete
    assert not left_behind & native_session._started, "and no longer than it uses it"


def test_a_callback_left_behind_is_busy_until_it_comes_back(slow: Slow) -> None:
    class Io:
        def write(self, offset: int, data: memoryview) -> None:
            slow.write(data)

        def finish(self) -> None:
            pass

    callback = md.Callback(io=Io())
    with pytest.raises(md.DeadlineExceeded):
        fake.write(TARGET, None, FULL, callback=callback, deadline=0.05, grace=SOON)
    with pytest.raises(md.CallbackError, match="in use"):
        fake.write(TARGET, None, FULL, callback=callback)
    with pytest.raises(md.CallbackError, match="in use"):
        callback.close()
    slow.release.set()
    for _ in range(100):
        try:
            callback.close()
            break
        except md.CallbackError:
            time.sleep(0.05)
    assert callback.closed


def test_many_dumps_at_once(tmp_path: Path) -> None:
    keep = md.Filter(md.exclude(kind="file"), md.head("8 KiB", kind="heap"))
    results: list[Any] = []

    def run(number: int) -> None:
        try:
            results.append(fake.write(TARGET, tmp_path / f"{number}.dmp", FULL, filter=keep).file_bytes)
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12 and len(set(results)) == 1 and isinstance(results[0], int)
    contents = {(tmp_path / f"{number}.dmp").read_bytes()[24:] for number in range(12)}
    assert len(contents) == 1


@pytest.mark.parametrize("name", ["deadline", "max_stop", "stop_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", True, 1e10])
def test_times_are_seconds_above_zero(name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        md.write_dump(os.getpid(), "/dev/null", **{name: value})


@pytest.mark.parametrize(
    "options",
    [
        {"untouched": "maybe"},
        {"dontdump": "no"},
        {"type": 1 << 40},
        {"type": -1},
        {"type": "fully"},
        {"filter": "x"},
        {"callback": "x"},
        {"filter": md.Filter(), "callback": md.protocol.Routine(routine=1)},
    ],
)
def test_wrong_arguments(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        md.write_dump(os.getpid(), "/dev/null", **options)


def test_what_the_engine_does_not_know(tmp_path: Path) -> None:
    kind = md.DumpType.WITH_UNLOADED_MODULES | md.DumpType.WITH_THREAD_INFO
    report = fake.write(TARGET, tmp_path / "a.dmp", kind)
    assert any("WITH_UNLOADED_MODULES" in message and "WITH_THREAD_INFO" not in message for message in report.messages)
    assert report.type == kind
    with pytest.raises(md.DumpError, match="WITH_UNLOADED_MODULES"):
        fake.write(TARGET, tmp_path / "b.dmp", kind, strict=True)
    assert fake.names(tmp_path) == ["a.dmp"]


def test_errors_survive_pickling() -> None:
    with pytest.raises(md.ReadError) as caught:
        target = fake.Target(regions=(fake.Region(base=0x1000, size=0x1000, unreadable=(0x1000, 0x2000)),))
        fake.write(target, io.BytesIO(), FULL, filter=md.Filter(read_failure="abort"))
    error = caught.value
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is md.ReadError
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert (again.errno, again.strerror) == (error.errno, error.strerror)
    assert error.phase is md.report.Phase.WRITE and error.address == 0x1000
