"""Our callback under an engine that keeps no order: any type at any time, cut off anywhere, from several threads.

The input is garbage but for what the type reads, the output is poisoned, and both lie between guards. After each call
only the type's member may have changed; the model below says what it, the counters and the kept exceptions have to be.
"""

from __future__ import annotations

import struct
import threading
from collections import Counter
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from protocol_model import FILTERS, HOLE, PAGE, PIECE, PIECES, REMOVED, SECRET, WINDOW, Model, Slab

import minidump_cffi as md
from minidump_cffi._native._ext import ffi, lib

TYPE = md.protocol.CallbackType
S_OK, E_FAIL, WORD = 0, lib.MDC_E_FAIL, (1 << 32) - 1
NO, ASKED, ANSWERED = range(3)
HOOKABLE = (TYPE.THREAD, TYPE.CANCEL, TYPE.IO_START, TYPE.IO_WRITE_ALL)
RUNS_ON = (TYPE.THREAD_EX, TYPE.INCLUDE_MODULE, TYPE.SECONDARY_FLAGS)  # TRUE whenever the call is let in


class Boom(BaseException):
    """What a hook raises: not even an Exception."""


class Machine(RuleBasedStateMachine):
    """A callback and its model."""

    callback: md.Callback | None = None

    @initialize(
        kind=st.sampled_from(sorted(FILTERS)),
        hooked=st.sets(st.sampled_from(HOOKABLE)),
        facts=st.sampled_from(["none", "sound", "odd"]),
    )
    def make(self, kind: str, hooked: set[TYPE], facts: str) -> None:
        """A callback with any filter, hooks for any types, on an engine of ours or a foreign one."""
        self.kind, self.hooked, self.facts, self.resubmits = kind, hooked, facts, facts != "none"
        self.callback = md.Callback(FILTERS[kind], hooks=dict.fromkeys(hooked, self.hook), memory_piece=PIECE)
        self.callback._open().set_host(0 if facts == "none" else lib.MDC_EXT_REGION_FACTS | lib.MDC_EXT_RESUBMIT)
        self.routine = ffi.cast("MINIDUMP_CALLBACK_ROUTINE", self.callback.routine)
        self.param = ffi.cast("void *", self.callback.param)
        self.slab, self.other = Slab(), Slab()
        self.model = Model()
        self.cancel = NO
        self.error: Boom | None = None
        self.raised: Boom | None = None
        self.entered = 0
        self.plan = "true"
        self.paths: list[Any] = []

    def teardown(self) -> None:
        """Free it."""
        if self.callback is not None:
            self.callback.close()

    # ------------------------------------------------------------------------------------------------------ hooks

    def hook(self, input: Any, output: Any) -> bool:
        """Does what the next call shall meet."""
        self.entered += 1
        assert self.callback is not None
        if self.plan == "raise":
            self.raised = Boom(self.entered)
            raise self.raised
        if self.plan == "nest":
            for call in (self.refused, lambda: self.on_thread(self.refused)):
                call()
            self.model.fault = self.model.fault or "second"
        if self.plan == "close":
            for refused in (self.callback.close, self.callback.reset):
                with pytest.raises(md.CallbackError):
                    refused()
        if self.plan == "false":
            return False
        if input.CallbackType == TYPE.CANCEL:
            output.Cancel.Cancel = 1
        else:
            output.Status = 0x1234
        return True

    def refused(self) -> None:
        """A second call while one is inside: FALSE, and nothing written."""
        self.other.poison(self.entered)
        self.other.input.CallbackType = TYPE.SECONDARY_FLAGS
        before = bytes(self.other.view)
        assert self.routine(self.param, self.other.input, self.other.output) == 0
        assert bytes(self.other.view) == before

    @staticmethod
    def on_thread(call: Any) -> None:
        """The same from another thread; what it raises is raised here."""
        errors: list[BaseException] = []

        def run() -> None:
            try:
                call()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]

    # ------------------------------------------------------------------------------------------------------- calls

    def send(self, number: int, seed: int, **members: Any) -> tuple[bool, bytes, bytes]:
        """One call: the answer, and the output before and after it."""
        self.slab.poison(seed)
        self.slab.input.CallbackType = number
        for path, value in members.items():
            holder: Any = self.slab
            *way, last = path.split("__")
            for name in way:
                holder = getattr(holder, name)
            setattr(holder, last, value)
        around, before = self.slab.rest(), self.slab.answer()
        returned = self.routine(self.param, self.slab.input, self.slab.output)
        assert self.slab.rest() == around, "the input is the engine's, and so is what lies round it"
        assert returned in (0, 1)
        return bool(returned), before, self.slab.answer()

    def expect(self, number: int, sent: tuple[bool, bytes, bytes], returned: bool, member: bytes | None) -> None:
        """The answer, or what a hook has made of it; after the member nothing has changed."""
        if number in self.hooked:
            returned, member = self.by_hook(number)
        got, before, after = sent
        assert got == returned
        size = 0 if member is None else len(member)
        assert after[size:] == before[size:], "no byte after the member"
        assert member is None or after[:size] == member

    def by_hook(self, number: int) -> tuple[bool, bytes | None]:
        """What a hooked type answers."""
        if self.error is None and self.plan == "raise":
            assert self.raised is not None
            self.error, self.cancel = self.raised, ASKED
        elif self.error is None:
            return (False, None) if self.plan == "false" else (True, struct.pack("<I", 0x1234))
        else:
            self.cancel = ASKED  # the exception has to end this dump too
        return False, struct.pack("<I", E_FAIL) if number == TYPE.IO_WRITE_ALL else None

    seeds = st.integers(0, WORD)
    plans = st.sampled_from(["true", "true", "false", "raise", "nest", "close"])

    @rule(plan=plans)
    def next_hook(self, plan: str) -> None:
        """What hooks do from now on."""
        self.plan = plan

    @property
    def native(self) -> md.Callback:
        """The callback."""
        assert self.callback is not None
        return self.callback

    @rule(number=st.sampled_from([TYPE.THREAD, TYPE.THREAD_EX, TYPE.INCLUDE_THREAD]), seed=seeds,
          tid=st.sampled_from([0, 7, 8, 9, 0xFFFFFFFF]))  # fmt: skip
    def threads(self, number: TYPE, seed: int, tid: int) -> None:
        """1, 2 and 3 read a thread id."""
        self.model = self.model.begin(number)
        sent = self.send(number, seed, input__u__Thread__ThreadId=tid)
        keep = {7: 0x05, 9: 0}.get(tid, 0xFFFFFFFF) if self.kind == "lists" else 0xFFFFFFFF
        flags = struct.unpack_from("<I", sent[1])[0] & keep
        excluded = number == TYPE.INCLUDE_THREAD and not keep & 1
        self.expect(number, sent, not excluded, None if excluded else struct.pack("<I", flags))

    @rule(seed=seeds, path=st.sampled_from(["/lib/libc.so", "/lib/secret.so", "\udcff", "x" * 300]))
    def modules(self, seed: int, path: str) -> None:
        """0 reads path, base and size, and only if the filter asks for modules."""
        self.model = self.model.begin(TYPE.MODULE)
        secret = self.kind == "names" and "/secret" in path
        members: dict[str, Any] = {
            "input__u__Module__BaseOfImage": SECRET[0] if secret else SECRET[1],
            "input__u__Module__SizeOfImage": SECRET[1] - SECRET[0],
        }
        if self.kind == "names":
            units = memoryview(path.encode("utf-16-le", "surrogatepass")).cast("H")
            self.paths.append(ffi.new("uint16_t[]", [*units, 0]))
            members["input__u__Module__FullPath"] = self.paths[-1]
        sent = self.send(TYPE.MODULE, seed, **members)
        self.model.secret_known |= secret
        keep = 1 if secret else 0xFFFFFFFF
        flags = struct.pack("<I", struct.unpack_from("<I", sent[1])[0] & keep)
        self.expect(TYPE.MODULE, sent, True, flags)

    @rule(number=st.sampled_from(sorted(PIECES)), seed=seeds)
    def memory(self, number: TYPE, seed: int) -> None:
        """5 and 9: each piece once, then FALSE for good."""
        self.model = self.model.begin(number)
        sent = self.send(number, seed)
        pieces = PIECES[number][self.model.taken[number] :] if self.kind == "lists" else []
        self.model.taken[number] += bool(pieces)
        self.expect(number, sent, bool(pieces), struct.pack("<QI", *pieces[0]) if pieces else None)

    @rule(seed=seeds)
    def cancels(self, seed: int) -> None:
        """6: the flag decides, a hook may say so too, and the question is to come again."""
        self.model = self.model.begin(TYPE.CANCEL)
        sent = self.send(TYPE.CANCEL, seed)
        said = False
        if TYPE.CANCEL in self.hooked:
            kept = self.error is not None
            answered, _ = self.by_hook(TYPE.CANCEL)
            said = kept or self.error is not None or answered
        said |= self.cancel != NO
        if self.cancel == ASKED:
            self.cancel = ANSWERED
        assert sent[0] and sent[2] == struct.pack("<II", 1, said) + sent[1][8:]

    anything = st.integers(0, (1 << 64) - 1)

    @rule(
        seed=seeds,
        base=st.one_of(anything, st.integers(-2, 44).map(lambda n: WINDOW + n * PAGE)),
        size=st.one_of(anything, st.integers(0, 12).map(lambda n: n * PAGE)),
    )
    def regions(self, seed: int, base: int, size: int) -> None:
        """10 reads the region in the output, and the facts in the input if the engine sends them.

        Their shape is the engine's, and the same for all of its regions.
        """
        number = TYPE.INCLUDE_VM_REGION
        self.model = self.model.begin(number)
        region, facts = "output__Region__VmRegion__", "input__u__RegionFacts__"
        members: dict[str, Any] = {region + "BaseAddress": base, region + "RegionSize": size}
        if self.facts != "none":
            shape = (1, ffi.sizeof("mdc_region_facts")) if self.facts == "sound" else (0, 4)
            members.update({facts + "Version": shape[0], facts + "Size": shape[1], facts + "Name": ffi.NULL})
            members.update({facts + "NameSize": 0, facts + "Flags": 0, facts + "NameId": 0})
            if self.facts == "odd" and size:
                self.model.fault = self.model.fault or "facts"
        got, before, after = self.send(number, seed, **members)
        assert got and struct.unpack_from("<I", after, 48) == (1,), "Continue"
        assert after[8:24] == before[8:24] and after[32:48] == before[32:48], "base and size, nothing else"
        kept, kept_size = struct.unpack_from("<Q", after)[0], struct.unpack_from("<Q", after, 24)[0]
        if kept_size:
            assert base <= kept and kept + kept_size <= base + size, "a part of the region"
            for part in self.excluded():
                inside = part[0] > kept and part[1] < kept + kept_size
                assert not self.crosses(kept, kept_size, part) or (self.model.shown and inside), "a hole, or not there"
                self.model.holes |= inside
        if size and not kept_size:
            self.model.excluded += 1
        elif size and (kept, kept_size) != (base, size):
            self.model.narrowed += 1

    def excluded(self) -> list[tuple[int, int]]:
        """What the filter keeps out."""
        parts = {"everything": [], "lists": [HOLE, REMOVED], "names": [HOLE]}[self.kind]
        return [*parts, SECRET] if self.model.secret_known else parts

    @staticmethod
    def crosses(base: int, size: int, part: tuple[int, int]) -> bool:
        """Whether two ranges have a byte in common; a region may end where the address space does."""
        return base < part[1] and part[0] < min(base + size, 1 << 64)

    @rule(seed=seeds, status=st.integers(-(1 << 31), (1 << 31) - 1))
    def statuses(self, seed: int, status: int) -> None:
        """8 is remembered; 14 is tolerated or not; 15 adds its bit; 16 and 17 say no and begin anew."""
        self.model = self.model.begin(TYPE.KERNEL_MINIDUMP_STATUS)
        self.expect(TYPE.KERNEL_MINIDUMP_STATUS, self.send(8, seed, input__u__Status=status), True, None)
        self.model.kernel_status = status & 0xFFFFFFFF
        self.model = self.model.begin(TYPE.READ_MEMORY_FAILURE)
        sent = self.send(14, seed, input__u__ReadMemoryFailure__FailureStatus=status)
        tolerated = self.kind != "lists"
        self.model.tolerated += tolerated
        self.expect(TYPE.READ_MEMORY_FAILURE, sent, tolerated, struct.pack("<i", 0 if tolerated else status))
        self.model = self.model.begin(TYPE.SECONDARY_FLAGS)
        sent = self.send(15, seed, input__u__SecondaryFlags=status & 0xFFFFFFFF)
        flags = status & 0xFFFFFFFF | (self.kind == "lists")
        self.expect(TYPE.SECONDARY_FLAGS, sent, True, struct.pack("<I", flags))

    @rule(seed=seeds, number=st.sampled_from([TYPE.IS_PROCESS_SNAPSHOT, TYPE.VM_START]))
    def begins(self, seed: int, number: TYPE) -> None:
        """A new dump: everything forgotten but what a hook raised. 17: reads are to be shown if there may be holes."""
        before = self.model
        self.model = self.model.begin(number)
        if self.model is not before and self.cancel == ANSWERED:
            self.cancel = NO
        self.model.shown |= number == TYPE.VM_START and self.kind != "everything" and not self.resubmits
        shown = number == TYPE.VM_START and self.model.shown
        self.expect(number, self.send(number, seed), True, struct.pack("<I", shown))

    @rule(seed=seeds, number=st.one_of(st.sampled_from([4, 7, 11, 12, 13, *range(18, 23)]), st.integers(23, WORD)))
    def others(self, seed: int, number: int) -> None:
        """Unhandled and unknown types: FALSE, untouched; Io types fail, IncludeModule agrees, VmPostRead may echo."""
        self.model = self.model.begin(number)
        member = struct.pack("<I", E_FAIL) if number in (TYPE.IO_WRITE_ALL, TYPE.IO_FINISH) else None
        sent = self.send(number, seed)
        echoes = number == TYPE.VM_POST_READ and self.model.shown
        if echoes:
            read = self.slab.input.u.VmPostRead
            member = struct.pack("<iI", read.Status, read.Completed)
        self.expect(number, sent, number == TYPE.INCLUDE_MODULE or echoes, member)

    @rule(seed=seeds, count=st.integers(2, 4))
    def several_threads_at_once(self, seed: int, count: int) -> None:
        """Each call is let in and counted, or refused: FALSE, untouched, and remembered."""
        results: list[Counter[tuple[int, bool]]] = [Counter() for _ in range(count)]
        ready = threading.Barrier(count)

        def hammer(mine: Counter[tuple[int, bool]], slab: Slab) -> None:
            ready.wait()
            for at in range(30):
                number = RUNS_ON[at % 3]
                slab.poison(seed + at)
                slab.input.CallbackType, slab.input.u.Thread.ThreadId = number, 8
                around, before = slab.rest(), slab.answer()
                accepted = bool(self.routine(self.param, slab.input, slab.output))
                after = slab.answer()
                assert slab.rest() == around and after[4:] == before[4:] and (accepted or after == before)
                mine[number, accepted] += 1

        slabs = [Slab() for _ in range(count)]
        workers = [threading.Thread(target=hammer, args=pair) for pair in zip(results, slabs, strict=True)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        total = sum(results, Counter())
        assert sum(total.values()) == 30 * count, "a thread has failed"
        for (number, accepted), calls in total.items():
            if accepted:
                self.model.calls[number] += calls
            else:
                self.model.fault = self.model.fault or "second"
        if any(accepted for _, accepted in total):
            self.model.snapshot_asked = False

    # ------------------------------------------------------------------------------------- the owner's side, and checks

    @rule()
    def cancel_it(self) -> None:
        """The next Cancel says yes."""
        self.native.cancel()
        self.cancel = ASKED

    @rule(how=st.sampled_from(["reset", "close", "in use"]), seed=seeds, number=st.integers(0, 23), ours=st.booleans())
    def end(self, how: str, seed: int, number: int, ours: bool) -> None:
        """Cut off here: what the last engine left is forgotten."""
        if how == "reset":
            self.native.reset()
            self.model, self.cancel, self.error = Model(), NO, None
        elif how == "close":
            self.native.close()
            sent = self.send(number, seed)
            assert (sent[0], sent[2]) == (False, sent[1]), "an engine that calls on is answered FALSE"
            self.make(kind=self.kind, hooked=self.hooked, facts=self.facts)
        else:
            self.dump_of_another_engine(seed, md.protocol.Extensions(int(ours)))

    def dump_of_another_engine(self, seed: int, extensions: md.protocol.Extensions) -> None:
        """While it lasts it cannot be used elsewhere or freed; after it the next engine has no extensions."""
        with self.native.in_use(extensions=extensions):
            self.model, self.cancel, self.error = Model(), NO, None
            with pytest.raises(md.CallbackError):
                self.native.close()
            with pytest.raises(md.CallbackError), self.native.in_use():
                pass
            self.facts, self.resubmits = "sound" if extensions else "none", False
            self.begins(seed=seed, number=TYPE.VM_START)
            self.regions(seed=seed, base=HOLE[0] - PAGE, size=4 * PAGE)
        self.facts, self.resubmits, self.cancel = "none", False, NO

    @rule()
    def exceptions_are_kept_and_raised(self) -> None:
        """The first one of a hook, once; else the fault of the routine."""
        if self.error is not None:
            with pytest.raises(Boom) as boom:
                self.native.raise_error()
            assert boom.value is self.error
            self.error = None
        elif self.model.fault is not None or self.model.holes:
            said = {"second": "second engine", "facts": "facts", None: "discard the dump"}[self.model.fault]
            with pytest.raises(md.CallbackError, match=said):
                self.native.raise_error()
        else:
            self.native.raise_error()

    @invariant()
    def counters_are_right(self) -> None:
        """At any time, from outside."""
        if self.callback is None:
            return
        counters = self.native.counters
        assert {number: count for number, count in counters.calls.items() if count} == {
            number: count for number, count in self.model.calls.items() if number >= 0
        }
        assert counters.unknown == self.model.calls[-1]
        found = counters.excluded, counters.narrowed, counters.tolerated, counters.kernel_status
        model = self.model
        assert found == (model.excluded, model.narrowed, model.tolerated, model.kernel_status)


TestMachine = Machine.TestCase
TestMachine.settings = hypothesis.settings(max_examples=60, stateful_step_count=40)


def test_an_exception_that_nobody_fetched_ends_the_next_dump_too() -> None:
    """It is kept, its hooks are not asked again, and no dump is written without their answers as if nothing was."""
    machine = Machine()
    machine.make(kind="everything", hooked={TYPE.THREAD}, facts="none")
    machine.plan = "raise"
    for number in (TYPE.IS_PROCESS_SNAPSHOT, TYPE.VM_START):
        machine.begins(seed=1, number=number)
        machine.threads(number=TYPE.THREAD, seed=2, tid=8)
        machine.cancels(seed=3)
        machine.counters_are_right()
    assert machine.slab.output.Cancel.Cancel == 1 and machine.entered == 1
    machine.exceptions_are_kept_and_raised()
    machine.begins(seed=4, number=TYPE.IS_PROCESS_SNAPSHOT)
    machine.cancels(seed=5)
    assert machine.slab.output.Cancel.Cancel == 0
    machine.teardown()


def test_16_and_17_begin_one_dump() -> None:
    """VmStart right after IsProcessSnapshot belongs to it; elsewhere it begins a dump of another engine."""
    machine = Machine()
    machine.make(kind="lists", hooked=set(), facts="none")
    for number in (TYPE.IS_PROCESS_SNAPSHOT, TYPE.VM_START, TYPE.MEMORY, TYPE.VM_START, TYPE.MEMORY):
        if number == TYPE.MEMORY:
            machine.memory(number=number, seed=6)
            assert machine.slab.output.Memory.MemoryBase == 0x1000, "from the beginning"
        else:
            machine.begins(seed=6, number=number)
        machine.counters_are_right()
    assert machine.native.counters.calls[TYPE.IS_PROCESS_SNAPSHOT] == 0
    machine.teardown()
