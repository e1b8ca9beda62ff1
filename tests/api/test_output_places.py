"""URLs as outputs, and templates of names."""

from __future__ import annotations

import gzip
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidump_cffi as md
from minidump_cffi import _naming, sinks
from minidump_cffi._inputs import remote
from minidump_cffi.cli import main

FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.Target(regions=(fake.Region(base=0x1000_0000, size=1 << 20),))
TIME = r"\d{8}T\d{6}\.\d{3}Z"


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system of this process."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.mark.linux  # fsspec is not in the Windows environment
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_dump_to_a_url(suffix: str, memory: Any, tmp_path: Path) -> None:
    fake.write(TARGET, tmp_path / "a.dmp", FULL, untouched="omit")
    url = f"memory://dumps/a.dmp{suffix}"
    for _ in range(2):  # a new file, and one that is replaced
        report = fake.write(TARGET, url, FULL, untouched="omit")
    data = memory.cat(url)
    data = gzip.decompress(data) if suffix else data
    plain = (tmp_path / "a.dmp").read_bytes()
    assert data[:20] + data[24:] == plain[:20] + plain[24:]
    assert report.path == url
    assert list(memory.store) == [f"/dumps/a.dmp{suffix}"]


@pytest.mark.linux
@pytest.mark.parametrize("where", ["open", "write", "close", "mv"])
def test_a_url_that_cannot_be_written(where: str, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(28, "no space left")

    if where == "open":
        monkeypatch.setattr(type(memory), "open", refuse)
    elif where == "mv":
        monkeypatch.setattr(type(memory), "mv", refuse)
    else:
        monkeypatch.setattr(sys.modules["fsspec.implementations.memory"].MemoryFile, where, refuse)
    with pytest.raises(md.SinkError, match=r"cannot write memory://dumps/a\.dmp: .*no space left") as caught:
        fake.write(TARGET, "memory://dumps/a.dmp", FULL)
    assert caught.value.errno == 28
    monkeypatch.undo()
    assert list(memory.store) == []


@pytest.mark.linux
def test_nothing_is_left_of_a_cancelled_one(memory: Any) -> None:
    memory.pipe("memory://dumps/a.dmp", b"before")

    def cancel() -> bool:
        return sys._getframe(3).f_code.co_name == "commit"

    with pytest.raises(md.Cancelled):
        fake.write(TARGET, "memory://dumps/a.dmp", FULL, on_cancel=cancel)
    assert list(memory.store) == ["/dumps/a.dmp"] and memory.cat("memory://dumps/a.dmp") == b"before"


@pytest.mark.parametrize("scheme", ["file", "local", "FILE"])
def test_a_url_of_this_machine_is_a_path(scheme: str, tmp_path: Path) -> None:
    """With all that is promised of paths: the mode, and what may be replaced."""
    place = f"{scheme}://{'/' if sys.platform == 'win32' else ''}{(tmp_path / 'a.dmp').as_posix()}"
    report = fake.write(TARGET, place, FULL)
    assert report.path == str(tmp_path / "a.dmp") and fake.names(tmp_path) == ["a.dmp"]
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "a.dmp").stat().st_mode) == 0o600
        (tmp_path / "link").symlink_to(tmp_path / "a.dmp")
        fake.write(TARGET, place.replace("a.dmp", "link"), FULL)
        assert (tmp_path / "link").is_symlink()
    with pytest.raises(md.SinkError):
        fake.write(TARGET, place.replace("a.dmp", ""), FULL)
    assert [name for name in fake.names(tmp_path) if name != "link"] == ["a.dmp"]


@pytest.mark.linux
def test_a_url_of_a_folder_is_refused(memory: Any) -> None:
    with pytest.raises(md.SinkError, match="names a folder"):
        fake.write(TARGET, "memory://dumps/", FULL)
    assert list(memory.store) == []


@pytest.mark.linux
def test_passwords_are_not_shown(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    report = fake.write(TARGET, "memory://user:swordfish@host/a.dmp", FULL)
    assert report.path == "memory://user:***@host/a.dmp" and "swordfish" not in report.to_json()
    monkeypatch.setattr(type(memory), "open", None)
    with pytest.raises(md.SinkError) as caught:
        fake.write(TARGET, "memory://user:swordfish@host/a.dmp", FULL)
    assert "swordfish" not in str(caught.value) and caught.value.filename == report.path


def test_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is stopped."""
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(md.SinkError, match=r"cannot write memory://a.dmp: .*pip install") as caught:
        fake.write(TARGET, "memory://a.dmp", FULL)
    assert caught.value.hint == remote.EXTRA


def test_no_scratch_file_stays_open_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    make = sinks._outputs.scratch_file
    monkeypatch.setattr(sinks._outputs, "scratch_file", lambda: made.append(make()) or made[0])
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(md.SinkError):
        fake.write(TARGET, "memory://a.dmp", FULL)
    assert all(file.closed for file in made)


# ---------------------------------------------------------------------------------------------------------- templates


@pytest.mark.linux
def test_the_command_line_names_the_dump(start_pattern: Any, tmp_path: Path) -> None:
    target = start_pattern()
    folder = tmp_path / "out"
    folder.mkdir()
    assert main(["dump", str(target.pid), "-q", "-o", f"{folder}/{{host}}-{{name}}-{{pid}}-{{time}}.dmp.gz"]) == 0
    (path,) = folder.iterdir()
    assert re.fullmatch(rf".+-pattern-{target.pid}-{TIME}\.dmp\.gz", path.name)
    assert gzip.decompress(path.read_bytes())[:4] == b"MDMP"


@pytest.mark.linux
def test_a_wrong_template_on_the_command_line(start_pattern: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", str(start_pattern().pid), "-o", "{pidd}.dmp"]) == 2
    assert "did you mean {pid}?" in capfd.readouterr().err


@pytest.mark.linux
def test_many_by_a_template(start_pattern: Any, tmp_path: Path) -> None:
    pids = [start_pattern().pid for _ in range(2)]
    results = list(md.write_dump_many([*pids, pids[0]], f"{tmp_path}/a/{{name}}.dmp.gz", jobs=1))
    assert [result.error for result in results] == [None] * 3
    assert fake.names(tmp_path / "a") == ["pattern-2.dmp.gz", "pattern-3.dmp.gz", "pattern.dmp.gz"]


def test_files_by_a_template(tmp_path: Path) -> None:
    fake.write(TARGET, tmp_path / "a.dmp", FULL)
    (done,) = md.filter_many([tmp_path / "a.dmp"], f"{tmp_path}/out/{{name}}-{{time}}.dmp.gz")
    assert done.error is None
    assert re.fullmatch(rf"a-{TIME}\.dmp\.gz", fake.names(tmp_path / "out")[0])
    assert main(["filter", str(tmp_path / "a.dmp"), "-q", "-o", f"{tmp_path}/one/{{name}}-f.dmp"]) == 0
    assert fake.names(tmp_path / "one") == ["a-f.dmp"]


def test_a_wrong_template_is_refused_before_there_is_work(tmp_path: Path) -> None:
    fake.write(TARGET, tmp_path / "a.dmp", FULL)
    with pytest.raises(ValueError, match=r"unknown field \{pid\}"):
        md.filter_many([tmp_path / "a.dmp"], f"{tmp_path}/out/{{pid}}.dmp")
    with pytest.raises(ValueError, match="did you mean"):
        md.write_dump_many([1], f"{tmp_path}/{{nam}}.dmp")
    assert main(["filter", str(tmp_path / "a.dmp"), "-o", f"{tmp_path}/{{nam}}.dmp"]) == 2


@given(st.text(), st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), st.text()))
def test_templates_are_expanded_as_python_does(template: str, values: dict[str, str]) -> None:
    try:
        expected = template.format(**values)
    except Exception:
        expected = None
    try:
        assert _naming.expand(template, values) == expected
    except ValueError as error:
        simple = not any(mark in template for mark in ".[!:")
        assert expected is None or not simple, error


@pytest.mark.parametrize(
    "template", ["{", "}", "{}", "{0}", "{pid.real}", "{pid!r}", "{name:{pid}}", "{pid:x!}", "{Pid}"]
)
def test_wrong_templates(template: str) -> None:
    with pytest.raises(ValueError, match="is not a template of file names"):
        _naming.expand(template, {"pid": 5, "name": "a"})
