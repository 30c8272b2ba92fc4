"""Facts of a site: drivers on many kernels, a cell in every state, months of history; and what strangers would write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from builder.errors import Failure, FailureClass
from builder.evidence.records import (
    BootEvidence,
    CellEvidence,
    CellOutcome,
    ComponentEvidence,
    ModuleRecord,
    PublishEvidence,
    SelfTest,
)
from builder.kernel import Arch, Variant, parse_kernel_version
from builder.kmod.compat import Drift, DriverDrift
from builder.kmod.symvers import SymbolCounts
from builder.plan.quote import Addition, Amount, Quote
from builder.site.drift import KernelStep, Lineage
from builder.site.facts import CellState, CellStep, SiteCell, SiteDriver, SiteFacts
from builder.sources.listing import KernelRow, ReleaseRow
from builder.sources.release import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MADE = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{{7*7}}\u202e\x1b[31m"
COMPILE_ERROR = Failure(
    failure_class=FailureClass.COMPILE,
    code="implicit-declaration",
    detail="gpu_mem.c:214:9: error: implicit declaration of function 'vma_set_flags'",
    hint="the function came with Linux 6.3; older kernels want vma->vm_flags",
    location="gpu_mem.c:214",
)
BUILD_LOG = f"""+ make modules
  CC [M]  /src/gpu_mem.o
/src/{COMPILE_ERROR.detail}
  214 |         vma_set_flags(vma, VM_IO | VM_DONTEXPAND);
      |         ^~~~~~~~~~~~~
make[1]: *** [/src/gpu_mem.o] Error 1
"""
_ALL = (CellStep.PROVEN, CellStep.SIGNED, CellStep.BOOTED, CellStep.PUBLISHED)
_STEPS = {
    CellState.PUBLISHED: _ALL, CellState.BOOTED: (CellStep.PROVEN, CellStep.SIGNED, CellStep.BOOTED),
    CellState.SIGNED: (CellStep.PROVEN, CellStep.SIGNED), CellState.PROVEN: (CellStep.PROVEN,),
}  # fmt: skip
_WHY = {
    CellState.UNPROVEN: "its image is there, but what it was proven by is not on record here",
    CellState.STALE: "the driver's source changed", CellState.NOT_BUILT: "no build of it is known here",
    CellState.UNKNOWN: "its registry gave no answer: connection timed out",
    CellState.FAILED: COMPILE_ERROR.detail, CellState.REFUSED: "it has no toolkit: release 4.20.3 brings none",
    CellState.KNOWN_BAD: "regression in dma_buf, fix is in review (owner jo@example.com, until 2027-01-31)",
    CellState.ACKNOWLEDGED: "it has no toolkit; known: no toolkit for RHEL 10 yet (owner jo@example.com, until 2027-01-31)",
    CellState.NOT_WANTED: "no PCI devices in those clouds",
}  # fmt: skip
_REASONS = {
    CellState.STALE: "source-changed", CellState.NOT_BUILT: "never-built", CellState.UNKNOWN: "registry-unknown",
    CellState.FAILED: "failed-before", CellState.REFUSED: "no-toolkit", CellState.KNOWN_BAD: "known-bad",
    CellState.ACKNOWLEDGED: "no-toolkit", CellState.NOT_WANTED: "excluded", CellState.UNPROVEN: "not-on-record",
}  # fmt: skip


def stamp(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def make_build(cell: str, kernel: str, *, finished: datetime = MADE, failure: Failure | None = None, run: str = "run-1",
               driver: str = "gpu", timings: dict[str, float] | None = None, signers: Sequence[str] = ()) -> CellEvidence:  # fmt: skip
    """Return evidence of a cell that was built, or failed at its compile."""
    spent = timings or {
        "toolkit": 0.0,
        "compile": 6.4,
        "fit": 0.1,
        "sign": 0.2,
        "assemble": 0.6,
        "verify": 0.2,
        "boot": 28.4,
    }
    module = ModuleRecord(
        name=f"{driver}_core.ko", sha256="5115" * 16, size=10_248, vermagic=f"{kernel} SMP preempt mod_unload modversions",
        imports=23, license="GPL", version="1.4.0",
    )  # fmt: skip
    return CellEvidence(
        cell=cell, driver=driver, kernel=kernel, key="ad3c" * 16, outcome=CellOutcome.FAILED if failure else CellOutcome.BUILT,
        inputs={"source": "9534" * 16, "toolkit": "caf4" * 16, "driver": f"{driver} 1.4.0", "kernel": kernel}, run=run,
        started=stamp(finished - timedelta(seconds=40)), finished=stamp(finished),
        timings={"toolkit": 0.0, "compile": 2.1} if failure else spent,
        image=f"quay.io/vendor/{driver}:1.4.0-{kernel.replace('+', '_')}", digest="" if failure else f"sha256:{'dc22' * 16}",
        failure=failure, log=f"cells/{cell}/build.log", modules=() if failure else (module,), signers=tuple(signers),
    )  # fmt: skip


def make_boot(cell: str, *, finished: datetime = MADE, passed: bool = True) -> BootEvidence:
    return BootEvidence(
        cell=cell, key="0a55" * 16, digest=f"sha256:{'dc22' * 16}", passed=passed, run="run-1", finished=stamp(finished),
        mode="secure", acceleration="kvm", enrolled="MokListRT", signed_by="signers", seconds=9.4,
        refusals=("refuse-unsigned gpu_core: EKEYREJECTED: Loading of unsigned module is rejected",
                  "refuse-stranger gpu_core: EKEYREJECTED: Loading of module with unavailable key is rejected"),
        notes=("bound gpu 1234:11e8 at 0000:01:00.0: driver gpu_core",), log=f"cells/{cell}/boot.log",
    )  # fmt: skip


def make_publish(cell: str, kernel: str, *, driver: str = "gpu", finished: datetime = MADE) -> PublishEvidence:
    name = f"quay.io/vendor/{driver}:1.4.0-{kernel.replace('+', '_')}"
    return PublishEvidence(
        cell=cell, key="ad3c" * 16, name=name, digest=f"sha256:{'dc22' * 16}", run="run-1", finished=stamp(finished),
        bytes_sent=1_204_224,
    )  # fmt: skip


def make_cell(kernel: str, state: CellState = CellState.PUBLISHED, *, driver: str = "gpu", source: str = "openshift",
              finished: datetime = MADE) -> SiteCell:  # fmt: skip
    """Return a cell in a state, with the evidence that would have led there."""
    parsed = parse_kernel_version(kernel)
    name = f"{driver}-1.4.0/{kernel}"
    steps = _STEPS.get(state, ())
    has_evidence = steps or state in {CellState.FAILED, CellState.STALE}
    failure = COMPILE_ERROR if state is CellState.FAILED else None
    signers = ("1f2e" * 16,) if CellStep.SIGNED in steps else ()
    evidence = make_build(name, kernel, finished=finished, failure=failure, driver=driver, signers=signers)
    published = (make_publish(name, kernel, driver=driver, finished=finished),) if CellStep.PUBLISHED in steps else ()
    return SiteCell(
        id=name, driver=driver, version="1.4.0", kernel=kernel, arch=parsed.arch, variant=parsed.variant,
        series=parsed.series, source=source, state=state, steps=steps, reason=_REASONS.get(state, "up-to-date"),
        why=_WHY.get(state, "its image is there and nothing changed"), image=evidence.image, key=evidence.key,
        until="2027-01-31" if state is CellState.KNOWN_BAD else "", evidence=evidence if has_evidence else None,
        boot=make_boot(name, finished=finished) if CellStep.BOOTED in steps else None, published=published,
    )  # fmt: skip


def make_kernel(kernel: str, releases: Sequence[str] = (), *, source: str = "openshift", seen: str = "") -> KernelRow:
    parsed = parse_kernel_version(kernel)
    return KernelRow(
        source=source, kernel=kernel, arch=Arch(parsed.arch), variant=Variant(parsed.variant), rhel="9.4", releases=tuple(releases),
        streams=("rhel-coreos",) if releases else (), states=(ReleaseState.COMPLETE,) if releases else (),
        toolkit=f"quay.io/openshift/dtk@sha256:{'e1' * 32}" if releases else "", toolkits=(), seen=seen,
    )  # fmt: skip


def make_release(release: str, kernels: Sequence[str], *, arch: str = "x86_64", state: ReleaseState = ReleaseState.COMPLETE,
                 disputed: Sequence[str] = (), since: str = "") -> ReleaseRow:  # fmt: skip
    return ReleaseRow(
        source="openshift", release=release, arch=Arch(arch), stream="rhel-coreos", state=state, runs=tuple(kernels),
        channels={f"stable-{release.rpartition('.')[0]}": since}, disputed=tuple(disputed),
    )  # fmt: skip


_SERIES = (
    ("4.16", "5.14.0-427.{}.1.el9_4", 30),
    ("4.18", "5.14.0-570.{}.1.el9_6", 20),
    ("4.20", "5.14.0-611.{}.1.el9_7", 5),
)
_STRANGE = (
    CellState.FAILED, CellState.BOOTED, CellState.KNOWN_BAD, CellState.SIGNED, CellState.REFUSED, CellState.PROVEN,
    CellState.STALE, CellState.UNKNOWN, CellState.NOT_BUILT, CellState.UNPROVEN, CellState.ACKNOWLEDGED, CellState.NOT_WANTED,
)  # fmt: skip


def make_facts(per_series: int = 12, drivers: Sequence[str] = ("gpu", "nic", "fpga")) -> SiteFacts:
    """Return a vendor's year: most of it published, the newest kernels on their way, a cell in each other state."""
    kernels: list[KernelRow] = []
    releases: list[ReleaseRow] = []
    cells: list[SiteCell] = []
    for minor, pattern, first in _SERIES:
        for number in range(per_series):
            base = pattern.format(first + number)
            seen = MADE - timedelta(days=13 * (per_series - number), hours=7 * number % 24)
            release = f"{minor}.{number + 1}"
            for raw in (f"{base}.x86_64", f"{base}.x86_64+rt", f"{base}.aarch64"):
                kernels.append(make_kernel(raw, (release,), seen=stamp(seen)))
                cells += [
                    make_cell(raw, _choose_state(len(cells) + place, number, per_series), driver=driver,
                              finished=min(MADE, seen + timedelta(hours=2 + 5 * ((number + place) % 7))))
                    for place, driver in enumerate(drivers)
                ]  # fmt: skip
            releases.append(make_release(release, (f"{base}.x86_64", f"{base}.x86_64+rt"), since=stamp(seen)))
            releases.append(make_release(release, (f"{base}.aarch64",), arch="aarch64", since=stamp(seen)))
    kernels += [make_kernel(raw, source="debian") for raw in ("6.1.0-56-amd64", "6.12.117+deb12-rt-amd64")]
    cells += [
        make_cell(raw, CellState.BOOTED, driver=driver, source="debian")
        for raw in ("6.1.0-56-amd64", "6.12.117+deb12-rt-amd64")
        for driver in drivers
    ]
    found = facts_of(cells, kernels=kernels, releases=releases, drivers=drivers)
    broken = next((cell.id for cell in cells if cell.state is CellState.FAILED), "")
    return replace(
        found,
        lineages=tuple(_make_lineages(kernels)),
        quotes=make_quotes(),
        changes={broken: (make_drift(0),)} if broken else {},
    )


def make_drift(number: int) -> Drift:
    """Return one of the symbols that drivers use, and what became of it."""
    symbol, change, before, after = _DRIFTS[number % len(_DRIFTS)]
    return Drift(symbol=symbol, change=change, before=before, after=after)


_DRIFTS = (
    ("vma_set_flags", "newly exported", "", "0x1f2e3d4c"), ("dma_buf_get", "type changed", "0x11111111", "0x22222222"),
    ("pci_enable_msi", "no longer exported", "0x33333333", ""), ("__class_create", "type changed", "0x44444444", "0x55555555"),
    ("a_symbol_with_a_name_that_is_longer_than_any_picture", "moved from vmlinux to drivers/x", "0x1", "0x1"),
)  # fmt: skip


def _make_lineages(kernels: Sequence[KernelRow]) -> Iterable[Lineage]:
    for _, pattern, _ in _SERIES:
        names = [
            row.kernel
            for row in kernels
            if row.kernel.startswith(pattern.split("{")[0]) and row.kernel.endswith(".x86_64")
        ]
        steps = tuple(make_step(before, after, number) for number, (before, after) in enumerate(pairwise(names)))
        if steps:
            series = parse_kernel_version(names[0]).series
            yield Lineage(
                source="openshift",
                series=series,
                variant="standard",
                arch="x86_64",
                steps=steps,
                unknown=("5.14.0-1.el9.x86_64",),
            )


def make_step(before: str, after: str, number: int = 1) -> KernelStep:
    counts = SymbolCounts(
        same=24_000 - 41 * number, changed=41 * number % 130, gone=number % 4 * 3, new=7 * number % 19
    )
    symbols = tuple(make_drift(number + place) for place in range(number % 4))
    return KernelStep(
        before=before, after=after, counts=counts, drivers={"gpu": DriverDrift(compiled_for=before, symbols=symbols)}
    )


def make_quotes() -> tuple[Quote, ...]:
    hour = Amount(usual=3600.0, most=5400.0)
    return (
        Quote(
            addition=Addition.DRIVER, group="all", about="one more for the 102 kernels of group all", kernels=102, cells=102, workers=4,
            wall=hour, cpu=Amount(usual=9000.0, most=11_000.0), fetched=Amount(usual=0.0, most=0.0),
            stored=Amount(usual=1_045_296.0, most=1_045_296.0), sent=None, basis=("cells take what those on record took: gpu (72 cells)",),
            unknown=("nothing was published from here: bytes to registries are not known",),
        ),
        Quote(addition=Addition.ARCHITECTURE, group="all", about="s390x", kernels=3, cells=9, unknown=("no cell for s390x was built here",)),
    )  # fmt: skip


def _choose_state(number: int, age: int, per_series: int) -> CellState:
    if age == per_series - 2:
        return _STRANGE[number % len(_STRANGE)]
    return CellState.NOT_BUILT if age == per_series - 1 and number % 3 == 0 else CellState.PUBLISHED


def facts_of(cells: Iterable[SiteCell], *, kernels: Sequence[KernelRow] = (), releases: Sequence[ReleaseRow] = (),
             drivers: Sequence[str] = ("gpu",)) -> SiteFacts:  # fmt: skip
    """Return facts with the history that cells imply: each was built in the run of its day."""
    cells = tuple(cells)
    builds = sorted(
        (replace(cell.evidence, run=f"{cell.evidence.finished[:10]}-run") for cell in cells if cell.evidence),
        key=lambda item: item.finished,
    )
    return SiteFacts(
        made=MADE, builder_version="0.1.0", kernels=tuple(kernels), releases=tuple(releases), cells=cells,
        drivers=tuple(
            SiteDriver(name=name, version="1.4.0", vendor="Example Corp", summary=f"Kernel modules of the {name}") for name in drivers
        ),
        components=(
            ComponentEvidence(
                component="device-plugin-0.1.0/x86_64", arch="x86_64", key="k", outcome=CellOutcome.BUILT, inputs={}, run="run-1",
                finished=stamp(MADE), self_test=SelfTest(outcome="passed", by="native", seconds=2.9),
            ),
        ),
        builds=tuple(builds), boots=tuple(cell.boot for cell in cells if cell.boot),
        publishes=tuple(item for cell in cells for item in cell.published),
    )  # fmt: skip
