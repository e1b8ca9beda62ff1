"""The table that C makes of a filter."""

from __future__ import annotations

import os
import threading

from ._ext import ffi, lib
from .errors import exception, new_error
from .pointers import owned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from enum import IntFlag
    from typing import Any

    from ..filters import Filter

_lock = threading.Lock()


def _after_fork() -> None:
    # Another thread may have held it when the process was forked.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def compile_lock() -> threading.Lock:
    """The lock under which filters are compiled: one at a time, each once."""
    return _lock


class NativeFilter:
    """An immutable C table."""

    __slots__ = ("_maker", "idle", "pointer")

    idle: list[Any]
    """Callbacks of it that have served a dump and may serve the next (`callback.borrowed`)."""
    pointer: Any

    def __init__(self, made: Filter) -> None:
        keep: list[Any] = []
        spec = ffi.new("mdc_filter_spec *")
        spec.rules, spec.rule_count = _rules(made, keep), len(made)

        threads, modules = _threads(made), _modules(made, keep)
        spec.threads, spec.thread_count = threads, len(threads)
        spec.modules, spec.module_count = modules, len(modules)
        spec.threads_default_keep = _keep(made.threads.default)
        spec.modules_default_keep = _keep(made.modules.default)
        spec.default_action = lib.MDC_INCLUDE if made.default == "include" else lib.MDC_EXCLUDE
        spec.tolerate_read_failures = made.read_failure == "skip"
        spec.secondary_flags = int(made.secondary_flags)
        spec.nocase = made.ignore_case
        redact = made.redact
        raw = [form for pattern in redact.all_patterns() for form in pattern.forms()]
        tails = ffi.new("mdc_pattern_tail[]", len(raw))
        for entry, (_, tail) in zip(tails, raw, strict=True):
            if tail is not None:
                entry.bytes, entry.up_to, entry.wide = tail
        spec.tails = tails
        spec.values_everywhere = redact.environ.everywhere
        spec.sanitize_stacks = redact.stacks
        spec.fill = lib.MDC_FILL_GIVEN | redact.fill
        for name, array in (
            ("memory_add", _ranges(made.memory.add)),
            ("memory_remove", _ranges(made.memory.remove)),
            ("scrub", _ranges(redact.ranges)),
            ("pattern", _byte_strings(tuple(head for head, _ in raw), keep)),
            ("environ_keep", _byte_strings(redact.environ.keep, keep)),
            ("environ_drop", _byte_strings(redact.environ.drop, keep)),
        ):
            keep.append(array)
            setattr(spec, "patterns" if name == "pattern" else name, array)
            setattr(spec, f"{name}_count", len(array))

        error = new_error()
        pointer = lib.mdc_filter_new(spec, error)
        del keep
        if pointer == ffi.NULL:
            raise exception(error)
        self.pointer = owned(pointer, lib.mdc_filter_release)
        self.idle = []
        self._maker = os.getpid()

    def alive(self) -> bool:
        """False in a forked child, which has to compile its own."""
        return self._maker == os.getpid()

    def bytes(self) -> int:
        return lib.mdc_filter_bytes(self.pointer)

    def intervals(self) -> int:
        return lib.mdc_filter_intervals(self.pointer)

    def requirements(self) -> int:
        """What an engine has to speak to honour all of it: MDC_REQUIRES_* of api/filter.h."""
        return int(lib.mdc_filter_requirements(self.pointer))

    def dead_rules(self) -> list[int]:
        """Numbers of rules that can never decide anything."""
        count = lib.mdc_filter_dead_rules(self.pointer, ffi.NULL, 0)
        numbers = ffi.new("uint32_t[]", count)
        lib.mdc_filter_dead_rules(self.pointer, numbers, count)
        return list(numbers)


def _keep(flags: IntFlag) -> int:
    """All named flags mean all flags there will ever be."""
    return 0xFFFFFFFF if flags == ~type(flags)(0) else int(flags)


def _threads(made: Filter) -> Any:
    array = ffi.new("mdc_thread_rule[]", len(made.threads.rules))
    for entry, rule in zip(array, made.threads.rules, strict=True):
        entry.tid, entry.keep = rule.id, _keep(rule.write)
    return array


def _modules(made: Filter, keep: list[Any]) -> Any:
    array = ffi.new("mdc_module_rule[]", len(made.modules.rules))
    for entry, rule in zip(array, made.modules.rules, strict=True):
        entry.keep = _keep(rule.write)
        _bytes(entry.glob, rule.path, keep)
    return array


def _bytes(target: Any, value: bytes, keep: list[Any]) -> None:
    borrowed = ffi.from_buffer("uint8_t[]", value)
    keep.append(borrowed)
    target.data, target.size = borrowed, len(value)


def _byte_strings(values: tuple[bytes, ...], keep: list[Any]) -> Any:
    array = ffi.new("mdc_bytes[]", len(values))
    for at, value in enumerate(values):
        _bytes(array[at], value, keep)
    return array


def _ranges(pairs: tuple[tuple[int, int], ...]) -> Any:
    """A C array; the whole address space, which an mdc_range cannot say, becomes two halves."""
    half, top = 1 << 63, 1 << 64
    halves = [part for pair in pairs for part in ([(0, half), (half, top)] if pair == (0, top) else [pair])]
    return ffi.new("mdc_range[]", [(first, end % top) for first, end in halves])


def _rules(made: Filter, keep: list[Any]) -> Any:
    """The C array of rules. Blocks of ranges are laid out with strided copies, not one by one."""
    size = ffi.sizeof("mdc_rule")
    array = bytearray(size * len(made))
    view, words = memoryview(array), memoryview(array).cast("Q")
    rules = ffi.cast("mdc_rule *", ffi.from_buffer(array))
    keep.extend((array, rules))
    at = 0
    for rule in made.rules:
        packed: bytes | None = getattr(rule, "packed", None)
        if packed is None:  # one rule
            _rule(rules[at], rule, keep)
            at += 1
            continue
        count = len(packed) // 16
        if not count:
            continue
        pattern = ffi.new("mdc_rule *")
        pattern.action = lib.MDC_INCLUDE if rule.action == "include" else lib.MDC_EXCLUDE
        pattern.fields = lib.MDC_RULE_RANGE
        view[at * size : (at + count) * size] = bytes(ffi.buffer(pattern)) * count
        pairs, stride = memoryview(packed).cast("Q"), size // 8
        for member, part in (("first", pairs[0::2]), ("end", pairs[1::2])):
            first = at * stride + (ffi.offsetof("mdc_rule", "range") + ffi.offsetof("mdc_range", member)) // 8
            words[first : (at + count) * stride : stride] = part
        at += count
    return rules


_ACTIONS = {"include": lib.MDC_INCLUDE, "exclude": lib.MDC_EXCLUDE, "head": lib.MDC_HEAD}


def _rule(target: Any, rule: Any, keep: list[Any]) -> None:
    fields = 0
    target.action = _ACTIONS[rule.action]
    target.head_bytes = rule.bytes or 0
    if rule.range is not None:
        fields |= lib.MDC_RULE_RANGE
        target.range.first, target.range.end = rule.range[0], rule.range[1] & 0xFFFFFFFFFFFFFFFF
    for name, member, bit in (
        ("state", "state", lib.MDC_RULE_STATE),
        ("type", "type", lib.MDC_RULE_TYPE),
        ("protect", "protect_any", lib.MDC_RULE_PROTECT_ANY),
        ("access", "protect_all", lib.MDC_RULE_PROTECT_ALL),
        ("kind", "kinds", lib.MDC_RULE_KIND),
    ):
        value = getattr(rule, name)
        if value is not None:
            fields |= bit
            setattr(target, member, int(value))
    if rule.min_size is not None or rule.max_size is not None:
        fields |= lib.MDC_RULE_SIZE
        target.min_size = rule.min_size or 0
        target.max_size = 0xFFFFFFFFFFFFFFFF if rule.max_size is None else rule.max_size
    for name, bit in (("module", lib.MDC_RULE_MODULE), ("name", lib.MDC_RULE_NAME)):
        value = getattr(rule, name)
        if value is not None:
            fields |= bit
            _bytes(getattr(target, name), value, keep)
    target.fields = fields
