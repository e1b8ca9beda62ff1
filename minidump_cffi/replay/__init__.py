"""Recording what an engine asks, and asking it again of any callback."""

from .. import _lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..errors import (
        ReplayMismatch,
    )
    from ._recording import (
        Call,
        Recording,
    )
    from ._replay import (
        Answer,
        Answers,
        Replay,
        ReplayFault,
    )

__all__ = [
    "Answer",
    "Answers",
    "Call",
    "Recording",
    "Replay",
    "ReplayFault",
    "ReplayMismatch",
]

_HOMES = _lazy.homes(
    {
        "_recording": "Call Recording",
        "_replay": "Answer Answers Replay ReplayFault",
        "..errors": "ReplayMismatch",
    }
)
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy.attributes(__name__, _HOMES)
