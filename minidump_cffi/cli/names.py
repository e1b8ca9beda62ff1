"""Names of the numbers in a minidump, for people."""

from __future__ import annotations

from functools import cache, lru_cache

from ..enums import GapReason, MemoryProtect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from enum import IntFlag
    from typing import Final

#: Stream numbers: Microsoft's, Breakpad's and Crashpad's, LLDB's, our own.
STREAMS: Final[dict[int, str]] = {
    0: "Unused",
    3: "ThreadList",
    4: "ModuleList",
    5: "MemoryList",
    6: "Exception",
    7: "SystemInfo",
    8: "ThreadExList",
    9: "Memory64List",
    10: "CommentA",
    11: "CommentW",
    12: "HandleData",
    13: "FunctionTable",
    14: "UnloadedModuleList",
    15: "MiscInfo",
    16: "MemoryInfoList",
    17: "ThreadInfoList",
    18: "HandleOperationList",
    19: "Token",
    20: "JavaScriptData",
    21: "SystemMemoryInfo",
    22: "ProcessVmCounters",
    23: "IptTrace",
    24: "ThreadNames",
    25: "CompressedMemory",
    0xFFF0: "WineElfModules",
    0x43500001: "CrashpadInfo",
    0x47670001: "BreakpadInfo",
    0x47670002: "AssertionInfo",
    0x47670003: "LinuxCpuInfo",
    0x47670004: "LinuxProcStatus",
    0x47670005: "LinuxLsbRelease",
    0x47670006: "LinuxCmdLine",
    0x47670007: "LinuxEnviron",
    0x47670008: "LinuxAuxv",
    0x47670009: "LinuxMaps",
    0x4767000A: "LinuxDsoDebug",
    0x4767000B: "LinuxProcStat",
    0x4C4C4442: "LLDBGenerated",
    0x4D7A0001: "MozMacosCrashInfo",
    0x4D7A0002: "MozMacosBootargs",
    0x4D7A0003: "MozLinuxLimits",
    0x4D7A0004: "MozSoftErrors",
    0x4D444301: "MdcGapList",
    0x4D444302: "MdcThreadPointers",
}

PROCESSORS: Final[dict[int, str]] = {
    0: "x86",
    1: "MIPS",
    3: "PowerPC",
    5: "ARM",
    6: "Itanium",
    9: "x86-64",
    12: "ARM64",
    0x8001: "SPARC",
    0x8002: "PowerPC 64",
    0x8003: "ARM64 (old Breakpad context)",
    0x8004: "MIPS64",
    0x8005: "RISC-V",
    0x8006: "RISC-V 64",
}

PLATFORMS: Final[dict[int, str]] = {
    0: "Win32s",
    1: "Windows 9x",
    2: "Windows",
    3: "Windows CE",
    0x8000: "Unix",
    0x8101: "macOS",
    0x8102: "iOS",
    0x8201: "Linux",
    0x8202: "Solaris",
    0x8203: "Android",
    0x8204: "PlayStation 3",
    0x8205: "Native Client",
    0x8206: "Fuchsia",
}

GAP_REASONS: Final[dict[int, str]] = {
    GapReason.READ_FAILED: "the read failed",
    GapReason.BEYOND_EOF: "beyond the end of the mapped file",
    GapReason.TRUNCATED: "not reached",
    GapReason.UNKNOWN: "not resident, and its file may not be opened or may not respond",
    GapReason.LEFT_TO_FILE: "left to the module's file",
    GapReason.BUDGET: "over the budget (max_bytes)",
    GapReason.CUT: "beyond the end of a file that was cut",
}

#: AT_* of elf.h
AUXILIARY: Final[dict[int, str]] = {
    2: "EXECFD",
    3: "PHDR",
    4: "PHENT",
    5: "PHNUM",
    6: "PAGESZ",
    7: "BASE",
    8: "FLAGS",
    9: "ENTRY",
    11: "UID",
    12: "EUID",
    13: "GID",
    14: "EGID",
    15: "PLATFORM",
    16: "HWCAP",
    17: "CLKTCK",
    23: "SECURE",
    24: "BASE_PLATFORM",
    25: "RANDOM",
    26: "HWCAP2",
    27: "RSEQ_FEATURE_SIZE",
    28: "RSEQ_ALIGN",
    29: "HWCAP3",
    30: "HWCAP4",
    31: "EXECFN",
    32: "SYSINFO",
    33: "SYSINFO_EHDR",
    51: "MINSIGSTKSZ",
}

_ACCESS: Final[dict[int, str]] = {
    0: "",
    MemoryProtect.NOACCESS: "---",
    MemoryProtect.READONLY: "r--",
    MemoryProtect.READWRITE: "rw-",
    MemoryProtect.WRITECOPY: "rc-",
    MemoryProtect.EXECUTE: "--x",
    MemoryProtect.EXECUTE_READ: "r-x",
    MemoryProtect.EXECUTE_READWRITE: "rwx",
    MemoryProtect.EXECUTE_WRITECOPY: "rcx",
}
_MODIFIERS: Final = (MemoryProtect.GUARD, MemoryProtect.NOCACHE, MemoryProtect.WRITECOMBINE)
_MODIFIER_WORDS: Final = tuple((int(flag), (flag.name or "").lower()) for flag in _MODIFIERS)


def stream_name(number: int) -> str:
    """Name of a stream, or its number in hexadecimal."""
    return STREAMS.get(number, f"0x{number:08x}")


@lru_cache(4096)
def flags(kind: type[IntFlag], value: int) -> str:
    """Names of the bits that are set, in lower case and joined by ``+``; bits without a name as a number."""
    words, rest = [], value
    for bit, word in _words(kind):
        if value & bit:
            words.append(word)
            rest &= ~bit
    return "+".join([*words, *([f"{rest:#x}"] if rest else [])])


@cache
def _words(kind: type[IntFlag]) -> tuple[tuple[int, str], ...]:
    return tuple((int(flag), (flag.name or "").lower()) for flag in kind)


@lru_cache(4096)
def protection(value: int) -> str:
    """Letters for a PAGE_* value, with its modifiers: ``rw-``, ``r--+guard``; c means copy on write."""
    base = _ACCESS.get(value & 0xFF, f"0x{value & 0xFF:02x}")
    modifiers = [word for bit, word in _MODIFIER_WORDS if value & bit]
    return "+".join([base, *modifiers])
