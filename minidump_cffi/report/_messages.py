"""The warnings of a report in words."""

from __future__ import annotations

import bisect
import os

from ..enums import DumpWarning, GapReason, RegionFlags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._report import DumpReport

_WARNINGS = {
    DumpWarning.MANY_THREADS: "more than 4,096 threads: Breakpad's readers drop the list",
    DumpWarning.MANY_MODULES: "more than 2,048 modules: Breakpad's readers drop the list",
    DumpWarning.MANY_RANGES: "more than 4,096 ranges of memory: Breakpad's readers drop the list",
    DumpWarning.RANGES_ABOVE_4G: "stacks beyond 4 GiB of the file are in Memory64List; no thread refers to them",
    DumpWarning.NO_SPARSE: "memory never written was left out: with holes the file would be longer than sparse_max",
    DumpWarning.NO_RESIDENCY: "this kernel does not report which pages were touched: everything was read",
    DumpWarning.GAP_TABLE_FULL: "there are more gaps than the table holds: the last entry covers the rest",
    DumpWarning.NO_REGION_CALLBACKS: "this engine did not ask about regions: rules were applied to the finished file",
    DumpWarning.NO_MEMORY_CALLBACKS: "this engine did not ask for memory to add: it is not in the dump",
    DumpWarning.NO_VM_CALLBACKS: "this engine did not show what it read: redaction was applied to the finished file",
    DumpWarning.NO_THREAD_REGISTERS: (
        "threads did not stop (uninterruptible sleep): their registers are not in the dump; dump again, or wait longer "
        "with stop_timeout"
    ),
    DumpWarning.NO_THREAD_STACK: "threads did not stop, and their stacks could not be found: they are not in the dump",
    DumpWarning.FILLED: "what rules exclude was overwritten with fill bytes: the engine could not leave it out",
    DumpWarning.UNKNOWN_MEMORY: (
        "shared memory of which the process has no page is not in the dump because its file was not opened: that needs "
        "CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, and is not done while the caller has a POSIX lock on the file or if "
        "the target listens to fanotify"
    ),
    DumpWarning.TRUNCATED: (
        "max_stop had passed before all was copied: what matters most is in the dump, the rest is listed as gaps"
    ),
    DumpWarning.MEMORY64: "the memory ends beyond 4 GiB of the file: Memory64List, and WITH_FULL_MEMORY in the header",
    DumpWarning.NOT_STOPPED: "dbghelp could not stop all threads: they ran while they were dumped",
    DumpWarning.CUT: "the core was cut where it lists threads, mappings and files: not all of them are in the dump",
    DumpWarning.BOTH_LISTS: (
        "MemoryList and Memory64List, as in the dump that was read: Microsoft's debugger engine refuses that"
    ),
    DumpWarning.SHARED_LATER: (
        "shared memory was read when the threads ran again: it is of a later moment than the rest"
    ),
    DumpWarning.STOP_MEMORY: (
        "more was copied than can be kept in memory (stop_memory, or what the system can spare): the rest was written "
        "while the threads were stopped"
    ),
    DumpWarning.REFERENCED: (
        "threads point to more memory than referenced_max allows: of the last threads it is not in the dump"
    ),
    DumpWarning.ZOMBIE: "the child of the snapshot could not be waited for in the target: it stays its zombie",
    DumpWarning.VALUES_UNKNOWN: (
        "the environment, or a part of it, was not found in what was dumped: copies of the values of its variables may "
        "be in the dump; give the values as patterns"
    ),
    DumpWarning.NO_THREADS: "no thread is left: an empty one with id 0xFFFFFFFF is listed, since debuggers need one",
}
# In the order of MDC_STOP_REASON_* in csrc/api/report.h.
_STOP_REASONS = (
    "",
    "the target is not a live Linux process",
    "its seccomp filter forbids clone, or cannot be read (that needs CAP_SYS_ADMIN)",
    "it has more memory that a child does not get (MADV_DONTFORK, MADV_WIPEONFORK) than stop_memory allows to copy",
    "a userfaultfd handler of it would have to answer",
    "its memory cgroup is near the limit",
    "clone failed in it",
    "no thread of it is stopped where it can call clone",
    "a signal has stopped it already",
    "its threads have shadow stacks",
    "this kernel does not have what is needed (Linux 5.12)",
    "the child could not be made",
    "the memory could not be reserved before the stop",
    "it has mapped memory of devices, or lets them write to its memory",
)
# The same where a callback that is not ours decided.
_FOREIGN_WARNINGS = {
    DumpWarning.NO_REGION_CALLBACKS: "this engine did not ask the callback about regions",
    DumpWarning.NO_MEMORY_CALLBACKS: "this engine did not ask the callback for memory to add",
    DumpWarning.NO_VM_CALLBACKS: "this engine did not show the callback what it read",
}


def of(report: DumpReport, notes: tuple[str, ...], *, windows: bool) -> tuple[str, ...]:
    """The notes, which were known beforehand, and a text for each warning."""
    warnings = report.warnings
    if windows:
        warnings &= ~DumpWarning.NO_RESIDENCY  # always so on Windows: not worth a warning
    texts = notes
    if warnings:
        known = _WARNINGS if report.rules else _WARNINGS | _FOREIGN_WARNINGS
        texts += tuple(text for flag, text in known.items() if flag & warnings)
    if DumpWarning.TYPE in warnings:
        lost = (str(member.name) for member in report.type & ~report.honoured)
        names = ", ".join(name for name in lost if not any(name in note for note in notes))
        texts += (f"not available from this process, and not in the dump: {names}",) if names else ()
    if report.dropped_streams:
        numbers = ", ".join(f"{number:#x}" for number in report.dropped_streams)
        texts += (f'streams whose content is not known were left out ({numbers}); unknown_streams="keep" copies them',)
    if report.cut_bytes:
        texts += (f"the file that was read was cut: {report.cut_bytes:,} bytes are missing at its end",)
    if DumpWarning.STOP in warnings:
        texts += (f"the threads were stopped until all was written: {_stop_reason(report)}",)
    if DumpWarning.SLOW_FILES in warnings:
        texts += (_slow_files(report),)
    if report.redaction is not None and report.redaction.uncovered:
        texts += (f"patterns were not searched for across {report.redaction.uncovered} boundaries between reads",)
    if report.recording is not None and report.recording.dropped:
        texts += (f"the recording ends early: {report.recording.dropped} calls did not fit into its limit",)
    return texts


def _stop_reason(report: DumpReport) -> str:
    reason, number = report._numbers["stop_reason"], report._numbers["stop_errno"]
    text = _STOP_REASONS[reason] if reason < len(_STOP_REASONS) else f"reason {reason}"
    return f"{text}: {os.strerror(number)}" if number else text


def _slow_files(report: DumpReport) -> str:
    """Names the mappings with only their resident pages in the dump."""
    gaps = [gap.address for gap in report.gaps if gap.reason == GapReason.UNKNOWN]
    slow = [region for region in report.regions if region.flags & RegionFlags.SLOW_FILE]
    starts = [region.base for region in slow]
    hit = {at for address in gaps if (at := bisect.bisect_right(starts, address) - 1) >= 0 and address < slow[at].end}
    names = sorted({slow[at].path for at in hit})
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "some mappings"
    return (
        f"pages that are not resident were not read, because the file system of {shown} may not answer "
        "(FUSE, network): exclude these mappings, or dump them where the files can be read"
    )
