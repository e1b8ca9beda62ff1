"""The registers in a context, by name. Layouts: CONTEXT of winnt.h, MDRawContext of Breakpad."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

X86: Final = 0
ARM: Final = 5
AMD64: Final = 9
ARM64: Final = 12
ARM64_OLD: Final = 0x8003
"""ProcessorArchitecture of Breakpad, with a layout of its own."""


def _row(names: str, offset: int, size: int) -> dict[str, tuple[int, int]]:
    """Registers that follow each other: offset and bytes of each."""
    return {name: (offset + index * size, size) for index, name in enumerate(names.split())}


_X0_TO_X30: Final = " ".join(f"x{number}" for number in range(31))

_LAYOUTS: Final[dict[int, dict[str, tuple[int, int]]]] = {
    X86: _row("gs fs es ds edi esi ebx edx ecx eax ebp eip cs eflags esp ss", 140, 4),
    AMD64: _row("cs ds es fs gs ss", 56, 2)
    | _row("eflags", 68, 4)
    | _row("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip", 120, 8),
    ARM: _row("r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 sp lr pc cpsr", 4, 4),
    ARM64: _row("cpsr", 4, 4) | _row(f"{_X0_TO_X30} sp pc", 8, 8),
    ARM64_OLD: _row(f"{_X0_TO_X30} sp pc", 8, 8) | _row("cpsr", 272, 4),
}


def registers_of(architecture: int, context: bytes) -> dict[str, int]:
    """The integer registers; those that the context is too short for are left out."""
    return {
        name: int.from_bytes(context[offset : offset + size], "little")
        for name, (offset, size) in _LAYOUTS.get(architecture, {}).items()
        if offset + size <= len(context)
    }
