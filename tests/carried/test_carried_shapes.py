"""Existing dumps of odd shapes through the filter: every part that rules decide about, alone."""

from __future__ import annotations

import io
import itertools
import random
import struct
import time
from pathlib import Path

import minidumps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidump_cffi as md

COMMENT_A, COMMENT_W, THREAD_INFO, CRASHPAD, ENVIRON, SOFT_ERRORS = 10, 11, 17, 0x43500001, 0x47670007, 0x4D7A0004
GAPS, OURS = 0x4D444301, 0x12345678
AMD64_CONTEXT = 0x10000F
STACK, HEAP = 0x7FFD00000000, 0x10000
MARK = b"a mark that is in no stream"


def context(sp: int, seed: int = 1, size: int = 1232) -> bytes:
    """Registers of AMD64."""
    body = bytearray(random.Random(seed).randbytes(size))
    struct.pack_into("<I", body, 48, AMD64_CONTEXT)
    struct.pack_into("<Q", body, 152, sp)
    struct.pack_into("<Q", body, 248, 0x401000)
    return bytes(body)


def utf8(writer: minidumps.Writer, text: bytes) -> int:
    return writer.put(struct.pack("<I", len(text)) + text + b"\0")


def two_threads(writer: minidumps.Writer, *, shared: bool = False) -> None:
    """Threads 11 and 12 with names, times, stacks, contexts and an exception of 12; modules a and b."""
    body = {11: bytes(range(256)) * 4, 12: bytes(reversed(range(256))) * 4}
    places = {tid: writer.put(data) for tid, data in body.items()}
    starts = {11: STACK, 12: STACK + 0x10000}
    contexts = {tid: writer.put(context(starts[tid] + 16, tid)) for tid in body}
    if shared:
        contexts[12] = contexts[11]
    writer.system(9)
    writer.counted(
        minidumps.THREADS,
        [
            minidumps.thread(tid, stack=(starts[tid], 1024, places[tid]), context=(1232, contexts[tid]), teb=tid)
            for tid in body
        ],
    )
    writer.counted(minidumps.NAMES, [struct.pack("<IQ", tid, writer.string(f"thread {tid}")) for tid in body])
    rows = [struct.pack("<IIIIQQQQQQ", tid, 0, 0, 0, tid, 0, 5, 6, 7, 8) for tid in body]
    writer.stream(THREAD_INFO, minidumps.sized(12, 64, rows))
    writer.stream(minidumps.EXCEPTION, minidumps.exception(12, 11, context=(1232, contexts[12]), words=(5, 6)))
    names = [writer.string("/lib/a.so"), writer.string("/lib/b.so")]
    writer.counted(
        minidumps.MODULES, [minidumps.module(0x400000 * (i + 1), 0x1000, name) for i, name in enumerate(names)]
    )
    writer.counted(minidumps.MEMORY, [minidumps.memory(starts[tid], 1024, places[tid]) for tid in body])


def filtered(
    data: bytes, *rules: md.filters.Rule, path: Path | None = None, **options: object
) -> tuple[bytes, md.DumpReport]:
    """The dump that comes out, and its report; it comes out the same when it is filtered again."""
    sections = {
        name: options.pop(name) for name in ("threads", "modules", "streams", "redact", "memory") if name in options
    }
    rules_of = md.Filter(*rules, **sections)  # type: ignore[arg-type]
    out, again = io.BytesIO(), io.BytesIO()
    report = md.write_dump(md.DumpFile(io.BytesIO(data)), out, filter=rules_of, **options)  # type: ignore[arg-type]
    md.write_dump(md.DumpFile(io.BytesIO(out.getvalue())), again, filter=rules_of, **options)  # type: ignore[arg-type]
    assert again.getvalue() == out.getvalue()
    return out.getvalue(), report


def opened(data: bytes) -> md.reading.OpenDump:
    return md.open_dump(io.BytesIO(data))


@pytest.mark.parametrize("shared", [False, True])
def test_a_thread_that_is_left_out_is_in_no_list(shared: bool) -> None:
    """ThreadList, names, times, exception, stack and registers; the other thread keeps all of it."""
    writer = minidumps.Writer(odd=1)
    two_threads(writer, shared=shared)
    data = writer.finish()
    out, report = filtered(data, threads=md.filters.Threads(exclude=[12]))
    with opened(data) as before, opened(out) as after:
        assert [thread.id for thread in after.threads] == [11]
        assert after.threads[0] == before.threads[0]
        assert after.threads[0].name == "thread 11" and after.threads[0].teb == 11
        assert after.exceptions == ()
        assert (
            after.stream(THREAD_INFO)
            == before.stream(THREAD_INFO)[:8] + b"\1\0\0\0" + before.stream(THREAD_INFO)[12:76]
        )
        assert [(run.address, run.size) for run in after.memory] == [(STACK, 1024)]
    assert "thread 12".encode("utf-16-le") not in out
    assert (context(STACK + 0x10010, 12)[300:400] in out) is False
    assert report.omitted_streams & md.filters.Stream.EXCEPTION


def test_registers_that_are_left_out_leave_an_empty_context_of_the_same_size() -> None:
    """What readers need is there: a context of its size, for the processor, that declares nothing."""
    writer = minidumps.Writer()
    two_threads(writer)
    rule = md.filters.thread(12, write=["thread", "stack"])
    out, _ = filtered(writer.finish(), threads=md.filters.Threads([rule]))
    with opened(out) as after:
        kept, gone = after.threads
        assert kept.context == context(STACK + 16, 11)
        assert len(gone.context) == 1232 and gone.context[48:52] == struct.pack("<I", 0x100000)
        assert not any(gone.context[:48] + gone.context[52:])
        assert after.exceptions == ()


def test_a_dump_whose_threads_are_all_left_out_has_an_entry_of_no_thread() -> None:
    """Debugger engines do not start without one."""
    writer = minidumps.Writer()
    two_threads(writer)
    out, report = filtered(writer.finish(), threads=md.filters.Threads(default="exclude", include=[1]))
    with opened(out) as after:
        assert [thread.id for thread in after.threads] == [0xFFFFFFFF]
    assert report.warnings & md.report.DumpWarning.NO_THREADS


def crashpad_info(writer: minidumps.Writer) -> None:
    """Annotations of the process and of both modules, in all forms."""
    pairs = [utf8(writer, text) for text in (b"key", b"value hunter2", b"other", b"thing")]
    simple = struct.pack("<5I", 2, *pairs)
    links = b""
    for index, name in enumerate((b"of a", b"of b")):
        words = [
            utf8(writer, text)
            for text in (name + b" list", name + b" key", name + b" value", name + b" object", name + b" bytes")
        ]
        listed = struct.pack("<2I", 1, words[0])
        simple_of = struct.pack("<3I", 1, *words[1:3])
        objects = struct.pack("<IIHHI", 1, words[3], 1, 0, words[4])
        parts = [(len(body), writer.put(body)) for body in (listed, simple_of, objects)]
        module = struct.pack("<I6I", 1, *itertools.chain(*parts))
        links += struct.pack("<III", index, len(module), writer.put(module))
    modules = struct.pack("<I", 2) + links
    body = struct.pack(
        "<I16s16s4II Q".replace(" ", ""),
        1,
        b"r" * 16,
        b"c" * 16,
        len(simple),
        writer.put(simple),
        len(modules),
        writer.put(modules),
        0,
        0,
    )
    writer.stream(CRASHPAD, body)


def test_annotations_follow_their_modules() -> None:
    """Left out with the module; those of later ones get its new number."""
    writer = minidumps.Writer(odd=3)
    two_threads(writer)
    crashpad_info(writer)
    data = writer.finish()
    kept, _ = filtered(data)
    for text in (b"value hunter2", b"of a list", b"of b object"):
        assert kept.count(text) == 1
    out, _ = filtered(
        data,
        modules=md.filters.Modules(exclude=["*/a.so"]),
        redact=md.filters.Redact(patterns=[b"hunter2"]),
    )
    assert b"of a" not in out and b"hunter2" not in out and b"value XXXXXXX" in out
    with opened(out) as after:
        assert [module.path for module in after.modules] == ["/lib/b.so"]
        info = after.stream(CRASHPAD)
    size, rva = struct.unpack_from("<II", info, 44)
    assert struct.unpack_from("<II", out, rva) == (1, 0) and size == 16
    assert out.count(b"of b list") == 1


def test_a_pattern_is_in_no_text_of_the_dump() -> None:
    """Strings, comments, CodeView paths, opaque streams longer than the buffer, and memory across two ranges."""
    secret = "hunter2é"
    raw = secret.encode()
    writer = minidumps.Writer(odd=1)
    writer.system(9, text=f"uname {secret}")
    record = b"RSDS" + bytes(16) + struct.pack("<I", 1) + b"/src/" + raw + b".pdb\0"
    writer.counted(
        minidumps.MODULES,
        [minidumps.module(0x400000, 0x1000, writer.string(f"/lib/{secret}.so"), (len(record), writer.put(record)))],
    )
    handle = struct.pack("<QIIIIII", 4, writer.string("File"), writer.string(f"C:\\{secret}"), 0, 0, 1, 1)
    writer.stream(minidumps.HANDLES, minidumps.sized(16, 32, [handle]).ljust(48, b"\0"))
    writer.stream(COMMENT_A, b"a comment " + raw + b"\0")
    writer.stream(COMMENT_W, f"wide {secret}".encode("utf-16-le") + b"\0\0")
    long = b"v" * ((1 << 20) - 5) + raw + b"w" * 9000 + raw
    writer.stream(ENVIRON, long)
    half = len(raw) // 2
    first, second = b"m" * 100 + raw[:half], raw[half:] + b"n" * 100
    rows = [
        minidumps.memory(HEAP, len(first), writer.put(first)),
        minidumps.memory(HEAP + len(first), len(second), writer.put(second)),
    ]
    writer.counted(minidumps.MEMORY, rows)
    data = writer.finish()
    kept, _ = filtered(data)
    assert kept.count(raw) == data.count(raw) + 1  # the two ranges are neighbours now
    out, report = filtered(data, redact=md.filters.Redact(patterns=[secret]))
    assert raw not in out and secret.encode("utf-16-le") not in out
    with opened(out) as after:
        assert after.read(HEAP, 100) == b"m" * 100
        whole = after.read(HEAP, len(first) + len(second))
        assert whole == b"m" * 100 + b"X" * len(raw) + b"n" * 100
        assert after.stream(ENVIRON) == long.replace(raw, b"X" * len(raw))
        assert after.stream(COMMENT_W).decode("utf-16-le") == "wide XXXXXXXX\0"
        assert after.modules[0].path == "/lib/XXXXXXXX.so"
    assert report.redaction is not None and report.redaction.hits >= 8


@pytest.mark.parametrize(("architecture", "word"), [(0, "I"), (9, "Q"), (5, "I")])
def test_words_of_stacks_have_the_width_of_the_target(architecture: int, word: str) -> None:
    """Pointers into modules and stacks and small numbers stay; everything else on a stack becomes the marker."""
    sp, module = 0x20000, 0x400000
    size = struct.calcsize(word)
    minus = (1 << 8 * size) - 5
    words = [module + 8, 0x12345678, sp + 16, 7, minus, 0xDEADBEEF, 0x40000000]
    stack = struct.pack(f"<{len(words)}{word}", *words)
    registers = bytearray(1232 if architecture == 9 else 716 if architecture == 0 else 368)
    struct.pack_into("<" + word, registers, {0: 196, 9: 152, 5: 56}[architecture], sp)
    writer = minidumps.Writer()
    writer.system(architecture)
    place = writer.put(stack)
    context_of = (len(registers), writer.put(bytes(registers)))
    writer.counted(minidumps.THREADS, [minidumps.thread(1, stack=(sp, len(stack), place), context=context_of)])
    writer.counted(minidumps.MODULES, [minidumps.module(module, 0x1000, writer.string("/lib/a.so"))])
    writer.counted(minidumps.MEMORY, [minidumps.memory(sp, len(stack), place)])
    out, report = filtered(writer.finish(), redact=md.filters.Redact(stacks=True))
    marker = 0x0DEFACED0DEFACED & ((1 << 8 * size) - 1)
    expected = [module + 8, marker, sp + 16, 7, minus, marker, marker]
    with opened(out) as after:
        assert struct.unpack(f"<{len(words)}{word}", after.read(sp, len(stack))) == tuple(expected)
    assert report.redaction is not None and report.redaction.words == 3


def test_values_of_variables_are_hidden_wherever_the_environment_is() -> None:
    """Once only in its stream, once also in the memory of the main stack."""
    block = b"HOME=/root\0API_TOKEN=hunter2\0PATH=/bin\0"
    rules = md.filters.Redact(environ={"drop": ["*TOKEN*"]})
    for in_memory in (False, True):
        writer = minidumps.Writer()
        two_threads(writer)
        writer.stream(ENVIRON, block + bytes(3))
        if in_memory:
            top = b"\0" * 64 + block + b"\0" * 64
            del writer.entries[-2]  # the list of memory
            rows = [minidumps.memory(STACK, len(top), writer.put(top))]
            writer.counted(minidumps.MEMORY, rows)
        out, report = filtered(writer.finish(), redact=rules)
        assert b"hunter2" not in out
        assert b"API_TOKEN=XXXXXXX\0PATH=/bin" in out
        assert report.redaction is not None and report.redaction.variables == 1


def test_a_text_that_is_in_excluded_memory_is_left_out_with_it() -> None:
    """As of a process: what shows target memory follows it."""
    block = b"HOME=/root\0API_TOKEN=hunter2\0PATH=/bin\0"
    writer = minidumps.Writer()
    writer.system(9)
    top = b"\1" * 64 + block + b"\2" * 64
    writer.counted(
        minidumps.THREADS,
        [
            minidumps.thread(
                1, stack=(STACK, len(top), place := writer.put(top)), context=(1232, writer.put(context(STACK)))
            )
        ],
    )
    writer.counted(minidumps.MEMORY, [minidumps.memory(STACK, len(top), place)])
    writer.stream(ENVIRON, block)
    out, report = filtered(writer.finish(), md.exclude(range=(STACK + 70, STACK + 71)))
    assert b"hunter2" in out  # of the stack, where it is kept
    assert out.count(b"API_TOKEN") == 1
    assert report.omitted_streams & md.filters.Stream.ENVIRON


def test_streams_are_left_out_by_name() -> None:
    """`[streams] exclude` means those of the dump too."""
    writer = minidumps.Writer()
    two_threads(writer)
    writer.stream(ENVIRON, b"A=b\0")
    out, _ = filtered(
        writer.finish(), streams=md.filters.Streams(exclude=["environ", "thread_names", "thread_info", "exception"])
    )
    with opened(out) as after:
        kinds = {entry.type for entry in after.streams}
    assert kinds == {minidumps.SYSTEM, minidumps.THREADS, minidumps.MODULES, minidumps.MEMORY}


def test_unknown_streams_are_dropped_and_named_or_kept() -> None:
    """Compressed memory is never kept: no rule could decide about it."""
    writer = minidumps.Writer()
    two_threads(writer)
    writer.put(MARK)
    writer.stream(OURS, b"what is in here is not known")
    writer.stream(25, b"compressed memory")
    writer.put(MARK)
    data = writer.finish() + MARK
    out, report = filtered(data)
    assert report.dropped_streams == (OURS, 25)
    assert any("0x12345678" in message for message in report.messages)
    assert b"is not known" not in out and b"compressed" not in out and MARK not in out
    out, report = filtered(data, unknown_streams="keep")
    assert report.dropped_streams == (25,)
    assert b"is not known" in out and b"compressed" not in out and MARK not in out


def test_a_stack_of_several_regions_stays_one_range() -> None:
    """Without a MemoryInfoList regions follow the ranges: a reduced dump is the same when it is reduced again."""
    writer = minidumps.Writer()
    writer.system(9)
    place = (9000, writer.put(bytes(9000)))
    spans = [(STACK + 0xE00, 4608), (STACK + 0x2000, 4392)]
    where = writer.put(context(STACK + 0xE10))
    row = minidumps.thread(1, stack=(STACK + 0xE00, *place), context=(1232, where))
    writer.counted(minidumps.THREADS, [row])
    writer.memory64([(address, b"s" * size) for address, size in spans])
    for kind in ("normal", None):
        out, _ = filtered(writer.finish(flags=2), type=kind)
        with opened(out) as after:
            assert after.threads[0].stack is not None
            assert after.read(STACK + 0xE00, 9000)


def test_streams_that_share_bytes_with_memory_are_refused() -> None:
    """Rules about that memory could not decide about them."""
    for kind, offset, size in ((19, 100, 50), (OURS, 0, 10), (COMMENT_A, 990, 100)):
        writer = minidumps.Writer()
        two_threads(writer)
        where = writer.entries[-1]  # the list of memory, whose first range is known by its bytes
        assert where[0] == minidumps.MEMORY
        start = bytes(writer.data).index(bytes(range(256)) * 4)
        writer.entries.append((kind, size, start + offset))
        with pytest.raises(md.FormatError, match="are also memory of the target"):
            md.write_dump(md.DumpFile(io.BytesIO(writer.finish())), io.BytesIO(), unknown_streams="keep")


def test_a_cut_dump_is_used_as_far_as_it_goes() -> None:
    """The rest is a gap, in the report and in the file; exit status 3 on the command line."""
    front = minidumps.Writer()
    two_threads(front)
    del front.entries[-1]
    at = front.put(struct.pack("<QQ", 2, 0) + struct.pack("<4Q", HEAP, 5000, HEAP + 0x10000, 5000))
    front.entries.append((minidumps.MEMORY64, 48, at))
    struct.pack_into("<Q", front.data, at + 8, len(front.data))
    cut = front.finish() + b"h" * 5000 + b"i" * 1000
    out, report = filtered(cut)
    assert not report.complete and report.cut_bytes == 4000
    assert [(gap.address, gap.size, gap.reason) for gap in report.missing] == [
        (HEAP + 0x10000 + 1000, 4000, md.report.GapReason.CUT)
    ]
    assert any("4,000 bytes" in message for message in report.messages)
    with opened(out) as after:
        assert after.read(HEAP, 5000) == b"h" * 5000
        assert after.read(HEAP + 0x10000, 1000) == b"i" * 1000
        assert any(entry.type == GAPS for entry in after.streams)


def test_entries_of_memory_info_are_split_where_ranges_begin() -> None:
    """Readers look a range of Memory64List up by the entry that begins there."""
    writer = minidumps.Writer()
    writer.system(9)
    writer.stream(minidumps.INFOS, minidumps.sized(16, 48, [minidumps.info(HEAP, 0x4000)], wide=True))
    writer.memory64([(HEAP, bytes(range(256)) * 64)])
    data = writer.finish(flags=2)
    out, report = filtered(data, md.exclude(range=(HEAP + 0x1000, HEAP + 0x2000)))
    with opened(out) as after:
        body = after.stream(minidumps.INFOS)
    rows = [struct.unpack_from("<Q16xQ", body, 16 + 48 * index) for index in range((len(body) - 16) // 48)]
    assert rows == [(HEAP, 0x2000), (HEAP + 0x2000, 0x2000)]
    assert report.memory_info_count == 2 and report.memory64_ranges == 2


def test_a_normal_type_reduces_a_dump_to_its_stacks() -> None:
    """What a Normal dump of the process would have held, as far as the file has it."""
    writer = minidumps.Writer()
    two_threads(writer)
    del writer.entries[-1]
    writer.memory64(
        [(STACK, bytes(1024)), (STACK + 0x10000, bytes(1024)), (HEAP, b"h" * 4096), (0x401000 - 64, b"c" * 512)]
    )
    out, report = filtered(writer.finish(flags=2), type="normal")
    with opened(out) as after:
        held = {(run.address, run.size) for run in after.memory}
        assert after.flags == 0
    assert held == {(STACK, 1024), (STACK + 0x10000, 1024), (0x401000, 128)}  # of the instruction's mapping
    assert report.complete and report.memory64_ranges == 0


def test_what_the_caller_adds_is_added_once() -> None:
    """Annotations, a comment and user streams; a dump that has them already is refused."""
    writer = minidumps.Writer()
    two_threads(writer)
    data = writer.finish()
    extra = {
        "annotations": {"key": "value"},
        "comment": "why",
        "user_streams": [md.UserStream(type=OURS, data=b"mine")],
    }
    added = io.BytesIO()
    md.write_dump(md.DumpFile(io.BytesIO(data)), added, **extra)  # type: ignore[arg-type]
    out, _ = filtered(added.getvalue(), unknown_streams="keep")
    with opened(out) as after:
        assert after.stream(OURS) == b"mine" and after.stream(COMMENT_A) == b"why\0"
    for name, value in extra.items():
        with pytest.raises(ValueError, match="already"):
            md.write_dump(md.DumpFile(io.BytesIO(out)), io.BytesIO(), **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a file has its own"):
        md.write_dump(md.DumpFile(io.BytesIO(out)), io.BytesIO(), exception=md.SignalInfo(tid=11, signal=11))


def test_texts_that_overlap_do_not_make_a_bomb(tmp_path: Path) -> None:
    """Names that all end in the same megabyte: more than a file can hold."""
    writer = minidumps.Writer()
    writer.system(9)
    start = writer.put(b"\x10\x27\x00\x00" * 250_000)
    rows = [minidumps.module(0x400000 + 0x1000 * i, 0x1000, start + 4 * i) for i in range(100_000)]
    writer.counted(minidumps.MODULES, rows)
    began = time.monotonic()
    with pytest.raises(md.FormatError):
        md.write_dump(md.DumpFile(io.BytesIO(writer.finish())), tmp_path / "out.dmp")
    assert time.monotonic() - began < 60
    assert list(tmp_path.iterdir()) == []


ranges = st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=12)), max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    first=ranges,
    second=ranges,
    odd=st.integers(0, 3),
    padded=st.booleans(),
    gone=st.tuples(st.integers(0, 80), st.integers(1, 20)),
    size=st.sampled_from([1147, 1232, 1407, 1663]),
    shared=st.booleans(),
)
def test_any_lists_come_out_as_they_are_without_what_is_excluded(
    first: list[tuple[int, bytes]],
    second: list[tuple[int, bytes]],
    odd: int,
    padded: bool,
    gone: tuple[int, int],
    size: int,
    shared: bool,
) -> None:
    """Overlapping ranges, both lists, odd places, contexts of any size, shared or not."""
    writer = minidumps.Writer(odd=odd)
    writer.system(9)
    one = writer.put(context(0x10020, 3, size))
    other = one if shared else writer.put(context(0x10030, 4, size))
    writer.counted(
        minidumps.THREADS,
        [minidumps.thread(1, context=(size, one)), minidumps.thread(2, context=(size, other))],
        padded=padded,
    )
    if first:
        writer.counted(
            minidumps.MEMORY,
            [minidumps.memory(0x10000 + at, len(body), writer.put(body)) for at, body in first],
            padded=padded,
        )
    if second:
        writer.memory64([(0x10000 + at, body) for at, body in second])
    data = writer.finish()
    low, high = 0x10000 + gone[0], 0x10000 + gone[0] + gone[1]
    out, report = filtered(data, md.exclude(range=(low, high)))
    assert report.complete
    with opened(data) as before, opened(out) as after:
        assert [thread.context for thread in after.threads] == [thread.context for thread in before.threads]
        assert {5, 9} & {s.type for s in before.streams} == {5, 9} & {s.type for s in after.streams}
        held = {run.address + at: before.read(run.address + at, 1) for run in before.memory for at in range(run.size)}
        found = {run.address + at: after.read(run.address + at, 1) for run in after.memory for at in range(run.size)}
    assert found == {address: byte for address, byte in held.items() if not low <= address < high}


def test_what_only_further_lists_name_can_be_left_out() -> None:
    """Threads of other lists or of an exception alone, modules of other lists or of one base, memory of other lists."""
    writer = minidumps.Writer(odd=1)
    two_threads(writer)
    registers = {tid: (1232, writer.put(context(0, tid))) for tid in (13, 14, 15)}
    others = (1232, writer.put(context(0, 11)))
    writer.counted(
        minidumps.THREADS, [minidumps.thread(11, context=others), minidumps.thread(13, context=registers[13])]
    )
    writer.counted(8, [minidumps.thread(14, context=registers[14], extra=16)])
    writer.stream(minidumps.EXCEPTION, minidumps.exception(15, 11, context=registers[15]))
    writer.counted(minidumps.NAMES, [struct.pack("<IQ", tid, writer.string(f"thread {tid}")) for tid in range(13, 17)])
    for kind, base, names in (
        (minidumps.MODULES, 0x400000, ("/2/a.so", "/2/secret.so")),
        (0xFFF0, 0x900000, ("/3/secret.so", "/3/c.so")),
    ):
        writer.counted(kind, [minidumps.module(base, 0x1000, writer.string(name)) for name in names])
    writer.counted(minidumps.MEMORY, [minidumps.memory(HEAP, len(MARK), writer.put(MARK))])
    data = writer.finish()
    out, _ = filtered(
        data,
        threads=md.filters.Threads(exclude=[13, 14, 15, 16]),
        modules=md.filters.Modules(exclude=["*/secret.so"]),
    )
    texts = {f"thread {tid}": tid in (11, 12) for tid in range(11, 17)}
    texts |= dict.fromkeys(("/lib/a.so", "/2/a.so", "/3/c.so"), True) | dict.fromkeys(
        ("/2/secret.so", "/3/secret.so"), False
    )
    assert {text: text.encode("utf-16-le") in out for text in texts} == texts
    assert not any(context(0, tid)[300:400] in out for tid in registers)
    assert out.count(MARK) == 1
    kept, report = filtered(data)
    assert {kept.count(context(0, tid)) for tid in registers} == {1} and report.complete
    again = minidumps.Writer(streams=700)
    again.system(9)
    again.counted(minidumps.MEMORY, [minidumps.memory(HEAP + i, 1, 40) for i in range(100)])
    again.entries += again.entries[-1:] * 600
    with pytest.raises(md.FormatError, match=r"MemoryList at offset 0x[0-9a-f]+: the directory names so many"):
        filtered(again.finish())


def test_a_pattern_is_in_nothing_that_may_be_a_text() -> None:
    """UTF-16 as bytes, 8 bits where UTF-16 should be, records of unknown kinds, and what is longer than is known."""
    wide = "hunter2".encode("utf-16-le")
    writer = minidumps.Writer(odd=1)
    writer.system(9, text="uname hunter2")
    record = b"NB99 hunter2\0"
    record_at = (len(record), writer.put(record))
    writer.counted(minidumps.MODULES, [minidumps.module(0x400000, 0x1000, writer.string("/hunter2"), record_at)])
    writer.stream(COMMENT_W, b"hunter2 in eight bits!")
    handle = struct.pack("<QIIIIII8x", 4, 0, writer.string("hunter2"), 0, 0, 1, 1) + b"hunter2\0"
    head = struct.pack("<IIII", 24, len(handle), 1, 0) + b"hunter2\0"
    writer.stream(minidumps.HANDLES, head + handle)
    infos = [minidumps.info(HEAP, 0x1000) + b"hunter2\0"]
    writer.stream(minidumps.INFOS, minidumps.sized(16, 56, infos, wide=True))
    data = writer.finish()
    kept, _ = filtered(data)
    assert (kept.count(b"hunter2"), kept.count(wide)) == (5, 3)
    out, _ = filtered(data, redact=md.filters.Redact(patterns=[b"hunter2", wide]))
    assert b"hunter2" not in out and wide not in out
    with opened(out) as after:
        assert after.handles[0].value == 4 and after.modules[0].base == 0x400000
