"""The report of a dump that has ended, from what its session counted."""

from __future__ import annotations

import time

from ._naming import host
from .callback import recording_of
from .enums import DumpWarning
from .filters._rules import Rule
from .report._report import DumpPlan, DumpReport, Redaction, RuleBytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._native.recorder import NativeRecorder
    from ._native.session import Session
    from ._request import Request
    from .filters._filter import Filter


def report_of(session: Session, filter: Filter | None, request: Request, recorder: NativeRecorder | None) -> DumpReport:
    """What a session that succeeded wrote, or would have written."""
    raw = session.report()
    rules: list[RuleBytes] = []
    if filter is not None:
        kept, excluded, over = session.rule_bytes()
        at = 0
        for index, rule in enumerate(filter.rules):
            count = 1 if isinstance(rule, Rule) else len(rule)
            rules.append(
                RuleBytes(
                    index=index,
                    action=rule.action,
                    label=rule.label,
                    kept=sum(kept[at : at + count]),
                    excluded=sum(excluded[at : at + count]),
                    over_budget=sum(over[at : at + count]),
                )
            )
            at += count
        rules.append(
            RuleBytes(
                index=None,
                action=filter.default,
                label=None,
                kept=kept[at],
                excluded=excluded[at],
                over_budget=over[at],
            )
        )
    notes = request.notes
    redaction = None
    if filter is not None and filter.redact and not request.options.planned:
        counters = session.counters()
        hidden = session.hidden()
        if hidden.unknown:
            raw["numbers"]["warnings"] |= DumpWarning.VALUES_UNKNOWN
        redaction = Redaction(
            bytes=counters["redacted_bytes"],
            hits=counters["redacted_hits"],
            words=counters["sanitized_words"],
            variables=hidden.variables,
            searched_values=hidden.searched,
            short_values=hidden.shorter,
            uncovered=counters["uncovered_borders"],
        )
    return (DumpPlan if request.options.planned else DumpReport)(
        rules=tuple(rules),
        redaction=redaction,
        notes=notes,
        engine=request.backend.name,
        host=host(),
        annotations=getattr(request.options, "annotations", None),
        comment=getattr(request.options, "comment", None),
        started=time.time() - raw["numbers"]["total_ns"] / 1e9,
        recording=None
        if recorder is None
        else recording_of(recorder, "minidump_cffi" if request.backend.own else "dbghelp"),
        **raw,
    )
