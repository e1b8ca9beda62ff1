"""Names of the numbers in a minidump, for people."""

from __future__ import annotations

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
    0x4D444301: "MdcGapList",
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

GAP_REASONS: Final[dict[int, str]] = {1: "read failed", 2: "behind the end of the file", 3: "not reached"}

STATES: Final[dict[int, str]] = {0x1000: "commit", 0x2000: "reserve", 0x10000: "free"}
TYPES: Final[dict[int, str]] = {0x20000: "private", 0x40000: "mapped", 0x1000000: "image"}
_PROTECTIONS: Final[dict[int, str]] = {
    0x00: "",
    0x01: "---",
    0x02: "r--",
    0x04: "rw-",
    0x08: "rc-",
    0x10: "--x",
    0x20: "r-x",
    0x40: "rwx",
    0x80: "rcx",
}


class ProtectModifier(IntFlag):
    """Modifiers beside the base protection of a region."""

    GUARD = 0x100
    NOCACHE = 0x200
    WRITECOMBINE = 0x400


def stream_name(number: int) -> str:
    """Name of a stream, or its number in hexadecimal."""
    return STREAMS.get(number, f"0x{number:08x}")


def protection(value: int) -> str:
    """Letters for a PAGE_* value, with its modifiers: ``rw-``, ``r--+guard``; c stands for copy on write."""
    base = _PROTECTIONS.get(value & 0xFF, f"0x{value & 0xFF:02x}")
    modifiers = [flag.name.lower() for flag in ProtectModifier if value & flag and flag.name]
    return "+".join([base, *modifiers])
