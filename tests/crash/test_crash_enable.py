"""`md.crash.enable`: the helper, the handlers, the names of dumps, and that nothing stays of it."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import crashing
import live
import pytest

import minidump_cffi as md

pytestmark = pytest.mark.linux


@pytest.fixture
def enabled(tmp_path: Path) -> Any:
    """Enables it in this process, for one test."""
    yield lambda place=tmp_path, **options: md.crash.enable(place, **options)
    md.crash.disable()


def links() -> list[str]:
    """What the descriptors of this process are."""
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in range(256) if os.path.lexists(f"/proc/self/fd/{fd}"))  # noqa: PTH115


def test_a_crash_is_dumped_and_the_program_ends_as_before(tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", "enable()\nnull()")
    assert done.status == -signal.SIGSEGV
    assert done.err == ""
    assert re.fullmatch(r"python[\d.]*-\d+-\d{8}T\d{6}\.\d{3}Z\.dmp", done.dump.name)


def test_no_program_sees_the_helper(tmp_path: Path) -> None:
    """No child to wait for, no SIGCHLD, none of the program's descriptors, its own session."""
    done = crashing.run(
        tmp_path / "out",
        """
seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append("SIGCHLD"))
held = os.pipe()
enable()
helper = md.crash.status().helper
assert os.getsid(helper) == helper, "a session of its own"
assert os.readlink(f"/proc/{helper}/cwd") == "/"
links = sorted(os.readlink(f"/proc/{helper}/fd/{fd}") for fd in os.listdir(f"/proc/{helper}/fd"))
print(*links)
ours = {os.readlink(f"/proc/self/fd/{fd}") for fd in held}
assert not ours & set(links)
assert sum(link == "/dev/null" for link in links) == 3, links
for options in (0, os.WNOHANG):
    try: os.waitpid(-1, options)
    except ChildProcessError: pass
    else: raise AssertionError("there is a child")
os.kill(helper, signal.SIGKILL)
while md.crash.status().helper_alive: time.sleep(0.01)
time.sleep(0.1)
assert seen == []
try: os.waitpid(-1, os.WNOHANG)
except ChildProcessError: pass
else: raise AssertionError("there is a child")
md.crash.disable()
""",
    )
    assert (done.status, done.err) == (0, "")
    assert done.dumps == []


def test_disable_undoes_it(enabled: Any, tmp_path: Path) -> None:
    names = [signal.Signals(number) for number in (4, 5, 6, 7, 8, 11, 31)]
    before = [signal.getsignal(number) for number in names]
    enabled()
    status = md.crash.status()
    assert status.enabled and status.helper_alive and sorted(status.signals) == sorted(names)
    assert live.status_field(os.getpid(), "SigCgt") != ""
    caught = int(live.status_field(os.getpid(), "SigCgt"), 16)
    assert all(caught >> (number - 1) & 1 for number in names)
    md.crash.disable()
    assert not md.crash.status().enabled
    assert crashing.gone(status.helper)
    assert [signal.getsignal(number) for number in names] == before
    md.crash.disable()


def test_enabled_twice_is_the_second(enabled: Any, tmp_path: Path) -> None:
    enabled()
    first = md.crash.status().helper
    (tmp_path / "b").mkdir()
    enabled(tmp_path / "b")
    assert crashing.gone(first)
    assert Path(md.crash.dump_now()).parent == tmp_path / "b"


def test_names_are_safe_sort_and_replace_nothing(enabled: Any, tmp_path: Path) -> None:
    enabled(name="../{name}\0{signal}-{time}")
    found = []
    for _ in range(3):
        found.append(md.crash.dump_now())
        time.sleep(0.002)
    assert found == sorted(found)
    assert all(Path(path).parent == tmp_path and Path(path).name.startswith("_._") for path in found)
    assert all("_requested-" in path for path in found)
    assert md.crash.status().dumps == 3

    enabled(tmp_path / "fixed.mdmp")
    for name in ("fixed.mdmp", "fixed-2.mdmp", "fixed-3.mdmp"):
        assert md.crash.dump_now() == str(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 6

    enabled(name="a\n\x1b[31m\x7f")
    assert Path(md.crash.dump_now()).name == "a__[31m_.dmp"

    enabled(name="ü" * 300)
    assert len(os.fsencode(Path(md.crash.dump_now()).name)) <= 255


@pytest.mark.parametrize("template", ["{nam}", "{", "{0}", "{pid.x}", "{pid[0]}"])
def test_a_wrong_template_is_refused(template: str, enabled: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\{name\}, \{pid\}"):
        enabled(name=template)
    assert not md.crash.status().enabled


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"callback": None}, TypeError),
        ({"on_cancel": None}, TypeError),
        ({"nonsense": 1}, TypeError),
        ({"type": "fuller"}, ValueError),
        ({"max_stop": -1}, ValueError),
        ({"on_dump": "a b"}, TypeError),
        ({"on_dump": print}, TypeError),
        ({"on_dump": [1]}, TypeError),
        ({"on_dump": []}, TypeError),
        ({"on_dump": ["a\0"]}, ValueError),
        ({"python": "/nowhere/python"}, md.TargetError),
        ({"python": "/bin/true"}, md.TargetError),
        ({"signals": [9]}, ValueError),
        ({"signals": [0]}, ValueError),
        ({"signals": [17]}, ValueError),
        ({"signals": [65]}, ValueError),
        ({"signals": []}, ValueError),
    ],
)
def test_wrong_options_are_refused_and_nothing_stays(options: dict[str, Any], error: type, enabled: Any) -> None:
    before = [link for link in links() if "socket" in link or "pidfd" in link]
    with pytest.raises(error):
        enabled(**options)
    assert not md.crash.status().enabled
    assert [link for link in links() if "socket" in link or "pidfd" in link] == before


def test_a_place_that_cannot_be_written_is_an_error_now(enabled: Any, tmp_path: Path) -> None:
    with pytest.raises(md.SinkError):
        enabled(tmp_path / "nowhere" / "a.dmp")
    assert not md.crash.status().enabled


def test_dump_now_needs_enable() -> None:
    with pytest.raises(md.DumpError, match=r"enable\(\)"):
        md.crash.dump_now()


def test_an_embedded_python_names_one(tmp_path: Path) -> None:
    done = crashing.run(
        tmp_path / "out",
        """
python, sys.executable = sys.executable, ""
try: enable()
except md.TargetError as error: assert "sys.executable" in str(error)
else: raise AssertionError("enabled")
enable(python=python)
null()
""",
    )
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert done.dump


def test_standard_streams_that_are_closed(tmp_path: Path) -> None:
    """What the program opens later is descriptor 0, 1 and 2, and nothing of ours is."""
    done = crashing.run(
        tmp_path / "out",
        """
os.closerange(0, 3)
md.crash.enable(folder)
assert [os.open(folder + "/../std", os.O_CREAT | os.O_RDWR) for _ in range(3)] == [0, 1, 2]
null()
""",
    )
    assert done.status == -signal.SIGSEGV
    assert done.dump
    assert (tmp_path / "std").read_bytes() == b""


def test_a_default_timeout_of_sockets_is_not_ours(tmp_path: Path) -> None:
    body = "import socket; socket.setdefaulttimeout(0.001); enable(); md.crash.dump_now(); null()"
    done = crashing.run(tmp_path / "out", body)
    assert (done.status, done.err, len(done.dumps)) == (-signal.SIGSEGV, "", 2)


def test_a_request_that_was_interrupted_has_no_late_answer(tmp_path: Path) -> None:
    """The path of one dump must not be taken for that of the next."""
    done = crashing.run(
        tmp_path / "out",
        """
enable()
os.kill(md.crash.status().helper, signal.SIGSTOP)
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try: md.crash.dump_now()
except KeyboardInterrupt: pass
else: raise AssertionError("not interrupted")
os.kill(md.crash.status().helper, signal.SIGCONT)
try: md.crash.dump_now()
except md.TargetError as error: assert "enable() again" in str(error)
else: raise AssertionError("an answer")
null()
""",
    )
    assert (done.status, done.err) == (-signal.SIGSEGV, "")
    assert len(done.dumps) in (1, 2), "that of the crash, and that of the request if there was time for it"


def test_a_record_whose_addresses_lead_nowhere(tmp_path: Path) -> None:
    """A dump without the registers is better than none."""
    done = crashing.run(
        tmp_path / "out",
        """
import struct
enable()
fd = md.crash._watch._crashes
os.write(fd, struct.pack("=iii4xQQQ", threading.get_native_id(), 11, 1, 8, 0x1000, 0x2000))
assert os.read(fd, 512)[:4] == bytes(4)
os.write(fd, b"short")
while md.crash.status().helper_alive: time.sleep(0.01)
""",
    )
    assert (done.status, done.err) == (0, "")
    blame = crashing.exception_of(done.dump)
    assert (blame.signal, blame.code, blame.address) == (11, 1, 8)


@pytest.mark.parametrize("files", range(5, 19, 2))
def test_too_few_descriptors(files: int, tmp_path: Path) -> None:
    """Wherever the limit is met: an error of our tree, or it works."""
    done = crashing.run(
        tmp_path / "out",
        f"""
import resource
md.crash.enable(folder)  # what it imports needs descriptors, too
md.crash.disable()
resource.setrlimit(resource.RLIMIT_NOFILE, ({files},) * 2)
try: md.crash.enable(folder)
except md.DumpError as error: print("refused")
print("enabled", bool(md.crash._watch))
""",
    )
    assert done.status == 0, done.err
    assert ("refused" in done.out) != ("enabled True" in done.out)
