"""Dumps between stacks and everything: presets, the bits they are made of, and rules that add memory.

Of a live process. What is in a dump is said by readers that are not ours.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import file_rules
import live
import pytest
import readers

import minidump_cffi as md

T = md.DumpType
PAGE = 4096
Dump = Callable[..., tuple[md.DumpReport, Path]]
NAMES = ("constant", "written", "zero", "small", "large", "hidden", "pointed", "mapped")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[live.Target]:
    folder = tmp_path_factory.mktemp("between-folder")
    program = live.compile_c(
        live.HERE / "targets/between.c", folder / "between", "-O1", "-fPIE", "-pie", "-pthread",
        "-Wl,-z,relro,-z,now,--no-as-needed", "-lm",
    )  # fmt: skip
    (folder / "mapped").write_bytes(bytes(range(256)) * (4 * PAGE // 256))
    env = {"SECRET_OF_ENV": "ENVTEXT-ENVTEXT", "LD_LIBRARY_PATH": ""}
    with live.Target([str(program), str(folder / "mapped")], env=env) as made:
        yield made


@pytest.fixture
def dump(target: live.Target, tmp_path: Path) -> Dump:
    """Dumps it; every file keeps the rules of the format."""

    def take(type: object = None, **options: object) -> tuple[md.DumpReport, Path]:
        path = tmp_path / "x.dmp"
        report = md.write_dump(target.pid, path, type, **options)  # type: ignore[arg-type]
        assert report.complete and not file_rules.broken_rules(path)
        target.assert_runs_on()
        return report, path

    return take


def held(path: Path, target: live.Target, names: tuple[str, ...] = NAMES) -> set[str]:
    """Which of the places are in it."""
    reading = readers.read_minidump(path, [(target.info[name] + (PAGE if name == "zero" else 0), 16) for name in names])
    assert not reading.errors
    return {name for name, content in zip(names, reading.contents, strict=True) if content is not None}


def memory_of(path: Path) -> list[tuple[int, int]]:
    reading = readers.read_minidump(path)
    assert reading.memory is not None
    return sorted(reading.memory)


BITS = [
    (T.NORMAL, set()),
    (T.WITH_DATA_SEGS, {"written", "zero"}),
    (T.WITH_PRIVATE_READ_WRITE_MEMORY, {"small", "large", "pointed"}),
    ("heap", {"written", "zero", "small", "large", "pointed"}),
    ("modified", {"written"}),
    ("full", {*NAMES} - {"hidden"}),
]


@pytest.mark.parametrize(("type", "there"), BITS, ids=lambda value: str(value) if not isinstance(value, set) else "")
def test_what_a_type_holds(type: object, there: set[str], target: live.Target, dump: Dump) -> None:
    report, path = dump(type)
    assert held(path, target) == there
    assert report.honoured == report.type and not report.messages


@pytest.mark.parametrize("reader", [readers.read_lldb, readers.read_minidump])
def test_the_bytes_of_the_heap(reader: Callable[..., readers.Reading], target: live.Target, dump: Dump) -> None:
    _, path = dump("heap")
    at = target.info
    wanted = [(at["large"], 1 << 20), (at["small"], 100), (at["zero"] + PAGE, PAGE), (at["written"], 14)]
    try:
        reading = reader(path, wanted)
    except readers.ReaderMissing as missing:
        if readers.readers_required():
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    assert reading.contents == (b"L" * (1 << 20), b"s" * 100, b"Z" * PAGE, b"WRITTEN-GLOBAL")


def owned_pages(pid: int) -> set[int]:
    """Pages of private mappings of files that are not the file's, as the kernel says."""
    found = set()
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for line in lines:
            span, access, _, _, inode, *_ = line.split()
            first, end = (int(word, 16) for word in span.split("-"))
            if inode == "0" or access[3] != "p":
                continue
            pagemap.seek(first // PAGE * 8)
            entries = struct.unpack(f"<{(end - first) // PAGE}Q", pagemap.read((end - first) // PAGE * 8))
            # 63: present, 62: swapped, 61: of a file or shared
            found |= {first + i * PAGE for i, entry in enumerate(entries) if entry >> 62 and not entry >> 61 & 1}
    return found


def test_modified_pages(target: live.Target, dump: Dump) -> None:
    """A page that was written, one that was relocated, and none of those that are as in their files."""
    _, normal = dump()
    stored = set(memory_of(normal))
    _, path = dump("modified")
    pages = {
        at for first, size in memory_of(path) if (first, size) not in stored for at in range(first, first + size, PAGE)
    }
    owned = owned_pages(target.pid)
    assert {page for page in owned if not any(page <= first < page + PAGE for first, _ in stored)} <= pages
    at = target.info
    (relocated, page), (untouched,), (touched,) = (
        readers.read_minidump(path, [(at["relocated"], 16), (at["mapped"] + 2 * PAGE, PAGE)]).contents,
        readers.read_minidump(path, [(at["mapped"], PAGE)]).contents,
        readers.read_minidump(path, [(at["quiet"] + 8 * PAGE, PAGE)]).contents,
    )
    assert relocated == struct.pack("<QQ", at["constant"], at["constant"] + 1), "what the dynamic linker made of it"
    original = bytes(range(256)) * (PAGE // 256)
    assert page == original[:100] + b"W" + original[101:]
    assert untouched is None and touched is None
    assert {first & -PAGE for first in (at["relocated"], at["written"], at["mapped"] + 2 * PAGE)} <= pages


@pytest.mark.parametrize("name", ["pointed", "in_register"])
def test_what_pointers_lead_to(name: str, target: live.Target, dump: Dump) -> None:
    pointer = target.info[name] + (5000 if name == "pointed" else 6000)
    _, path = dump("referenced")
    whole = bytes(i // 7 & 0xFF for i in range(4 * PAGE))
    start = pointer - 0x100 - target.info[name]
    (around, before, after) = readers.read_minidump(
        path, [(pointer - 0x100, 0x400), (pointer - 0x101, 1), (pointer + 0x300, 1)]
    ).contents
    assert around == whole[start : start + 0x400]
    assert before is None and after is None


def test_the_cap_of_what_pointers_lead_to(target: live.Target, dump: Dump) -> None:
    none, _ = dump()
    every, _ = dump("referenced")
    assert every.memory_bytes > none.memory_bytes + 0x1000 and not every.messages
    capped, path = dump("referenced", options=md.EngineOptions(referenced_max=0x1000))
    assert none.memory_bytes < capped.memory_bytes <= none.memory_bytes + 0x1000
    assert capped.warnings & md.report.DumpWarning.REFERENCED and "referenced_max" in capped.messages[0]
    pointer = target.info["in_register"] + 6000
    assert readers.read_minidump(path, [(pointer, 16)]).contents[0] is not None, "registers come first"


def test_scan_memory_leaves_out_modules(target: live.Target, dump: Dump) -> None:
    names = []
    for type in (T.NORMAL, T.SCAN_MEMORY):
        _, path = dump(type)
        modules = readers.read_minidump(path).modules
        assert modules is not None
        names.append({module.path.rpartition("/")[2].partition(".so")[0] for module in modules})
    assert {"between", "libm", "libc"} <= names[0]
    assert names[1] < names[0] and {"between", "libc"} <= names[1] and "libm" not in names[1]


def test_without_optional_data(dump: Dump) -> None:
    (_, normal), without = dump(), None
    windows = [size for _, size in memory_of(normal) if size <= 512]
    _, without = dump(T.WITHOUT_OPTIONAL_DATA)
    assert windows and not [size for _, size in memory_of(without) if size <= 512]


def test_filter_memory_and_frames(target: live.Target, dump: Dump) -> None:
    report, path = dump(T.FILTER_MEMORY)
    data = path.read_bytes()
    assert b"ONSTACK" not in data and (0x0DEFACED0DEFACED).to_bytes(8, "little") in data
    assert report.honoured == T.FILTER_MEMORY and report.redaction is not None and report.redaction.words > 0
    try:
        reading = readers.read_lldb(path, frames=True)
    except readers.ReaderMissing as missing:
        pytest.skip(str(missing))
    assert reading.threads is not None
    (frames,) = (thread.frames for thread in reading.threads if thread.tid == target.pid)
    assert "main" in frames, "the stack can still be walked"


def test_triage(target: live.Target, dump: Dump) -> None:
    """No text of the process is anywhere in the file: in memory, streams, registers, paths."""
    texts = [b"ONSTACK", b"ENVTEXT", b"XMMTEXT", (0x54584554474F5250).to_bytes(8, "little"), b"between-folder"]
    wide = [text.decode("ascii").encode("utf-16-le") for text in texts]
    data = dump(T.NORMAL)[1].read_bytes()
    assert all(text in data or other in data for text, other in zip(texts, wide, strict=True))
    report, path = dump("triage")
    data = path.read_bytes()
    assert not [text for text in (*texts, *wide) if text in data]
    assert report.honoured == report.type == T(0x100088)
    modules = readers.read_minidump(path).modules
    assert modules is not None and modules[0].path == "between"


def test_a_callback_that_does_not_edit_stacks(dump: Dump) -> None:
    report, path = dump("triage", callback=md.Callback(md.Filter()))
    assert report.honoured == T.FILTER_TRIAGE | T.FILTER_MODULE_PATHS
    assert any("FILTER_MEMORY" in text for text in report.messages)
    with file_rules.DumpFile(path) as file:
        assert file.flags == int(report.honoured)


# ------------------------------------------------------------------------------------------------- rules that include


def test_rules_add_memory(target: live.Target, dump: Dump) -> None:
    _, normal = dump()
    _, same = dump(filter=md.Filter(md.exclude(min_size="1 TiB"), default="include"))
    assert memory_of(same) == memory_of(normal), "the default adds nothing"
    report, path = dump(filter=md.Filter(md.include(kind="heap", label="heap")))
    assert held(path, target) == {"small", "large", "pointed"}
    (rule,) = report.rules[:1]
    assert rule.kept >= (1 << 20) and not report.messages
    stacks = {first for first, _ in memory_of(normal)}
    assert stacks <= {first for first, _ in memory_of(path)}, "stacks are as they were"
    report, path = dump(filter=md.Filter(md.include(kind="heap"), md.exclude(min_size="1 MiB")))
    assert held(path, target) == {"small"}, "the kernel has joined the blocks to one mapping"
    report, path = dump(filter=md.Filter(md.include(module="*/between")))
    assert held(path, target) == {"constant", "written", "zero"}
    report, path = dump(filter=md.Filter(md.include(kind="heap"), memory={"remove": [(target.info["small"], 1 << 48)]}))
    assert not held(path, target) & {"small", "large", "pointed"}


def test_a_heap_is_not_a_stack(target: live.Target, dump: Dump) -> None:
    """The stack of the second thread is plain memory like any other, and stays what it is."""
    report, _ = dump("full")
    kinds = {region.base: region.kinds for region in report.regions}
    K = md.filters.Kind
    where = {name: max(base for base in kinds if base <= target.info[name]) for name in ("small", "large", "text")}
    assert K.HEAP in kinds[where["small"]] and K.HEAP in kinds[where["large"]] and K.HEAP not in kinds[where["text"]]
    for thread in report.threads:
        base = max(base for base in kinds if base <= thread.stack_base)
        assert K.STACK in kinds[base] and K.HEAP not in kinds[base]


def test_a_file_says_the_type(target: live.Target, dump: Dump, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[dump]\ntype = "heap"\n')
    rules.chmod(0o600)
    report, _ = dump(filter=md.Filter.from_file(rules))
    assert report.type == T.WITH_PRIVATE_READ_WRITE_MEMORY | T.WITH_DATA_SEGS
    report, _ = dump("normal", filter=md.Filter.from_file(rules))
    assert report.type == T.NORMAL, "what is asked for counts"
    for words, type in (([], 0x201), (["--type", "modified+with_thread_info"], 0x11000)):
        done = live.run_cli(
            "dump", str(target.pid), "-o", tmp_path / "y.dmp", "--filter", rules, "--json", "--quiet", *words
        )
        assert done.returncode == 0, done.stderr
        with file_rules.DumpFile(tmp_path / "y.dmp") as file:
            assert file.flags == type
        plan = live.run_cli("plan", str(target.pid), "--filter", rules, "--json", *words)
        assert (json.loads(plan.stdout)["memory_bytes"] > 1 << 20) == (not words)


def test_types_of_a_dump_that_exists(target: live.Target, dump: Dump, tmp_path: Path) -> None:
    _, full = dump("full")
    report = md.write_dump(md.DumpFile(full), tmp_path / "small.dmp", "heap")
    assert held(tmp_path / "small.dmp", target) == {"written", "zero", "small", "large", "pointed"}
    assert report.complete and not file_rules.broken_rules(tmp_path / "small.dmp")
    report = md.write_dump(md.DumpFile(full), tmp_path / "small.dmp", "modified")
    assert any("WITH_PRIVATE_WRITE_COPY_MEMORY" in text for text in report.messages)
    report = md.write_dump(
        md.DumpFile(full), tmp_path / "small.dmp", "normal", filter=md.Filter(md.include(kind="heap"))
    )
    assert held(tmp_path / "small.dmp", target) == {"small", "large", "pointed"}


def test_a_dump_that_is_opened_says_the_same_of_heaps(dump: Dump) -> None:
    report, path = dump("full")
    with md.open_dump(path) as opened:
        kinds = {region.base: region.kinds for region in opened.regions}
    heaps = {region.base for region in report.regions if md.filters.Kind.HEAP in region.kinds}
    assert heaps == {base for base, kind in kinds.items() if md.filters.Kind.HEAP in kind}
