"""The system calls that a compile may not make."""

from __future__ import annotations

import struct

import pytest

from builder.host.seccomp import jail_filter


def _run_filter(program: bytes, *, number: int, arch: int, argument: int = 0) -> int:
    """Interpret a filter as the kernel does (Documentation/networking/filter)."""
    data = struct.pack("=iIQ6Q", number, arch, 0, argument, *[0] * 5)
    accumulator = at = 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x15:
                at += yes if accumulator == value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(code)


_X86, _ARM, _I386 = 0xC000003E, 0xC00000B7, 0x40000003
_ALLOW, _ENOSYS, _EAFNOSUPPORT = 0x7FFF0000, 0x50026, 0x50061


@pytest.mark.parametrize(
    ("machine", "arch", "number", "argument", "answer"),
    [
        ("x86_64", _X86, 0, 0, _ALLOW),
        ("x86_64", _X86, 248, 0, _ENOSYS),
        ("x86_64", _X86, 249, 0, _ENOSYS),
        ("x86_64", _X86, 250, 0, _ENOSYS),
        ("x86_64", _X86, 41, 2, _ALLOW),
        ("x86_64", _X86, 41, 40, _EAFNOSUPPORT),
        ("x86_64", _X86, 41, 40 + (1 << 32), _EAFNOSUPPORT),
        ("x86_64", _X86, 250 + 0x40000000, 0, _ENOSYS),
        ("x86_64", _I386, 288, 0, _ENOSYS),
        ("aarch64", _ARM, 219, 0, _ENOSYS),
        ("aarch64", _ARM, 198, 40, _EAFNOSUPPORT),
        ("aarch64", _ARM, 198, 1, _ALLOW),
    ],
)
def test_keys_and_the_hypervisor_are_out_of_reach(
    machine: str, arch: int, number: int, argument: int, answer: int
) -> None:
    assert _run_filter(jail_filter(machine), number=number, arch=arch, argument=argument) == answer


def test_a_machine_that_is_not_known_gets_no_filter() -> None:
    assert jail_filter("riscv64") == b""
