"""What is known of a cell with everything: two modules of which one needs the other, firmware, signers, a boot test."""

from __future__ import annotations

from builder.evidence.records import BootEvidence, CellEvidence, CellOutcome, FileRecord, ModuleRecord
from builder.publish.attest.facts import CellFacts
from builder.sources.provider import BuildInput

DIGEST = f"sha256:{'1' * 64}"
_LIBC = BuildInput(
    name="libc", version="2", uri="http://deb/libc.deb", sha256="8" * 64, purl="pkg:deb/debian/libc@2?arch=amd64"
)
FACTS = CellFacts(
    evidence=CellEvidence(
        cell="drv-1.0.0/6.1.0-9-amd64", driver="drv", kernel="6.1.0-9-amd64", key="k" * 64, outcome=CellOutcome.BUILT,
        inputs={"source": "s" * 64, "toolkit": "t" * 64, "containerfile": "c" * 64, "compress": "none"},
        run="20261123T000000Z-1", finished="2026-11-23T00:00:00Z", digest=DIGEST,
        modules=(
            ModuleRecord(name="a.ko", sha256="a" * 64, size=10, vermagic="6.1.0-9-amd64 SMP", imports=3, license="GPL"),
            ModuleRecord(name="b-c.ko", sha256="b" * 64, size=10, depends=("a",), firmware=("drv/fw.bin",)),
        ),
        firmware=(FileRecord(path="firmware/drv/fw.bin", sha256="f" * 64, size=4),),
        signers=("5" * 64,),
    ),
    boot=BootEvidence(
        cell="drv-1.0.0/6.1.0-9-amd64", key="b" * 64, digest=DIGEST, passed=True, run="r",
        finished="2026-11-23T00:01:00Z", mode="secure", acceleration="tcg", enrolled="x", signed_by="signers",
        seconds=7.5, refusals=("Key was rejected by service",),
    ),
    repository="quay.test/org/drv", digest=DIGEST, driver_version="1.0.0", arch="amd64", vendor="Example",
    description="A driver",
    toolkit=(
        BuildInput(name="gcc", version="12", uri="http://deb/gcc.deb", sha256="9" * 64, purl="pkg:deb/debian/gcc@12?arch=amd64"),
        _LIBC,
    ),
    base=(_LIBC,), builder="urn:kmodsmith:builder:local", builder_version="0", recipe={"command": "make"},
)  # fmt: skip
