"""Links of Markdown pages, made absolute for readers that have only that page: a package index, the site.

The address of the project is in pyproject.toml, at one place: `[project.urls] Source`.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?P<target>[^()\s]+)(?=[\s)])|(?P<code>`[^`\n]+`)")


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def home() -> str:
    """The address of the repository."""
    return _project()["urls"]["Source"]


def source() -> str:
    """The address below which the files of this version are shown: `path` is at `source() + path`."""
    return f"{home()}/blob/v{_project()['version']}/"


def relinked(text: str, replacement: Callable[[str], str]) -> str:
    """The page with `replacement(target)` for the target of each link, but of those in code."""

    def replaced(match: re.Match[str]) -> str:
        return match["code"] or replacement(match["target"])

    parts, end = [], 0
    for fence in _FENCED.finditer(text):
        parts += [_LINK.sub(replaced, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join(parts) + _LINK.sub(replaced, text[end:])


def is_relative(target: str) -> bool:
    """Whether a target needs to know where its page is."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//", target) is None


def absolute(target: str, page: str) -> str:
    """A target of `page`, which is a path inside the project; what is absolute stays."""
    if not is_relative(target):
        return target
    path, mark, anchor = target.partition("#")
    file = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    return source() + file + mark + anchor


def standalone(page: str) -> str:
    """The text of a page of the project whose links work everywhere."""
    return relinked((ROOT / page).read_text("utf-8"), lambda target: absolute(target, page))
