"""What the helper process does on every system: it takes dumps of the program that started it.

All that a dump needs is there before: a first one is taken at the start and thrown away, which imports it and shows
that it is allowed. After the settings no pickle of the program is read: it may have fewer rights by then.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading

from .. import _another, _running
from .._record import replace
from .._request import Request
from ..enums import DumpType
from ..errors import TargetBusy

if sys.platform == "win32":
    from .._os.sinks_windows import NewFileSink
else:
    from .._os.sinks_posix import NewFileSink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .. import targets
    from .._options import DumpOptions
    from ..causes import SignalInfo
    from ._settings import Settings

__all__ = ["END", "LONGEST", "Helper"]

LONGEST = 1 << 24
"""Bytes of a request for a dump."""
END = 10.0
"""Seconds that a crashed process may take to end until its dump is handed on."""


_FIELD = re.compile(r"\{(?:path|pid|signal)\}")


class Helper:
    """What is known of the program, and how it is dumped.

    Parameters
    ----------
    settings
        What it was started with.
    target
        The program.
    blame
        What `exception` of a dump without a crash is.
    """

    def __init__(self, settings: Settings, target: targets.Target, blame: Callable[[int], SignalInfo | None]) -> None:
        self.settings, self.target, self._blame = settings, target, blame
        self._turn = threading.Lock()  # one dump at a time

    def rehearse(self) -> None:
        """Take a dump as after a crash, but a small one, and nothing of it stays."""
        settings = self.settings
        changes = {"type": DumpType.NORMAL, "exception": self._blame(settings.tid), "busy_timeout": 0}
        sink = self._sink("SIGSEGV")
        try:
            with contextlib.suppress(TargetBusy):  # a debugger, which may have detached when it matters
                self._run(replace(settings.options, **changes), sink)
        finally:
            sink.discard()

    def dump(self, name: str, **changes: Any) -> str:
        """Dump the program under a new name; the path."""
        with self._turn:
            sink = self._sink(name)
            try:
                self._run(replace(self.settings.options, **changes), sink)
                sink.commit(lambda: None)
            except BaseException:
                sink.discard()
                raise
            return sink.path

    def asked(self, control: int) -> tuple[bytes, str | None]:
        """Read a request for a dump and take it; what is answered, and the path of the dump.

        Raises
        ------
        EOFError
            None will come, or it is not a request.
        """
        kind, size = _another.HEADER.unpack(_another.exactly(control, _another.HEADER.size))
        if kind != b"d" or size > LONGEST:
            raise EOFError
        about = json.loads(_another.exactly(control, size))
        options = self.settings.options
        changes = {
            "exception": self._blame(about["tid"]),
            "comment": options.comment if about["comment"] is None else about["comment"],
            "annotations": {**(options.annotations or {}), **(about["annotations"] or {})},
        }
        try:
            path = self.dump("requested", **changes)
        except BaseException as error:
            return _another.message(b"e", _another.portable(error)), None
        return _another.message(b"r", path), path

    def hand_on(self, path: str, name: str) -> None:
        """Run the command that gets the dump, and do not wait for it."""
        if not self.settings.on_dump:
            return
        values = {"{path}": path, "{pid}": str(self.settings.pid), "{signal}": name}
        words = [_FIELD.sub(lambda field: values[field[0]], word) for word in self.settings.on_dump]
        null = subprocess.DEVNULL
        with contextlib.suppress(OSError):
            subprocess.Popen(words, stdin=null, stdout=null, stderr=null, start_new_session=True)

    def _sink(self, name: str) -> NewFileSink:
        where = self.settings.names
        return NewFileSink(where.folder, where.stem(self.settings.pid, name), where.suffix)

    def _run(self, options: DumpOptions, sink: NewFileSink) -> None:
        _running.run(Request(options), self.target, sink, _running.Timer(options))
