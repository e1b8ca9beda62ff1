"""From a file that was named to a source that the engine takes."""

from __future__ import annotations

from .._native import file_sources
from ..errors import FormatError
from ..files import AnyFile, CoreFile, DumpFile
from ..targets import SourceTarget
from .opening import Opened, Watch, opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

__all__ = ["is_core", "open_target"]

_ELF, _MINIDUMP = b"\x7fELF", b"MDMP"
_OTHERS = (  # what else people have that is called a dump
    (b"PAGEDU64", "a crash dump of the Windows kernel"),
    (b"PAGEDUMP", "a crash dump of the Windows kernel"),
    (b"MZ", "a program or library of Windows"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O file of macOS"),
    (b"\xce\xfa\xed\xfe", "a Mach-O file of macOS"),
    (b"\xca\xfe\xba\xbe", "a Mach-O file of macOS, or a Java class"),
    (b"KDUMP   ", "a compressed dump of the Linux kernel"),
    (b"JAVA PRO", "a heap dump of Java"),
    (b"PK\3\4", "a zip archive: give a file out of it"),
    (b"7z\xbc\xaf", "a 7-Zip archive: give a file out of it"),
    (b"MSCF", "a cabinet: give a file out of it"),
    (b"Problem", "a report of Apport: give the core out of it (apport-unpack)"),
)


def open_target(
    given: CoreFile | DumpFile | AnyFile,
    *,
    xstate: bool = True,
    watch: Watch | None = None,
    directory: str | os.PathLike[str] | None = None,
) -> SourceTarget:
    """Open the file, and make a source of it.

    Parameters
    ----------
    given
        What the caller named.
    xstate
        Of a core, whether registers have their extended state.
    watch
        Called while the input is copied.
    directory
        Where the copy is made; None for the directory of temporary files.

    Raises
    ------
    InputError
        It cannot be opened, read or unpacked, or is larger than `max_input`.
    FormatError
        It is neither a core nor a minidump, or not the one that was said.
    """
    assert given.max_input is None or isinstance(given.max_input, int)
    with opened(given.file, limit=given.max_input, directory=directory, watch=watch) as file:
        if is_core(given, file):
            slot, owner = file_sources.core(
                file.fd,
                root=getattr(given, "root", "/"),
                executable=getattr(given, "executable", None),
                text_files=getattr(given, "text", "core") == "files",
                xstate=xstate,
            )
        else:
            slot, owner = file_sources.dump(file.fd)
        return SourceTarget(slot=slot, owner=owner, file=True, notes=file.notes, identity=file.identity, name=file.name)


def is_core(given: CoreFile | DumpFile | AnyFile, file: Opened) -> bool:
    """Whether it is a core; a minidump otherwise.

    Raises
    ------
    FormatError
        It is neither, or not the one that was said.
    """
    if file.head.startswith(_ELF):
        if isinstance(given, DumpFile):
            raise FormatError(f"{file.name} is an ELF file, no minidump: give a CoreFile", filename=file.name)
        return True
    if file.head.startswith(_MINIDUMP):
        if isinstance(given, CoreFile):
            raise FormatError(f"{file.name} is a minidump, no core: give a DumpFile", filename=file.name)
        return False
    for magic, what in _OTHERS:
        if file.head.startswith(magic):
            raise FormatError(f"{file.name} is neither a core nor a minidump, but {what}", filename=file.name)
    raise FormatError(
        f"{file.name} is neither a core nor a minidump: it begins with {file.head[:4].hex(' ')}", filename=file.name
    )
