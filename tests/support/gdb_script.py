"""Run inside of gdb: what it says of a core, as JSON. MDC_GDB_REQUEST says what is wanted and where it goes."""

import contextlib
import json
import os

import gdb  # type: ignore[import-not-found]

GENERAL_64 = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss ds es fs gs fs_base"
GENERAL_32 = "eax ebx ecx edx esi edi ebp esp eip eflags cs ss ds es fs gs"


def number(expression):
    """An expression's value as an unsigned number of up to 64 bits."""
    return int(gdb.parse_and_eval(expression)) & (1 << 64) - 1


def registers(wide):
    """Those of the selected thread.

    gdb 13 finds no vector state in a 32-bit core of a processor whose XSAVE area is smaller than it expects.
    """
    found = {name: number("$" + name) for name in (GENERAL_64 if wide else GENERAL_32).split()}
    with contextlib.nullcontext() if wide else contextlib.suppress(gdb.error):
        for index in range(16 if wide else 8):
            halves = [number(f"$xmm{index}.v2_int64[{half}]") for half in (0, 1)]
            found[f"xmm{index}"] = halves[0] | halves[1] << 64
        found["mxcsr"] = number("$mxcsr")
        found["fctrl"] = number("$fctrl")
    return found


def main():
    """The answer."""
    request = json.loads(os.environ["MDC_GDB_REQUEST"])
    inferior = gdb.selected_inferior()
    wide = inferior.architecture().name() == "i386:x86-64"
    answer = {"threads": [], "memory": [], "siginfo": None, "current": gdb.selected_thread().ptid[1]}
    with contextlib.suppress(gdb.error):  # the core has none
        answer["siginfo"] = {
            "signo": number("$_siginfo.si_signo"),
            "code": number("$_siginfo.si_code") & 0xFFFFFFFF,
            "address": number("(unsigned long)$_siginfo._sifields._sigfault.si_addr"),
        }
    for thread in inferior.threads():
        thread.switch()
        answer["threads"].append({"tid": thread.ptid[1], "registers": registers(wide)})
    for address, size in request["memory"]:
        try:
            answer["memory"].append(inferior.read_memory(address, size).tobytes().hex())
        except gdb.MemoryError:
            answer["memory"].append(None)
    with open(request["answer"], "w", encoding="utf-8") as file:
        json.dump(answer, file)


main()
