"""Takes from the guest's smoke test what only code of the kernel may do, before it is started. Pure.

A smoke test is root: it opens devices, mounts, sets addresses. It needs no way into another process, the memory or the
kernel: there lie the words that reports are recognised by. Which capabilities a process and its children can ever have
is said with ``prctl(PR_CAPBSET_DROP)``, for which busybox has no command, so a program of some 80 bytes is made here.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from builder.errors import HostError
from builder.kernel import Arch


class Capability(IntEnum):
    """Those that are taken, by their numbers in include/uapi/linux/capability.h."""

    SYS_MODULE = 16
    SYS_RAWIO = 17
    SYS_PTRACE = 19
    SYS_BOOT = 22
    PERFMON = 38
    BPF = 39


_BASE = 0x400000
_ELF_HEADER, _PROGRAM_HEADER = 64, 56
# For each byte up to 0xff behind the code: prctl(PR_CAPBSET_DROP, byte, 0, 0, 0); a kernel that does not know one yet
# says so, which does no harm. Then execve(argv[1], argv + 1, envp), and exit code 126 where that fails.
_CODE = {
    Arch.X86_64: (62, bytes.fromhex(
        "4c8d2543000000"  #       lea r12, [rip + caps]
        "410fb63424"      # next: movzx esi, byte ptr [r12]
        "81feff000000"    #       cmp esi, 0xff
        "7417"            #       je run
        "49ffc4"          #       inc r12
        "6a185f"          #       push 24; pop rdi
        "b89d000000"      #       mov eax, 157
        "31d24531d24531c0"  #     xor edx, edx; xor r10d, r10d; xor r8d, r8d
        "0f05ebdc"        #       syscall; jmp next
        "488b0424"        # run:  mov rax, [rsp]
        "488b7c2410"      #       mov rdi, [rsp + 16]
        "488d742410"      #       lea rsi, [rsp + 16]
        "488d14c6"        #       lea rdx, [rsi + rax * 8]
        "6a3b580f05"      #       push 59; pop rax; syscall
        "6a7e5f6a3c580f05"  #     push 126; pop rdi; push 60; pop rax; syscall
    )),
    Arch.AARCH64: (183, struct.pack(
        "<20I",
        0x10000293,  #       adr x19, caps
        0x38401661,  # next: ldrb w1, [x19], #1
        0x7103FC3F,  #       cmp w1, #0xff
        0x54000100,  #       b.eq run
        0xD2800300,  #       mov x0, #24
        0xD2800002, 0xD2800003, 0xD2800004,  # mov x2, #0; mov x3, #0; mov x4, #0
        0xD28014E8, 0xD4000001,  # mov x8, #167; svc #0
        0x17FFFFF7,  #       b next
        0xF94003E9,  # run:  ldr x9, [sp]
        0xF9400BE0,  #       ldr x0, [sp, #16]
        0x910043E1,  #       add x1, sp, #16
        0x8B090C22,  #       add x2, x1, x9, lsl #3
        0xD2801BA8, 0xD4000001,  # mov x8, #221; svc #0
        0xD2800FC0, 0xD2800BA8, 0xD4000001,  # mov x0, #126; mov x8, #93; svc #0
    )),
}  # fmt: skip


def make_confine(arch: Arch) -> bytes:
    """Return a static ELF program that runs ``argv[1]`` without the capabilities; for a guest's architecture.

    Raises:
        HostError: boot tests of this architecture are not supported.
    """
    if arch not in _CODE:
        raise HostError(f"kernels of {arch} cannot be booted here: only {', '.join(_CODE)} are supported")
    machine, code = _CODE[arch]
    content = code + bytes(sorted(Capability)) + b"\xff"
    start = _ELF_HEADER + _PROGRAM_HEADER
    size = start + len(content)
    # e_ident, e_type .. e_shstrndx; p_type .. p_align (System V ABI, chapters 4 and 5): one segment, read and execute.
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 2, machine, 1, _BASE + start, _ELF_HEADER, 0, 0, _ELF_HEADER, _PROGRAM_HEADER, 1,
        0, 0, 0,
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + content


def helper_limits() -> str:
    """Return what /proc/sys/kernel/usermodehelper/bset takes: two words of 32 bits, for programs the kernel starts."""
    kept = (1 << 64) - 1 - sum(1 << item for item in Capability)
    return f"{kept & 0xFFFFFFFF} {kept >> 32}"
