"""Paths that another user can bend: links, FIFOs and files in directories that others can write, looked at as root."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake
import pytest

import minidump_cffi as md

if sys.platform != "win32":
    from minidump_cffi._os import paths_posix

pytestmark = [
    pytest.mark.linux,
    pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="becomes other users: needs root"),
]

FULL = md.DumpType.WITH_FULL_MEMORY
TARGET = fake.small()
OTHER, THIRD = 54321, 54322
RULES = "default = 'exclude'\n"


def as_user(user: int, action: Callable[[], object]) -> None:
    """Run it as another user."""
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            os.umask(0)
            action()
            status = 0
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture(params=[0o1777, 0o777, 0o770], ids=["sticky", "open", "group"])
def common(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory of ours that others can write: all, or a group."""
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, 0, OTHER)
    folder.chmod(request.param)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file that is not to change, alone in its directory."""
    file = tmp_path / "private" / "precious"
    file.parent.mkdir()
    file.write_bytes(b"precious")
    yield file
    assert file.read_bytes() == b"precious" and fake.names(file.parent) == ["precious"]


def chain(common: Path, victim: Path) -> Path:
    """A link of ours that leads to one of theirs."""
    as_user(OTHER, lambda: (common / "theirs").symlink_to(victim))
    (common / "ours").symlink_to("theirs")
    return common / "ours"


def final(common: Path, victim: Path) -> Path:
    as_user(OTHER, lambda: (common / "x.dmp").symlink_to(victim))
    return common / "x.dmp"


def dangling(common: Path, victim: Path) -> Path:
    as_user(OTHER, lambda: (common / "x.dmp").symlink_to(victim.parent / "new"))
    return common / "x.dmp"


def component(common: Path, victim: Path) -> Path:
    as_user(OTHER, lambda: (common / "dumps").symlink_to(victim.parent))
    return common / "dumps" / "new"


def inside(common: Path, victim: Path) -> Path:
    """A link of theirs in a directory of theirs, which the kernel would follow."""

    def make() -> None:
        (common / "dumps").mkdir()
        (common / "dumps" / "x.dmp").symlink_to(victim)

    as_user(OTHER, make)
    return common / "dumps" / "x.dmp"


def third(common: Path, victim: Path) -> Path:
    """A link that a third user put into a directory of theirs."""

    def make() -> None:
        (common / "dumps" / "deep").mkdir(parents=True)
        (common / "dumps").chmod(0o777)
        (common / "dumps" / "deep").chmod(0o777)

    as_user(OTHER, make)
    common.chmod(common.stat().st_mode | 0o005)
    as_user(THIRD, lambda: (common / "dumps" / "deep" / "x.dmp").symlink_to(victim))
    return common / "dumps" / "deep" / "x.dmp"


BENT = [chain, final, dangling, component, inside, third]


def check(error: Any, path: str | None = None) -> None:
    assert isinstance(error, OSError) and error.errno == 13
    assert "is a symbolic link of user 5432" in str(error) and "only you can write" in str(error)


@pytest.mark.parametrize("bend", BENT, ids=lambda bend: bend.__name__)
@pytest.mark.parametrize("kind", [os.fspath, os.fsencode], ids=["str", "bytes"])
def test_a_link_of_another_user_is_not_followed(bend: Any, kind: Any, common: Path, victim: Path) -> None:
    path = kind(bend(common, victim))
    with pytest.raises(md.SinkError) as caught:
        fake.write(TARGET, path, FULL)
    check(caught.value)
    assert not [name for name in fake.names(common) if "tmp" in name]


def test_not_by_a_relative_path_either(common: Path, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final(common, victim)
    monkeypatch.chdir(common)
    for path in ("x.dmp", "./x.dmp", f"../{common.name}/x.dmp", f"{common}//x.dmp"):
        with pytest.raises(md.SinkError) as caught:
            fake.write(TARGET, path, FULL)
        check(caught.value)


def test_links_that_are_followed(common: Path, tmp_path: Path) -> None:
    """Ours, root's, and those of a directory's owner in a place where others cannot write."""
    (common / "ours.dmp").symlink_to(tmp_path / "one.dmp")
    home = tmp_path / "home"
    home.mkdir()
    (home / "theirs").symlink_to(tmp_path)
    for path in (home, home / "theirs"):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
    for path, real in ((common / "ours.dmp", "one.dmp"), (home / "theirs" / "two.dmp", "two.dmp")):
        fake.write(TARGET, path, FULL)
        assert (tmp_path / real).read_bytes()[:4] == b"MDMP"
    assert (common / "ours.dmp").is_symlink()


def test_a_directory_of_another_user_takes_a_dump(common: Path) -> None:
    as_user(OTHER, lambda: (common / "theirs").mkdir())
    fake.write(TARGET, common / "theirs" / "x.dmp", FULL)
    about = (common / "theirs" / "x.dmp").stat()
    assert about.st_uid == 0 and stat.S_IMODE(about.st_mode) == 0o600


def test_a_file_of_another_user_is_replaced_not_written(common: Path) -> None:
    as_user(OTHER, lambda: (common / "x.dmp").write_bytes(b"theirs"))
    with (common / "x.dmp").open("rb") as theirs:
        fake.write(TARGET, common / "x.dmp", FULL)
        assert theirs.read() == b"theirs"
    assert (common / "x.dmp").stat().st_uid == 0


def test_a_fifo_that_is_replaced_while_it_has_no_reader(common: Path) -> None:
    """What was looked at is what is opened, however long the wait for a reader is."""
    ours, theirs = common / "x.dmp", common / "theirs"
    os.mkfifo(ours)
    as_user(OTHER, lambda: os.mkfifo(theirs, 0o666))
    reader = os.open(theirs, os.O_RDONLY | os.O_NONBLOCK)
    swap = threading.Timer(0.2, lambda: theirs.rename(ours))
    swap.start()
    try:
        with pytest.raises(md.SinkError, match="was replaced") as caught:
            fake.write(TARGET, ours, FULL, deadline=20.0)
        assert caught.value.errno == 13
        assert os.read(reader, 10) == b""
    finally:
        swap.join()
        os.close(reader)


PLAIN = ("x", "dir/x", "dir/free", "dir//x", "./x", "dir/../x", "dir/\udcff")
WALKED = ("link/x", "dir/link", "fifo", "dir", "dir/", "dir/.", "dir/..", "x/y", "x/", "none/x", "", "\0", "a\0b")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "dir").mkdir()
    for name in ("x", "dir/x"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("dir")
    (tmp_path / "dir" / "link").symlink_to("x")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def found(path: str) -> object:
    try:
        with paths_posix.resolve(path) as place:
            about = place.about and (place.about.st_ino, place.about.st_dev)
            return os.fstat(place.directory).st_ino, place.name, about, place.magic, place.foreign
    except (OSError, ValueError) as error:
        return type(error), getattr(error, "errno", None)


@pytest.mark.parametrize("path", [*PLAIN, *WALKED])
@pytest.mark.parametrize("absolute", [False, True])
def test_what_the_kernel_resolves_is_what_the_walk_finds(
    absolute: bool, path: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Component by component, as before Linux 5.6."""
    monkeypatch.chdir(tree)
    path = f"{tree}/{path}" if absolute else path
    resolved = found(path)
    monkeypatch.setattr(paths_posix, "open_directory_without_links", lambda _: -1)
    assert found(path) == resolved


@pytest.mark.parametrize("path", PLAIN)
def test_a_path_without_links_is_not_walked(path: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths_posix, "_Walk", None)
    with paths_posix.resolve(f"{tree}/{path}") as place:
        assert place.name == path.rpartition("/")[2]
    monkeypatch.undo()


def test_a_folder_of_a_group_is_shared_for_other_users_too() -> None:
    """Also for a dumper that is not root, unless the group is its own."""
    folder = Path(tempfile.mkdtemp())
    try:
        for group, followed in ((OTHER, False), (THIRD, True)):
            os.chown(folder, 0, group)
            folder.chmod(0o775)
            link = folder / f"{group}.dmp"
            link.symlink_to("made")
            os.chown(link, OTHER, OTHER, follow_symlinks=False)

            def look(link: Path = link, followed: bool = followed) -> None:
                with contextlib.ExitStack() as stack:
                    try:
                        stack.enter_context(paths_posix.resolve(os.fspath(link)))
                    except PermissionError:
                        assert not followed
                    else:
                        assert followed

            as_user(THIRD, look)
    finally:
        shutil.rmtree(folder)


def test_a_fifo_of_another_user_is_not_written(common: Path) -> None:
    as_user(OTHER, lambda: os.mkfifo(common / "x.dmp", 0o666))
    reader = os.open(common / "x.dmp", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(md.SinkError, match="is a FIFO of user 54321"):
            fake.write(TARGET, common / "x.dmp", FULL)
        assert os.read(reader, 10) == b""
    finally:
        os.close(reader)


@pytest.mark.parametrize("bend", [component, third], ids=lambda bend: bend.__name__)
def test_a_spool_folder_behind_a_link_of_another_user(bend: Any, common: Path, victim: Path) -> None:
    path = bend(common, victim)
    folder = path.parent if bend is component else path
    with pytest.raises(md.SinkError) as caught:
        fake.write(TARGET, io.BytesIO(), FULL, spool=folder)
    check(caught.value)


@pytest.mark.parametrize("bend", BENT, ids=lambda bend: bend.__name__)
def test_a_recording_is_not_saved_through_a_link_of_another_user(bend: Any, common: Path, victim: Path) -> None:
    made = fake.write(TARGET, io.BytesIO(), FULL, record=True).recording
    assert made is not None
    with pytest.raises(md.SinkError) as caught:
        made.save(bend(common, victim))
    check(caught.value)
    made.save(common / "good.jsonl")
    assert md.replay.Recording.from_jsonl(common / "good.jsonl") == made


# ------------------------------------------------------------------------------------------------- filter files


def filter_file(folder: Path, owner: int, group: int, mode: int) -> Path:
    file = folder / "rules.toml"
    file.write_text(RULES)
    os.chown(file, owner, group)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("owner", "group", "mode", "user", "why"),
    [
        (0, 0, 0o644, 0, None),
        (0, 0, 0o664, 0, None),
        (0, OTHER, 0o644, 0, None),
        (0, OTHER, 0o664, 0, "can be written by group 54321"),
        (0, 0, 0o646, 0, "can be written by all users"),
        (OTHER, OTHER, 0o644, 0, "belongs to user 54321"),
        (0, 0, 0o644, OTHER, None),
        (OTHER, OTHER, 0o664, OTHER, None),
        (OTHER, THIRD, 0o664, OTHER, "can be written by group 54322"),
        (OTHER, OTHER, 0o646, OTHER, "can be written by all users"),
        (THIRD, THIRD, 0o644, OTHER, "belongs to user 54322"),
    ],
)
def test_a_filter_file_that_others_can_write(owner: int, group: int, mode: int, user: int, why: str | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = filter_file(folder, owner, group, mode)

        def read() -> None:
            if why is None:
                assert md.Filter.from_file(file) == md.Filter.from_toml(RULES)
                return
            with pytest.raises(md.FilterError, match=f"the file {why}, who could change.*chmod go-w.*/dev/stdin"):
                md.Filter.from_file(file)

        if user == 0:
            read()
        else:
            as_user(user, read)


@pytest.mark.parametrize("bend", [final, component, inside], ids=lambda bend: bend.__name__)
def test_a_filter_file_behind_a_link_of_another_user(bend: Any, common: Path, tmp_path: Path) -> None:
    real = tmp_path / "private" / "new"
    real.parent.mkdir()
    real.write_text(RULES)
    path = bend(common, real)
    with pytest.raises(PermissionError, match="is a symbolic link of user") as caught:
        md.Filter.from_file(path)
    assert caught.value.filename == str(path)


def test_the_command_line_says_so(common: Path, victim: Path, tmp_path: Path) -> None:
    path = final(common, victim)
    rules = filter_file(tmp_path, OTHER, OTHER, 0o644)
    command = [sys.executable, "-m", "minidump_cffi", "dump", str(os.getpid())]
    for more, words in (
        (["-o", str(path)], "is a symbolic link of user"),
        (["-o", str(tmp_path / "x.dmp"), "--filter", str(rules)], "belongs to user 54321"),
    ):
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode != 0 and words in done.stderr and "Traceback" not in done.stderr
    with rules.open() as file:  # checked, and handed over
        command = [*command, "-o", str(tmp_path / "x.dmp"), "--filter", "/dev/stdin"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=file)
    assert done.returncode == 0, done.stderr
