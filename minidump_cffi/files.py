"""Files that stand for a process: `CoreFile`, `DumpFile`, and `AnyFile`, which finds out which of the two it is."""

from __future__ import annotations

import os

from ._inputs.remote import is_url
from ._record import Record
from .filters import _values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import KW_ONLY
    from typing import Any, Literal

    from ._aliases import Readable

__all__ = ["FILES", "AnyFile", "CoreFile", "DumpFile"]


class _File(Record):
    """What the files have in common."""

    if TYPE_CHECKING:
        file: Any
        max_input: Any

    def __post_init__(self) -> None:
        if isinstance(self.file, bool):
            raise TypeError("a file is a path, a descriptor or an object with read(), not a bool")
        known = isinstance(self.file, (int, str, bytes, os.PathLike)) or callable(getattr(self.file, "read", None))
        if not known:
            raise TypeError(f"a file is a path, a descriptor or an object with read(), not {self.file!r}")
        if self.max_input is not None:
            self._put("max_input", _values.size(self.max_input, "max_input"))
            if not self.max_input:
                raise ValueError("max_input must be above 0")

    @property
    def name(self) -> str:
        """What was given, for messages and as a title."""
        if isinstance(self.file, int):
            return f"descriptor {self.file}"
        if isinstance(self.file, (str, bytes, os.PathLike)):
            return os.fsdecode(self.file)
        name = getattr(self.file, "name", None)
        return os.fsdecode(name) if isinstance(name, (str, bytes)) else repr(self.file)

    def __reduce__(self) -> tuple[Any, ...]:
        if not isinstance(self.file, (str, bytes, os.PathLike)):
            kind = "descriptor" if isinstance(self.file, int) else "file object"
            raise TypeError(f"a {type(self).__name__} of a {kind} belongs to this process: give a path to pickle it")
        return super().__reduce__()


class _CoreOptions(_File):
    """What is said of a core besides the file."""

    if TYPE_CHECKING:
        root: Any
        executable: Any
        text: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("root", "executable"):
            value = getattr(self, name)
            if value is None and name == "executable":
                continue
            if not isinstance(value, (str, bytes, os.PathLike)) or not os.fspath(value):
                raise TypeError(f"{name} must be a path, not {value!r}")
            if is_url(value):
                raise ValueError(f"{name} must be a path, not the URL {value}")
        if self.text not in ("core", "files"):
            raise ValueError(f"text must be one of core, files, not {self.text!r}")


class CoreFile(_CoreOptions, kw_only=False):
    """An ELF core file, in place of a process: of the kernel, of gcore, of systemd-coredump, whole or cut.

    Parameters
    ----------
    file : str, bytes, os.PathLike, int or object with read()
        A path, also of a FIFO; a URL, by fsspec; a descriptor; or anything with ``read()`` that gives bytes. It is read
        from its position, and stays the caller's to close; the position of a file that can be read at any offset does
        not change. Compressed files are recognised by their content: gzip, bzip2 and xz, with the extra ``zstd`` or
        Python 3.14 zstd, with the extra ``lz4`` LZ4.
    root : str or os.PathLike
        Where the files of the modules are: the system that made the core has its root there.
    executable : str, os.PathLike or None
        The program, if it is elsewhere.
    text : {"core", "files"}
        Module text that the core left out: "core", it is not in the dump; "files", it is taken from the files below
        `root` whose build id is that of the module in the core.
    max_input : int, str or None
        Bytes, or a text such as "8 GiB". What is compressed, piped, or an object is copied to an unlinked temporary
        file, blocks of zeros as holes, and may have so many. None: 64 GiB, and what is not zero leaves 1 GiB of the
        file system free.

    Examples
    --------
    >>> CoreFile("core.1234.zst", max_input="8 GiB").max_input
    8589934592
    """

    file: Readable
    _: KW_ONLY
    root: str | bytes | os.PathLike[str] = "/"
    executable: str | bytes | os.PathLike[str] | None = None
    text: Literal["core", "files"] = "core"
    max_input: int | str | None = None


class DumpFile(_File, kw_only=False):
    """An existing minidump, in place of a process: of Windows, Breakpad, Crashpad, LLDB or this package.

    Parameters
    ----------
    file : str, bytes, os.PathLike, int or object with read()
        As of a `CoreFile`.
    max_input : int, str or None
        As of a `CoreFile`.

    Examples
    --------
    >>> DumpFile("app.dmp.gz").name
    'app.dmp.gz'
    """

    file: Readable
    _: KW_ONLY
    max_input: int | str | None = None


class AnyFile(_CoreOptions, kw_only=False):
    r"""A core or a minidump, whichever its content says when it is opened. Parameters are those of `CoreFile`.

    Examples
    --------
    >>> from minidump_cffi import FormatError, plan_dump
    >>> import io
    >>> try:
    ...     plan_dump(AnyFile(io.BytesIO(b"PK\3\4 and so on")))
    ... except FormatError as error:
    ...     "a zip archive" in str(error)
    True
    """

    file: Readable
    _: KW_ONLY
    root: str | bytes | os.PathLike[str] = "/"
    executable: str | bytes | os.PathLike[str] | None = None
    text: Literal["core", "files"] = "core"
    max_input: int | str | None = None


FILES = (CoreFile, DumpFile, AnyFile)
