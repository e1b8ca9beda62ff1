"""Cores of any shape, made up: what the dump says of them is what they were made of."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import elf_cores
import file_rules
import pytest
from elf_cores import PAGE, Core, File, Load, Thread
from hypothesis import given, settings
from hypothesis import strategies as st

import minidump_cffi as md
from minidump_cffi.report import GapReason

ABOVE = 1 << 32
SIGSEGV = struct.pack("<iiiiQ", 11, 0, 1, 0, 0xABC)
PROTECT = {0: 1, 1: 0x10, 2: 4, 3: 0x40, 4: 2, 5: 0x20, 6: 4, 7: 0x40}  # PF_X 1, PF_W 2, PF_R 4


def dump(core: Core | bytes, folder: Path, **options: object) -> tuple[md.DumpReport, file_rules.DumpFile]:
    """The full dump of a core, opened."""
    path = folder / "made.core"
    if isinstance(core, Core):
        core.write(path)
    else:
        path.write_bytes(core)
    out = folder / "made.dmp"
    out.unlink(missing_ok=True)
    report = md.write_dump(md.CoreFile(path, root=folder), out, **options)  # type: ignore[arg-type]
    return report, file_rules.DumpFile(out)


def held(opened: file_rules.DumpFile) -> dict[int, bytes]:
    """All memory of the dump, in runs that touch nothing."""
    runs: dict[int, bytes] = {}
    last = -1
    for item in sorted(opened.ranges(), key=lambda item: item.address):
        data = opened.data[item.offset : item.offset + item.size]
        if runs and last + len(runs[last]) == item.address:
            runs[last] += data
        else:
            last = item.address
            runs[last] = data
    return runs


def joined(pieces: list[tuple[int, bytes]]) -> dict[int, bytes]:
    """The same of what a core is made of."""
    runs: dict[int, bytes] = {}
    last = -1
    for address, data in sorted(pieces):
        if not data:
            continue
        if runs and last + len(runs[last]) == address:
            runs[last] += data
        else:
            last = address
            runs[last] = data
    return runs


@st.composite
def made_up(draw: st.DrawFn) -> Core:
    """A sound core: disjoint loads in any order, threads, files over some of the loads and between them."""
    wide = draw(st.booleans())
    at = draw(st.integers(1, 1 << 19)) * PAGE
    loads, files = [], []
    for index in range(draw(st.integers(0, 8))):
        at += draw(st.integers(0, 3)) * PAGE
        pages = draw(st.integers(1, 4))
        stored = draw(st.one_of(st.just(0), st.just(pages * PAGE), st.integers(0, pages * PAGE)))
        data = bytes([index + 1]) * min(stored, 7) + bytes(max(0, min(stored, 5000) - 7))
        data += bytes([0x80 | index]) * (stored - len(data))
        flags = draw(st.sampled_from((4, 5, 6, 7, 0)))
        loads.append(Load(address=at, size=pages * PAGE, data=data, flags=flags))
        if draw(st.booleans()):
            path = draw(
                st.sampled_from((b"/usr/lib/a.so", b"/dev/zero (deleted)", b"/b c\xff (deleted)", b"/dev/shm/x"))
            )
            files.append(File(first=at, end=at + pages * PAGE, path=path, offset=draw(st.integers(0, 9)) * PAGE))
        at += pages * PAGE
    inside = [load.address + 64 for load in loads] or [0]
    tids = draw(st.lists(st.integers(1, 1 << 22), min_size=1, max_size=5, unique=True))
    threads = [
        Thread(tid=tid, sp=draw(st.sampled_from(inside)), ip=draw(st.integers(0, (1 << 32) - 1)), signal=11)
        for tid in tids
    ]
    return Core(
        loads=loads,
        files=files,
        threads=threads,
        pid=draw(st.sampled_from(tids)),
        siginfo=SIGSEGV if wide else SIGSEGV[:12] + SIGSEGV[16:20],
        wide=wide,
        page_size=draw(st.sampled_from((1, PAGE))),
        notes_last=draw(st.booleans()),
        many=draw(st.booleans()),
        order=draw(st.permutations(range(len(loads)))),
        align=draw(st.sampled_from((1, 4, PAGE))),
    )


@given(core=made_up())
@settings(max_examples=120)
def test_any_sound_core(core: Core, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("shape")
    report, opened = dump(core, folder)
    with opened:
        assert held(opened) == joined([(load.address, load.data) for load in core.loads])
        assert (report.pid, report.gaps, report.cut_bytes) == (core.pid, (), 0)
        assert file_rules.broken_rules(opened.path) == []
        # Regions: where, how they may be accessed, of which file.
        infos = [info for info in opened.infos() if info.state != 0x10000]
        protects = {(load.address, load.size): load for load in core.loads}
        for (address, size), load in protects.items():
            parts = [info for info in infos if address <= info.base < address + size]
            assert sum(info.size for info in parts) == size
            reserved = load.flags == 0 and not load.data and not any(file.first == address for file in core.files)
            for info in parts:
                assert (info.state, info.protect) == ((0x2000, 0) if reserved else (0x1000, PROTECT[load.flags]))
        lines = opened.stream(file_rules.MAPS).split(b"\n")
        for file in core.files:
            access = {0: b"---p", 4: b"r--p", 5: b"r-xp", 6: b"rw-p", 7: b"rwxp"}
            [load] = [load for load in core.loads if load.address == file.first]
            head = b"%08x-%08x %s %08x 00:00 0 " % (file.first, file.end, access[load.flags], file.offset)
            assert head.ljust(73) + file.path.replace(b"\xff", rb"\377") in lines
        # Threads: the leader first, then as in the file.
        tids = [core.pid, *(thread.tid for thread in core.threads if thread.tid != core.pid)]
        threads = opened.threads()
        assert [thread.tid for thread in threads] == tids
        by_tid = {thread.tid: thread for thread in core.threads}
        for thread in threads:
            known = by_tid[thread.tid]
            if core.wide:
                assert (thread.register("rsp"), thread.register("rip")) == (known.sp, known.ip)
                assert thread.register("r15") == thread.tid << 8 & 0xFFFFFFFF
            else:
                eip, esp = struct.unpack_from("<I8xI", thread.context, 184)
                assert (esp, eip) == (known.sp & 0xFFFFFFFF, known.ip)
        tid, code, flags, address = struct.unpack_from("<I4xII8xQ", opened.stream(6))
        assert (tid, code, flags, address) == (core.threads[0].tid, 11, 1, 0xABC)


@given(core=made_up(), keep=st.floats(0, 1))
@settings(max_examples=120)
def test_any_core_that_was_cut(core: Core, keep: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is there of it is used, the rest is a gap; or an error says that it is too little for a core."""
    folder = tmp_path_factory.mktemp("cut")
    head, parts, size = core.layout()
    data = core.bytes()[: int(size * keep)]
    entry = 56 if core.wide else 32
    if len(data) < len(head) - entry * len(core.loads):
        with pytest.raises(md.FormatError):
            dump(data, folder)
        return
    report, opened = dump(data, folder)
    with opened:
        headers = min(len(core.loads), (len(data) - (len(head) - entry * len(core.loads))) // entry)
        order = list(core.order or ())[:headers]
        shift = 0 if core.notes_last else 1
        starts = {index: parts[shift + index][0] for index in range(len(core.loads))}
        there = [
            (core.loads[index].address, core.loads[index].data[: max(0, len(data) - starts[index])]) for index in order
        ]
        assert held(opened) == joined(there)
        missing = sum(len(core.loads[index].data) for index in order) - sum(len(part) for _, part in there)
        assert sum(gap.size for gap in report.gaps) == missing
        assert {gap.reason for gap in report.gaps} <= {GapReason.CUT}
        assert report.cut_bytes >= missing
        section = (64 if core.wide else 40) if core.many else 0  # at the end, and the count is known without it
        assert report.complete is (report.cut_bytes <= section)  # also if only threads or names are missing


@given(data=st.data(), core=made_up())
@settings(max_examples=150)
def test_damaged_cores(data: st.DataObject, core: Core, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any bytes changed: a dump that keeps the rules, or an error of ours."""
    content = bytearray(core.bytes())
    head = len(core.layout()[0]) + len(core.notes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(head, len(content)) - 1))
        width = data.draw(st.sampled_from((1, 2, 4, 8)))
        value = data.draw(st.sampled_from((0, 1, 0x7F, 0xFF, 0x80))).to_bytes(1, "little") * width
        content[at : at + width] = value
    try:
        _, opened = dump(bytes(content), tmp_path_factory.mktemp("damaged"))
    except md.DumpError as error:
        assert str(error)
        return
    with opened:
        broken = [rule for rule in file_rules.broken_rules(opened.path) if not rule.startswith("there is no thread")]
        assert broken == []


def test_more_headers_than_the_field_holds(tmp_path: Path) -> None:
    """70,000 mappings: the count is in section 0, which is at the end; of a cut file it follows from the notes."""
    loads = [Load(address=ABOVE + 2 * PAGE * n, size=PAGE, flags=4 + 2 * (n % 2)) for n in range(70_000)]
    loads[-1] = Load(address=loads[-1].address, size=PAGE, data=b"end".ljust(PAGE, b"."))
    core = Core(loads=loads, many=True)
    began = time.monotonic()
    report, opened = dump(core, tmp_path)
    with opened:
        assert len(report.regions) == 70_000
        assert opened.read(loads[-1].address, 3) == b"end"
    report, opened = dump(core.bytes()[:-64], tmp_path)
    with opened:
        assert len(report.regions) == 70_000
        assert opened.read(loads[-1].address, 3) == b"end"
        assert (report.cut_bytes, report.gaps) == (64, ())
    assert time.monotonic() - began < 60  # half a second each


def test_two_thousand_threads(tmp_path: Path) -> None:
    """With 2,696 bytes of extended state each."""
    area = bytearray(2696)
    struct.pack_into("<Q", area, 464, 0x207)
    struct.pack_into("<Q", area, 512, 7)
    area[576:592] = bytes(range(16))
    threads = [Thread(tid=n + 1, sp=ABOVE, ip=n, xstate=bytes(area)) for n in range(2_000)]
    layout = elf_cores.note(b"LINUX", elf_cores.NT_LAYOUT, struct.pack("<8I", 2, 256, 576, 0, 9, 8, 2688, 0))
    core = Core(loads=[Load(address=ABOVE, size=PAGE, data=bytes(PAGE))], threads=threads, extra_notes=layout)
    report, opened = dump(core, tmp_path, type=md.DumpType.WITH_AVX_XSTATE_CONTEXT)
    with opened:
        assert len(report.threads) == 2_000
        contexts = [thread.context for thread in opened.threads()]
        assert {len(context) for context in contexts} == {1232 + 48 + 2696 - 512}
        assert all(context[1280 + 64 :][:16] == bytes(range(16)) for context in contexts)
        assert [struct.unpack_from("<Q", context, 248)[0] for context in contexts] == list(range(2_000))
        misc = opened.stream(15)
        assert struct.unpack_from("<Q", misc, 832 + 8) == (0x207,)
        assert struct.unpack_from("<II", misc, 832 + 16 + 2 * 8) == (576, 256)
        assert struct.unpack_from("<II", misc, 832 + 16 + 9 * 8) == (2688, 8)
    _, opened = dump(core, tmp_path, type=md.DumpType.NORMAL)
    with opened:
        assert {len(thread.context) for thread in opened.threads()} == {1232}


@pytest.mark.linux
def test_sparse_above_4_gib(tmp_path: Path) -> None:
    """A hole of 5 GiB is never read, and is one in the dump."""
    end = b"last".rjust(PAGE, b"-")
    loads = [
        Load(address=ABOVE, size=5 << 30, data=b"first".ljust(PAGE, b"+"), hole=(5 << 30) - PAGE),
        Load(address=ABOVE + (6 << 30), size=PAGE, data=end),
    ]
    began = time.monotonic()
    report, opened = dump(Core(loads=loads), tmp_path)
    taken = time.monotonic() - began
    with opened:
        assert opened.size > 5 << 30
        assert opened.read(ABOVE, 5) == b"first"
        assert opened.read(ABOVE + (6 << 30), PAGE) == end
        assert opened.read(ABOVE + (3 << 30), 64) == bytes(64)
    assert report.zero_bytes == (5 << 30) - PAGE
    assert sum(region.untouched for region in report.regions) == (5 << 30) - PAGE
    assert opened.path.stat().st_blocks * 512 < 1 << 20
    assert taken < 30  # 20 ms


def test_overlaps_and_odd_places(tmp_path: Path) -> None:
    """Loads that overlap: the lower one counts. Ones that are no pages: their bytes, and no more."""
    loads = [
        Load(address=ABOVE + PAGE, size=2 * PAGE, data=b"B" * 2 * PAGE),
        Load(address=ABOVE, size=2 * PAGE, data=b"A" * 2 * PAGE),
        Load(address=ABOVE + 8 * PAGE + 16, size=100, data=b"C" * 100),
        Load(address=ABOVE + 8 * PAGE + 500, size=PAGE, data=b"D" * PAGE),
    ]
    _, opened = dump(Core(loads=loads), tmp_path)
    with opened:
        assert held(opened) == {
            ABOVE: b"A" * 2 * PAGE + b"B" * PAGE,
            ABOVE + 8 * PAGE + 16: b"C" * 100,
            ABOVE + 8 * PAGE + 500: b"D" * PAGE,
        }


def test_debugger_without_signal(tmp_path: Path) -> None:
    """A siginfo without a signal is that of the debugger's own stop."""
    core = Core(threads=[Thread(tid=7)], pid=7, siginfo=struct.pack("<iii", 19, 0, -6))
    _, opened = dump(core, tmp_path)
    with opened:
        assert struct.unpack_from("<I4xII8xQI", opened.stream(6)) == (7, 0xFFFFFFFF, 0, 0, 0)


def test_no_siginfo(tmp_path: Path) -> None:
    """The signal alone, of the first thread in the file."""
    core = Core(threads=[Thread(tid=8, signal=6), Thread(tid=7, signal=6)], pid=7)
    _, opened = dump(core, tmp_path)
    with opened:
        assert struct.unpack_from("<I4xII8xQI", opened.stream(6)) == (8, 6, 0, 0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Core().bytes()[:40], "incomplete"),
        (b"\x7fELF\x02\x02" + bytes(60), "big-endian"),
        (Core(machine=183).bytes(), "AArch64"),
        (Core(machine=243).bytes(), "RISC-V"),
        (Core(machine=9999).bytes(), "an unknown machine .e_machine 9999, offset 18"),
        (Core(wide=False, machine=62).bytes(), "x32"),
        (Core().bytes()[:16] + b"\x02\0" + Core().bytes()[18:], "not a core: e_type .offset 16. is 2"),
        (Core().bytes()[:54] + b"\x20\0" + Core().bytes()[56:], "e_phentsize .offset 54. is 32, expected 56"),
        (Core().bytes()[:56] + b"\0\0" + Core().bytes()[58:], "no program headers"),
        (Core().bytes()[:64], "cut before its program headers"),
    ],
)
def test_no_core(content: bytes, message: str, tmp_path: Path) -> None:
    """What is wrong, and where."""
    with pytest.raises(md.FormatError, match=message):
        dump(content, tmp_path)


@pytest.mark.linux
def test_images_that_claim_all_memory(tmp_path: Path) -> None:
    """200,000 mappings of the same bytes, each an image that claims to be as long as all of them, and none has code."""
    count = 200_000
    image = b"\x7fELF\x02\x01\x01" + bytes(9)
    image += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    image += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, PAGE, PAGE * count, PAGE)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 4, 62, 1, 0, 64 + PAGE, 64)
    head += struct.pack("<IHHHHHH", 0, 64, 56, 0xFFFF, 64, 1, 0)
    section = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, count, 0, 0)
    rows = b"".join(
        struct.pack("<IIQQQQQQ", 1, 4, 128, ABOVE + PAGE * index, 0, len(image), PAGE, 1) for index in range(count)
    )
    content = (head + section + image).ljust(64 + PAGE, b"\0") + rows
    began = time.monotonic()
    report, opened = dump(content, tmp_path, type=md.DumpType.NORMAL)
    with opened:
        assert (len(report.regions), opened.modules()) == (count, [])
    assert time.monotonic() - began < 60  # 1 s


@pytest.mark.parametrize("wide", [True, False])
def test_link_map(tmp_path: Path, wide: bool) -> None:
    """The dynamic linker's list, in the form that the width of the process has."""
    base, word = 0x100000, "Q" if wide else "I"
    size = 8 if wide else 4

    def words(*values: int) -> bytes:
        return struct.pack(f"<{len(values)}{word}", *values)

    def segment(kind: int, at: int, length: int) -> bytes:
        if wide:
            return struct.pack("<IIQQQQQQ", kind, 4, at, at, 0, length, length, 8)
        return struct.pack("<8I", kind, at, at, 0, length, length, 4, 4)

    phdr, dynamic, debug, names, maps = base + 64, base + 512, base + 1024, base + 1536, base + 2048
    step = 5 * size
    page = bytearray(PAGE)
    entry = 56 if wide else 32
    page[64 : 64 + entry] = segment(6, 64, 2 * entry)
    page[64 + entry : 64 + 2 * entry] = segment(2, 512, 3 * 2 * size)
    page[512 : 512 + 6 * size] = words(1, 77, 21, debug, 0, 0)
    page[1024 : 1024 + step] = words(1, maps, 0xB1, 0, 0xB2)
    page[1536:1551] = b"\0/lib/first.so\0"
    page[1600:1616] = b"/lib/second.so\0\0"
    links = [
        (0xA0, names, 0xD0, maps + step, 0),
        (0xA1, names + 1, 0xD1, maps + 2 * step, maps),
        (0xA2, base + 1600, 0xD2, 0, maps + step),
    ]
    page[2048 : 2048 + 3 * step] = b"".join(words(*link) for link in links)
    core = Core(
        loads=[Load(address=base, size=PAGE, data=bytes(page))],
        auxv=[(3, phdr), (5, 2)],
        wide=wide,
        threads=[Thread(tid=1)],
    )
    _, opened = dump(core, tmp_path)
    with opened:
        length, at = opened.streams[file_rules.DSO_DEBUG]
        head = "<IIIIQQQ" if wide else "<IIIIII"
        fields = struct.unpack_from(head, opened.data, at)
        version, map_rva, count = fields[:3]
        assert (version, count, fields[-3:]) == (1, 3, (0xB1, 0xB2, dynamic))
        assert opened.data[at + struct.calcsize(head) : at + length] == words(1, 77, 21, debug, 0, 0)
        row = "<QIIQ" if wide else "<III"
        found = [struct.unpack_from(row, opened.data, map_rva + index * struct.calcsize(row)) for index in range(count)]
        assert [(item[0], opened.string(item[1]), item[-1]) for item in found] == [
            (0xA0, "", 0xD0),
            (0xA1, "/lib/first.so", 0xD1),
            (0xA2, "/lib/second.so", 0xD2),
        ]
