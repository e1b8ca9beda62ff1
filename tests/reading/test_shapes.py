"""`open_dump` of minidumps that Hypothesis makes: odd shapes, cut files, hostile numbers; against a literal reading."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import struct
import threading
from pathlib import Path

import minidumps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidump_cffi as md

ARCHITECTURES = {0: ("esp", "eip"), 9: ("rsp", "rip"), 12: ("sp", "pc"), 0x8003: ("sp", "pc"), 5: ("sp", "pc")}
POINTERS = {0: (196, 184, 4), 9: (152, 248, 8), 12: (256, 264, 8), 0x8003: (256, 264, 8), 5: (56, 64, 4)}
SIZES = (716, 736, 1147, 1232, 1407, 1663)

ranges = st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=12)), max_size=8)


def opened(data: bytes) -> md.reading.OpenDump:
    return md.open_dump(io.BytesIO(data))


def bytes_of(*lists: list[tuple[int, bytes]]) -> dict[int, int]:
    """Each address with its byte: the entry that comes first in the lists counts."""
    found: dict[int, int] = {}
    for entries in lists:
        for address, body in entries:
            for index, value in enumerate(body):
                found.setdefault(0x10000 + address + index, value)
    return found


@settings(max_examples=200, deadline=None)
@given(first=ranges, second=ranges, odd=st.integers(0, 3), padded=st.booleans(), swapped=st.booleans())
def test_memory_is_that_of_the_first_entry(
    first: list[tuple[int, bytes]], second: list[tuple[int, bytes]], odd: int, padded: bool, swapped: bool
) -> None:
    """Both lists, overlapping as they like: within one list, and across."""
    writer = minidumps.Writer(odd=odd)

    def list32() -> None:
        rows = [minidumps.memory(0x10000 + at, len(body), writer.put(body)) for at, body in first]
        writer.counted(minidumps.MEMORY, rows, padded=padded)

    def list64() -> None:
        writer.memory64([(0x10000 + at, body) for at, body in second])

    for add in (list64, list32) if swapped else (list32, list64):
        add()
    expected = bytes_of(first, second)
    with opened(writer.finish()) as dump:
        assert dump.faults == ()
        found: dict[int, int] = {}
        for part in dump.memory:
            assert not found or part.address > max(found)
            found.update(zip(range(part.address, part.end), dump.read(part.address, part.size), strict=True))
        assert found == expected
        for address in range(0x10000, 0x10000 + 80):
            if address in expected:
                assert dump.read(address, 1) == bytes([expected[address]])
            else:
                with pytest.raises(md.ReadError) as caught:
                    dump.read(address, 1)
                assert caught.value.address == address
        run = next(iter(sorted(expected)), None)
        if run is not None:
            end = run
            while end in expected:
                end += 1
            assert dump.read(run, end - run) == bytes(expected[address] for address in range(run, end))
            with pytest.raises(md.ReadError) as caught:
                dump.read(run, end - run + 1)
            assert caught.value.address == end


@settings(max_examples=150, deadline=None)
@given(data=st.data(), odd=st.integers(0, 3), padded=st.booleans(), extended=st.booleans())
def test_threads_and_their_registers(data: st.DataObject, odd: int, padded: bool, extended: bool) -> None:
    """Contexts of any size, shared or not; both lists of threads; names; exceptions that share contexts."""
    architecture = data.draw(st.sampled_from(sorted(ARCHITECTURES)))
    writer = minidumps.Writer(odd=odd)
    writer.system(architecture)
    count = data.draw(st.integers(0, 5))
    sizes = [data.draw(st.sampled_from((0, 40, *SIZES))) for _ in range(max(1, count))]
    pointers = POINTERS[architecture]
    contexts = []
    for index, size in enumerate(sizes):
        body = bytearray(os.urandom(size))
        for offset, value in zip(pointers[:2], (0x7000 + index, 0x9000 + index), strict=True):
            if offset + pointers[2] <= size:
                body[offset : offset + pointers[2]] = value.to_bytes(pointers[2], "little")
        contexts.append((size, writer.put(bytes(body)), bytes(body)))
    used = [data.draw(st.integers(0, len(contexts) - 1)) for _ in range(count)]
    rows = [
        minidumps.thread(100 + index, context=contexts[use][:2], teb=5, extra=16 if extended else 0)
        for index, use in enumerate(used)
    ]
    writer.counted(8 if extended else minidumps.THREADS, rows, padded=padded)
    named = {100 + index: f"näme \U0001f600 {index}" for index in range(count) if data.draw(st.booleans())}
    names = [struct.pack("<IQ", tid, writer.string(text)) for tid, text in named.items()]
    writer.counted(minidumps.NAMES, names, padded=padded)
    for index, use in enumerate(used):
        writer.stream(
            minidumps.EXCEPTION, minidumps.exception(100 + index, 11, context=contexts[use][:2], words=(1, 2))
        )
    with opened(writer.finish()) as dump:
        assert dump.faults == ()
        assert [(thread.id, thread.name, thread.teb) for thread in dump.threads] == [
            (100 + index, named.get(100 + index, ""), 5) for index in range(count)
        ]
        for index, (thread, use) in enumerate(zip(dump.threads, used, strict=True)):
            size, _, body = contexts[use]
            assert thread.context == body
            known = size >= max(pointers[:2]) + pointers[2]
            assert thread.stack_pointer == (0x7000 + use if known else None)
            assert thread.instruction_pointer == (0x9000 + use if known else None)
            sp, pc = ARCHITECTURES[architecture]
            assert thread.registers.get(sp) == (0x7000 + use if size >= pointers[0] + pointers[2] else None)
            assert thread.registers.get(pc) == (0x9000 + use if size >= pointers[1] + pointers[2] else None)
            assert dump.exceptions[index].context == body and dump.exceptions[index].parameters == (1, 2)


@settings(max_examples=150, deadline=None)
@given(
    infos=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 9), st.sampled_from([0x1000, 0x2000, 0x10000])), max_size=8
    ),
    memory=st.lists(st.tuples(st.integers(0, 40 * 4096), st.integers(1, 9000)), max_size=5),
    odd=st.integers(0, 3),
)
def test_regions_are_what_is_listed_and_what_is_held(
    infos: list[tuple[int, int, int]], memory: list[tuple[int, int]], odd: int
) -> None:
    """Page by page: committed if an entry says so or memory of it is held, reserved if only an entry says that."""
    writer = minidumps.Writer(odd=odd)
    rows = [minidumps.info((16 + at) * 4096 + odd, size * 4096, state) for at, size, state in infos]
    writer.stream(minidumps.INFOS, minidumps.sized(16, 48 + 8 * odd, rows, wide=True))
    body = writer.put(bytes(9000))
    writer.counted(minidumps.MEMORY, [minidumps.memory(0x10000 + at, size, body) for at, size in memory])
    pages: dict[int, int] = {}
    for at, size, state in infos:
        last = (16 + at + size) if odd and size else 16 + at + size - 1
        for page in range(16 + at, last + 1):
            if state == 0x1000 or (state == 0x2000 and pages.get(page) != 0x1000):
                pages[page] = state
    for at, size in memory:
        for page in range((0x10000 + at) // 4096, (0x10000 + at + size - 1) // 4096 + 1):
            pages[page] = 0x1000
    with opened(writer.finish()) as dump:
        assert dump.faults == ()
        found: dict[int, int] = {}
        for region in dump.regions:
            for page in range(region.base // 4096, region.end // 4096):
                assert page not in found
                found[page] = int(region.state)
        assert found == pages
        assert sorted(found) == list(found)


def test_stacks_are_found_where_descriptors_lead_nowhere() -> None:
    """A full dump of Windows has null or wrong offsets; LLDB has stacks of size 0."""
    writer = minidumps.Writer()
    writer.system(9)
    context = bytearray(1232)
    context[152:160] = (0x7010).to_bytes(8, "little")
    rva = writer.put(bytes(context))
    rows = [
        minidumps.thread(1, stack=(0x7000, 64, 0), context=(1232, rva)),
        minidumps.thread(2, stack=(0x7000, 64, 0xFFFFFF00), context=(1232, rva)),
        minidumps.thread(3, stack=(0, 0, 0), context=(1232, rva)),
        minidumps.thread(4, stack=(0x5000, 64, 0), context=(1232, rva)),
        minidumps.thread(5),
    ]
    writer.counted(minidumps.THREADS, rows)
    writer.memory64([(0x7000, bytes(range(64)))])
    with opened(writer.finish()) as dump:
        assert dump.faults == ()
        stack = md.reading.MemoryRange(address=0x7000, size=64)
        assert [thread.stack for thread in dump.threads] == [stack, stack, stack, stack, None]


def test_a_stack_that_only_its_thread_names_is_memory() -> None:
    writer = minidumps.Writer(odd=1)
    body = writer.put(b"on the stack")
    writer.counted(minidumps.THREADS, [minidumps.thread(1, stack=(0x7000, 12, body))])
    writer.counted(minidumps.MEMORY, [minidumps.memory(0x7003, 5, writer.put(b"LISTS"))])
    with opened(writer.finish()) as dump:
        assert dump.read(0x7000, 12) == b"on LISTStack"[:8] + b"tack"
        assert dump.regions[0].kinds & md.report.Kind.STACK  # without registers that say so


def test_modules_handles_and_unloaded_modules() -> None:
    writer = minidumps.Writer(odd=1)
    name = writer.string("C:\\x\ud800.dll")
    pdb = b"RSDS" + bytes(range(16)) + struct.pack("<I", 10) + b"x.pdb\0"
    records = [(len(body), writer.put(body)) for body in (pdb, b"LEpB" + b"\xab" * 20, b"NB10 and so on")]
    rows = [minidumps.module(0x1000 * at, 0x1000, name, record) for at, record in enumerate([*records, (0, 0)], 1)]
    writer.counted(minidumps.MODULES, rows, padded=True)
    unloaded = struct.pack("<QIIII", 0x9000, 0x1000, 1, 2, name)
    writer.stream(minidumps.UNLOADED, minidumps.sized(12, 24, [unloaded]))
    handle = struct.pack("<QIIIIII", 4, name, 0, 1, 2, 3, 4)
    for size in (32, 40):
        writer.stream(minidumps.HANDLES, minidumps.sized(16, size, [handle]))
    with opened(writer.finish()) as dump:
        assert dump.faults == ()
        assert {module.path for module in dump.modules} == {"C:\\x\ud800.dll"}
        assert [module.identity for module in dump.modules] == ["030201000504070608090a0b0c0d0e0fa", "ab" * 20, "", ""]
        assert dump.modules[2].codeview == b"NB10 and so on" and dump.modules[1].build_id == b"\xab" * 20
        assert dump.unloaded_modules[0].base == 0x9000 and len(dump.handles) == 1
        assert (dump.handles[0].type, dump.handles[0].name, dump.handles[0].pointers) == ("C:\\x\ud800.dll", "", 4)


def test_names_of_mappings_are_names_of_regions() -> None:
    maps = (
        b"10000-12000 rw-p 00000000 00:00 0                    [heap]\n"
        b"12000-14000 r-xp 00002000 08:01 77                   /lib/a b.so (deleted)\n"
        b"14000-15000 rw-s 00000000 00:05 9                    /dev/shm/x\n"
        b"\0\0"
    )
    writer = minidumps.Writer()
    writer.stream(minidumps.MAPS, maps)
    writer.counted(minidumps.MEMORY, [minidumps.memory(0x11800, 0x3000, writer.put(bytes(0x3000)))])
    with opened(writer.finish()) as dump:
        assert dump.faults == ()
        found = [(region.base, region.end, region.name, region.kinds) for region in dump.regions]
        kind = md.report.Kind
        assert found == [
            (0x11000, 0x12000, "[heap]", kind.HEAP | kind.ANONYMOUS),
            (0x12000, 0x14000, "/lib/a b.so", kind.FILE),
            (0x14000, 0x15000, "/dev/shm/x", kind.FILE | kind.SHARED),
        ]


def test_a_directory_may_lie_over_the_header() -> None:
    """Its first entry begins where the header still is."""
    writer = minidumps.Writer(directory=24, streams=4)
    writer.system(9)
    writer.counted(minidumps.MEMORY, [minidumps.memory(0x1000, 4, writer.put(b"here"))])
    with opened(writer.finish()) as dump:
        assert dump.read(0x1000, 4) == b"here" and dump.flags == minidumps.SYSTEM | 56 << 32


def test_a_cut_file_says_what_is_missing() -> None:
    writer = minidumps.Writer()
    writer.counted(minidumps.MEMORY, [minidumps.memory(0x1000, 64, 0x10000), minidumps.memory(0x2000, 8, 32)])
    writer.memory64([(0x5000, bytes(100)), (0x6000, bytes(100))])
    base = struct.unpack_from("<Q", writer.data, writer.entries[1][2] + 8)[0]
    data = writer.finish()
    moved = bytearray(data)
    struct.pack_into("<Q", moved, writer.entries[1][2] + 8, len(data) - 150)
    assert base < len(data) - 150
    with opened(bytes(moved)) as dump:
        assert [(part.address, part.size) for part in dump.memory] == [(0x2000, 8), (0x5000, 100), (0x6000, 50)]
        assert [fault.stream for fault in dump.faults] == [minidumps.MEMORY, minidumps.MEMORY64]
        assert all("truncated" in fault.message for fault in dump.faults)
        assert {(region.base, region.end) for region in dump.regions} == {(0x1000, 0x3000), (0x5000, 0x7000)}


@st.composite
def whole_dumps(draw: st.DrawFn) -> bytes:
    writer = minidumps.Writer(odd=draw(st.integers(0, 3)))
    writer.system(draw(st.sampled_from(sorted(ARCHITECTURES))), text="text")
    context = (draw(st.sampled_from(SIZES)), writer.put(bytes(1663)))
    stack = writer.put(bytes(64))
    threads = [minidumps.thread(tid, stack=(0x7000, 64, stack), context=context) for tid in range(3)]
    writer.counted(minidumps.THREADS, threads, padded=draw(st.booleans()))
    writer.counted(minidumps.NAMES, [struct.pack("<IQ", 1, writer.string("name"))])
    writer.counted(minidumps.MODULES, [minidumps.module(0x1000, 0x1000, writer.string("a"), (24, stack))])
    writer.counted(minidumps.MEMORY, [minidumps.memory(0x7000, 64, stack), minidumps.memory(0x7020, 64, stack)])
    writer.memory64([(0x7040, bytes(64)), (0x7000, bytes(9))])
    writer.stream(minidumps.INFOS, minidumps.sized(16, 48, [minidumps.info(0x7000, 4096)], wide=True))
    writer.stream(minidumps.MAPS, b"7000-8000 rw-p 00000000 00:00 0 [stack]\n")
    handle = struct.pack("<QIIIIII", 4, writer.string("b"), 0, 1, 2, 3, 4)
    writer.stream(minidumps.HANDLES, minidumps.sized(16, 32, [handle]))
    writer.stream(minidumps.EXCEPTION, minidumps.exception(1, 11, context=context))
    return writer.finish()


def look_at_everything(dump: md.reading.OpenDump) -> None:
    lists = (
        dump.threads,
        dump.modules,
        dump.regions,
        dump.handles,
        dump.unloaded_modules,
        dump.exceptions,
        dump.faults,
    )
    assert len(repr(lists)) + len(repr(dump.system)) > 0
    last = 0
    for part in dump.memory:
        assert part.address >= last and part.size > 0
        last = part.end
        assert len(dump.read(part.address, min(part.size, 512))) == min(part.size, 512)
    for entry in dump.streams:
        with contextlib.suppress(md.FormatError):
            assert len(dump.stream(entry)) == entry.size


@settings(max_examples=400, deadline=None)
@given(data=st.data(), whole=whole_dumps())
def test_hostile_numbers_and_cut_files(data: st.DataObject, whole: bytes) -> None:
    """Whatever the numbers are, and wherever the file ends: an error that is ours, or lists that hold together."""
    mutated = bytearray(whole)
    numbers = st.sampled_from([0, 1, 3, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF, len(whole), 32])
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(8, len(mutated) - 4))
        struct.pack_into("<I", mutated, at, data.draw(numbers | st.integers(0, 0xFFFFFFFF)))
    cut = data.draw(st.just(len(mutated)) | st.integers(0, len(mutated)))
    try:
        dump = opened(bytes(mutated[:cut]))
    except md.FormatError as error:
        assert cut < len(mutated) or "directory" in str(error)
    else:
        with dump:
            look_at_everything(dump)


def small() -> bytes:
    writer = minidumps.Writer()
    writer.counted(minidumps.MEMORY, [minidumps.memory(0x1000, 4, writer.put(b"here"))])
    return writer.finish()


def test_a_file_can_be_given_in_any_way(tmp_path: Path) -> None:
    path, packed = tmp_path / "x.dmp", tmp_path / "x.dmp.gz"
    path.write_bytes(small())
    packed.write_bytes(gzip.compress(small()))
    with path.open("rb") as file:
        for given in (path, str(path), os.fsencode(path), file, file.fileno(), packed, md.DumpFile(packed)):
            with md.open_dump(given) as dump:
                assert dump.read(0x1001, 2) == b"er" and dump.streams[0].type == minidumps.MEMORY
        assert file.tell() == 0


@pytest.mark.parametrize("size", [-1, 1 << 65])
def test_what_is_no_range_is_a_wrong_argument(size: int) -> None:
    with opened(minidumps.Writer().finish()) as dump:
        with pytest.raises(ValueError, match="no range"):
            dump.read(0x1000, size)
        with pytest.raises(md.ReadError):
            dump.read(0x1000, 1 << 40)
        assert dump.read(0x1000, 0) == b""


def test_closing_waits_for_those_who_read() -> None:
    """From several threads: bytes, or that it is closed."""
    body = bytes(range(256)) * 1024
    writer = minidumps.Writer()
    writer.counted(minidumps.MEMORY, [minidumps.memory(0x1000, len(body), writer.put(body))])
    rounds = 20
    for _ in range(rounds):
        dump = opened(writer.finish())
        seen: list[object] = []

        def read(dump: md.reading.OpenDump = dump, seen: list[object] = seen) -> None:
            try:
                while True:
                    seen.append(dump.read(0x1000, len(body)) == body and len(dump.memory) == 1)
            except md.DumpError as error:
                seen.append("is closed" in str(error))

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        dump.close()
        for thread in threads:
            thread.join()
        assert len(seen) >= 3 and all(seen)


@pytest.mark.parametrize("what", ["contexts", "names", "records", "exceptions"])
def test_what_overlaps_cannot_make_much_of_little(what: str, tmp_path: Path) -> None:
    """Each entry names other bytes of one block: together they are more than the file has."""
    count = 300
    writer = minidumps.Writer(streams=count + 2)
    writer.system(9)
    block = writer.put(struct.pack("<I", 2000) * 600)
    places = [block + 4 * index for index in range(count)]
    if what == "contexts":
        writer.counted(minidumps.THREADS, [minidumps.thread(at, context=(1232, at)) for at in places])
    elif what == "names":
        writer.counted(minidumps.MODULES, [minidumps.module(0x1000, 0x1000, at) for at in places[: count // 3]])
    elif what == "records":
        writer.counted(minidumps.MODULES, [minidumps.module(0x1000, 0x1000, 0, (2000, at)) for at in places])
    else:
        at = writer.put(minidumps.exception(1, 11))
        for _ in range(count):
            writer.stream(minidumps.EXCEPTION, bytes(168), at=at)
    data = writer.finish()
    with opened(data) as dump:
        assert dump.faults
        assert all("longer than the file" in fault.message or "room for" in fault.message for fault in dump.faults)
        held = [thread.context for thread in dump.threads] + [module.codeview for module in dump.modules]
        assert sum(map(len, held)) + sum(len(module.path) for module in dump.modules) <= len(data)
        assert 168 * len(dump.exceptions) <= len(data) + 168
    path = tmp_path / "x.dmp"
    path.write_bytes(data)
    with pytest.raises(md.FormatError, match=r"longer than the file|room for"):
        md.plan_dump(md.DumpFile(path))
