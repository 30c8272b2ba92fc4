"""The program that starts a smoke test; tests/integration/qemu/ has guests run it."""

from __future__ import annotations

import io
import struct

import pytest
from elftools.elf.elffile import ELFFile

from builder.boot.confine import Capability, helper_limits, make_confine
from builder.errors import HostError
from builder.kernel import Arch


@pytest.mark.parametrize(("arch", "machine"), [(Arch.X86_64, "EM_X86_64"), (Arch.AARCH64, "EM_AARCH64")])
def test_the_program_is_one_segment_that_is_loaded_whole_and_entered_at_its_code(arch: Arch, machine: str) -> None:
    program = make_confine(arch)
    elf = ELFFile(io.BytesIO(program))
    (segment,) = elf.iter_segments()
    assert (elf["e_type"], elf["e_machine"], elf.num_sections()) == ("ET_EXEC", machine, 0)
    assert (segment["p_type"], segment["p_flags"], segment["p_offset"]) == ("PT_LOAD", 5, 0)
    assert segment["p_filesz"] == segment["p_memsz"] == len(program)
    assert elf["e_entry"] == segment["p_vaddr"] + 64 + 56


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.AARCH64])
def test_the_capabilities_stand_where_the_code_looks_for_them(arch: Arch) -> None:
    program = make_confine(arch)
    code = program[64 + 56 :]
    if arch is Arch.X86_64:  # lea r12, [rip + caps]
        caps = 7 + struct.unpack_from("<i", code, 3)[0]
    else:  # adr x19, caps
        word = struct.unpack_from("<I", code)[0]
        caps = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
    assert code[caps:] == bytes([16, 17, 19, 22, 38, 39, 255])
    assert bytes([*Capability, 255]) == code[caps:]


def test_programs_that_the_kernel_starts_are_kept_from_the_same() -> None:
    low, high = map(int, helper_limits().split())
    assert [bit for bit in range(64) if not (high << 32 | low) >> bit & 1] == [*Capability]


def test_a_guest_of_another_architecture_is_refused() -> None:
    with pytest.raises(HostError, match="kernels of s390x cannot be booted here"):
        make_confine(Arch.S390X)
