"""What the package says to `logging`, under the logger ``minidump_cffi``.

Nothing is said while the target is stopped, and nothing of what is in it. A program that has not imported `logging`
listens to nothing, so that nothing is imported for it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

__all__ = ["debug", "info", "warning"]

NAME = "minidump_cffi"


def _logger() -> logging.Logger | None:
    module = sys.modules.get("logging")
    found: logging.Logger | None = None if module is None else module.getLogger(NAME)
    if module is not None and found is not None and not found.handlers:
        found.addHandler(module.NullHandler())  # without one warnings go to stderr
    return found


def debug(text: str, *values: object) -> None:
    """Say what a dump does next."""
    if (logger := _logger()) is not None:
        logger.debug(text, *values)


def info(text: str, *values: object) -> None:
    """Say what became of a dump."""
    if (logger := _logger()) is not None:
        logger.info(text, *values)


def warning(text: str, *values: object) -> None:
    """Say what a reader of a dump should know."""
    if (logger := _logger()) is not None:
        logger.warning(text, *values)
