"""Proofs, the signing log and comparisons, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

from fakes.outcomes import shown

from builder.build.prove import Proof
from builder.evidence.records import ModuleRecord
from builder.kmod.compat import Compatibility, Drift, DriverDrift
from builder.kmod.finding import Check, Finding
from builder.show.proof import (
    emit_compat,
    emit_compat_json,
    emit_drift,
    emit_drift_basis,
    emit_proof,
    emit_proof_json,
    emit_signing_log,
)


def _proof(*findings: Finding, signers: tuple[str, ...] = ()) -> Proof:
    module = ModuleRecord(name="demo.ko", sha256="abcdef" * 10, size=1, vermagic="6.1 SMP", imports=7, depends=("usb",))
    return Proof(
        image="i", digest="sha256:1", kernel="6.1", modules=(module,), firmware=(), signers=signers, findings=findings
    )


_WRONG = Finding(check=Check.WRONG_KERNEL, subject="demo.ko", sentence="it says [b]6.2[/b]")


def test_an_image_that_fits_says_so_and_who_signed() -> None:
    text = shown(emit_proof(_proof(signers=("5" * 64,))))
    assert "fits 6.1, signed by 5555555555555555\n" in text
    assert all(word in text for word in ("demo.ko", "6.1 SMP", "usb", "abcdefabcdef"))
    assert "not signed" in shown(emit_proof(_proof()))


def test_each_finding_is_told_as_it_is() -> None:
    text = shown(emit_proof(_proof(_WRONG)))
    assert "wrong-kernel demo.ko" in text
    assert "it says [b]6.2[/b]" in text
    assert "fits" not in text
    assert [json.loads(emit_proof_json(proof))["fits"] for proof in (_proof(), _proof(_WRONG))] == [True, False]


def test_the_signing_log_marks_development_keys_and_torn_lines() -> None:
    entry = {"time": "t1", "signer": "vendor", "module": "a.ko", "algorithm": "sha256", "digest": "d" * 64, "cell": "c"}
    text = shown(emit_signing_log([entry, entry | {"development": "yes"}, {"time": "t2", "torn_bytes": "40"}]))
    assert "vendor (development)" in text
    assert f"sha256:{'d' * 12}" in text
    assert "an incomplete line of 40 bytes was set aside" in text


def _verdict(kernel: str, **changes: Any) -> Compatibility:
    return Compatibility(
        **({"compiled_for": "6.1", "kernel": kernel, "changed": (), "missing": (), "other": ()} | changes)
    )


def test_where_modules_load_and_what_stands_in_the_way() -> None:
    verdicts = {
        "demo": [_verdict("6.1"), _verdict("6.2", changed=("a", "b"), missing=("c",)), _verdict("6.3", other=("x",))]
    }
    text = shown(emit_compat(verdicts, width=80))
    rows = [line.split() for line in text.splitlines()]
    assert ["demo,", "compiled", "for", "6.1", "6.2", "6.3"] in rows
    assert ["6.1", "+", "3", "x"] in rows
    assert "symbols in the way: a, b, c" in text
    assert "no symbol is in the way" in shown(
        emit_compat({"demo": [_verdict("6.1"), _verdict("6.3", other=("x",))]}, width=80)
    )
    assert [item["loads"] for item in json.loads(emit_compat_json(verdicts))["demo"]] == [True, False, False]


def test_columns_have_names_and_go_on_below_where_they_do_not_fit() -> None:
    kernels = [f"5.14.0-427.{number}.1.el9_4.x86_64+rt" for number in range(30, 42)]
    verdicts = {"demo": [_verdict(kernel) for kernel in kernels]}
    text = shown(emit_compat(verdicts, width=80), width=80)
    lines = text.splitlines()
    assert text.count("compiled for") > 1, "they do not fit side by side"
    assert max(map(len, lines)) <= 80
    heads = [line.split() for line in lines if ".el9_4" in line and "5.14.0" not in line]
    assert heads
    assert {word for head in heads for word in head} == {".el9_4"}, "cut where parts begin, not within them"
    assert sorted(word for line in lines for word in line.split() if word.startswith("-427.")) == [
        f"-427.{number}.1" for number in range(30, 42)
    ]


def test_many_symbols_in_the_way_are_counted() -> None:
    text = shown(emit_compat({"demo": [_verdict("6.2", missing=tuple("abcdefgh"))]}, width=80))
    assert "a, b, c, d, e, f and 2 more (--json lists all)" in text


def test_drift_is_told_for_each_driver() -> None:
    drift = Drift(symbol="kfree", change="type changed", before="0x1", after="0x2")
    gone = Drift(symbol="kmalloc", change="no longer exported", before="0x1", after="", header="a macro in slab.h")
    drifts = {
        "one": DriverDrift(compiled_for="6.1", symbols=(gone, drift)),
        "two": DriverDrift(compiled_for="6.2", symbols=()),
    }
    text = shown(emit_drift(drifts, "6.1", "6.2"))
    assert "kmalloc no longer exported: a macro in slab.h now 0x1 kfree type changed 0x1 0x2" in " ".join(text.split())
    assert "compared are binaries: the symbols that built modules use (one for 6.1, two for 6.2)" in emit_drift_basis(
        drifts
    )
    assert "two: none of the symbols that it uses differs between 6.1 and 6.2" in text
