"""Paths whose links are not followed, on POSIX."""

from __future__ import annotations

import os

from ._ext import lib


def open_directory_without_links(path: str) -> int:
    """A descriptor of the directory, opened with O_PATH; -1 if there is another thing, or a link on the way to it."""
    found: int = lib.mdc_open_directory_without_links(os.fsencode(path))
    return found
