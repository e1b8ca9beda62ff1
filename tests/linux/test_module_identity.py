"""Modules as symbol stores know them: identity, SONAME and version; images in archives and of Wine; the vdso."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import file_rules
import live
import pytest
import readers
import wine

import minidump_cffi as md

pytestmark = pytest.mark.linux

PAGE = live.PAGE
MODULE_LIST, MODULE_BYTES = 4, 108
Entry = tuple[int, str, bytes, tuple[int, ...]]


def modules_of(path: Path) -> dict[int, Entry]:
    """Base -> size, name, CodeView record, version words."""
    with file_rules.DumpFile(path) as dump:
        found = {base: (size, name, record) for base, size, name, record in dump.modules()}
        raw = dump.stream(MODULE_LIST)
        rows = [struct.unpack_from("<Q", raw, 4 + MODULE_BYTES * row)[0] for row in range(len(found))]
        words = [struct.unpack_from("<13I", raw, 4 + MODULE_BYTES * row + 24) for row in range(len(found))]
        return {base: (*found[base], version) for base, version in zip(rows, words, strict=True)}


def readelf(option: str, path: Path) -> str:
    """Its output."""
    return subprocess.run(["readelf", option, str(path)], check=True, capture_output=True, text=True).stdout


def build_id(path: Path) -> str:
    """As readelf says."""
    (found,) = re.findall(r"Build ID: ([0-9a-f]+)", readelf("-nW", path))
    return str(found)


def breakpad_id(path: Path) -> str:
    """The id of a file without a build id: by dump_syms where it is installed, and by its rule."""
    ((offset, size),) = re.findall(r" \.?text +PROGBITS +\S+ (\S+) (\S+)", readelf("-SW", path))
    start, length = int(offset, 16), min(int(size, 16), 4096)
    text = path.read_bytes()[start : start + (length + 15) // 16 * 16]
    text += bytes(-len(text) % 16)
    folded = bytes(16)
    for at in range(0, len(text), 16):
        folded = bytes(a ^ b for a, b in zip(folded, text[at : at + 16], strict=True))
    try:
        program = readers.breakpad_program("dump_syms")
    except readers.ReaderMissing:
        return folded.hex()
    told = subprocess.run([program, str(path)], check=True, capture_output=True, text=True).stdout.split()[3]
    first, second, third, rest = struct.unpack("<IHH8s", folded)
    assert told == f"{first:08X}{second:04X}{third:04X}{rest.hex().upper()}0"
    return folded.hex()


WAITS = """
#include <stdio.h>
#include <unistd.h>
int main(void) {
    printf("{\\"pid\\": %d}\\n", (int)getpid());
    fflush(stdout);
    for (int c, n = 0; (c = getchar()) != EOF;)
        if (c == '\\n') { printf("pong %d 0 0\\n", ++n); fflush(stdout); }
    return 0;
}
"""


def compile_program(folder: Path, *flags: str) -> Path:
    """A program that waits."""
    source = folder / "waits.c"
    source.write_text(WAITS)
    return live.compile_c(source, folder / "waits", *flags)


def hide_notes(program: Path) -> None:
    """No program header covers its notes, as in a Go program."""
    data = bytearray(program.read_bytes())
    (headers,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    for at in range(headers, headers + 56 * count, 56):
        if struct.unpack_from("<I", data, at) == (4,):
            struct.pack_into("<I", data, at, 0)
    program.write_bytes(data)


def id_in_dump(program: Path, take: live.Taker) -> str:
    """The id that its module has."""
    with live.Target([str(program)]) as target:
        _, path = take(target)
    (record,) = [record for _, name, record, _ in modules_of(path).values() if name == str(program)]
    assert record[:4] == b"LEpB"
    return record[4:].hex()


@pytest.mark.parametrize("kind", ["sha1", "md5", "0x123456789abcdef0"])
def test_a_build_id_that_no_segment_covers(kind: str, take: live.Taker, tmp_path: Path) -> None:
    program = compile_program(tmp_path, f"-Wl,--build-id={kind}")
    hide_notes(program)
    assert id_in_dump(program, take) == build_id(program)


@pytest.mark.parametrize("more", [0, 1, 7, 9000])
def test_without_a_build_id_it_is_breakpads(more: int, take: live.Taker, tmp_path: Path) -> None:
    """Sections of all lengths: shorter than a page and not whole, and longer."""
    filler = tmp_path / "filler.S"
    filler.write_text(f'.text\n.fill {more}, 1, 0x5a\n.section .note.GNU-stack,"",@progbits\n')
    program = compile_program(tmp_path, "-Wl,--build-id=none", str(filler))
    assert id_in_dump(program, take) == breakpad_id(program)


def test_such_an_id_does_not_stand_for_the_file(take: live.Taker, tmp_path: Path) -> None:
    """It says nothing of pages after the first of the code, so they are not left to the file."""
    filler = tmp_path / "filler.S"
    filler.write_text('.text\n.fill 4000000, 1, 0x5a\n.section .note.GNU-stack,"",@progbits\n')
    program = compile_program(tmp_path, "-Wl,--build-id=none", str(filler))
    with live.Target([str(program)]) as target:
        report, path = take(target, md.DumpType.WITH_FULL_MEMORY, file_pages="resident", only=["minidump"])
        (base,) = [base for base, entry in modules_of(path).items() if entry[1] == str(program)]
        with file_rules.DumpFile(path) as dump:
            assert dump.read(base, PAGE) == program.read_bytes()[:PAGE]
    (module,) = [module for module in report.modules if module.path == os.fsencode(program)]
    of_it = [region for region in report.regions if module.base <= region.base < module.base + module.size]
    assert of_it and not any(region.left_to_file for region in of_it)


LIBRARY = "int data[3000] = {1, 2, 3}; static char bss[100000]; int f(int x) { return data[x] + bss[x]++; }\n"
SHIFT = 8192


def library(folder: Path, name: str, *flags: str) -> Path:
    """A shared library."""
    source = folder / "library.c"
    source.write_text(LIBRARY)
    return live.compile_c(source, folder / name, "-shared", "-fPIC", *flags)


def test_images_in_an_archive(take: live.Taker, tmp_path: Path) -> None:
    program = live.compile_c(live.HERE / "targets" / "archive.c", tmp_path / "archive")
    first = library(tmp_path, "first.so", "-Wl,-soname,libfirst.so.1.2.3")
    second = library(tmp_path, "second.so", "-DOTHER", "-Wl,--build-id=none", "-nostdlib")
    hide_notes(first)
    packed, offsets = b"PK" + bytes(SHIFT - 2), []
    for file in (first, second):
        offsets.append(len(packed))
        packed += file.read_bytes()
        packed += bytes(-len(packed) % PAGE)
    archive = tmp_path / "app.apk"
    archive.write_bytes(packed)
    with live.Target([str(program), str(archive), *map(str, offsets)]) as target:
        bases = target.info["bases"]
        _, path = take(target, md.DumpType.WITH_FULL_MEMORY)
        _, other = take(target, module_names="soname")
    found, named = modules_of(path), modules_of(other)
    assert [found[base][1] for base in bases] == [str(archive)] * 2
    assert [named[base][1] for base in bases] == [f"{archive}/libfirst.so.1.2.3", str(archive)]
    assert found[bases[0]][2] == b"LEpB" + bytes.fromhex(build_id(first))
    assert found[bases[1]][2] == b"LEpB" + bytes.fromhex(breakpad_id(second))
    assert found[bases[0]][3] == (0xFEEF04BD, 0x10000, 1, 2, 3, 0, *[0] * 7)
    for file, base in zip((first, second), bases, strict=True):
        loads = re.findall(r"^ +LOAD +\S+ (\S+) \S+ \S+ (\S+)", readelf("-lW", file), re.MULTILINE)
        end = max(int(address, 16) + int(size, 16) for address, size in loads)
        assert found[base][0] == (end + PAGE - 1) // PAGE * PAGE


LOADS = """
import ctypes, os, sys
for name in sys.argv[1:]:
    ctypes.CDLL(name)
print('{"pid": %d}' % os.getpid(), flush=True)
for number, line in enumerate(sys.stdin):
    print("pong", number, 0, 0, flush=True)
"""
VERSIONS = {  # file, SONAME -> numbers, and the name that the list shows by request
    ("liba.so.6.0.30", "liba.so.6"): ((6, 0, 30, 0), "liba.so.6"),
    ("libb.so", "libb.so.1.2.3.4.5"): ((1, 2, 3, 4), "libb.so.1.2.3.4.5"),
    ("libc7.so.7", "libd.so.9"): ((9, 0, 0, 0), "libd.so.9"),
    ("libe.so.2rc5", ""): ((2, 0, 0, 0), "libe.so.2rc5"),
    ("libf.so", "libf.so.99999999999999999999.x"): ((0xFFFFFFFF, 0, 0, 0), "libf.so.99999999999999999999.x"),
    ("libg.so.x", ""): (None, "libg.so.x"),
    ("libh.so", "../../etc/libh.so.1"): (None, "libh.so"),
}


def test_soname_and_version(take: live.Taker, tmp_path: Path) -> None:
    made = []
    for file, soname in VERSIONS:
        made.append(library(tmp_path, file, *([f"-Wl,-soname,{soname}"] if soname else [])))
    with live.Target([sys.executable, "-c", LOADS, *map(str, made)]) as target:
        _, path = take(target)
        _, other = take(target, module_names="soname")
    found, named = modules_of(path), modules_of(other)
    for file, (numbers, name) in zip(made, VERSIONS.values(), strict=True):
        (base,) = [base for base, entry in found.items() if entry[1] == str(file)]
        assert named[base][1] == str(tmp_path / name)
        expected = (0,) * 13 if numbers is None else (0xFEEF04BD, 0x10000, *numbers, *[0] * 7)
        assert found[base][3] == named[base][3] == expected, file


def pe_file(record: bytes) -> bytes:
    """A PE32+ image of two pages, laid out in the file as in memory: headers, and code with a debug directory."""
    code, debug = 4096, 4096 + 256
    optional = struct.pack("<HBBIIIIIQII", 0x20B, 14, 0, PAGE, 0, 0, code, code, 0x180000000, PAGE, PAGE)
    optional += struct.pack("<HHHHHHIIIIHH", 10, 0, 0, 0, 6, 0, 0, 2 * PAGE, PAGE, 0x1234, 3, 0)
    optional += struct.pack("<QQQQII", 0, 0, 0, 0, 0, 16)
    directories = [(0, 0)] * 16
    directories[6] = (debug, 28)
    optional += b"".join(struct.pack("<II", *entry) for entry in directories)
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0x5E1F5E1F, 0, 0, len(optional), 0x2022)
    section = struct.pack("<8sIIIIIIHHI", b".text", PAGE, code, PAGE, code, 0, 0, 0, 0, 0x60000020)
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + coff + optional + section
    entry = struct.pack("<IIHHIIII", 0, 0, 0, 0, 2, len(record), debug + 28, debug + 28)
    return head.ljust(PAGE, b"\0") + (b"\x90" * 256 + entry + record).ljust(PAGE, b"\xcc")


MAPS = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
bases = []
for name in sys.argv[1:]:
    file = os.open(name, os.O_RDONLY)
    base = libc.mmap(None, 8192, 1, 2, file, 0)
    libc.mmap(base + 4096, 4096, 1 if "data" in name else 5, 0x12, file, 4096)  # MAP_PRIVATE | MAP_FIXED
    bases.append(base)
print('{"pid": %d, "bases": %s}' % (os.getpid(), bases), flush=True)
for number, line in enumerate(sys.stdin):
    print("pong", number, 0, 0, flush=True)
"""


def test_pe_images(take: live.Taker, tmp_path: Path) -> None:
    """What Wine maps: an image has code, a file that is only read has none; what lies in its header is not believed."""
    record = b"RSDS" + bytes(range(16)) + struct.pack("<I", 1) + b"app.pdb\0"
    image = pe_file(record)
    liar = bytearray(image)
    struct.pack_into("<I", liar, 64 + 4 + 20 + 56, 0x7FFFF000)  # SizeOfImage
    names = {
        "app.exe": image,
        "data.exe": image,
        "liar.exe": bytes(liar),
        "broken.exe": image[:64] + b"XX" + image[66:],
    }
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    with live.Target([sys.executable, "-c", MAPS, *(str(tmp_path / name) for name in names)]) as target:
        app, data, lying, broken = target.info["bases"]
        _, path = take(target)
    found = modules_of(path)
    assert found[app][:3] == (2 * PAGE, str(tmp_path / "app.exe"), record)
    assert data not in found and broken not in found
    assert found[lying][0] == 2 * PAGE, "as much as is mapped of it"


def test_a_wine_process(take: live.Taker, tmp_path: Path) -> None:
    """Its Windows side too: the program with its CodeView record, and the libraries of Wine."""
    runner = wine.program()
    program = wine.compile_c(live.HERE / "targets" / "win_texts.c", tmp_path / "waits.exe", "-g", "-Wl,--build-id")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([runner, wine.windows_path(program)], **pipes) as run:
        try:
            assert run.stdout is not None and run.stdout.readline()
            assert str(program) in Path(f"/proc/{run.pid}/maps").read_text("latin-1"), "the runner has become Wine"
            _, path = take(run.pid, only=["minidump", "lldb"])
        finally:
            run.kill()
    found = {name: (size, record) for size, name, record, _ in modules_of(path).values()}
    size, record = found[str(program)]
    assert record[:4] == b"RSDS" and size % PAGE == 0
    assert {"kernel32.dll", "ntdll.dll"} <= {name.rpartition("/")[2] for name in found}


def test_the_vdso_is_there_with_its_image(take: live.Taker, tmp_path: Path) -> None:
    with live.Target([str(compile_program(tmp_path))]) as target:
        (first, end), *_ = [
            tuple(int(word, 16) for word in line.split()[0].split("-"))
            for line in Path(f"/proc/{target.pid}/maps").read_text().splitlines()
            if line.endswith("[vdso]")
        ]
        with open(f"/proc/{target.pid}/mem", "rb") as memory:
            memory.seek(first)
            image = memory.read(end - first)
        for keep in (None, md.Filter(modules={"exclude": ["linux-gate.so"]}), md.Filter(md.exclude(kind="vdso"))):
            _, path = take(target, filter=keep, only=["minidump", "lldb"])
            with file_rules.DumpFile(path) as dump:
                assert dump.read(first, end - first) == (image if keep is None else None)
    assert modules_of(path)[first][1] == "linux-gate.so"
