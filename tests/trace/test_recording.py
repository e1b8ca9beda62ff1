"""Recordings: what they keep and what they must not keep, their limits, and their JSON lines."""

from __future__ import annotations

import ctypes
import io
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import fake
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidump_cffi as md
from minidump_cffi._native._ext import ffi, lib
from minidump_cffi.protocol import CallbackType as T
from minidump_cffi.protocol import Extensions
from minidump_cffi.replay import Call, Recording, Replay, _calls

FULL = md.DumpType.WITH_FULL_MEMORY
ABOUT = '{"recording": 1, "engine": "x", "extensions": []}\n'

# ------------------------------------------------------------------------------------- what a dump records


@pytest.mark.parametrize("kind", [md.DumpType.NORMAL, FULL])
def test_a_dump_records_every_call_in_order(kind: md.DumpType) -> None:
    keep = md.Filter(md.exclude(kind="file"), memory={"add": [(0x50_0000, 0x50_1000)]})
    report = fake.write(fake.small(), "/dev/null", kind, filter=keep, record=True)
    recording = report.recording
    assert recording is not None and recording.dropped == 0 and recording.engine == "minidump_cffi"
    assert recording.extensions == Extensions.REGION_FACTS | Extensions.RESUBMIT | Extensions.PIECES
    assert Counter(call.type for call in recording) == Counter(report.callbacks)
    assert [call.type for call in recording[:5]] == [16, 17, 11, 15, 6] and recording[-1].type == 7
    threads = [call for call in recording if call.type == T.THREAD]
    assert [call.input["ThreadId"] for call in threads] == [100, 101]
    assert all(call.input["SizeOfContext"] == ffi.sizeof("MINIDUMP_THREAD_CALLBACK") - 48 for call in threads)
    module = next(call for call in recording if call.type == T.MODULE)
    assert module.input["FullPath"] == "/bin/app" and module.input["BaseOfImage"] == 0x40_0000
    names = {call.input["Name"] for call in recording if call.type == T.INCLUDE_VM_REGION}
    assert names >= ({"[heap]", "/data/table"} if kind else {"[stack]"})
    left_out = [call.input["Name"] for call in recording if call.type == 10 and call.after["RegionSize"] == 0]  # type: ignore[index]
    assert left_out == (["/data/table"] if kind else [])
    assert report.callbacks == fake.write(fake.small(), "/dev/null", kind, filter=keep).callbacks


def test_without_record_there_is_none() -> None:
    assert fake.write(fake.small(), "/dev/null").recording is None
    with md.Callback() as callback:
        assert callback.recording is None


def test_no_memory_and_no_registers_are_kept() -> None:
    """A dump through the Io callbacks: every byte of it passes the recorder."""
    target = fake.small()
    sink = io.BytesIO()
    report = fake.write(target, sink, FULL, spool=False, record=True)
    recording = report.recording
    assert recording is not None
    writes = [call for call in recording if call.type == T.IO_WRITE_ALL]
    assert sum(call.input["BufferBytes"] for call in writes) >= report.file_bytes > 200_000
    assert all(call.digests and call.digests[0] == call.digests[1] != 0 for call in writes)
    packed = recording._packed
    assert len(packed) < 20_000
    for region in target.regions:
        for page in range(region.base, region.base + region.size, fake.PAGE):
            assert target.bytes(page, 8) not in packed
    # The digests of two recordings of the same bytes have nothing in common.
    again = fake.write(target, io.BytesIO(), FULL, spool=False, record=True).recording
    assert again is not None
    assert not {c.digests[0] for c in again if c.digests} & {c.digests[0] for c in writes if c.digests}


def test_a_live_process() -> None:
    program = "import sys; print('ready', flush=True); sys.stdin.read()"
    environment = {**os.environ, "REPLAY_SECRET": "hunter2-hunter2"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        report = md.write_dump(child, "/dev/null", FULL, record=True)
        plan = md.plan_dump(child, FULL, record=True)
        child.kill()
    assert report.recording is not None and plan.recording is not None
    assert "hunter2" not in report.recording.to_jsonl()
    assert Counter(call.type for call in report.recording) == Counter(report.callbacks)
    assert Counter(call.type for call in plan.recording) == Counter(plan.callbacks)
    assert pickle.loads(pickle.dumps(report)) == report


def test_our_own_process(tmp_path: Path) -> None:
    """Another process dumps us; what it recorded comes back."""
    report = md.write_dump(os.getpid(), tmp_path / "own.dmp", record=True)
    assert report.recording is not None and Counter(call.type for call in report.recording) == Counter(report.callbacks)
    with md.Callback(record=True) as callback:
        report = md.write_dump(os.getpid(), tmp_path / "own.dmp", callback=callback, engine="native")
    assert report.recording is not None and len(report.recording) > 10


def test_a_foreign_routine_is_recorded() -> None:
    @ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    def routine(param: int, input: int, output: int) -> int:
        assert param == 77
        return 1

    address = ctypes.cast(routine, ctypes.c_void_p).value
    assert address
    callback = md.protocol.Routine(routine=address, param=77)
    report = fake.write(fake.small(), "/dev/null", FULL, callback=callback, record=True)
    recording = report.recording
    assert recording is not None and recording.extensions == 0
    assert all(call.returned == 1 and call.after == call.before for call in recording)
    assert not any(call.input for call in recording if call.type == T.INCLUDE_VM_REGION)  # facts are not for strangers
    Replay(recording).check(callback)


def test_a_callback_that_records() -> None:
    with md.Callback(md.Filter(md.exclude(kind="file")), record=True) as callback:
        first = fake.write(fake.small(), "/dev/null", FULL, callback=callback)
        assert callback.recording is not None and callback.recording[:] == callback.recording
        assert first.recording is not None and first.recording[:][0] == callback.recording[0]
        second = fake.write(fake.small(), "/dev/null", callback=callback, record=True)
        assert second.recording is not None and len(second.recording) == len(callback.recording)
        callback.reset()
        assert len(callback.recording) == 0
        assert callback.information.CallbackRoutine != lib.mdc_callback_routine
        # The next engine has no extensions: the bytes in place of the facts are not read.
        routine = ffi.cast("MINIDUMP_CALLBACK_ROUTINE", callback.routine)
        given = ffi.new("MINIDUMP_CALLBACK_INPUT *", {"CallbackType": 10})
        given.u.RegionFacts.Size, given.u.RegionFacts.Version = 4096, 1
        given.u.RegionFacts.Name, given.u.RegionFacts.NameSize = ffi.cast("uint8_t *", 8), 100
        assert routine(ffi.cast("void *", callback.param), given, ffi.new("MINIDUMP_CALLBACK_OUTPUT *")) == 1
        assert [dict(call.input) for call in callback.recording] == [{}]
    with pytest.raises(md.CallbackError, match="closed"):
        callback.recording  # noqa: B018


def test_a_limit_is_kept_and_said() -> None:
    whole = fake.write(fake.small(), "/dev/null", FULL, record=True)
    short = fake.write(fake.small(), "/dev/null", FULL, record=1000)
    assert whole.recording is not None and short.recording is not None
    assert 0 < len(short.recording._packed) <= 1000
    assert len(short.recording) + short.recording.dropped == len(whole.recording)
    assert [c.type for c in short.recording] == [c.type for c in whole.recording[: len(short.recording)]]
    assert any(f"{short.recording.dropped} calls" in text for text in short.messages) and whole.messages == ()
    assert short.callbacks == whole.callbacks and "dropped" in repr(short.recording)
    assert Recording.from_jsonl(short.recording.to_jsonl()).dropped == short.recording.dropped
    for wrong in ("yes", 1.5, None):
        with pytest.raises(TypeError):
            fake.write(fake.small(), "/dev/null", record=wrong)
    with pytest.raises(ValueError):
        md.Callback(record=-1)


# ------------------------------------------------------------------------------------- calls


def test_fields_are_complete_and_checked() -> None:
    call = Call(T.VM_POST_READ, {"Size": 8, "Status": -1}, after={"VmReadStatus": 0}, returned=1)
    assert call.input == {"Offset": 0, "Size": 8, "Completed": 0, "Status": 0xFFFFFFFF}
    assert call.before == {"VmReadStatus": 0x80004001, "VmReadBytesCompleted": 0}
    assert call.after == {"VmReadStatus": 0, "VmReadBytesCompleted": 0}
    assert Call(T.SECONDARY_FLAGS, {"SecondaryFlags": 5}).before == {"SecondaryFlags": 5}
    assert Call(T.THREAD, before={}).before == {"ThreadWriteFlags": 0}
    assert Call(22, returned=0).after == {} and Call(22).after is None
    assert Call(6).type is T.CANCEL and Call(99).type == 99
    with pytest.raises(TypeError):
        call.input["Size"] = 9  # type: ignore[index]
    with pytest.raises(AttributeError):
        call.type = T.CANCEL  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(call)) == call and hash(call) == hash(pickle.loads(pickle.dumps(call)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([T.CANCEL, {"ThreadId": 1}], {}), "has no ThreadId"),
        (([T.THREAD, {"BackingStoreBase": 1}], {}), "has no BackingStoreBase"),
        (([T.IO_FINISH, {"Offset": 1}], {}), "has no Offset"),
        (([T.MODULE, {"VersionInfo3": 1}], {}), "one field"),
        (([T.MODULE, {"VersionInfo": (1, 2)}], {}), "13 numbers"),
        (([T.MODULE, {"FullPath": "a\0b"}], {}), "NUL"),
        (([T.MODULE, {"FullPath": "x" * 32768}], {}), "longer"),
        (([T.MODULE, {"FullPath": b"x"}], {}), "must be a text"),
        (([T.MODULE, {"BaseOfImage": 2**64}], {}), "64 bits"),
        (([T.INCLUDE_THREAD, {"ThreadId": "7"}], {}), "must be a number"),
        (([T.CANCEL], {"digests": (1, 2)}), "no buffer"),
        (([T.CANCEL], {"gcc": True}), "GCC"),
        (([T.CANCEL], {"before": {"Status": 1}}), "the output of cancel has no Status"),
        (([-1 << 40], {}), "32 bits"),
        (([T.CANCEL], {"returned": 2**32}), "32 bits"),
        (([T.CANCEL], {"process_id": -(2**40)}), "32 bits"),
    ],
)
def test_wrong_calls(arguments: tuple[list[Any], dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Call(*arguments[0], **arguments[1])


def fields(member: _calls.Member, hidden: frozenset[str] = frozenset()) -> st.SearchStrategy[dict[str, int]]:
    """Some fields of a member."""
    return st.fixed_dictionaries(
        {},
        optional={
            name: st.integers(0, 2**bits - 1)
            for name, bits in zip(member.names, member.widths, strict=True)
            if name not in hidden and not name.startswith("VersionInfo")
        },
    )


PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=20)
NAMES = st.binary(max_size=20).map(lambda name: name.decode("utf-8", "surrogateescape"))


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Any call there can be."""
    kind = draw(st.sampled_from([*T, 23, 0xFFFFFFFF]))
    facts = kind == T.INCLUDE_VM_REGION and draw(st.booleans())
    hidden = _calls._HIDDEN.get(kind, frozenset())
    given_fields: dict[str, Any] = draw(fields(_calls.input_member(kind, facts), hidden))
    if kind == T.MODULE:
        given_fields["FullPath"] = draw(st.none() | PATHS)
        given_fields["VersionInfo"] = draw(st.tuples(*[st.integers(0, 2**32 - 1)] * 13))
    if facts:
        given_fields["Name"] = draw(st.none() | NAMES)
    output = fields(_calls.output_member(kind))
    return Call(
        kind,
        given_fields,
        draw(output),
        draw(st.none() | output),
        draw(st.none() | st.integers(-(2**31), 2**31 - 1)),
        process_id=draw(st.integers(0, 2**32 - 1)),
        process_handle=draw(st.integers(0, 2**64 - 1)),
        digests=draw(st.none() | st.tuples(*[st.integers(0, 2**64 - 1)] * 2)) if kind in _calls.BUFFERED else None,
        gcc=draw(st.booleans()) if kind in _calls.THREADS else False,
    )


@settings(max_examples=60, deadline=None)
@given(
    made=st.lists(calls(), max_size=6),
    engine=st.text(max_size=5),
    extensions=st.integers(0, 15),
    dropped=st.integers(0, 9),
)
def test_round_trips(made: list[Call], engine: str, extensions: int, dropped: int) -> None:
    """Records and lines say the same as the objects; C finds the records well formed, and passes the members on."""
    recording = Recording(made, engine=engine, note="n", extensions=Extensions(extensions), dropped=dropped)
    assert list(recording) == made and len(recording) == len(made)
    text = recording.to_jsonl()
    assert text.isascii() and text.count("\n") == len(made) + 1
    assert Recording.from_jsonl(text) == recording
    assert pickle.loads(pickle.dumps(recording)) == recording
    assert hash(Recording.from_jsonl(text)) == hash(recording)
    assert [list(recording[at:]) for at in range(7)] == [made[at:] for at in range(7)]
    assert list(recording[::-2]) == made[::-2] and list(recording[5:2]) == []
    small = [call for call in made if not any(call.input.get(name, 0) > 4096 for name in SIZES)]
    with md.Callback() as callback:
        for call, answer in zip(small, Replay(small).run(callback), strict=True):
            assert not answer.faults
            if not answer.returned and call.type not in (12, 13, 14):
                assert answer.after == call.before


SIZES = ("Size", "BufferBytes", "SizeOfCvRecord", "SizeOfMiscRecord")


# ------------------------------------------------------------------------------------- JSON lines


def test_files(tmp_path: Path) -> None:
    recording = Recording([Call(T.CANCEL), Call(T.INCLUDE_THREAD, {"ThreadId": 7}, returned=1)], engine="e", note="n")
    recording.save(tmp_path / "a.jsonl")
    assert Recording.from_jsonl(tmp_path / "a.jsonl") == recording == Recording.from_jsonl(str(tmp_path / "a.jsonl"))
    assert Replay.from_jsonl(tmp_path / "a.jsonl").recording == recording
    text = (tmp_path / "a.jsonl").read_text()
    assert Recording.from_jsonl("# a comment\r\n\r\n" + text.replace("\n", "\r\n") + "\n# another") == recording
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(md.FormatError, match="UTF-8") as caught:
        Recording.from_jsonl(tmp_path / "b.jsonl")
    assert caught.value.filename == str(tmp_path / "b.jsonl")
    with pytest.raises(FileNotFoundError):
        Recording.from_jsonl(tmp_path / "nowhere.jsonl")
    (tmp_path / "c.jsonl").write_text(ABOUT + "nonsense\n")
    with pytest.raises(md.FormatError, match=r"c\.jsonl, line 2: JSON"):
        Recording.from_jsonl(tmp_path / "c.jsonl")


@pytest.mark.parametrize(
    ("lines", "lineno", "message"),
    [
        ("", 1, "missing"),
        ("# nothing\n", 2, "missing"),
        ("[]\n", 1, "object"),
        ("{}\n", 1, "version"),
        ('{"recording": 2}\n', 1, "version"),
        ('{"recording": true}\n', 1, "version"),
        ('{"recording": 1, "engine": 5}\n', 1, "engine"),
        ('{"recording": 1, "colour": 5}\n', 1, "colour"),
        ('{"recording": 1, "extensions": ["wings"]}\n', 1, "extensions"),
        ('{"recording": 1, "dropped": -1}\n', 1, "dropped"),
        ('{"recording": 1, "recording": 1}\n', 1, "duplicate key"),
        (ABOUT + "\n{}\n", 3, "type is missing"),
        (ABOUT + '{"type": "wings"}\n', 2, "unknown callback type 'wings'"),
        (ABOUT + '{"type": 1.5}\n', 2, "number"),
        (ABOUT + '{"type": null}\n', 2, "number"),
        (ABOUT + '{"type": 6, "more": 1}\n', 2, "no more"),
        (ABOUT + '{"type": 6, "in": []}\n', 2, "in must be an object"),
        (ABOUT + '{"type": 6, "after": 1}\n', 2, "after must be an object"),
        (ABOUT + '{"type": 6, "in": {"Offset": 1}}\n', 2, "no Offset"),
        (ABOUT + '{"type": 6, "return": NaN}\n', 2, "number"),
        (ABOUT + '{"type": 6, "gcc": 1}\n', 2, "gcc"),
        (ABOUT + '{"type": 12, "digests": ["0", "1"]}\n', 2, "digests"),
        (ABOUT + '{"type": 0, "in": {"FullPath": 5}}\n', 2, "FullPath"),
        (ABOUT + '{"type": 0, "in": {"VersionInfo": 5}}\n', 2, "len"),
        (ABOUT + '{"type": 10, "in": {"Name": "\\ud800"}}\n', 2, "surrogates"),
        (ABOUT + '{"type": 6}\n{"type": 6\n', 3, "JSON"),
        (ABOUT + '{"type": 6, "return": ' + "9" * 5000 + "}\n", 2, ""),
        (ABOUT + "[" * 100_000 + "\n", 2, ""),
    ],
)
def test_malformed_lines(lines: str, lineno: int, message: str) -> None:
    with pytest.raises(md.FormatError, match=f"^line {lineno}: .*{message}") as caught:
        Recording.from_jsonl(lines)
    assert caught.value.lineno == lineno and caught.value.filename is None
    assert pickle.loads(pickle.dumps(caught.value)).lineno == lineno


@settings(max_examples=100, deadline=None)
@given(made=st.lists(calls(), min_size=1, max_size=3), data=st.data())
def test_mutated_lines(made: list[Call], data: st.DataObject) -> None:
    """Lines changed anywhere are read, or refused with one of our exceptions."""
    text = Recording(made).to_jsonl()
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.sampled_from(["", "{", "9", '"', "-", "\n", ",", "null"])) + text[at + 1 :]
    try:
        again = Recording.from_jsonl("# text\n" + text)
    except md.FormatError as error:
        assert error.lineno is not None
    else:
        assert Recording.from_jsonl(again.to_jsonl()) == again


def test_lines_are_what_they_are_documented_to_be() -> None:
    recording = Recording([Call(T.MODULE, {"FullPath": "/\udcff"}, returned=1), Call(99)], engine="e")
    about, module, unknown = map(json.loads, recording.to_jsonl().splitlines())
    assert about == {"recording": 1, "engine": "e", "extensions": []}
    assert unknown == {"type": 99}
    assert module["type"] == "module" and module["in"]["FullPath"] == "/\udcff" and module["return"] == 1
    assert "after" not in module and module["before"] == {"ModuleWriteFlags": 13}


def test_a_recording_is_immutable() -> None:
    recording = Recording([Call(T.CANCEL)])
    for change in (lambda: setattr(recording, "engine", "x"), lambda: delattr(recording, "engine")):
        with pytest.raises(AttributeError, match="immutable"):
            change()
    assert Recording(recording) == recording and recording != [Call(T.CANCEL)]
    with pytest.raises(IndexError):
        recording[1]
