"""`open_dump` against readers that are not ours, on dumps of every writer and platform that there are samples of."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import readers

import minidump_cffi as md

DATA = Path(__file__).resolve().parents[1] / "data"
SOUND = sorted(path for path in DATA.glob("*.dmp") if "invalid-range" not in path.name)


@pytest.fixture(params=SOUND, ids=lambda path: path.stem)
def sample(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


def held(dump: md.reading.OpenDump) -> list[tuple[int, int]]:
    """What is in the dump, what touches joined."""
    runs: list[tuple[int, int]] = []
    for part in dump.memory:
        if runs and runs[-1][1] == part.address:
            runs[-1] = (runs[-1][0], part.end)
        else:
            runs.append((part.address, part.end))
    return runs


def joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for address, size in sorted(ranges):
        if runs and runs[-1][1] >= address:
            runs[-1] = (runs[-1][0], max(runs[-1][1], address + size))
        elif size:
            runs.append((address, address + size))
    return runs


def test_the_python_package_minidump_agrees(sample: Path) -> None:
    pytest.importorskip("minidump.minidumpfile")
    with md.open_dump(sample) as dump:
        wanted = [(part.address, min(part.size, 4096)) for part in dump.memory[:40]]
        theirs = readers.read_minidump(sample, wanted)
        assert theirs.errors == () and dump.faults == ()
        assert [thread.id for thread in dump.threads] == [thread.tid for thread in theirs.threads or ()]
        for ours, other in zip(dump.threads, theirs.threads or (), strict=True):
            if other.sp is not None:
                assert (ours.stack_pointer, ours.instruction_pointer) == (other.sp, other.ip)
                names = ours.registers.keys() & other.registers.keys()
                assert names & {"rbp", "ebp"} and {name: ours.registers[name] for name in names} == {
                    name: other.registers[name] for name in names
                }
            if other.stack is not None and other.stack[1]:
                assert ours.stack is not None and (ours.stack.address, ours.stack.size) == other.stack
        modules = [(module.base, module.size, module.path) for module in dump.modules]
        assert modules == [(module.base, module.size, module.path) for module in theirs.modules or ()]
        for module, named in zip(dump.modules, theirs.modules or (), strict=True):
            if named.build_id is not None:
                assert (module.build_id or module.codeview[4:]).hex() == named.build_id
        assert held(dump) == joined([*theirs.memory, *theirs.memory64])
        for (address, size), content in zip(wanted, theirs.contents, strict=True):
            assert content is None or dump.read(address, size) == content


@pytest.mark.linux
def test_breakpad_agrees(sample: Path) -> None:
    try:
        theirs = readers.read_breakpad_dump(sample)
    except readers.ReaderMissing as error:
        if readers.readers_required():
            raise
        pytest.skip(str(error))
    with md.open_dump(sample) as dump:
        if theirs.thread_count is not None:
            ids = [thread.tid for thread in theirs.threads or ()]  # then those of other streams
            assert [thread.id for thread in dump.threads] == ids[: theirs.thread_count]
        if theirs.module_count is not None:
            expected = [(module.base, module.path) for module in theirs.modules or ()]
            assert [(module.base, module.path) for module in dump.modules][: len(expected)] == expected
        if theirs.memory_count is not None and not any(entry.type == 9 for entry in dump.streams):
            assert held(dump) == joined(list(theirs.memory or ()))


@pytest.mark.linux
@pytest.mark.parametrize("name", ["google-linux_null_read_av", "own-a-breakpad", "own-a-crashpad"])
def test_lldb_agrees(name: str) -> None:
    path = DATA / f"{name}.dmp"
    with md.open_dump(path) as dump:
        wanted = [(thread.stack_pointer or 0, 64) for thread in dump.threads]
        try:
            theirs = readers.read_lldb(path, wanted, registers=True)
        except readers.ReaderMissing as error:
            if readers.readers_required():
                raise
            pytest.skip(str(error))
        ours = {thread.id: thread for thread in dump.threads}
        assert {thread.tid for thread in theirs.threads or ()} == ours.keys()
        for other in theirs.threads or ():
            registers = ours[other.tid].registers
            names = registers.keys() & other.registers.keys()
            assert {"rsp", "rip", "rbp", "r15"} <= names
            assert {each: registers[each] for each in names} == {each: other.registers[each] for each in names}
        assert [dump.read(*part) for part in wanted] == list(theirs.contents)


def test_udmp_parser_agrees() -> None:
    """It reads dumps of Windows."""
    path = DATA / "google-tiny-exe-with-cet-xsave.dmp"
    with md.open_dump(path) as dump:
        try:
            theirs = readers.read_udmp(path)
        except readers.ReaderMissing as error:
            pytest.skip(str(error))
        assert theirs.errors == ()
        assert [thread.id for thread in dump.threads] == [thread.tid for thread in theirs.threads or ()]
        assert sorted(module.base for module in dump.modules) == sorted(module.base for module in theirs.modules or ())


def test_every_stream_is_there_byte_by_byte(sample: Path) -> None:
    whole = sample.read_bytes()
    with md.open_dump(sample) as dump:
        assert dump.file_bytes == len(whole)
        for entry in dump.streams:
            assert dump.stream(entry) == whole[entry.offset : entry.offset + entry.size]
        first = next(entry for entry in dump.streams if entry.type)
        assert dump.stream(first.type) == dump.stream(first)
        with pytest.raises(md.FormatError, match="0xabcd"):
            dump.stream(0xABCD)


def test_regions_are_sorted_and_hold_all_memory(sample: Path) -> None:
    with md.open_dump(sample) as dump:
        for left, right in zip(dump.regions, dump.regions[1:], strict=False):
            assert left.end <= right.base
        for region in dump.regions:
            assert region.base % 4096 == region.size % 4096 == 0 < region.size
            assert region.state in (md.report.MemoryState.COMMIT, md.report.MemoryState.RESERVE)
        committed = [(region.base, region.size) for region in dump.regions if region.state & 0x1000]
        runs = joined(committed)
        for first, end in held(dump):
            assert any(left <= first and end <= right for left, right in runs)
        for thread in dump.threads:
            holding = [part for part in dump.regions if part.base <= (thread.stack_pointer or 0) < part.end]
            assert all(part.kinds & md.report.Kind.STACK for part in holding)


def test_what_only_some_writers_say() -> None:
    with md.open_dump(DATA / "google-tiny-exe-with-cet-xsave.dmp") as dump:
        assert len(dump.handles) == 147 and len(dump.unloaded_modules) == 1 and dump.exception is None
        assert len(dump.threads[0].context) == 1407 and dump.pid == 15444
        assert {handle.type for handle in dump.handles} >= {"File", "Event"}
    with md.open_dump(DATA / "google-thread_name_list.dmp") as dump:
        assert [thread.name for thread in dump.threads if thread.name] == [
            "main thread", "sleep thread", "overflow thread"
        ]  # fmt: skip
        assert dump.exception is not None and dump.exception.thread == dump.threads[5].id
        assert dump.exception.registers["eip"] and dump.system is not None and dump.system.architecture == 0
    with md.open_dump(DATA / "own-a-lldb22-stack.dmp") as dump:
        assert len(dump.exceptions) == 3 and {len(thread.context) for thread in dump.threads} == {736}
        assert "[stack]" in {region.name for region in dump.regions}
    with md.open_dump(DATA / "llvm-mirror-regions-memlist64.dmp") as dump:
        assert dump.threads == () and [part.address for part in dump.memory] == [0x1000, 0x2000]


def test_the_one_that_is_broken_on_purpose() -> None:
    """Its directory overlaps the header; of the streams it names none is sound."""
    with md.open_dump(DATA / "rust-minidump-invalid-range.dmp") as dump:
        assert dump.threads == dump.modules == dump.memory == ()
        assert [fault.stream for fault in dump.faults] == [0x47670009]


def test_records_outlive_the_dump(sample: Path) -> None:
    with md.open_dump(sample) as dump:
        kept = dump.system, dump.threads, dump.modules, dump.regions, dump.memory, dump.handles
        assert pickle.loads(pickle.dumps(kept)) == kept
    assert dump.closed and dump.threads is kept[1]
    dump.close()
    for use in (lambda: dump.read(0, 1), lambda: dump.stream(7), lambda: dump.pid, lambda: dump.exceptions):
        with pytest.raises(md.DumpError, match="is closed"):
            use()
    with pytest.raises(md.DumpError, match="is closed"), dump:
        pass


@pytest.mark.parametrize("number", [0x47670006, 0x47670007], ids=["cmdline", "environ"])
def test_texts_are_excluded_with_the_memory_that_they_came_from(number: int, tmp_path: Path) -> None:
    """They are found at the top of the stack by their bytes, which nothing else in the dump says.

    The program's name is there once more, after the environment.
    """
    path, out = DATA / "google-linux_null_read_av.dmp", tmp_path / "out.dmp"
    with md.open_dump(path) as dump:
        text, environ = dump.stream(number), dump.stream(0x47670007)
        stack = dump.memory[-1]
        content = dump.read(stack.address, stack.size)
        at = content.rindex(environ) if text == environ else content.rindex(text, 0, content.rindex(environ))
        at += stack.address
    assert len(text) > 10
    md.write_dump(md.DumpFile(path), out, filter=md.Filter(md.exclude_ranges([(at, at + len(text))])))
    with md.open_dump(out) as dump:
        assert environ not in out.read_bytes() or text != environ
        assert not any(part.address < at + len(text) and at < part.end for part in dump.memory)
        assert number not in {entry.type for entry in dump.streams} or not dump.stream(number).strip(b"\0X")
        assert {entry.type for entry in dump.streams} >= {3, 4, 5, 6, 7, 0x47670009}
