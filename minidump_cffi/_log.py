"""What the package says to `logging`, under the logger ``minidump_cffi``.

Nothing is said while the target is stopped, and nothing of what is in it. A program that has not imported `logging`
listens to nothing, so that nothing is imported for it. The logger is asked for once: `logging.getLogger` takes a lock
that an exception of a signal handler can leave held, after which all threads that log would wait for it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

__all__ = ["debug", "info", "listens", "says_debug", "warning"]

NAME = "minidump_cffi"
_DEBUG = 10  # logging.DEBUG


_loggers: list[logging.Logger] = []  # one, when there is one


def _logger() -> logging.Logger | None:
    if _loggers:
        return _loggers[0]
    module = sys.modules.get("logging")
    if module is None:
        return None
    found: logging.Logger = module.getLogger(NAME)
    if not found.handlers:
        found.addHandler(module.NullHandler())  # without one warnings go to stderr
    _loggers.append(found)
    return found


def listens() -> bool:
    """Whether anything is heard: for what would only be made to be said."""
    return _logger() is not None


def says_debug() -> bool:
    """Whether `debug` is heard: for values that cost more than the dump of a small process should."""
    return (logger := _logger()) is not None and logger.isEnabledFor(_DEBUG)


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
