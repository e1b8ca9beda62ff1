"""Requests of the program to its helper, one at a time, and their answers."""

from __future__ import annotations

import abc
import json
import threading

from .. import _another
from ..errors import DeadlineExceeded, TargetError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from typing import Any

__all__ = ["Requests"]

_START = 60.0  # seconds that a helper may take to be ready


class Requests(abc.ABC):
    """What is asked of a helper.

    Parameters
    ----------
    seconds
        How long a dump may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._taken, self._lost = 0, False
        self._turn = threading.Lock()

    @abc.abstractmethod
    def _exchange(self, request: bytes, seconds: float) -> tuple[bytes, Any]:
        """Send a request; kind and body of the answer.

        Raises
        ------
        EOFError
            The helper has ended.
        TimeoutError
            It does not answer.
        """

    def _explained(self, error: BaseException) -> BaseException:
        """The error with the advice that helps here."""
        return error

    def begin(self, settings: object, errors: io.FileIO) -> None:
        """Send the settings and wait until the helper is ready; `errors` is what it says when it ends instead."""
        self._ask(_another.message(b"s", settings), _START, errors)

    def dump(self, about: dict[str, Any]) -> str:
        """Ask for a dump now; the path."""
        with self._turn:
            path: str = self._ask(_another.framed(b"d", json.dumps(about).encode()), self._seconds)
        self._taken += 1
        return path

    def _ask(self, request: bytes, seconds: float, errors: io.FileIO | None = None) -> Any:
        if self._lost:
            raise TargetError("an answer of the helper of crashes was not waited for: call enable() again")
        self._lost = True  # a KeyboardInterrupt may come anywhere, and the answer after it
        try:
            kind, body = self._exchange(request, seconds)
        except EOFError:
            raise TargetError(f"the helper of crashes has ended{_another.last_line(errors)}") from None
        except TimeoutError:
            raise DeadlineExceeded(f"the helper of crashes does not answer for {seconds:g} seconds") from None
        self._lost = False
        if kind == b"e":
            raise self._explained(body)
        return body
