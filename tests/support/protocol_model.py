"""For test_protocol_machine.py: filters, an input and an output between guards, what a callback has to remember."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import minidump_cffi as md
from minidump_cffi._native._ext import ffi

TYPE = md.protocol.CallbackType
GUARD = 64
INPUT_BYTES, OUTPUT_BYTES = ffi.sizeof("MINIDUMP_CALLBACK_INPUT"), ffi.sizeof("MINIDUMP_CALLBACK_OUTPUT")
PAGE = 4096
WINDOW = 0x7000_0000_0000
HOLE = (WINDOW + 4 * PAGE, WINDOW + 6 * PAGE)
REMOVED = (0x4000, 0x5000)
SECRET = (WINDOW + 32 * PAGE, WINDOW + 40 * PAGE)

FILTERS = {
    "everything": md.Filter(),
    "lists": md.Filter(
        md.exclude(range=HOLE),
        read_failure="abort",
        secondary_flags=md.filters.SecondaryFlags.WITHOUT_POWER_INFO,
        memory={"add": [(0x1000, 0x9000), (0x20_0000, 0x20_0010)], "remove": [REMOVED]},
        threads={"rules": [md.thread(7, ["thread", "context"])], "exclude": [9]},
    ),
    "names": md.Filter(
        md.exclude(range=HOLE),
        md.exclude(module="*/secret*"),
        modules=[md.module("*/secret*", ["module"])],
        ignore_case=False,
    ),
}
PIECE = 0x3000
PIECES = {
    TYPE.MEMORY: [(0x1000, 0x3000), (0x4000, 0x3000), (0x7000, 0x2000), (0x20_0000, 0x10)],
    TYPE.REMOVE_MEMORY: [(0x4000, 0x1000)],
}


class Slab:
    """An input and an output between guards."""

    def __init__(self) -> None:
        self.memory = ffi.new("uint8_t[]", 3 * GUARD + INPUT_BYTES + OUTPUT_BYTES)
        self.view = memoryview(ffi.buffer(self.memory))
        self.input = ffi.cast("MINIDUMP_CALLBACK_INPUT *", self.memory + GUARD)
        self.output = ffi.cast("MINIDUMP_CALLBACK_OUTPUT *", self.memory + 2 * GUARD + INPUT_BYTES)

    def poison(self, seed: int) -> None:
        """Garbage everywhere."""
        self.view[:] = random.Random(seed).randbytes(len(self.view))

    def answer(self) -> bytes:
        """The bytes of the output."""
        return bytes(ffi.buffer(self.output))

    def rest(self) -> bytes:
        """All but the output."""
        at = 2 * GUARD + INPUT_BYTES
        return bytes(self.view[:at]) + bytes(self.view[at + OUTPUT_BYTES :])


@dataclasses.dataclass
class Model:
    """What a callback has to remember."""

    calls: Counter[int] = dataclasses.field(default_factory=Counter)
    excluded: int = 0
    narrowed: int = 0
    tolerated: int = 0
    kernel_status: int = 0
    taken: Counter[int] = dataclasses.field(default_factory=Counter)
    fault: str | None = None
    snapshot_asked: bool = False
    secret_known: bool = False
    shown: bool = False
    holes: bool = False

    def begin(self, number: int) -> Model:
        """What 16 and 17 do: 17 only if 16 was not right before it."""
        again = number == TYPE.IS_PROCESS_SNAPSHOT or (number == TYPE.VM_START and not self.snapshot_asked)
        model = Model() if again else self
        model.snapshot_asked = number == TYPE.IS_PROCESS_SNAPSHOT
        model.calls[number if number <= max(TYPE) else -1] += 1
        return model
