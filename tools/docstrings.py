"""Shows examples of docstrings as code, also those outside of a section (an extension of griffe, see mkdocs.yml)."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1.*\S.*)*", re.MULTILINE)


class Examples(griffe.Extension):
    """Fences examples."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Fences those of one object; a comment for doctest is not for readers."""
        if obj.docstring is not None:
            text = re.sub(r" *# doctest: .*", "", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)
