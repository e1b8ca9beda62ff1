"""What files below `root` add to a core: identities and text of modules, by the build id and no other way."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import elf_cores
import file_rules
import pytest

import minidump_cffi as md

if sys.platform == "linux":
    import cores

pytestmark = pytest.mark.linux


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> cores.Core:
    """A kernel's core, with a variable that is not to be shown."""
    made = cores.program(tmp_path_factory.mktemp("program"))
    os.environ["CORE_SECRET"] = "not-for-vendors"
    try:
        return cores.by_kernel(tmp_path_factory.mktemp("core"), made, "null", "1")
    finally:
        del os.environ["CORE_SECRET"]


@pytest.fixture
def root(tmp_path: Path, core: cores.Core) -> Path:
    """A folder with the files of the modules, where they are in the system."""
    folder = tmp_path / "root"
    for path in modules(core, tmp_path):
        if path.startswith("/"):
            Path(folder, path[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, Path(folder, path[1:]))
    return folder


def modules(core: cores.Core, folder: Path, **options: object) -> dict[str, bytes]:
    """Names and CodeView records of the modules in the dump of a core."""
    out = folder / "modules.dmp"
    out.unlink(missing_ok=True)
    md.write_dump(md.CoreFile(core.path, **options), out, type=md.DumpType.NORMAL)  # type: ignore[arg-type]
    with file_rules.DumpFile(out) as dump:
        return {name: record for _, _, name, record in dump.modules()}


def text_of(core: cores.Core, folder: Path, **options: object) -> tuple[int, dict[str, bool]]:
    """How much memory is in the full dump, and of which modules the text is, after it was compared with the files."""
    out = folder / "text.dmp"
    out.unlink(missing_ok=True)
    report = md.write_dump(md.CoreFile(core.path, **options), out)  # type: ignore[arg-type]
    assert report.gaps == ()
    assert file_rules.broken_rules(out) == []
    found = {}
    with file_rules.DumpFile(out) as dump:
        for region in report.regions:
            if region.path is None or not region.path.startswith("/") or region.protect != 0x20:
                continue
            held = dump.read_across(region.base, region.size)
            found[region.path] = held is not None
            if held is not None:
                file = Path(region.path).read_bytes()
                data = file[offset_of(file, region.size) :][: region.size]
                assert held[: len(data)] == data
    return report.memory_bytes, found


def offset_of(file: bytes, size: int) -> int:
    """Offset of the page of the one executable PT_LOAD."""
    (table,), (count,) = struct.unpack_from("<Q", file, 32), struct.unpack_from("<H", file, 56)
    rows = (struct.unpack_from("<IIQQQQQQ", file, table + 56 * index) for index in range(count))
    [offset] = [row[2] & ~0xFFF for row in rows if row[0] == 1 and row[1] & 1]
    return int(offset)


def test_text_only_if_asked_for(core: cores.Core, root: Path, tmp_path: Path) -> None:
    without, held = text_of(core, tmp_path, root=root)
    assert held
    assert not any(held.values())
    more, held = text_of(core, tmp_path, root=root, text="files")
    assert held
    assert all(held.values())
    assert more > without + (1 << 20)


def test_text_never_of_another_build(core: cores.Core, root: Path, tmp_path: Path) -> None:
    """One byte of the build id differs; the file that was removed; one that is there as a link."""
    program = Path(root, str(core.program)[1:])
    data = bytearray(program.read_bytes())
    record = modules(core, tmp_path)[str(core.program)]
    at = data.index(record[4:])
    data[at] ^= 1
    program.write_bytes(data)
    _, held = text_of(core, tmp_path, root=root, text="files")
    assert held.pop(str(core.program)) is False
    assert all(held.values())
    program.unlink()
    _, held = text_of(core, tmp_path, root=root, text="files")
    assert held[str(core.program)] is False
    program.symlink_to(core.program)
    _, held = text_of(core, tmp_path, root=root, text="files")
    assert held[str(core.program)] is False
    # Given by the caller it may be anywhere.
    _, held = text_of(core, tmp_path, root=root, text="files", executable=program)
    assert all(held.values())


@pytest.mark.parametrize("target", ["{elsewhere}", "../../../../../../../../../../{elsewhere}", "elsewhere"])
def test_links_out_of_root(core: cores.Core, root: Path, tmp_path: Path, target: str) -> None:
    """A folder on the way that is a link: it leads to what is below the root, and to nothing outside."""
    folder = Path(root, str(core.program)[1:]).parent
    inside = not target.startswith(("{", ".."))
    place = folder.with_name("elsewhere") if inside else tmp_path / "elsewhere"
    folder.rename(place)
    folder.symlink_to(target.format(elsewhere=place))
    _, held = text_of(core, tmp_path, root=root, text="files")
    assert held[str(core.program)] is inside


def test_a_fifo_is_not_opened(core: cores.Core, root: Path, tmp_path: Path) -> None:
    """It would wait for a writer; and a writer would take it for a reader."""
    program = Path(root, str(core.program)[1:])
    program.unlink()
    os.mkfifo(program)
    opened = threading.Event()

    def write() -> None:
        os.close(os.open(program, os.O_WRONLY))
        opened.set()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    _, held = text_of(core, tmp_path, root=root, text="files")
    assert held[str(core.program)] is False
    assert not opened.is_set()
    os.close(os.open(program, os.O_RDONLY))
    thread.join()


@pytest.fixture
def nameless(core: cores.Core, tmp_path: Path) -> Iterator[cores.Core]:
    """The same core without NT_FILE, as with 65,536 mappings and more."""
    data = bytearray(core.path.read_bytes())
    at = data.index(struct.pack("<I", elf_cores.NT_FILE) + b"CORE\0")
    data[at : at + 4] = bytes(4)
    path = tmp_path / "nameless"
    path.write_bytes(data)
    yield cores.Core(path=path, program=core.program, pid=core.pid)


def test_modules_without_their_note(core: cores.Core, nameless: cores.Core, tmp_path: Path) -> None:
    """The same images with the same ids, by their own names."""

    def images(of: cores.Core, name: str) -> list[tuple[int, int, bytes]]:
        out = tmp_path / name
        md.write_dump(md.CoreFile(of.path), out)
        with file_rules.DumpFile(out) as dump:
            assert dump.modules()[0][2] == str(core.program)
            names = {Path(module[2]).name for module in dump.modules()}
            assert {"core_crash", "libc.so.6", "linux-gate.so", "ld-linux-x86-64.so.2"} <= names
            return sorted((base, size, record) for base, size, _, record in dump.modules())

    assert images(nameless, "nameless.dmp") == images(core, "core.dmp")


def test_identity_by_file(core: cores.Core, tmp_path: Path) -> None:
    """The page with the build id is not in the core (coredump_filter without bit 4)."""
    made = cores.program(tmp_path)
    setter = 'echo 0x23 > /proc/self/coredump_filter; exec "$@"'
    folder = tmp_path / "filtered"
    script = tmp_path / "filtered.sh"
    script.write_text(f"#!/bin/sh\n{setter}\n")
    script.chmod(0o755)
    filtered = cores.by_kernel(folder, script, str(made), "null", "1")
    found = modules(filtered, tmp_path)
    identity = subprocess.run(["file", "-b", str(made)], capture_output=True, text=True, check=True).stdout
    assert found[str(made)][4:].hex() in identity
    assert found[str(made)][:4] == b"LEpB"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert modules(filtered, tmp_path, root=empty)[str(made)] == b""


def test_no_identity_of_another_file(tmp_path: Path) -> None:
    """Without a build id it is the file's text that says what it is: of the file whose first page the core has."""
    made = cores.program(tmp_path, "-Wl,--build-id=none")
    core = cores.by_kernel(tmp_path / "core", made, "null", "0")
    record = modules(core, tmp_path)[str(made)]
    assert (record[:4], len(record)) == (b"LEpB", 20)
    data = bytearray(made.read_bytes())
    data[9] ^= 1  # padding of e_ident
    made.unlink()
    made.write_bytes(data)
    assert modules(core, tmp_path)[str(made)] == b""


def test_the_environment_can_be_left_out(core: cores.Core, tmp_path: Path) -> None:
    """The stream, and the memory of the strings."""
    out = tmp_path / "shown.dmp"
    md.write_dump(md.CoreFile(core.path), out)
    assert b"not-for-vendors" in out.read_bytes()
    with file_rules.DumpFile(out) as dump:
        assert b"CORE_SECRET=not-for-vendors" in dump.stream(file_rules.ENVIRON).split(b"\0")
    out = tmp_path / "hidden.dmp"
    md.write_dump(md.CoreFile(core.path), out, filter=md.Filter(streams={"exclude": ["environ"]}))
    assert b"not-for-vendors" not in out.read_bytes()
    redact = md.Filter(redact={"environ": {"drop": ["CORE_*"]}})
    out = tmp_path / "redacted.dmp"
    md.write_dump(md.CoreFile(core.path), out, filter=redact)
    assert b"not-for-vendors" not in out.read_bytes()
    assert b"CORE_SECRET=" in out.read_bytes()


def test_the_command_line_can_be_left_out(core: cores.Core, tmp_path: Path) -> None:
    """With the name that the kernel keeps of the program, after the environment."""
    path = str(core.program).encode() + b"\0"
    for excluded in (False, True):
        out = tmp_path / f"{excluded}.dmp"
        streams = {"exclude": ["cmdline"]} if excluded else None
        md.write_dump(md.CoreFile(core.path), out, filter=md.Filter(streams=streams))
        with file_rules.DumpFile(out) as dump:
            auxv = dict(struct.iter_unpack("<QQ", dump.stream(file_rules.AUXV)))
            assert (dump.read_across(auxv[31], len(path)) == path) is not excluded
            assert bool(dump.stream(file_rules.CMDLINE)) is not excluded


def test_what_is_excluded_is_nowhere(core: cores.Core, tmp_path: Path) -> None:
    """Random ranges of memory in which every word is there once: none of the excluded ones is in the file."""
    draw = random.Random(1)
    factor, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    for number in range(12):
        first = draw.randrange(0, cores.MIB, 8)
        end = draw.randrange(first, cores.MIB, 8) + 8
        out = tmp_path / f"{number}.dmp"
        rule = md.exclude(range=(cores.PATTERN + first, cores.PATTERN + end))
        md.write_dump(md.CoreFile(core.path), out, filter=md.Filter(rule))
        content = out.read_bytes()
        with file_rules.DumpFile(out) as dump:
            for at in (0, first - 8, first, (first + end) // 16 * 8, end - 8, end, cores.MIB - 8):
                if not 0 <= at < cores.MIB:
                    continue
                word = struct.pack("<Q", (cores.PATTERN + at) * factor & mask)
                excluded = first & ~4095 <= at < end + -end % 4096  # whole pages
                assert content.count(word) == (0 if excluded else 1), (first, at, end)
                assert dump.read_across(cores.PATTERN + at, 8) == (None if excluded else word)


def test_texts(core: cores.Core, tmp_path: Path) -> None:
    """Auxv is the note's, maps has a line for each mapping, the link map is that of the program."""
    out = tmp_path / "texts.dmp"
    report = md.write_dump(md.CoreFile(core.path), out)
    with file_rules.DumpFile(out) as dump:
        auxv = dump.stream(file_rules.AUXV)
        assert auxv in core.path.read_bytes()
        lines = dump.stream(file_rules.MAPS).decode().splitlines()
        assert len(lines) == len(report.regions)
        assert any(line.endswith(str(core.program)) and " r-xp " in line for line in lines)
        assert any(line.endswith("[stack]") for line in lines)
        size, offset = dump.streams[file_rules.DSO_DEBUG]
        assert size > 40
        (count,) = struct.unpack_from("<I", dump.data, offset + 8)
        assert count >= 3
