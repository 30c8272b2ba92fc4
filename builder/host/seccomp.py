"""A small seccomp filter (seccomp(2)) for the whole jail: what buildah's own list of system calls still allows.

buildah filters what a RUN may call, by a list of what is allowed. Two things on it reach out of every namespace: keys
of the kernel (the session keyring of who started the build is inherited) and sockets to the hypervisor (AF_VSOCK).
"""

from __future__ import annotations

import errno
import struct
import sys
from dataclasses import dataclass

# linux/filter.h, linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000
# struct seccomp_data: nr, arch, instruction_pointer, args[6]
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_AF_VSOCK = 40
# Calls of the x32 interface have this bit; nothing that is built here uses it.
_X32 = 0x40000000


@dataclass(frozen=True, slots=True)
class _Numbers:
    """One machine's AUDIT_ARCH (linux/audit.h) and system calls (asm/unistd.h)."""

    arch: int
    keys: tuple[int, ...]
    socket: int


_MACHINES = {
    "x86_64": _Numbers(0xC000003E, (248, 249, 250), 41),
    "aarch64": _Numbers(0xC00000B7, (217, 218, 219), 198),
    "ppc64le": _Numbers(0xC0000015, (269, 270, 271), 326),
    "s390x": _Numbers(0x80000016, (278, 279, 280), 359),
}


def jail_filter(machine: str) -> bytes:
    """Return the program, as bubblewrap takes it; empty where the machine's numbers are not known.

    add_key, request_key and keyctl fail with ENOSYS, as on a kernel without keys; socket(AF_VSOCK) with EAFNOSUPPORT.
    Calls of another interface than the machine's own (i386 on x86-64) fail with ENOSYS: a filter cannot read theirs.
    """
    numbers = _MACHINES.get(machine)
    if numbers is None:
        return b""
    # The low half of a 64-bit argument comes first or last.
    argument = _FIRST_ARGUMENT + (4 if sys.byteorder == "big" else 0)
    no_call, no_family = _REFUSE | errno.ENOSYS, _REFUSE | errno.EAFNOSUPPORT
    body: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, no_call)]
    for number in numbers.keys:
        body += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, no_call)]
    body += [
        (_EQUAL, 1, 0, numbers.socket),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, argument),
        (_EQUAL, 0, 1, _AF_VSOCK),
        (_RETURN, 0, 0, no_family),
        (_RETURN, 0, 0, _ALLOW),
    ]
    head = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, numbers.arch), (_RETURN, 0, 0, no_call)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in head + body)
