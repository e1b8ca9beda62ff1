"""Paths on POSIX, walked one component after the other, so that no other user decides where they lead.

A symbolic link in a directory that others can write is followed only if it belongs to us or to the owner of the
directory: what the kernel does where ``fs.protected_symlinks`` is set (proc_sys_fs(5)), here without the setting, and
without the sticky bit too. Below a directory that another user made in such a place, no link of others is followed.
"""

# ruff: noqa: PTH116 -- paths may be bytes here, and names are relative to a descriptor

from __future__ import annotations

import errno
import os
import stat
import sys

from .._native.paths import open_directory_without_links
from .._record import Record

assert sys.platform != "win32"

__all__ = ["Place", "distrust", "open_trusted", "resolve"]

_MAX_LINKS = 40  # the kernel's MAXSYMLINKS
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Place(Record):
    """Where a path leads: a name in an open directory.

    `directory` is a descriptor opened with O_PATH. `about` is None if the name is free. `magic` says that the name is a
    link which only the kernel can follow (``/proc/self/fd/1``); `about` is then what it leads to. `foreign` says that
    the entry belongs to another user, in a directory that others can write.
    """

    directory: int
    name: str
    about: os.stat_result | None
    magic: bool = False
    foreign: bool = False

    def open(self, flags: int) -> int:
        """Open what is there, and nothing that took its name since.

        Raises
        ------
        PermissionError
            Something else has the name now.
        """
        fd = os.open(self.name, flags | os.O_CLOEXEC | (0 if self.magic else os.O_NOFOLLOW), dir_fd=self.directory)
        if self.about is not None and not os.path.samestat(os.fstat(fd), self.about):
            os.close(fd)
            raise PermissionError(errno.EACCES, f"{self.name} was replaced while it was being opened")
        return fd


def _shared(directory: os.stat_result) -> bool:
    """Whether others can make entries there: all users, or a group that is neither root's nor our own."""
    return bool(directory.st_mode & (0o002 if directory.st_gid in _own_groups() else 0o022))


def _own_groups() -> tuple[int, ...]:
    return (0,) if os.geteuid() == 0 else (0, os.getegid())


def _parts(path: str) -> list[str]:
    """The components, the first one last."""
    return [part for part in reversed(path.split("/")) if part]


class _Walk:
    def __init__(self, path: str) -> None:
        self.at = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.here = os.fstat(self.at)
        self.parts = _parts(path)
        self.links = 0
        self.tainted = False  # we are below a directory of another user
        self.walked = "/" if path.startswith("/") else ""

    def go(self) -> Place:
        """Walk to the end."""
        while self.parts:
            name = self.parts.pop()
            place = self._step(name)
            if place is not None:
                return place
        return Place(directory=self.at, name=".", about=self.here)

    def _step(self, name: str) -> Place | None:
        here = self.here
        if self.parts and self._enter_directory(name, here):
            return None
        try:
            entry = os.open(name, _ENTRY, dir_fd=self.at)
        except FileNotFoundError:
            if self.parts:
                raise
            return Place(directory=self.at, name=name, about=None)
        try:
            about = os.fstat(entry)
            foreign = name != ".." and self._foreign(about, here)
            if not stat.S_ISLNK(about.st_mode):
                if not self.parts:
                    return Place(directory=self.at, name=name, about=about, foreign=foreign)
                os.close(os.open(name, _ENTRY | os.O_DIRECTORY, dir_fd=self.at))  # fails, and says why
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            self.links += 1
            if self.links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if here.st_dev == _proc_device():
                return self._follow_kernel(name)
            if foreign:
                raise PermissionError(errno.EACCES, _refusal(self.walked + name, about.st_uid))
            self._follow(os.readlink("", dir_fd=entry))
            return None
        finally:
            os.close(entry)

    def _enter_directory(self, name: str, here: os.stat_result) -> bool:
        """Enter what is a directory itself, mostly; False for a link, and for all that the long way has to explain."""
        try:
            # O_PATH alone would not mount what autofs mounts on use: open(2).
            entry = os.open(name, _ENTRY | os.O_DIRECTORY, dir_fd=self.at)
        except OSError:
            return False
        try:
            about = os.fstat(entry)
            self.tainted = self.tainted or (name != ".." and self._foreign(about, here))
        except BaseException:
            os.close(entry)
            raise
        self.at, entry = entry, self.at
        os.close(entry)
        self.here = about
        self.walked += name + "/"
        return True

    def _foreign(self, entry: os.stat_result, directory: os.stat_result) -> bool:
        if self.tainted:
            return entry.st_uid not in (os.geteuid(), 0)
        return _shared(directory) and entry.st_uid not in (os.geteuid(), directory.st_uid)

    def _enter(self, name: str, entry: int) -> None:
        if not stat.S_ISDIR(os.fstat(entry).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        os.dup2(entry, self.at, inheritable=False)
        self.here = os.fstat(self.at)
        self.walked += name + "/"

    def _follow(self, target: str) -> None:
        if target.startswith("/"):
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.dup2(root, self.at, inheritable=False)
            finally:
                os.close(root)
            self.tainted, self.walked = False, "/"
            self.here = os.fstat(self.at)
        self.parts += _parts(target)

    def _follow_kernel(self, name: str) -> Place | None:
        """Follow a link of /proc, which leads to an object; its text need not be a path."""
        if not self.parts:
            return Place(directory=self.at, name=name, about=os.stat(name, dir_fd=self.at), magic=True)
        entry = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=self.at)
        try:
            self._enter(name, entry)
        finally:
            os.close(entry)
        return None


def _proc_device() -> int | None:
    try:
        return os.stat("/proc/self/fd").st_dev
    except OSError:
        return None


def _refusal(path: str, owner: int) -> str:
    return (
        f"{path} is a symbolic link of user {owner} in a directory that others can write, and is not followed: "
        "remove it, or name a directory that only you can write"
    )


def _plain(path: str) -> Place | None:
    """The place of a regular file or a free name, with no link on the way: nearly always so, and known after two calls.

    None for all else: the walk finds out what it is.
    """
    folder, slash, name = path.rpartition("/")
    if name in ("", ".", "..") or "\0" in path:
        return None
    directory = open_directory_without_links(folder + slash or ".")
    if directory < 0:
        return None
    try:
        about = _entry(name, directory)
        if about is None or stat.S_ISREG(about.st_mode):
            place = Place(directory=directory, name=name, about=about, magic=False, foreign=False)
            directory = -1
            return place
    except OSError:
        pass  # the walk says what it is
    finally:
        if directory >= 0:
            os.close(directory)
    return None


def _entry(name: str, directory: int) -> os.stat_result | None:
    """What has the name; None if it is free."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


class _Open:
    """A place whose descriptor is open until the block ends."""

    __slots__ = ("_place",)

    def __init__(self, place: Place) -> None:
        self._place: Place | None = place

    def __enter__(self) -> Place:
        assert self._place is not None
        return self._place

    def __exit__(self, *_: object) -> None:
        place, self._place = self._place, None
        if place is not None:
            os.close(place.directory)

    __del__ = __exit__  # a signal handler may raise before the block begins


def resolve(path: str | bytes) -> _Open:
    """Walk to where the path leads; the descriptor is open until the block ends.

    Raises
    ------
    PermissionError
        A link of another user is on the way.
    OSError
        A component cannot be opened, or there are too many links.
    ValueError
        The path holds a zero byte.
    """
    place = _plain(os.fsdecode(path))
    if place is None:
        walk = _Walk(os.fsdecode(path))
        try:
            place = walk.go()
        except BaseException:
            os.close(walk.at)
            raise
    return _Open(place)


def distrust(about: os.stat_result) -> str | None:
    """Why a file should not decide for us: who else can write it. None if we and root alone can."""
    user = os.geteuid()
    if about.st_uid not in (user, 0):
        return f"belongs to user {about.st_uid}"
    if about.st_mode & 0o002:
        return "can be written by all users"
    if about.st_mode & 0o020 and about.st_gid not in _own_groups():
        return f"can be written by group {about.st_gid}"
    return None


def open_trusted(path: str | bytes) -> tuple[int, str | None]:
    """Open for reading; the descriptor, and what `distrust` says.

    A descriptor of ours by its path in /proc was given to us, so it is not judged.
    """
    with resolve(path) as place:
        fd = place.open(os.O_RDONLY | os.O_NOCTTY)
        return fd, None if place.magic else distrust(os.fstat(fd))
