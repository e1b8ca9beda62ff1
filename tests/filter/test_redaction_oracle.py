"""Redaction against plain Python: fake targets dumped through the real engine, patterns taken from their memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import fake
import file_rules
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minidump_cffi as md
from minidump_cffi.filters import Kind, MemoryProtect, MemoryType

PAGE = fake.PAGE
FULL = md.DumpType.WITH_FULL_MEMORY
HEAP = 0x50_0000
FILL = ord("X")
# Mappings that touch, a separate one, a stack whose parts are apart in the file.
TARGET = fake.small(
    regions=(
        fake.Region(base=0x40_0000, size=4 * PAGE, name=b"/bin/app", type=MemoryType.IMAGE, kinds=Kind.IMAGE,
                    protect=MemoryProtect.EXECUTE_READ),
        fake.Region(base=HEAP, size=4 * PAGE, name=b"[heap]", kinds=Kind.HEAP | Kind.ANONYMOUS),
        fake.Region(base=HEAP + 4 * PAGE, size=3 * PAGE, protect=MemoryProtect.READONLY),
        fake.Region(base=0x90_0000, size=4 * PAGE, name=b"[stack]", kinds=Kind.STACK | Kind.ANONYMOUS),
    ),
    threads=(fake.Thread(tid=100, stack_pointer=0x90_2100, instruction_pointer=0x40_0100, name=b"main"),),
    environ=(HEAP + 4 * PAGE - 40, 80),
)  # fmt: skip
RUNS = {0x40_0000: 4 * PAGE, HEAP: 7 * PAGE, 0x90_0000: 4 * PAGE}
MEMORY = {base: TARGET.bytes(base, size) for base, size in RUNS.items()}
BORDERS = [base + at for base, size in RUNS.items() for at in range(0, size + 1, PAGE)]


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    """Address and bytes of a stretch of memory, most of them near a border of pages."""
    size = draw(st.one_of(st.integers(4, 24), st.integers(4, 4096)))
    near = draw(st.sampled_from(BORDERS)) + draw(st.integers(-size - 3, 3))
    base = max((base for base in RUNS if base <= near), default=min(RUNS))
    first = min(max(near, base), base + RUNS[base] - size)
    return first, size


def content(first: int, size: int) -> bytes:
    base = max(base for base in RUNS if base <= first)
    return MEMORY[base][first - base : first - base + size]


SETS = {
    "[a-m]": b"abcdefghijklm",
    "[!\0a]": bytes(set(range(256)) - {0, 97}),
    "[-0-9\xff]": b"-0123456789\xff",
    "[\0-\xff]": bytes(range(256)),
}


def expected(patterns: list[bytes | md.Pattern], ranges: list[tuple[int, int]]) -> dict[int, bytes]:
    """The plain way: every occurrence in contiguous memory with what follows it, then the ranges."""
    result = {}
    plain = {(item, b"", 0) if isinstance(item, bytes) else (item.start, item.then, item.up_to) for item in patterns}
    for base, data in MEMORY.items():
        hidden = bytearray(data)
        for start, then, up_to in plain:
            following, at = SETS.get(then.decode("latin-1"), b""), -1
            while (at := data.find(start, at + 1)) >= 0:
                end = at + len(start)
                while end < len(data) and end - at < len(start) + up_to and data[end] in following:
                    end += 1
                hidden[at:end] = bytes([FILL]) * (end - at)
        for first, end in ranges:
            low, high = max(first, base), min(end, base + len(data))
            if low < high:
                hidden[low - base : high - base] = bytes([FILL]) * (high - low)
        result[base] = bytes(hidden)
    return result


@given(
    taken=st.lists(places(), max_size=6),
    others=st.lists(st.binary(min_size=4, max_size=40), max_size=3),
    ranges=st.lists(places(), max_size=3),
    tails=st.lists(st.tuples(st.sampled_from(sorted(SETS)), st.integers(1, 9000)), max_size=6),
    buffer=st.sampled_from([PAGE, 3 * PAGE, 1 << 20]),
)
@example(taken=[(HEAP + 4 * PAGE - 5, 11), (HEAP + 4 * PAGE - 1, 11)], others=[], ranges=[], tails=[], buffer=PAGE)
@example(taken=[(0x90_2000 - 7, 4096), (0x90_2000 - 1, 4)], others=[], ranges=[(HEAP, 9)], tails=[], buffer=PAGE)
@example(taken=[(HEAP + 3, 4)], others=[], ranges=[], tails=[("[\0-\xff]", 9000)], buffer=PAGE)
@example(taken=[(HEAP + PAGE - 9, 4)], others=[], ranges=[], tails=[("[\0-\xff]", 200)], buffer=PAGE)
@settings(max_examples=60)
def test_the_file_holds_what_it_should(
    taken: list[tuple[int, int]],
    others: list[bytes],
    ranges: list[tuple[int, int]],
    tails: list[tuple[str, int]],
    buffer: int,
) -> None:
    patterns: list[bytes | md.Pattern] = [content(*place) for place in taken] + others
    for at, (then, up_to) in enumerate(tails[: len(patterns)]):
        start = patterns[at]
        assert isinstance(start, bytes)
        patterns[at] = md.Pattern(start[:1000], then=then.encode("latin-1"), up_to=up_to)
    hidden = [(first, first + size) for first, size in ranges]
    keep = md.Filter(redact=md.Redact(patterns=patterns, ranges=hidden))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dump.dmp"
        report = fake.write(TARGET, path, FULL, filter=keep, options=md.EngineOptions(buffer_bytes=buffer))
        with file_rules.DumpFile(path) as dump:
            wanted = expected(patterns, hidden)
            for base, size in RUNS.items():
                assert dump.read_across(base, size) == wanted[base]
            first, size = TARGET.environ
            assert dump.stream(0x47670007) == wanted[HEAP][first - HEAP : first - HEAP + size]
    if patterns or hidden:
        assert report.redaction is not None and report.redaction.uncovered == 0
        assert (report.redaction.hits >= len({content(*place) for place in taken})) or not taken
    else:
        assert report.redaction is None


@given(
    stacks=st.booleans(),
    keep=st.lists(st.sampled_from(["PATH", "LC_*", "[a-c]?", b"odd\xff*"]), max_size=3),
    drop=st.lists(st.sampled_from(["*KEY*", "*"]), max_size=2),
    ranges=st.lists(places(), max_size=3),
    patterns=st.lists(st.one_of(st.binary(min_size=4, max_size=30), st.text(min_size=4, max_size=9)), max_size=4),
    fill=st.integers(0, 255),
)
def test_filters_survive_their_text(
    ranges: list[tuple[int, int]],
    patterns: list[bytes | str],
    stacks: bool,
    keep: list[str | bytes],
    drop: list[str],
    fill: int,
) -> None:
    """To TOML and back, through pickle, and compiled."""
    import pickle

    made = md.Filter(
        redact=md.Redact(
            ranges=[(first, first + size) for first, size in ranges],
            patterns=patterns,
            stacks=stacks,
            fill=fill,
            environ={"keep": keep, "drop": drop},
        )
    )
    again = md.Filter.from_toml(made.to_toml())
    assert again == made and hash(again) == hash(made)
    assert pickle.loads(pickle.dumps(made)) == made
    assert bool(made.redact) == bool(ranges or patterns or stacks or keep or drop)
    assert made.compile() is made
