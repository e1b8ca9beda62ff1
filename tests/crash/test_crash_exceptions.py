"""Python exceptions that nothing catches, and dumps on request: what is said in them, and what follows."""

from __future__ import annotations

from pathlib import Path

import crashing
import crashpad
import pytest

pytestmark = pytest.mark.linux

RAISE = """
def fails():
    raise ValueError("wrong\\0\\udcff value")
"""


def comment_of(path: Path) -> str:
    comment = crashpad.comments(path)[1]
    assert comment is not None
    return comment


def annotations_of(path: Path) -> dict[str, str]:
    annotations = crashpad.simple_annotations(path)
    assert annotations is not None
    return annotations


def check(path: Path, where: str) -> None:
    text = comment_of(path)
    assert text.startswith("Traceback (most recent call last):")
    assert "in fails" in text and text.rstrip().endswith("ValueError: wrong\\0\\udcff value")
    found = annotations_of(path)
    assert found["python.traceback"] == text
    assert found["python.exception"] == "ValueError: wrong\\0\\udcff value"
    assert found["python.where"] == where


def test_the_main_thread(tmp_path: Path) -> None:
    body = (
        "sys.excepthook = lambda kind, error, where: print('before', kind.__name__)\nenable(excepthooks=True)\nfails()"
    )
    done = crashing.run(tmp_path / "out", RAISE + body)
    assert (done.status, done.err) == (1, "")
    assert "before ValueError" in done.out
    check(done.dump, "main thread")


def test_a_thread(tmp_path: Path) -> None:
    body = """
enable(excepthooks=True)
for target in (fails, sys.exit):
    thread = threading.Thread(target=target, name="worker")
    thread.start()
    thread.join()
"""
    done = crashing.run(tmp_path / "out", RAISE + body)
    assert done.status == 0
    assert done.err.startswith("Exception in thread worker:\nTraceback") and done.err.count("Traceback") == 1
    check(done.dump, "thread worker")


def test_asyncio(tmp_path: Path) -> None:
    body = """
import asyncio, logging
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(md.crash.asyncio_handler)
    loop.call_soon(fails)
    loop.call_exception_handler({"message": "nothing was raised"})
    await asyncio.sleep(0.01)
enable()
asyncio.run(main())
md.crash.disable()
asyncio.run(main())
"""
    done = crashing.run(tmp_path / "out", RAISE + body)
    assert done.status == 0
    assert done.err.count("ValueError") == 2 and done.err.count("nothing was raised") == 2
    assert annotations_of(done.dump)["python.where"].startswith("asyncio: Exception in callback fails()")


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit(3)"])
def test_what_only_ends_a_program(error: str, tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", f"enable(excepthooks=True)\nraise {error}")
    assert done.status != 0 and done.dumps == []


def test_not_too_many(tmp_path: Path) -> None:
    body = """
enable(excepthooks=2)
threads = [threading.Thread(target=fails) for _ in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    done = crashing.run(tmp_path / "out", RAISE + body)
    assert len(done.dumps) == 2 and done.err.count("Traceback") == 5


def test_disable_puts_the_hooks_back(tmp_path: Path) -> None:
    """Also when another hook was put in front of ours: that one stays, and ours only hands on."""
    body = """
before = sys.excepthook, threading.excepthook
enable(excepthooks=True)
assert sys.excepthook is not before[0] and threading.excepthook is not before[1]
md.crash.disable()
assert (sys.excepthook, threading.excepthook) == before
enable(excepthooks=True)
ours = sys.excepthook
sys.excepthook = front = lambda *about: ours(*about)
md.crash.disable()
assert sys.excepthook is front
fails()
"""
    done = crashing.run(tmp_path / "out", RAISE + body.replace("enable(", "md.crash.enable(folder, "))
    assert (done.status, done.dumps) == (1, [])
    assert done.err.count("Traceback") == 1


def test_a_dump_that_fails_is_said_and_the_hook_goes_on(tmp_path: Path) -> None:
    body = "enable(excepthooks=True); os.rename(folder, folder + '-')\nfails()"
    done = crashing.run(tmp_path / "out", RAISE + body)
    assert done.status == 1
    first, _, rest = done.err.partition("\n")
    assert first.startswith("minidump_cffi: no dump of this exception: cannot create")
    assert rest.startswith("Traceback")


def test_nothing_is_said_where_there_is_no_stderr(tmp_path: Path) -> None:
    body = "enable(excepthooks=True); os.rename(folder, folder + '-'); sys.stderr = None\nfails()"
    done = crashing.run(tmp_path / "out", RAISE + body)
    assert (done.status, "no dump" in done.out + done.err) == (1, False)


def test_what_a_dump_on_request_says(tmp_path: Path) -> None:
    body = """
enable(comment="always", annotations={"version": "1", "part": "a"})
md.crash.dump_now()
md.crash.dump_now(comment="now", annotations={"part": "b"})
for wrong in ({"comment": 1}, {"annotations": {"": "x"}}, {"comment": "a\\0"}):
    try: md.crash.dump_now(**wrong)
    except (TypeError, ValueError): pass
    else: raise AssertionError(wrong)
null()
"""
    done = crashing.run(tmp_path / "out", body)
    assert done.err == ""
    said = [(comment_of(path), annotations_of(path)) for path in done.dumps]
    assert said == [
        ("always", {"version": "1", "part": "a"}),
        ("now", {"version": "1", "part": "b"}),
        ("always", {"version": "1", "part": "a"}),
    ]


def test_a_long_traceback_is_cut_in_the_middle(tmp_path: Path) -> None:
    done = crashing.run(tmp_path / "out", "enable(excepthooks=True)\nraise ValueError('x' * 1_000_000 + 'end')")
    text = comment_of(done.dump)
    assert len(text) < 250_000 and text.startswith("Traceback") and text.endswith("end\n") and "\n[...]\n" in text
