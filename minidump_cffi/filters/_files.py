"""Filter files, read only where no other user can have written them: they decide which secrets are left out."""

from __future__ import annotations

import sys

from ..errors import FilterError

__all__ = ["read_trusted"]


def read_trusted(path: str) -> bytes:
    """The bytes of a filter file.

    Raises
    ------
    FilterError
        Another user can write it.
    OSError
        It cannot be read.
    """
    if sys.platform == "win32":
        with open(path, "rb") as file:
            return file.read()
    from .._os import paths_posix

    try:
        fd, distrust = paths_posix.open_trusted(path)
        with open(fd, "rb") as file:
            text = file.read()
    except OSError as error:
        error.filename = path
        raise
    if distrust is not None:
        raise FilterError(
            f"{path}: the file {distrust}, who could change what it leaves out: make it yours alone (chown, "
            "chmod go-w), or check it and hand it over on standard input as /dev/stdin"
        )
    return text
