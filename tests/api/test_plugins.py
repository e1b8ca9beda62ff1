"""C plug-ins as callbacks: what they see and decide, in real dumps of real processes, and how badly they may behave."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import file_rules
import live
import pytest
import readers

import minidump_cffi as md
from minidump_cffi import plugins

pytestmark = pytest.mark.linux

FULL = md.DumpType.WITH_FULL_MEMORY
MIB = 1 << 20
NONSENSE, ENDLESS, CANCEL, HANG, CRASH = range(1, 6)
Compile = Callable[[str], Path]


def behaviour(what: int, at: md.protocol.CallbackType) -> int:
    """The parameter of misbehaves.c."""
    return what << 8 | at


# ---------------------------------------------------------------------------------------------------- what they decide


@pytest.mark.parametrize("dump_type", [md.DumpType.NORMAL, FULL], ids=["normal", "full"])
def test_true_and_nothing_touched_keeps_everything(
    dump_type: md.DumpType, target: live.Target, plugin: Compile, take: live.Taker
) -> None:
    ours, _ = take(target, dump_type)
    theirs, path = take(target, dump_type, callback=md.Plugin(plugin("agrees")))
    assert theirs.complete
    assert (theirs.memory_ranges, theirs.memory64_ranges) == (ours.memory_ranges, ours.memory64_ranges)
    assert len(theirs.threads) == len(ours.threads) and len(theirs.modules) == len(ours.modules)
    with file_rules.DumpFile(path) as dump:
        if dump_type & FULL:
            base, size, _ = target.region("heap")
            assert dump.read_across(base, size) == target.content("heap")
        assert all(len(thread.context) == 1232 for thread in dump.threads())


def test_false_for_the_unknown_as_breakpad_does(target: live.Target, plugin: Compile, take: live.Taker) -> None:
    base, _, _ = target.region("heap")
    block = base + 5 * live.PAGE
    _, path = take(target, callback=md.Plugin(plugin("breakpad"), param=block))
    with file_rules.DumpFile(path) as dump:
        assert dump.read(block, live.PAGE) == target.content("heap", 5 * live.PAGE, live.PAGE)
        assert not dump.holds(base, live.PAGE)
        assert len(dump.threads()) == 3
    _, path = take(target, FULL, callback=md.Plugin(plugin("breakpad")))
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(base, 4 * MIB) == target.content("heap")


def test_a_region_left_out_and_one_narrowed(target: live.Target, plugin: Compile, take: live.Taker) -> None:
    base, _, _ = target.region("heap")
    _, path = take(target, FULL, callback=md.Plugin(plugin("narrows"), param=base))
    reading = readers.read_minidump(path, [(base, live.PAGE)])
    assert reading.contents == (None,)
    _, path = take(target, FULL, callback=md.Plugin(plugin("narrows"), param=base - MIB))
    first, second = target.content("heap", 0, live.PAGE), live.PAGE
    reading = readers.read_minidump(path, [(base, live.PAGE), (base + second, live.PAGE)])
    assert reading.contents == (first, None)


# ------------------------------------------------------------------------------------------------------- what they see


class Witness(ctypes.Structure):
    """The struct of witness.c."""

    _fields_ = (
        ("calls", ctypes.c_uint32 * 32),
        ("pid", ctypes.c_uint32 * 32),
        ("handle", ctypes.c_int64 * 32),
        ("entry", (ctypes.c_uint8 * 52) * 32),
        ("thread_handle", ctypes.c_int64),
        ("io_handle", ctypes.c_int64 * 32),
        ("stack_wrong", ctypes.c_uint64),
        ("wanted_base", ctypes.c_uint64),
        ("path", ctypes.c_uint16 * 4096),
        ("write_offset", ctypes.c_uint64),
        ("write_gaps", ctypes.c_uint64),
        ("context_size", ctypes.c_uint32),
        ("pieces", ctypes.c_uint32),
    )


def test_values_on_linux(plugin: Compile, pattern_program: Path, tmp_path: Path) -> None:
    """ProcessHandle is the pidfd, ThreadHandle 0, Io.Handle the descriptor, and FullPath keeps odd bytes."""
    odd = os.fsencode(tmp_path) + b"/caf\xe9 \xf0\x9f\x8e\x89\xff"
    shutil.copy(pattern_program, odd)
    seen = Witness()
    with live.Target([odd, "--folder", str(tmp_path), "--no-regions", "--threads", "1"]) as target:
        plan = md.plan_dump(target.pid)
        seen.wanted_base = next(module.base for module in plan.modules if module.path == odd)
        pidfd = os.pidfd_open(target.pid)
        watched = plugins.Plugin(plugin("witness"), param=ctypes.addressof(seen))
        report = md.write_dump(md.PidFd(pidfd), tmp_path / "a.dmp", FULL, callback=watched)
        # udmp-parser takes no path that is not ASCII, and Breakpad none with a surrogate pair.
        others = [name for name in readers.READERS if name == "minidump" or not name.startswith(("udmp", "minidump"))]
        live.assert_accepted(tmp_path / "a.dmp", report, others)
        os.close(pidfd)
        target.ping()
    kinds = {kind for kind in range(32) if seen.calls[kind]}
    C = md.protocol.CallbackType
    assert kinds == {
        C.MODULE, C.THREAD, C.INCLUDE_THREAD, C.INCLUDE_MODULE, C.CANCEL, C.WRITE_KERNEL_MINIDUMP,
        C.INCLUDE_VM_REGION, C.IO_START, C.SECONDARY_FLAGS, C.IS_PROCESS_SNAPSHOT, C.VM_START,
    }  # fmt: skip
    with_pid = {
        C.MODULE,
        C.THREAD,
        C.INCLUDE_THREAD,
        C.INCLUDE_MODULE,
        C.CANCEL,
        C.INCLUDE_VM_REGION,
        C.SECONDARY_FLAGS,
    }
    for kind in kinds:
        assert seen.pid[kind] == (target.pid if kind in with_pid else 0), C(kind)
        nobody = kind in (C.WRITE_KERNEL_MINIDUMP, C.IO_START)
        assert (seen.handle[kind] > 2) is not nobody, C(kind)
    assert len({seen.handle[kind] for kind in kinds} - {0}) == 1
    assert seen.io_handle[C.IO_START] > 2
    assert seen.thread_handle == 0 and seen.stack_wrong == 0 and seen.context_size == 1232
    assert seen.pieces == 0
    path = bytes(seen.path).split(b"\0\0")[0]
    text = bytes(seen.path).decode("utf-16-le", "surrogatepass").split("\0")[0]
    assert path and os.fsencode(text) == odd
    assert text.endswith("caf\udce9 \N{PARTY POPPER}\udcff")


def test_the_process_handle_is_a_pidfd_of_the_target(target: live.Target, tmp_path: Path) -> None:
    shown: dict[str, str] = {}

    def look(question: md.protocol.Input, output: md.protocol.Output) -> bool:
        about = Path(f"/proc/self/fdinfo/{question.process_handle}").read_text()
        shown.update(line.split(":\t", 1) for line in about.splitlines())
        shown["descriptor"] = str(Path(f"/proc/self/fd/{question.process_handle}").readlink())
        return True

    md.write_dump(
        target.pid, tmp_path / "a.dmp", callback=md.protocol.PythonCallback({md.protocol.CallbackType.VM_START: look})
    )
    assert shown["Pid"] == str(target.pid) and "pidfd" in shown["descriptor"]


def test_what_stands_in_the_output_on_entry(target: live.Target, plugin: Compile, tmp_path: Path) -> None:
    seen = Witness()
    md.write_dump(
        target.pid, tmp_path / "a.dmp", FULL, callback=md.Plugin(plugin("witness"), param=ctypes.addressof(seen))
    )
    C = md.protocol.CallbackType
    first = {kind: struct.unpack_from("<I", bytes(seen.entry[kind]))[0] for kind in range(32) if seen.calls[kind]}
    assert first[C.MODULE] == first[C.INCLUDE_MODULE] == 0x0D
    assert first[C.THREAD] == first[C.INCLUDE_THREAD] == 0x17
    assert first[C.IO_START] == first[C.VM_START] == first[C.IS_PROCESS_SNAPSHOT] == md.protocol.HResult.E_NOTIMPL
    assert first[C.CANCEL] == first[C.WRITE_KERNEL_MINIDUMP] == first[C.SECONDARY_FLAGS] == 0
    region = bytes(seen.entry[C.INCLUDE_VM_REGION])
    assert struct.unpack_from("<i", region, 48) == (0,), "Continue is FALSE on entry"
    for kind in first.keys() - {C.INCLUDE_VM_REGION}:
        assert not any(bytes(seen.entry[kind])[4:]), f"{C(kind).name}: the rest of the output is zero"


def test_a_plain_protocol_unless_asked_for(target: live.Target, plugin: Compile, tmp_path: Path) -> None:
    """A Normal dump sends IncludeVmRegion only to callbacks that know pieces."""
    for extensions, asked in ((md.protocol.Extensions(0), False), (md.protocol.Extensions.PIECES, True)):
        seen = Witness()
        callback = md.Plugin(plugin("witness"), param=ctypes.addressof(seen), extensions=extensions)
        md.write_dump(target.pid, tmp_path / "a.dmp", callback=callback)
        assert bool(seen.calls[md.protocol.CallbackType.INCLUDE_VM_REGION]) is asked


# ------------------------------------------------------------------------------------------------ they take the output


def test_a_plug_in_writes_to_the_descriptor_it_is_shown(
    target: live.Target, plugin: Compile, take: live.Taker, tmp_path: Path
) -> None:
    report, path = take(target, FULL, callback=md.Plugin(plugin("writes")))
    assert report.callbacks[md.protocol.CallbackType.IO_WRITE_ALL] > 1
    with file_rules.DumpFile(path) as dump:
        assert dump.read_across(target.region("heap")[0], 4 * MIB) == target.content("heap")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_plug_in_that_keeps_the_bytes_leaves_no_file(target: live.Target, plugin: Compile, folder: Path) -> None:
    callback = md.Plugin(plugin("writes"), param=1)
    report = md.write_dump(target.pid, folder / "a.dmp", callback=callback)
    assert not list(folder.iterdir())
    assert any("no file was made" in message for message in report.messages)
    report = md.write_dump(target.pid, None, callback=callback)
    assert report.complete


def test_no_file_and_nobody_who_takes_the_bytes(target: live.Target, plugin: Compile) -> None:
    with pytest.raises(md.CallbackError, match="did not handle the output"):
        md.write_dump(target.pid, None, callback=md.Plugin(plugin("agrees")))


# ------------------------------------------------------------------------------------------------------ they misbehave


@pytest.mark.parametrize(
    "at",
    [
        md.protocol.CallbackType.MEMORY,
        md.protocol.CallbackType.REMOVE_MEMORY,
        md.protocol.CallbackType.INCLUDE_VM_REGION,
        md.protocol.CallbackType.VM_QUERY,
    ],
    ids=lambda kind: kind.name.lower(),
)
def test_nonsense_is_an_error_with_the_type(
    at: md.protocol.CallbackType, target: live.Target, plugin: Compile, folder: Path
) -> None:
    dump_type = FULL if at == md.protocol.CallbackType.INCLUDE_VM_REGION else md.DumpType.NORMAL
    callback = md.Plugin(plugin("misbehaves"), param=behaviour(NONSENSE, at))
    with pytest.raises(md.CallbackError, match=r"misbehaves\.so: the callback answered") as caught:
        md.write_dump(target.pid, folder / "a.dmp", dump_type, callback=callback)
    assert caught.value.callback_type == at and caught.value.pid == target.pid
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "at",
    [kind for kind in md.protocol.CallbackType if kind <= 20 and kind not in (5, 6, 9, 10, 18)],
    ids=lambda kind: kind.name.lower(),
)
def test_nonsense_elsewhere_is_taken_for_what_it_says(
    at: md.protocol.CallbackType, target: live.Target, plugin: Compile, folder: Path
) -> None:
    """0x5A everywhere: a file that all readers accept, or an error of ours; the target runs on in any case."""
    callback = md.Plugin(plugin("misbehaves"), param=behaviour(NONSENSE, at))
    try:
        report = md.write_dump(target.pid, folder / "a.dmp", FULL, callback=callback)
    except md.DumpError:
        assert not list(folder.iterdir())
    else:
        live.assert_accepted(folder / "a.dmp", report, only=["minidump", "udmp-parser"])


@pytest.mark.parametrize(
    "at", [md.protocol.CallbackType.MEMORY, md.protocol.CallbackType.REMOVE_MEMORY], ids=["memory", "remove"]
)
def test_memory_for_ever_ends(at: md.protocol.CallbackType, target: live.Target, plugin: Compile, folder: Path) -> None:
    callback = md.Plugin(plugin("misbehaves"), param=behaviour(ENDLESS, at))
    with pytest.raises(md.CallbackError, match="more than 1048576 times") as caught:
        md.write_dump(target.pid, folder / "a.dmp", callback=callback)
    assert caught.value.callback_type == at
    with pytest.raises(md.CallbackError, match="more than 100 times"):
        md.write_dump(target.pid, folder / "a.dmp", callback=callback, options=md.EngineOptions(answers_max=100))
    assert not list(folder.iterdir())


def test_one_that_cancels_at_once(target: live.Target, plugin: Compile, folder: Path) -> None:
    callback = md.Plugin(plugin("misbehaves"), param=behaviour(CANCEL, md.protocol.CallbackType.CANCEL))
    with pytest.raises(md.Cancelled, match=r"misbehaves\.so: the callback cancelled") as caught:
        md.write_dump(target.pid, folder / "a.dmp", callback=callback)
    assert (
        caught.value.callback_type == md.protocol.CallbackType.CANCEL
        and caught.value.hresult == md.protocol.HResult.E_CANCELLED
    )
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "at",
    [
        md.protocol.CallbackType.IS_PROCESS_SNAPSHOT,  # before the target is stopped
        md.protocol.CallbackType.INCLUDE_THREAD,
        md.protocol.CallbackType.INCLUDE_VM_REGION,
        md.protocol.CallbackType.VM_PRE_READ,
        md.protocol.CallbackType.WRITE_KERNEL_MINIDUMP,  # when it runs again
    ],
    ids=lambda kind: kind.name.lower(),
)
def test_one_that_hangs_is_left_behind(
    at: md.protocol.CallbackType, target: live.Target, plugin: Compile, folder: Path
) -> None:
    callback = md.Plugin(plugin("misbehaves"), param=behaviour(HANG, at))
    with pytest.raises(md.DeadlineExceeded, match=rf"misbehaves\.so does not return from {at.name} ") as caught:
        md.write_dump(target.pid, folder / "a.dmp", FULL, callback=callback, max_stop=0.5, grace=0.2)
    assert caught.value.callback_type == at
    target.assert_runs_on()
    assert not list(folder.iterdir())
    report = md.write_dump(target.pid, folder / "b.dmp", FULL)  # and the next dump goes well
    assert report.complete


def test_a_plug_in_has_30_seconds_unless_said_otherwise(
    target: live.Target, plugin: Compile, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plugins.PLUGIN_MAX_STOP == 30
    callback = md.Plugin(plugin("misbehaves"), param=behaviour(HANG, md.protocol.CallbackType.INCLUDE_MODULE))
    monkeypatch.setattr(plugins, "PLUGIN_MAX_STOP", 0.4)
    with pytest.raises(md.DeadlineExceeded, match="INCLUDE_MODULE"):
        md.write_dump(target.pid, folder / "a.dmp", callback=callback, grace=0.2)
    with pytest.raises(md.DeadlineExceeded, match="the deadline passed, and the plug-in"):
        md.write_dump(target.pid, folder / "a.dmp", callback=callback, max_stop=60, deadline=0.4, grace=0.2)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "at",
    [md.protocol.CallbackType.VM_START, md.protocol.CallbackType.THREAD, md.protocol.CallbackType.INCLUDE_VM_REGION],
    ids=str,
)
def test_one_that_crashes_takes_the_dumper_and_nothing_else(
    at: md.protocol.CallbackType, target: live.Target, plugin: Compile, folder: Path
) -> None:
    (folder / "a.dmp").write_bytes(b"what was there")
    program = (
        "import sys, resource, minidump_cffi as md\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "plugin = md.Plugin(sys.argv[2], param=int(sys.argv[4]))\n"
        "md.write_dump(int(sys.argv[1]), sys.argv[3], md.DumpType.WITH_FULL_MEMORY, callback=plugin)\n"
    )
    done = live.run_python(program, target.pid, plugin("misbehaves"), folder / "a.dmp", behaviour(CRASH, at))
    assert done.returncode == -signal.SIGSEGV
    target.assert_runs_on()
    assert [path.name for path in folder.iterdir()] == ["a.dmp"]
    assert (folder / "a.dmp").read_bytes() == b"what was there"


# ------------------------------------------------------------------------------------------ files that are no plug-ins


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(md.PluginError, match="No such file") as caught:
        md.Plugin(tmp_path / "no.so")
    assert isinstance(caught.value, OSError) and caught.value.errno == 2
    assert caught.value.filename == str(tmp_path / "no.so")


def test_a_folder_and_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(md.PluginError, match="not a regular file"):
            md.Plugin(name)
    with pytest.raises(md.PluginError):
        md.Plugin("a\0b")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\n" * 10, bytes(1000)], ids=["0", "4", "sh", "zeros"])
def test_no_shared_library(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.so"
    path.write_bytes(content)
    with pytest.raises(md.PluginError, match="not a shared library"):
        md.Plugin(path)


def test_cut_off_behind_its_header(plugin: Compile, tmp_path: Path) -> None:
    path = tmp_path / "a.so"
    path.write_bytes(plugin("agrees").read_bytes()[:200])
    with pytest.raises(md.PluginError, match="cannot be loaded"):
        md.Plugin(path)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (18, struct.pack("<H", 183), "AArch64"),
        (18, struct.pack("<H", 0x1234), "ELF machine 4660"),
        (4, b"\x01", "32 bits"),
        (5, b"\x02", "big endian"),
        (16, struct.pack("<H", 2), "link it with -shared"),
        (16, struct.pack("<H", 1), "link it with -shared"),
    ],
)
def test_the_wrong_machine(offset: int, value: bytes, words: str, plugin: Compile, tmp_path: Path) -> None:
    data = bytearray(plugin("agrees").read_bytes())
    data[offset : offset + len(value)] = value
    path = tmp_path / "a.so"
    path.write_bytes(data)
    with pytest.raises(md.PluginError, match=words):
        md.Plugin(path)


def test_a_program_is_no_plug_in(pattern_program: Path) -> None:
    with pytest.raises(md.PluginError, match=r"cannot be loaded|link it with -shared"):
        md.Plugin(pattern_program)


@pytest.mark.parametrize(
    ("name", "words"), [("no_routine", "has no function"), ("routine_is_data", "is not a function")]
)
def test_without_the_routine(name: str, words: str, plugin: Compile) -> None:
    with pytest.raises(md.PluginError, match=words):
        md.Plugin(plugin(name))


def test_one_whose_libraries_are_missing(plugin: Compile, tmp_path: Path) -> None:
    other = live.compile_c(
        live.HERE / "targets" / "plugins" / "no_routine.c", tmp_path / "libother.so", "-shared", "-fPIC"
    )
    path = tmp_path / "a.so"
    live.compile_c(
        live.HERE / "targets" / "plugins" / "agrees.c",
        path, "-shared", "-fPIC", "-I", md.protocol.get_include(), "-Wl,--no-as-needed", str(other),
    )  # fmt: skip
    other.unlink()
    with pytest.raises(md.PluginError, match=r"cannot be loaded: .*libother"):
        md.Plugin(path)


def test_arguments(plugin: Compile) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        md.Plugin(plugin("agrees"), param=-1)
    with pytest.raises(ValueError, match="bits that Extensions"):
        md.Plugin(plugin("agrees"), extensions=1 << 31)
    with pytest.raises(ValueError, match=r"only .*agrees\.so would be used"):
        md.write_dump(1, "/dev/null", filter=md.Filter(), callback=md.Plugin(plugin("agrees")))
    with pytest.raises(md.TargetError, match="another one"):
        md.write_dump(os.getpid(), "/dev/null", callback=md.Plugin(plugin("agrees")))


def test_a_relative_path_is_that_of_the_folder(plugin: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plugin("agrees")
    monkeypatch.chdir(path.parent)
    made = md.Plugin(path.name)
    assert made.path == str(path) and made.routine and repr(made) == f"Plugin({str(path)!r})"


# -------------------------------------------------------------------------------------------------------- command line


def cli(*words: Any) -> subprocess.CompletedProcess[str]:
    return live.run_cli(*map(str, words), timeout=live.PATIENCE * 2)


def test_command_line(target: live.Target, plugin: Compile, folder: Path) -> None:
    done = cli("dump", "--plugin", plugin("agrees"), target.pid, "-o", folder / "a.dmp", "--type", "full")
    assert done.returncode == 0, done.stderr
    reading = readers.read_minidump(folder / "a.dmp", [(target.region("heap")[0], live.PAGE)])
    assert reading.contents == (target.content("heap", 0, live.PAGE),)


def test_command_line_says_what_is_wrong(target: live.Target, plugin: Compile, folder: Path) -> None:
    rules = folder.parent / "rules.toml"
    rules.write_text('default = "include"\n')
    out = folder / "a.dmp"
    for status, words, said in (
        (1, ["--plugin", folder / "no.so"], "No such file"),
        (1, ["--plugin", plugin("no_routine")], "has no function MiniDumpCallbackRoutine"),
        (2, ["--plugin", plugin("agrees"), "--filter", rules], "exclude each other"),
    ):
        done = cli("dump", target.pid, "-o", out, *words)
        assert (done.returncode, said in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr
    assert not list(folder.iterdir())


def test_a_hanging_plug_in_does_not_keep_the_dumper_alive(target: live.Target, plugin: Compile, folder: Path) -> None:
    """The process ends although a thread of it sits in the plug-in for ever."""
    program = (
        "import sys, minidump_cffi as md\n"
        "plugin = md.Plugin(sys.argv[2], param=int(sys.argv[4]))\n"
        "try:\n"
        "    md.write_dump(int(sys.argv[1]), sys.argv[3], callback=plugin, max_stop=0.3, grace=0.2)\n"
        "except md.DeadlineExceeded as error:\n"
        "    print(error.callback_type.name)\n"
    )
    parameter = behaviour(HANG, md.protocol.CallbackType.MODULE)
    done = live.run_python(program, target.pid, plugin("misbehaves"), folder / "a.dmp", parameter)
    assert (done.returncode, done.stdout) == (0, "MODULE\n"), done.stderr
    assert sys.platform == "linux" and not list(folder.iterdir())


def test_a_plan_asks_it_too(target: live.Target, plugin: Compile) -> None:
    base, _, _ = target.region("heap")
    plan = md.plan_dump(target.pid, FULL, callback=md.Plugin(plugin("narrows"), param=base))
    assert next(region for region in plan.regions if region.base == base).kept == 0
    assert plan.planned and md.protocol.CallbackType.IO_START not in plan.callbacks


def test_a_replay_drives_a_plug_in(target: live.Target, plugin: Compile, tmp_path: Path) -> None:
    """What our engine asked of one callback, asked again of another: this one agrees to everything."""
    report = md.write_dump(target.pid, tmp_path / "a.dmp", FULL, record=True)
    assert report.recording is not None
    answers = md.replay.Replay(report.recording).run(md.Plugin(plugin("agrees")))
    assert answers and all(answer.returned for answer in answers)
