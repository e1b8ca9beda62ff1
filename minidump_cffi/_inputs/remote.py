"""Files by URL, through fsspec, an extra: reading, and writing so that a file appears complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
from pathlib import Path

from ..errors import InputError, SinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeGuard

__all__ = ["RemoteFile", "is_url", "joined", "local", "made_for", "reading", "shown"]

_LOCAL = re.compile(r"(?:file|local)://", re.IGNORECASE)
_DRIVE = re.compile(r"/[A-Za-z]:")
_PASSWORD = re.compile(r"(://[^/@:]*:)[^/@]*@")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[^:]+)*://")  # of more than one letter: C:// is a path
EXTRA = "pip install minidump_cffi[remote]"


def is_url(given: object) -> TypeGuard[str]:
    """Whether it is a text that begins like a URL; a path like that can be given as a `pathlib.Path`."""
    return isinstance(given, str) and _URL.match(given) is not None


def local(place: Any) -> Any:
    """The path that a URL of this machine (``file://``) names, as a `pathlib.Path`; everything else as it is."""
    found = _LOCAL.match(place) if is_url(place) else None
    if found is None:
        return place
    path = place[found.end() :]
    return Path(path[1:] if os.name == "nt" and _DRIVE.match(path) else path)


def shown(url: str) -> str:
    """The URL without the password that may be in it, for messages and reports."""
    return _PASSWORD.sub(r"\1***@", url)


@contextlib.contextmanager
def reading(url: str) -> Iterator[Any]:
    """The file, open for reading.

    Raises
    ------
    InputError
        It cannot be opened, or a module for that is not there.
    """
    try:
        file = _fsspec().open(url, "rb").open()
    except Exception as error:  # each file system has classes of its own
        raise InputError(
            f"cannot open {shown(url)}: {_why(error)}", errno=_errno(error), filename=shown(url), hint=_hint(error)
        ) from error
    with contextlib.closing(file):
        yield file


class RemoteFile:
    """A file that is written under a name of its own, and takes its real one when it is complete.

    Raises
    ------
    SinkError
        It cannot be written, or a module for that is not there; also of `write` and `commit`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        with _writes(url):
            self._system, self._path = _fsspec().core.url_to_fs(url)
            folder, _, name = self._path.rpartition("/")
            if not name or url.endswith("/"):
                raise IsADirectoryError(errno.EISDIR, "it names a folder: add the name of the dump")
            temporary = f".minidump-{os.urandom(8).hex()}-{name}"
            self._temporary = f"{folder}/{temporary}" if folder else temporary
            self._file = self._system.open(self._temporary, "wb")

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it."""
        with _writes(self._url):
            self._file.write(data)

    def commit(self) -> None:
        """Send what is left, and give it its name."""
        with _writes(self._url):
            self._file.close()
            self._system.mv(self._temporary, self._path)

    def discard(self) -> None:
        """Remove what was written. Never raises."""
        with contextlib.suppress(Exception):
            self._file.close()
        with contextlib.suppress(Exception):
            self._system.rm_file(self._temporary)


def made_for(url: str) -> None:
    """Make the folder of a file and those above it, where the file system has folders.

    Raises
    ------
    SinkError
        It cannot be made.
    """
    with _writes(url):
        system, path = _fsspec().core.url_to_fs(url)
        folder = path.rpartition("/")[0]
        if folder:
            system.makedirs(folder, exist_ok=True)


def joined(folder: str, name: str) -> str:
    """The URL of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}"


def _fsspec() -> Any:
    return importlib.import_module("fsspec")


@contextlib.contextmanager
def _writes(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise SinkError(
            f"cannot write {shown(url)}: {_why(error)}", errno=_errno(error), filename=shown(url), hint=_hint(error)
        ) from error


def _why(error: Exception) -> str:
    hint = _hint(error)
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text}: {hint}" if hint else text


def _hint(error: Exception) -> str | None:
    return EXTRA if isinstance(error, ImportError) and error.name == "fsspec" else None


def _errno(error: Exception) -> int:
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    return errno.ENOENT if isinstance(error, FileNotFoundError) else errno.EIO
