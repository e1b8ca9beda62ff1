"""Templates of the names of dumps: ``{host}-{name}-{pid}-{time}.dmp``."""

from __future__ import annotations

import os
import string
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["expand", "host", "is_template", "plain", "timestamp"]

_NEVER = '/\\:*?"<>|'


def is_template(text: str) -> bool:
    """Whether it holds braces."""
    return "{" in text or "}" in text


def expand(template: str, values: Mapping[str, object]) -> str:
    """Put values in the place of the fields; doubled braces are braces.

    Raises
    ------
    ValueError
        A brace is alone, or a field is not one of those.

    Examples
    --------
    >>> expand("{name}-{pid:06}.dmp", {"name": "app", "pid": 42})
    'app-000042.dmp'
    """
    known = ", ".join(f"{{{name}}}" for name in values)
    words = []
    try:
        for text, field, spec, conversion in string.Formatter().parse(template):
            words.append(text)
            if field is None:
                continue
            if field not in values or conversion is not None or is_template(spec or ""):
                import difflib

                near = difflib.get_close_matches(field, values, 1)
                hint = f" (did you mean {{{near[0]}}}?)" if near and near[0] != field else ""
                raise ValueError(f"unknown field {{{field}{'!' if conversion else ''}{conversion or ''}}}{hint}")
            words.append(format(values[field], spec or ""))
    except ValueError as error:
        raise ValueError(
            f"{template!r} is not a template of file names: {error}; it may hold {known}, and {{{{ for a brace"
        ) from None
    return "".join(words)


def timestamp() -> str:
    """Now, UTC, with milliseconds, in the order of time: 20261130T061500.123Z."""
    now = time.time()
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"


def host() -> str:
    """The name of this machine; an empty text where the system does not tell it."""
    if sys.platform == "win32":
        return os.environ.get("COMPUTERNAME", "")
    try:
        return os.uname().nodename
    except OSError:  # refused by a seccomp filter
        return ""


def plain(text: str) -> str:
    """The text as a part of a file name: what is no letter of file names on some system becomes ``_``."""
    return "".join("_" if letter in _NEVER or not letter.isprintable() else letter for letter in text).strip(" .")
