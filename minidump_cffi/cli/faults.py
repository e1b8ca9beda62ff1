"""What an exception record says, in words: codes of Windows, signals of Linux, exceptions of macOS.

Sources: ntstatus.h and winbase.h; the uapi headers signal.h, siginfo.h and audit.h of Linux; mach/exception_types.h.
Breakpad, Crashpad and minidump-writer put the signal into the code, si_code into the flags and si_addr into the address
(docs/file.md); Crashpad also gives pid and uid of who sent it, and all of them the system call of a SIGSYS.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

WINDOWS: Final = 2
MACOS: Final = (0x8101, 0x8102)
LINUX: Final = (0x8000, 0x8201, 0x8203)
LLDB_FLAGS: Final = 0x4C4C4442  # the flags of an exception that LLDB wrote: its words are in the parameters
DUMP_REQUESTED: Final = 0xFFFFFFFF


def _words(text: str) -> list[str]:
    return text.split()


_CODES: Final[dict[int, str]] = {
    0x0517A7ED: "SIMULATED (dump without crash)",
    0x40010005: "DBG_CONTROL_C",
    0x40010006: "DBG_PRINTEXCEPTION_C",
    0x406D1388: "MS_VC_EXCEPTION (thread name)",
    0x80000001: "EXCEPTION_GUARD_PAGE",
    0x80000002: "EXCEPTION_DATATYPE_MISALIGNMENT",
    0x80000003: "EXCEPTION_BREAKPOINT",
    0x80000004: "EXCEPTION_SINGLE_STEP",
    0x80000026: "STATUS_LONGJUMP",
    0x80000029: "STATUS_UNWIND_CONSOLIDATE",
    0xC0000005: "EXCEPTION_ACCESS_VIOLATION",
    0xC0000006: "EXCEPTION_IN_PAGE_ERROR",
    0xC0000008: "EXCEPTION_INVALID_HANDLE",
    0xC000000D: "STATUS_INVALID_PARAMETER",
    0xC0000017: "STATUS_NO_MEMORY",
    0xC000001D: "EXCEPTION_ILLEGAL_INSTRUCTION",
    0xC0000025: "EXCEPTION_NONCONTINUABLE_EXCEPTION",
    0xC0000026: "EXCEPTION_INVALID_DISPOSITION",
    0xC000008C: "EXCEPTION_ARRAY_BOUNDS_EXCEEDED",
    0xC000008D: "EXCEPTION_FLT_DENORMAL_OPERAND",
    0xC000008E: "EXCEPTION_FLT_DIVIDE_BY_ZERO",
    0xC000008F: "EXCEPTION_FLT_INEXACT_RESULT",
    0xC0000090: "EXCEPTION_FLT_INVALID_OPERATION",
    0xC0000091: "EXCEPTION_FLT_OVERFLOW",
    0xC0000092: "EXCEPTION_FLT_STACK_CHECK",
    0xC0000093: "EXCEPTION_FLT_UNDERFLOW",
    0xC0000094: "EXCEPTION_INT_DIVIDE_BY_ZERO",
    0xC0000095: "EXCEPTION_INT_OVERFLOW",
    0xC0000096: "EXCEPTION_PRIV_INSTRUCTION",
    0xC00000FD: "EXCEPTION_STACK_OVERFLOW",
    0xC0000135: "STATUS_DLL_NOT_FOUND",
    0xC0000138: "STATUS_ORDINAL_NOT_FOUND",
    0xC0000139: "STATUS_ENTRYPOINT_NOT_FOUND",
    0xC000013A: "STATUS_CONTROL_C_EXIT",
    0xC0000142: "STATUS_DLL_INIT_FAILED",
    0xC0000194: "EXCEPTION_POSSIBLE_DEADLOCK",
    0xC00002B4: "STATUS_FLOAT_MULTIPLE_FAULTS",
    0xC00002B5: "STATUS_FLOAT_MULTIPLE_TRAPS",
    0xC0000374: "STATUS_HEAP_CORRUPTION",
    0xC0000409: "STATUS_STACK_BUFFER_OVERRUN",
    0xC0000417: "STATUS_INVALID_CRUNTIME_PARAMETER",
    0xC0000420: "STATUS_ASSERTION_FAILURE",
    0xC0000602: "STATUS_FAIL_FAST_EXCEPTION",
    0xE0434352: "CLR exception",
    0xE06D7363: "C++ exception",
}
_ACCESS: Final = {0: "read", 1: "write", 8: "execute"}  # ExceptionInformation[0] of an access violation
_WORDS: Final = {"read": "reading", "write": "writing", "execute": "executing"}

_SIGNALS: Final = _words(
    "0 HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG "
    "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)
_SENT: Final = {
    0: "SI_USER",
    0x80: "SI_KERNEL",
    -1: "SI_QUEUE",
    -2: "SI_TIMER",
    -3: "SI_MESGQ",
    -4: "SI_ASYNCIO",
    -5: "SI_SIGIO",
    -6: "SI_TKILL",
    -7: "SI_DETHREAD",
    -60: "SI_ASYNCNL",
}
_SI_CODES: Final = {  # of each signal, from 1
    "ILL": _words("ILLOPC ILLOPN ILLADR ILLTRP PRVOPC PRVREG COPROC BADSTK BADIADDR BREAK BNDMOD"),
    "TRAP": _words("BRKPT TRACE BRANCH HWBKPT UNK PERF"),
    "BUS": _words("ADRALN ADRERR OBJERR MCEERR_AR MCEERR_AO"),
    "FPE": _words("INTDIV INTOVF FLTDIV FLTOVF FLTUND FLTRES FLTINV FLTSUB DECOVF DECDIV DECERR INVASC INVDEC FLTUNK"),
    "SEGV": _words("MAPERR ACCERR BNDERR PKUERR ACCADI ADIDERR ADIPERR MTEAERR MTESERR CPERR"),
    "CHLD": _words("EXITED KILLED DUMPED TRAPPED STOPPED CONTINUED"),
    "IO": _words("IN OUT MSG ERR PRI HUP"),
    "SYS": _words("SECCOMP USER_DISPATCH"),
}
_PREFIX: Final = {"CHLD": "CLD", "IO": "POLL"}  # of si_codes; of others it is the signal's name
_ADDRESSED: Final = {"SEGV", "BUS", "ILL", "FPE", "TRAP", "SYS"}
_MACHINES: Final = {  # AUDIT_ARCH_*
    0xC000003E: "x86-64",
    0x40000003: "x86",
    0xC00000B7: "ARM64",
    0x40000028: "ARM",
    0xC00000F3: "RISC-V 64",
}
_MACH: Final = _words(
    "0 EXC_BAD_ACCESS EXC_BAD_INSTRUCTION EXC_ARITHMETIC EXC_EMULATION EXC_SOFTWARE EXC_BREAKPOINT EXC_SYSCALL "
    "EXC_MACH_SYSCALL EXC_RPC_ALERT EXC_CRASH EXC_RESOURCE EXC_GUARD EXC_CORPSE_NOTIFY"
)


def name_of(platform: int, code: int, flags: int, parameters: tuple[int, ...]) -> str:
    """``SIGSEGV / SEGV_MAPERR``, ``EXCEPTION_ACCESS_VIOLATION``; empty if it is not known."""
    if code == DUMP_REQUESTED and platform != WINDOWS:
        return "dump requested"
    if platform == WINDOWS:
        return _CODES.get(code, "")
    if platform in MACOS:
        return _MACH[code] if 0 < code < len(_MACH) else ""
    signal = _signal(platform, code)
    if not signal or flags == LLDB_FLAGS or (flags == 0 and not parameters):  # old Breakpad: no si_code
        return f"SIG{signal}" if signal else ""
    return f"SIG{signal} / {_si_code(signal, flags)}"


def access_of(
    platform: int, code: int, flags: int, address: int, parameters: tuple[int, ...], instruction: int | None
) -> tuple[str, int | None]:
    """``read``, ``write`` or ``execute``, and the address that was accessed; empty and None if it does not say.

    Linux says no kind; but what could not be accessed at the instruction pointer is the instruction.
    """
    if platform == WINDOWS and code in (0xC0000005, 0xC0000006) and len(parameters) >= 2:
        return _ACCESS.get(parameters[0], ""), parameters[1]
    if _signal(platform, code) in ("SEGV", "BUS") and flags != LLDB_FLAGS and _signed(flags) > 0 and flags != 0x80:
        return "execute" if address == instruction else "", address
    return "", None


def details_of(platform: int, code: int, flags: int, address: int, parameters: tuple[int, ...], access: str) -> str:
    """The rest of what the record says: who sent a signal, which system call was refused, where an access failed."""
    if flags == LLDB_FLAGS:
        return b"".join(word.to_bytes(8, "little") for word in parameters).split(b"\0")[0].decode("utf-8", "replace")
    if platform == WINDOWS:
        return _windows_details(code, parameters, access)
    signal = _signal(platform, code)
    if signal == "SYS" and len(parameters) >= 2:
        machine = _MACHINES.get(parameters[1], f"architecture {parameters[1]:#x}")
        return f"system call {parameters[0]} of {machine}"
    if not signal:
        return ""
    if _signed(flags) <= 0 and _signed(flags) != -2 and len(parameters) >= 2:
        return f"sent by process {parameters[0]} of user {parameters[1]}"
    if signal == "SEGV" and flags == 0x80 and address == 0:
        return "the address is not known: it is not canonical"
    return f"{_WORDS[access]} {address:#x}" if access else ""


def has_address(platform: int, code: int, flags: int, parameters: tuple[int, ...]) -> bool:
    """Whether the address is that of a fault, or of an instruction, and no other number."""
    if platform == WINDOWS or platform in MACOS or flags == LLDB_FLAGS or code == DUMP_REQUESTED:
        return True
    signal = _signal(platform, code)
    return not signal or (signal in _ADDRESSED and (_signed(flags) > 0 or (flags == 0 and not parameters)))


def _windows_details(code: int, parameters: tuple[int, ...], access: str) -> str:
    if code in (0xC0000005, 0xC0000006) and len(parameters) >= 2:
        words = f"{_WORDS.get(access, f'access {parameters[0]} to')} {parameters[1]:#x}"
        if code == 0xC0000006 and len(parameters) >= 3:
            words += f", status {parameters[2] & 0xFFFFFFFF:#010x}"
        return words
    if code == 0xC0000409 and parameters:
        return f"fast fail {parameters[0]}"
    return ""


def _signal(platform: int, code: int) -> str:
    """The name of a signal of Linux, without SIG."""
    if platform not in LINUX or code <= 0:
        return ""
    if code < len(_SIGNALS):
        return _SIGNALS[code]
    return f"RTMIN+{code - 34}" if 34 <= code <= 64 else ""


def _si_code(signal: str, flags: int) -> str:
    code = _signed(flags)
    known = _SI_CODES.get(signal, [])
    if 0 < code <= len(known):
        return f"{_PREFIX.get(signal, signal)}_{known[code - 1]}"
    return _SENT.get(code, str(code))


def _signed(flags: int) -> int:
    return flags - (1 << 32) if flags >= 1 << 31 else flags
