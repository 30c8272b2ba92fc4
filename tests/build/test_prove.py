"""What is proven of a result and of an image, and what is recorded of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fakes.samples import DEPMOD_FILES, GOOD_ENTRIES, PLACE, Sample, depmod_text, make_facts, write_sample_image

from builder.build.prove import prove_image, prove_result, read_image
from builder.image import contract
from builder.image.contents import LayerCache
from builder.image.layout import LayerEntry
from builder.kmod.finding import Check
from builder.store.result import File, make_result

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_result_is_proven_before_anything_is_signed() -> None:
    good = make_result([(PLACE, File(Sample().write())), ("licenses/GPL", File(b"GPL"))])
    assert prove_result(good, make_facts(), expected=["demo"]) == []
    other = make_result([(PLACE, File(Sample(machine=183).write()))])
    assert [item.check for item in prove_result(other, make_facts(), expected=["demo"])] == [Check.WRONG_MACHINE]


def test_what_is_recorded_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "make_depmod_data", lambda *_: dict.fromkeys(DEPMOD_FILES, depmod_text()))
    entries = [*GOOD_ENTRIES, LayerEntry(path="firmware/a.bin", content=b"fw")]
    layout = write_sample_image(tmp_path, [entries])
    contents = read_image(f"oci:{layout}", LayerCache())
    proof = prove_image(contents, make_facts(), expected=["demo"], signers=())
    assert (proof.findings, proof.image, proof.digest) == ((), f"oci:{layout}", contents.digest)
    (module,) = proof.modules
    assert (module.name, module.license, module.imports) == ("demo.ko", "GPL", 2)
    assert module.sha256 == hashlib.sha256(Sample().write()).hexdigest()
    (firmware,) = proof.firmware
    assert (firmware.path, firmware.size) == ("firmware/a.bin", 2)
    missing = prove_image(contents, make_facts(), expected=["demo", "other"], signers=())
    assert [item.check for item in missing.findings] == [Check.MODULE_MISSING]
