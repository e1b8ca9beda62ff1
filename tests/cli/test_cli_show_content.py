"""What ``show`` decodes beside threads, modules and memory: exceptions, annotations, handles, texts, other streams."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import bombs
import pytest

from minidump_cffi.cli import dumpfile, main
from minidump_cffi.cli.dumpmodel import AnnotationObject, Limit

DATA = Path(__file__).resolve().parents[1] / "data"
LINUX, WINDOWS, MACOS = 0x8201, 2, 0x8101
VIOLATION = "EXCEPTION_ACCESS_VIOLATION (0xc0000005)"


def system(platform: int, processor: int = 9) -> tuple[int, bytes]:
    return 7, struct.pack("<HHHBBIIIIIHH24x", processor, 6, 0, 1, 0, 6, 1, 0, platform, 0, 0, 0)


def exception(code: int, flags: int, address: int, *parameters: int, thread: int = 77) -> tuple[int, bytes]:
    words = [*parameters, *[0] * (15 - len(parameters))]
    return 6, struct.pack("<IIIIQQII15QII", thread, 0, code, flags, 0, address, len(parameters), 0, *words, 0, 0)


class Made:
    """A dump that is written with strings whose places are known."""

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.number, self.body = path, number, b""

    def put(self, data: bytes) -> int:
        """Append to the stream; its offset in the file."""
        self.body += bytes(-len(self.body) % 4)
        at = 32 + 12 + len(self.body)
        self.body += data
        return at

    def utf8(self, text: str) -> int:
        data = text.encode()
        return self.put(struct.pack("<I", len(data)) + data + b"\0")

    def read(self) -> dumpfile.DumpFile:
        self.path.write_bytes(bombs.dump((self.number, self.body)))
        return dumpfile.read_dump(self.path)


def made(path: Path, *streams: tuple[int, bytes]) -> dumpfile.DumpFile:
    path.write_bytes(bombs.dump(*streams))
    return dumpfile.read_dump(path)


def shown(path: Path, capsys: pytest.CaptureFixture[str], status: int = 0) -> tuple[str, dict[str, Any]]:
    """The text and the JSON of a file."""
    capsys.readouterr()
    assert main(["show", "--json", str(path)]) == status
    content = json.loads(capsys.readouterr().out)
    assert main(["show", str(path)]) == status
    return capsys.readouterr().out, content


@pytest.mark.parametrize(
    ("platform", "record", "line"),
    [
        (LINUX, (11, 1, 0x10), "SIGSEGV / SEGV_MAPERR (0xb) at 0x10 in thread 77"),
        (LINUX, (11, 2, 0x7000), "SIGSEGV / SEGV_ACCERR (0xb) at 0x7000 in thread 77"),
        (LINUX, (11, 0x80, 0),
         "SIGSEGV / SI_KERNEL (0xb) at 0x0 in thread 77: the address is not known: it is not canonical"),
        (LINUX, (11, 0, 5), "SIGSEGV (0xb) at 0x5 in thread 77"),
        (LINUX, (11, 77, 5), "SIGSEGV / 77 (0xb) at 0x5 in thread 77"),
        (LINUX, (7, 2, 0x8000), "SIGBUS / BUS_ADRERR (0x7) at 0x8000 in thread 77"),
        (LINUX, (8, 1, 0x401000), "SIGFPE / FPE_INTDIV (0x8) at 0x401000 in thread 77"),
        (LINUX, (4, 2, 0x401000), "SIGILL / ILL_ILLOPN (0x4) at 0x401000 in thread 77"),
        (LINUX, (5, 1, 0x401000), "SIGTRAP / TRAP_BRKPT (0x5) at 0x401000 in thread 77"),
        (LINUX, (6, 0xFFFFFFFA, 0, 42, 1000), "SIGABRT / SI_TKILL (0x6) in thread 77: sent by process 42 of user 1000"),
        (LINUX, (3, 0, 0, 42, 0), "SIGQUIT / SI_USER (0x3) in thread 77: sent by process 42 of user 0"),
        (LINUX, (11, 0, 0, 42, 0), "SIGSEGV / SI_USER (0xb) in thread 77: sent by process 42 of user 0"),
        (LINUX, (15, 0xFFFFFFFF, 0, 42, 0, 9), "SIGTERM / SI_QUEUE (0xf) in thread 77: sent by process 42 of user 0"),
        (LINUX, (31, 1, 0x401000, 59, 0xC000003E),
         "SIGSYS / SYS_SECCOMP (0x1f) at 0x401000 in thread 77: system call 59 of x86-64"),
        (LINUX, (31, 1, 0x401000, 59, 0x1234),
         "SIGSYS / SYS_SECCOMP (0x1f) at 0x401000 in thread 77: system call 59 of architecture 0x1234"),
        (LINUX, (36, 0xFFFFFFFA, 0), "SIGRTMIN+2 / SI_TKILL (0x24) in thread 77"),
        (LINUX, (0xFFFFFFFF, 0, 0x401000), "dump requested (0xffffffff) at 0x401000 in thread 77"),
        (LINUX, (99, 0, 5), "code 0x63 at 0x5 in thread 77"),
        (LINUX, (17, 3, 0), "SIGCHLD / CLD_DUMPED (0x11) in thread 77"),
        (LINUX, (19, 0x4C4C4442, 0x401000, int.from_bytes(b"stopped\x1b", "little"), 0x21),
         "SIGSTOP (0x13) at 0x401000 in thread 77: stopped\\x1b!"),
        (WINDOWS, (0xC0000005, 0, 0x401000, 0, 0x10), f"{VIOLATION} at 0x401000 in thread 77: reading 0x10"),
        (WINDOWS, (0xC0000005, 0, 0x401000, 1, 0x10), f"{VIOLATION} at 0x401000 in thread 77: writing 0x10"),
        (WINDOWS, (0xC0000005, 0, 0x10, 8, 0x10), f"{VIOLATION} at 0x10 in thread 77: executing 0x10"),
        (WINDOWS, (0xC0000005, 0, 0x10, 3, 0x10), f"{VIOLATION} at 0x10 in thread 77: access 3 to 0x10"),
        (WINDOWS, (0xC0000005, 0, 0x10), f"{VIOLATION} at 0x10 in thread 77"),
        (WINDOWS, (0xC0000006, 0, 0x10, 0, 0x9000, 0xC000009C),
         "EXCEPTION_IN_PAGE_ERROR (0xc0000006) at 0x10 in thread 77: reading 0x9000, status 0xc000009c"),
        (WINDOWS, (0xC0000409, 0, 0x10, 7),
         "STATUS_STACK_BUFFER_OVERRUN (0xc0000409) at 0x10 in thread 77: fast fail 7"),
        (WINDOWS, (0xE0000001, 0, 0x10), "code 0xe0000001 at 0x10 in thread 77"),
        (MACOS, (1, 1, 0x10), "EXC_BAD_ACCESS (0x1) at 0x10 in thread 77"),
        (0x4321, (11, 1, 0x10), "code 0xb at 0x10 in thread 77"),
    ],
)  # fmt: skip
def test_exceptions_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], platform: int, record: tuple[int, ...], line: str
) -> None:
    path = tmp_path / "x.dmp"
    path.write_bytes(bombs.dump(exception(*record), system(platform)))
    out, content = shown(path, capsys)
    assert f"Exception: {line}\n" in out
    (found,) = content["exceptions"]
    assert (found["code"], found["flags"], found["address"]) == record[:3]
    count = 15 if record[1] == 0x4C4C4442 else len(record) - 3
    assert found["parameters"][: len(record) - 3] == list(record[3:]) and len(found["parameters"]) == count
    if record[0] in (0xC0000005, 0xC0000006) and platform == WINDOWS and len(record) > 3:
        assert found["accessed"] == record[4]
        assert found["access"] == {0: "read", 1: "write", 8: "execute"}.get(record[3], "")


def test_an_instruction_that_could_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Linux does not say what kind of access it was, but the registers do."""
    path = tmp_path / "x.dmp"
    context = bytearray(1232)
    struct.pack_into("<Q", context, 248, 0x7000)
    for record, line, access in (
        ((11, 2, 0x7000), "SIGSEGV / SEGV_ACCERR (0xb) at 0x7000 in thread 77: executing 0x7000", "execute"),
        ((11, 2, 0x8000), "SIGSEGV / SEGV_ACCERR (0xb) at 0x8000 in thread 77, instruction 0x7000", ""),
        ((11, 0x80, 0), "SIGSEGV / SI_KERNEL (0xb) at 0x0 in thread 77, instruction 0x7000: the address is not", ""),
    ):
        number, body = exception(*record)
        at = 32 + 24 + 56 + len(body)
        body = body[:160] + struct.pack("<II", len(context), at)
        path.write_bytes(bombs.dump(system(LINUX), (number, body), behind=bytes(context)))
        out, content = shown(path, capsys)
        assert f"Exception: {line}" in out
        assert content["exceptions"][0]["access"] == access
        assert content["exceptions"][0]["instruction_pointer"] == 0x7000


def test_what_breakpad_says_of_a_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.dmp"
    texts = [word.encode("utf-16-le").ljust(256, b"\0") for word in ("x != 0", "main", "a\x1b.c")]
    asserted = struct.pack("<256s256s256sII", *texts, 42, 1)
    assert made(path, (0x47670001, struct.pack("<III", 3, 5, 6)), (0x47670002, asserted)).requesting_thread == 6
    out, content = shown(path, capsys)
    assert "Assertion: x != 0 in main, a\\x1b.c:42\n" in out and "Requested: by thread 6\n" in out
    assert content["assertion"]["line"] == 42
    found = made(path, (0x47670001, struct.pack("<III", 1, 5, 6)), (0x47670002, bytes(776)))
    assert found.requesting_thread is None and found.assertion is None and found.problems == []
    assert len(made(path, (0x47670001, bytes(8)), (0x47670002, bytes(775))).problems) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("google-null_write_av", ["Requested: by thread 5408", f"{VIOLATION} at 0x103a6cd", "writing 0x0"]),
        ("google-linux_null_read_av", ["Process: 11506 (null_read_av)", "SIGSEGV (0xb) at 0x0", "Linux, 3.3.8,"]),
        ("own-a-breakpad", ["Process: 368 (target)", "Linux, 6.18.44,", "dump requested", "Command: /tmp/peers/"]),
        ("own-a-lldb22-stack", ["SIGSTOP (0x13) at 0x7f64c06f5c82 in thread 368: signal SIGSTOP"]),
        ("rust-minidump-simple-crashpad", [
            "Report: 42f9de72-518a-43dd-97d7-8ddc328d3662, client 6fd2b3b9-9833-4b2f-bbf7-0bcf501bad7e",
            "hello  world", "abort() called", "dyld2 mode",
        ]),
        ("google-tiny-exe-with-cet-xsave", ["147 handles", "0x8b4  File                  0x12019f"]),
    ],
)  # fmt: skip
def test_samples_of_other_writers(name: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--all", str(DATA / f"{name}.dmp")]) == 0
    out = capsys.readouterr().out
    assert [word for word in words if word not in out] == []


def test_all_kinds_of_annotations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = Made(tmp_path / "x.dmp", 0x43500001)
    dump.put(bytes(52))  # the header, whose offsets come last
    names = struct.pack("<II", 1, dump.utf8("listed"))
    pairs = struct.pack("<III", 1, dump.utf8("key"), dump.utf8("value"))
    value = dump.put(struct.pack("<I", 3) + b"\1\2\3")
    objects = struct.pack("<I", 2)
    objects += struct.pack("<IHHI", dump.utf8("text"), 1, 0, dump.utf8("typed\x1b"))
    objects += struct.pack("<IHHI", dump.utf8("other"), 0x8001, 0, value)
    parts = [(len(part), dump.put(part)) for part in (names, pairs, objects)]
    info = dump.put(struct.pack("<7I", 1, *(number for part in parts for number in part)))
    links = dump.put(struct.pack("<7I", 2, 5, 28, info, 6, 20, info))  # old ones have no objects
    head = struct.pack("<I16s16s4I", 1, bytes(range(16)), bytes(16), *parts[1], 28, links)
    dump.body = head + dump.body[52:]
    found = dump.read()
    assert found.problems == [] and found.crashpad is not None
    assert found.crashpad.report_id == "03020100-0504-0706-0809-0a0b0c0d0e0f" and found.crashpad.client_id == ""
    assert found.crashpad.annotations == {"key": "value"}
    full, old = found.crashpad.modules
    assert (full.module, full.listed, full.annotations) == (5, ["listed"], {"key": "value"})
    assert full.objects == [
        AnnotationObject(name="text", type=1, value="typed\x1b"),
        AnnotationObject(name="other", type=0x8001, value="010203"),
    ]
    assert (old.module, old.listed, old.annotations, old.objects) == (6, ["listed"], {"key": "value"}, [])
    out, content = shown(dump.path, capsys)
    assert "typed\\x1b" in out and "module 5" in out
    assert content["crashpad"]["modules"][0]["objects"][1] == {"name": "other", "type": 0x8001, "value": "010203"}


@pytest.mark.parametrize("size", [32, 40])
@pytest.mark.parametrize("platform", [LINUX, WINDOWS])
def test_handles(tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int, platform: int) -> None:
    at = 32 + 24 + 56 + 16 + 2 * size
    name = bombs.string("/tmp/\x1b[2J")
    rows = struct.pack("<QIIIIII", 7, at, at + len(name), 0o100644, 0o2, 5, 1).ljust(size, b"\xff")
    rows += struct.pack("<QIIIIII", 8, 0, 0, 0, 0, 0, 0).ljust(size, b"\xff")
    body = struct.pack("<IIII", 16, size, 2, 0) + rows
    path = tmp_path / "x.dmp"
    path.write_bytes(bombs.dump(system(platform), (12, body), behind=name + bombs.string("gone")))
    out, content = shown(path, capsys)
    assert content["handles"][0] == {
        "handle": 7, "type": "/tmp/\x1b[2J", "name": "gone", "attributes": 0o100644, "access": 2,
        "handles": 5, "pointers": 1,
    }  # fmt: skip
    assert content["handles"][1]["type"] == content["handles"][1]["name"] == ""
    assert "2 handles" in out and "/tmp/\\x1b[2J" in out
    assert ("4,294,967,301" in out and "100644" in out) is (platform == LINUX)


def test_texts_of_linux(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = (
        b"Limit                     Soft Limit           Hard Limit           Units     \n"
        b"Max open files            1024                 unlimited            files     \n"
        b"Max nice priority         0                    0                    \n"
    )
    errors = b'["ReadThreadNameFailed", {"Init": [{"Stop": "\\u001b"}]}]'
    path = tmp_path / "x.dmp"
    found = made(
        path,
        system(LINUX),
        (0x47670004, b"Name:\tname\x1b\nTgid:\t4711\nPid:\t4712\n"),
        (0x47670005, b'NAME=x\nPRETTY_NAME="Debian 12"\n'),
        (0x47670006, b"prog\0an argument\0\0\0"),
        (0x47670007, b"A=1\0B=\x1b\0"),
        (0x47670008, struct.pack("<6Q", 9, 0x401000, 4242, 5, 0, 0) + bytes(64)),
        (0x4D7A0003, limits),
        (0x4D7A0004, errors),
        (10, b"a comment\0\xff"),
        (11, "a comment\0".encode("utf-16-le")),
    )
    assert (found.process_id, found.process_name, found.distribution) == (4711, "name\x1b", "Debian 12")
    assert found.command_line == ["prog", "an argument", "", ""] and found.environ == ["A=1", "B=\x1b"]
    assert [(entry.name, entry.value) for entry in found.auxv] == [("ENTRY", 0x401000), ("4242", 5)]
    assert found.limits == [
        Limit(name="Max open files", soft="1024", hard="unlimited", unit="files"),
        Limit(name="Max nice priority", soft="0", hard="0", unit=""),
    ]
    assert found.soft_errors == ["ReadThreadNameFailed", {"Init": [{"Stop": "\x1b"}]}]
    assert found.comments == ["a comment"] and found.problems == []
    out, content = shown(path, capsys)
    assert "\x1b" not in out
    for words in ("Process: 4711 (name\\x1b)", "Command: prog 'an argument' '' ''", "Comment: a comment", "2 limits"):
        assert words in out
    assert content["soft_errors"] == found.soft_errors and content["environ"] == found.environ


@pytest.mark.parametrize(
    "text",
    [b"{", b"[1e999, NaN]", b"[" * 101 + b"]" * 101, b'{"a":' * 300 + b"1", b"[" + b"9" * 10_000 + b"]", b"\xff"],
)
def test_soft_errors_that_are_hostile(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes) -> None:
    path = tmp_path / "x.dmp"
    found = made(path, (0x4D7A0004, text))
    fine = text.startswith(b"[1e999")
    assert bool(found.problems) is not fine
    shown(path, capsys, 0 if fine else 1)


def test_streams_that_only_their_writer_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.dmp"
    long = b"\x80" * 1000
    found = made(
        path,
        (0x10001, b"build 42\0"),
        (0x10002, long),
        (0x10003, b""),
        (0x10004, b"a\x1b"),
        (0x10005, b"\xc3\xbc" * 127 + b"a\xc3\xbcb"),
    )
    assert [(entry.type, entry.size, entry.text, entry.beginning) for entry in found.user_streams] == [
        (0x10001, 9, True, "build 42"),
        (0x10002, 1000, False, "80" * 256),
        (0x10003, 0, False, ""),
        (0x10004, 2, False, "611b"),
        (0x10005, 258, True, "\u00fc" * 127 + "a"),
    ]
    out, content = shown(path, capsys)
    assert "5 unknown streams" in out and "build 42" in out and content["user_streams"][3]["beginning"] == "611b"


def test_duplicates_and_places_outside_are_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.dmp"
    assert made(path, system(LINUX), system(LINUX)).problems == ["SystemInfo: there are 2 streams of this kind"]
    shown(path, capsys, 1)
    assert made(path, (0, b""), (0, b"")).problems == []
    twice = exception(11, 1, 0), exception(11, 1, 0)
    assert len(made(path, *twice).problems) == 1
    assert made(path, *twice, (0x4C4C4442, b"")).problems == []
    data = bytearray(bombs.dump((0x10001, b"abcd"), (13, b"abcd"), (3, b"abcd")))
    for number in range(3):
        outside = bytearray(data)
        struct.pack_into("<I", outside, 32 + 12 * number + 8, 1 << 30)
        path.write_bytes(outside)
        problems = [problem for problem in dumpfile.read_dump(path).problems if "beyond the end" in problem]
        assert len(problems) == 1
        shown(path, capsys, 1)


@pytest.mark.parametrize("kind", ["annotations", "handles"])
def test_names_that_are_shared_too_often(tmp_path: Path, kind: str) -> None:
    """Each entry names the same long text: what is read of it is bounded by the file."""
    count = 20_000
    if kind == "annotations":
        dump = Made(tmp_path / "x.dmp", 0x43500001)
        dump.put(bytes(52))
        name = dump.utf8("\x1b" * 30_000)
        pairs = dump.put(struct.pack("<I", count) + struct.pack("<II", name, name) * count)
        size = 4 + 8 * count
        dump.body = struct.pack("<I32xIIII", 1, size, pairs, 0, 0) + dump.body[52:]
        found = dump.read()
    else:
        at = 32 + 12 + 16 + 32 * count
        body = struct.pack("<IIII", 16, 32, count, 0) + struct.pack("<QIIIIII", 7, at, at, 0, 0, 0, 0) * count
        path = tmp_path / "x.dmp"
        path.write_bytes(bombs.dump((12, body), behind=bombs.string("n" * 30_000)))
        found = dumpfile.read_dump(path)
        assert sum(len(handle.name) + len(handle.type) for handle in found.handles) <= found.file_bytes + (1 << 20)
    assert len(found.problems) == 1 and "the rest is left out" in found.problems[0]
