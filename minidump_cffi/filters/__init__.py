"""Filters: what goes into a dump, as data."""

from ._filter import (
    Filter,
    ModuleRule,
    RangeRules,
    Rule,
    ThreadRule,
    exclude,
    exclude_ranges,
    head,
    include,
    include_ranges,
    module,
    thread,
)

__all__ = [
    "Filter",
    "ModuleRule",
    "RangeRules",
    "Rule",
    "ThreadRule",
    "exclude",
    "exclude_ranges",
    "head",
    "include",
    "include_ranges",
    "module",
    "thread",
]
