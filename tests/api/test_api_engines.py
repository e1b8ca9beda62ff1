"""Which engine writes a dump, what it cannot honour, and what goes into a dump beside the target: on every system."""

from __future__ import annotations

import errno
import inspect
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake
import pytest

import minidump_cffi as md
from minidump_cffi import engines
from minidump_cffi._native import errors as native_errors
from minidump_cffi._options import DumpOptions, PlanOptions
from minidump_cffi._request import Request
from minidump_cffi.cli import main
from minidump_cffi.report._report import _GAP

FULL = md.DumpType.WITH_FULL_MEMORY
WAITING = "import sys; print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that only waits, and has to live when the test ends."""
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        assert process.poll() is None, "the process did not run on"


def streams(path: Path) -> dict[int, bytes]:
    """The streams of a dump by number."""
    data = path.read_bytes()
    _, _, count, rva = struct.unpack_from("<4I", data)
    entries = [struct.unpack_from("<3I", data, rva + 12 * at) for at in range(count)]
    return {number: data[at : at + size] for number, size, at in entries}


# ------------------------------------------------------------------------------------------------------- the choice


def on(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """Let the choice believe that it is made on another system."""
    monkeypatch.setattr(engines, "sys", types.SimpleNamespace(platform=system))


@pytest.mark.parametrize(
    ("system", "engine", "name"),
    [
        ("linux", "auto", "native"),
        ("linux", "native", "native"),
        ("win32", "auto", "dbghelp"),
        ("win32", "native", "native"),
        ("win32", "dbghelp", "dbghelp"),
    ],
)
def test_the_engine_of_each_system(monkeypatch: pytest.MonkeyPatch, system: str, engine: str, name: str) -> None:
    on(monkeypatch, system)
    backend = engines.choose(engine)
    assert backend.name == name
    assert backend.own is (name == "native")


def test_plans_are_native(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "win32")
    assert engines.choose("auto", plan_only=True).name == "native"
    with pytest.raises(md.DumpError, match="cannot plan a dump") as caught:
        engines.choose("dbghelp", plan_only=True)
    assert caught.value.hint == 'engine="native"'
    with pytest.raises(md.DumpError, match="cannot plan a dump"):
        md.plan_dump(os.getpid(), engine="dbghelp")


@pytest.mark.parametrize("options", [{"snapshot": True}, {"path": "x.dll"}, {}], ids=["snapshot", "path", "nothing"])
def test_what_only_dbghelp_has(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    on(monkeypatch, "win32")
    backend = engines.choose(md.DbgHelp(**options))
    assert (backend.name, backend.snapshot, backend.dll is None) == (
        "dbghelp",
        "snapshot" in options,
        "path" not in options,
    )
    with pytest.raises(md.DumpError, match="cannot plan a dump"):
        engines.choose(md.DbgHelp(**options), plan_only=True)
    on(monkeypatch, "linux")
    with pytest.raises(md.DumpError, match="and this is linux") as caught:
        engines.choose(md.DbgHelp(**options))
    assert caught.value.hint == 'engine="native"'


def test_another_library_is_found_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "win32")
    assert engines.choose(md.DbgHelp(path="x.dll")).dll == os.path.abspath("x.dll")  # noqa: PTH100
    for wrong in ("", "a\0b", b"x.dll"):
        with pytest.raises(ValueError, match="that of a DLL"):
            md.DbgHelp(path=wrong)  # type: ignore[arg-type]


def test_no_such_engine(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="auto, native, dbghelp"):
        md.write_dump(os.getpid(), tmp_path / "x.dmp", engine="kernel")  # type: ignore[arg-type]
    assert not fake.names(tmp_path)


@pytest.mark.linux
def test_dbghelp_elsewhere(child: subprocess.Popen[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(md.DumpError, match=f"and this is {sys.platform}: give engine=") as caught:
        md.write_dump(child, tmp_path / "x.dmp", engine="dbghelp")
    assert caught.value.hint == 'engine="native"'
    for words in (["--engine", "dbghelp"], ["--snapshot"], ["--dbghelp", "x"], ["--engine", "dbghelp", "--snapshot"]):
        assert main(["dump", str(child.pid), "-o", str(tmp_path / "x.dmp"), *words]) == 2
        assert "is for Windows" in capsys.readouterr().err
    assert main(["dump", str(child.pid), "-o", str(tmp_path / "x.dmp"), "--engine", "native", "--snapshot"]) == 2
    assert main(["dump", str(child.pid), "-o", str(tmp_path / "x.dmp"), "--engine", "native", "--dbghelp", "x"]) == 2
    assert not fake.names(tmp_path)


# --------------------------------------------------------------------------------------------- what is not honoured


def limits(backend: engines.Backend, streams: md.filters.Stream | None = None, **asked: Any) -> tuple[str, ...]:
    """The notes for a request that asks for these things."""
    filter = None if streams is None else md.Filter(streams={"exclude": streams})
    return backend.limits(DumpOptions(**{"type": FULL, **asked}), filter)


@pytest.mark.parametrize(
    "asked",
    [{"max_stop": 1.0}, {"stop_timeout": 1.0}, {"options": md.EngineOptions(gaps_max=5, hold=1)}],
    ids=lambda asked: str(next(iter(asked))),
)
def test_parameters_dbghelp_does_not_have(asked: dict[str, Any]) -> None:
    backend = engines.Backend(name="dbghelp")
    assert limits(backend) == ()
    (note,) = limits(backend, **asked)
    assert note.startswith(next(iter(asked))) and "no effect" in note
    assert limits(engines.Backend(), **asked) == ()
    with pytest.raises(md.DumpError, match=r"strict: .* no effect"):
        Request(DumpOptions(FULL, strict=True, **asked), backend)


def test_options_that_dbghelp_gets() -> None:
    assert limits(engines.Backend(name="dbghelp"), options=md.EngineOptions(gaps_max=5, answers_max=7)) == ()


def test_streams_dbghelp_decides_about() -> None:
    backend = engines.Backend(name="dbghelp")
    assert limits(backend, streams=md.filters.Stream.ENVIRON | md.filters.Stream.CMDLINE) == ()
    (note,) = limits(backend, streams=md.filters.Stream.ENVIRON | md.filters.Stream.THREAD_NAMES)
    assert note.endswith("thread_names")


def test_dump_types() -> None:
    types = md.DumpType.WITH_TOKEN_INFORMATION | FULL
    assert limits(engines.Backend(name="dbghelp"), type=types) == ()
    (note,) = limits(engines.Backend(), type=types)
    assert "WITH_TOKEN_INFORMATION" in note and "WITH_FULL_MEMORY" not in note


@pytest.mark.parametrize(
    ("word", "type"),
    [
        ("full", FULL),
        ("normal", md.DumpType.NORMAL),
        ("full+with_thread_info", FULL | md.DumpType.WITH_THREAD_INFO),
        ("MiniDumpWithThreadInfo + Full-Memory", FULL | md.DumpType.WITH_THREAD_INFO),
        (2, FULL),
    ],
)
def test_a_type_in_words(word: str | int, type: md.DumpType) -> None:
    assert DumpOptions(word).flags == DumpOptions(word).type == type


def test_wrong_types() -> None:
    with pytest.raises(ValueError, match="'ful' is not known; did you mean 'full'"):
        DumpOptions("full+ful")
    for wrong, error in ((1 << 31, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)):
        with pytest.raises(error, match="type"):
            DumpOptions(wrong)  # type: ignore[arg-type]


def test_dump_types_of_each_system(monkeypatch: pytest.MonkeyPatch) -> None:
    avx, handles, blocks, modified = (
        md.DumpType.WITH_AVX_XSTATE_CONTEXT,
        md.DumpType.WITH_HANDLE_DATA,
        md.DumpType.WITH_PROCESS_THREAD_DATA,
        md.DumpType.WITH_PRIVATE_WRITE_COPY_MEMORY,
    )
    every = avx | handles | blocks | modified
    for system, unknown, full in (("linux", blocks, md.DumpType(0)), ("win32", avx | modified, avx)):
        on(monkeypatch, system)
        assert engines.Backend().unknown(every) == unknown
        assert engines.Backend().unknown(every | FULL) == full  # which has the memory anyway
        assert engines.Backend(name="dbghelp").unknown(every) == 0
    optional = md.DumpType.WITHOUT_OPTIONAL_DATA
    assert engines.Backend().unknown(optional) == 0 and engines.Backend().unknown(optional | FULL) == optional


@pytest.mark.parametrize(
    "asked",
    [
        {"dontdump": "ask"},
        {"untouched": "omit"},
        {"coredump_filter": True},
        {"file_pages": "resident"},
        {"module_names": "soname"},
    ],
    ids=lambda asked: str(next(iter(asked))),
)
def test_what_windows_does_not_have(monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]) -> None:
    on(monkeypatch, "linux")
    assert limits(engines.Backend(), **asked) == ()
    on(monkeypatch, "win32")
    for name in ("native", "dbghelp"):
        (note,) = limits(engines.Backend(name=name), **asked)  # type: ignore[arg-type]
        assert note.startswith(f"{next(iter(asked))} has no effect: Windows")


def test_options_are_passed_on_as_a_whole() -> None:
    """What a function takes is what the options hold; all of it survives the way to another process."""
    given: dict[str, Any] = {"deadline": 5.0, "fsync": True, "record": 1024, "options": md.EngineOptions(hold=7)}
    options = DumpOptions(FULL, **given)
    assert pickle.loads(pickle.dumps(options)) == options != DumpOptions(FULL)
    for wrong in ({"snapshot": True}, {"deadlin": 1.0}):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(wrong))}'"):
            md.write_dump(os.getpid(), "/dev/null", **wrong)
    for function, kind in ((md.write_dump, DumpOptions), (md.plan_dump, PlanOptions)):
        documented = re.findall(r"^    (\w+) : ", str(md.write_dump.__doc__), re.MULTILINE)
        assert [name for name in kind._fields if name not in documented] == [], function
        shown = inspect.signature(function).parameters
        assert {name: shown[name].default for name in kind._fields} == kind._defaults
        assert shown["type"].kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert shown["filter"].kind == inspect.Parameter.KEYWORD_ONLY


def test_hidden_variables_are_no_mere_note() -> None:
    for hides in (
        md.Filter(redact=md.Redact(environ={"drop": ["*"]})),
        md.Filter(redact=md.Redact(environ={"keep": ["PATH"]})),
        md.Filter.preset("no-secrets"),
    ):
        with pytest.raises(md.DumpError, match="would be in the dump"):
            engines.Backend(name="dbghelp").check_filter(hides)
        engines.Backend().check_filter(hides)
    engines.Backend(name="dbghelp").check_filter(md.Filter(streams={"exclude": ["environ"]}))


def test_auto_is_the_engine_that_can_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "win32")
    hides = md.Filter(redact=md.Redact(environ={"drop": ["*"]}))
    for options, own in (
        (DumpOptions(), False),
        (DumpOptions(filter=hides), True),
        (DumpOptions(filter=md.Filter.preset("no-environment")), False),
        (DumpOptions(user_streams={0x10001: lambda rva: b""}), True),
        (DumpOptions(user_streams={0x10001: b""}), False),
        (DumpOptions(filter=hides, engine="dbghelp"), False),
    ):
        assert Request(options).backend.own == own
    with pytest.raises(md.DumpError, match="contain offsets"):
        Request(DumpOptions(user_streams={0x10001: lambda rva: b""}, engine="dbghelp"))


def test_strict(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    asked = md.DumpType.WITH_TOKEN_INFORMATION
    report = md.write_dump(child, tmp_path / "x.dmp", asked, engine="native")
    assert any("WITH_TOKEN_INFORMATION" in message for message in report.messages)
    with pytest.raises(md.DumpError, match=r"^strict: .*WITH_TOKEN_INFORMATION"):
        md.write_dump(child, tmp_path / "y.dmp", asked, engine="native", strict=True)
    assert fake.names(tmp_path) == ["x.dmp"]


# --------------------------------------------------------------------------------------- what goes into it besides


def test_user_streams(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    given = [md.UserStream(type=0x10001, data=b"build 42"), md.UserStream(type=0x7FFF_0000, data=b"")]
    for kind in (md.DumpType.NORMAL, FULL):
        md.write_dump(child, tmp_path / "x.dmp", kind, engine="native", user_streams=given)
        found = streams(tmp_path / "x.dmp")
        assert {number: found[number] for number in (0x10001, 0x7FFF_0000)} == {0x10001: b"build 42", 0x7FFF_0000: b""}
    md.write_dump(child, tmp_path / "x.dmp", engine="native")
    assert 0x10001 not in streams(tmp_path / "x.dmp")


def test_user_streams_of_a_dump_of_ourselves(tmp_path: Path) -> None:
    stream = md.UserStream(type=0x10002, data=bytes(range(256)))
    report = md.write_dump(os.getpid(), tmp_path / "x.dmp", engine="native", user_streams=[stream])
    assert report.pid == os.getpid()
    assert streams(tmp_path / "x.dmp")[0x10002] == bytes(range(256))


def test_user_streams_the_engine_refuses(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    for wrong in (
        *([md.UserStream(type=number, data=b"x")] for number in (3, 10, 0x43500001, 0x4D7A0003, 0x4D7A0004)),
        [md.UserStream(type=0x10001, data=b"x"), md.UserStream(type=0x10001, data=b"y")],
    ):
        with pytest.raises(ValueError, match="user stream"):
            md.write_dump(child, tmp_path / "x.dmp", engine="native", user_streams=wrong)
    assert not fake.names(tmp_path)


def test_user_stream_arguments() -> None:
    stream = md.UserStream(type=0x10001, data=bytearray(b"abc"))  # type: ignore[arg-type]
    assert stream.data == b"abc" and type(stream.data) is bytes
    assert pickle.loads(pickle.dumps(stream)) == stream
    for number in (0, -1, 1 << 32):
        with pytest.raises(ValueError, match="type of a stream"):
            md.UserStream(type=number, data=b"")
    for wrong in ("text", 5):
        with pytest.raises(TypeError, match="must be bytes"):
            md.UserStream(type=0x10001, data=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a number"):
        md.UserStream(type=True, data=b"")
    with pytest.raises(TypeError, match="UserStream objects"):
        md.write_dump(os.getpid(), None, user_streams=[b"x"])  # type: ignore[list-item]


def test_exception_arguments() -> None:
    info = md.ExceptionInfo(thread_id=1, pointers=0x1000)
    assert info.client_pointers and pickle.loads(pickle.dumps(info)) == info
    for values in (
        {"thread_id": 0, "pointers": 1},
        {"thread_id": 1, "pointers": 0},
        {"thread_id": 1 << 32, "pointers": 1},
    ):
        with pytest.raises(ValueError, match="must be above 0"):
            md.ExceptionInfo(**values)
    with pytest.raises(TypeError, match="thread_id must be a number"):
        md.ExceptionInfo(thread_id="1", pointers=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a SignalInfo or an ExceptionInfo"):
        md.write_dump(os.getpid(), None, exception=5)  # type: ignore[arg-type]


@pytest.mark.linux
def test_exceptions_are_of_windows_processes(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    info = md.ExceptionInfo(thread_id=child.pid, pointers=0x1000)
    with pytest.raises(ValueError, match="exception"):
        md.write_dump(child, tmp_path / "x.dmp", exception=info)
    assert not fake.names(tmp_path)


# --------------------------------------------------------------------------------------------------------- reports


def test_the_report_names_its_engine() -> None:
    report = fake.write(fake.small(), os.devnull)
    assert report.engine == "native"
    assert report.to_dict()["engine"] == "native"
    make, (cls, state) = report.__reduce__()
    other = make(cls, {**state, "engine": "dbghelp"})
    assert other.engine == "dbghelp" and other != report
    assert pickle.loads(pickle.dumps(other)).engine == "dbghelp"


def test_gaps_tell_the_error_of_their_system() -> None:
    make, (cls, state) = fake.plan(fake.small()).__reduce__()
    gaps = _GAP.pack(0x1000, 0x2000, md.report.GapReason.READ_FAILED, 299)
    linux = make(cls, {**state, "gaps": gaps, "numbers": {**state["numbers"], "windows": 0}})
    assert [(gap.errno, gap.winerror) for gap in linux.gaps] == [(299, None)]
    windows = make(cls, {**state, "gaps": gaps, "numbers": {**state["numbers"], "windows": 1}})
    assert [gap.winerror for gap in windows.gaps] == [299]
    assert windows.to_dict()["gaps"][0]["winerror"] == 299
    assert json.dumps(windows.to_dict())


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("cls", "number", "expected"),
    [
        (md.TargetGone, 87, errno.ESRCH),
        (md.AccessDenied, 5, errno.EACCES),
        (md.AccessDenied, 1314, errno.EACCES),
        (md.DeadlineExceeded, 1460, errno.ETIMEDOUT),
    ],
)
def test_windows_errors_get_the_errno_of_their_class(cls: type[md.DumpError], number: int, expected: int) -> None:
    assert native_errors._system_error(cls, number, "win32") == (expected, number)
    assert native_errors._system_error(cls, number, "linux") == (number, None)


def test_no_error_of_the_system() -> None:
    for system in ("win32", "linux"):
        assert native_errors._system_error(md.SinkError, 0, system) == (None, None)
        assert native_errors._system_error(md.TargetGone, 0, system) == (errno.ESRCH, None)


@pytest.mark.parametrize("cls", [md.DumpError, md.SinkError, md.TargetGone, md.Cancelled])
def test_winerror_survives_pickling(cls: type[md.DumpError]) -> None:
    error = cls("what happened", winerror=112, hresult=0x8007_0070, errno=errno.ENOSPC)
    again = pickle.loads(pickle.dumps(error))
    assert (again.winerror, again.hresult, str(again)) == (112, 0x8007_0070, "what happened")
    if isinstance(error, OSError):
        assert isinstance(again, OSError) and again.errno == errno.ENOSPC
    again.message = "more"
    assert (again.winerror, str(again)) == (112, "more")
    assert cls("nothing").winerror is None


def test_advice_is_taken_from_refusals_only() -> None:
    text = "Windows denies access to process 5: run as its user: Access denied. (error 5)"
    assert native_errors._hint(md.AccessDenied, text) == "run as its user"
    assert native_errors._hint(md.AccessDenied, "who refused: do this: Permission denied (errno 13)") == "do this"
    assert native_errors._hint(md.AccessDenied, "refused: Permission denied (errno 13)") is None
    assert native_errors._hint(md.TargetGone, text) is None
