"""What public data sets say about real releases (tests/data/openshift), as a lock of source ``openshift``.

``python tests/openshift_rows.py`` writes it into versions.lock.yaml: planning then works on the real matrix without an
account or a network. The first ``discover`` with a pull secret replaces every row by what the payload itself says.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from builder.kernel import Arch, parse_kernel_version
from builder.sources.lock import Lock
from builder.sources.lock_file import LOCK_FILE_NAME, read_lock, write_lock
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease, LockedStream, release_key
from builder.sources.openshift.node_kernels import derive_kernels
from builder.sources.openshift.witnesses import NODE, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA = Path(__file__).parents[1] / "data" / "openshift"
# Every component of a real payload is there (tests/data/openshift/image-references_4.12.0_x86_64.json).
_CONTENT = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:"
# The newest date in the data sets.
_RESOLVED = "2026-08-14T21:59:45Z"
KINDS = ("candidate", "fast", "stable")


def read_rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a table of tests/data/openshift."""
    with (_DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read_promotions() -> dict[str, dict[str, str]]:
    """Return when (UTC) each release came into each channel, by version and channel name."""
    return {row["version"]: dict(_channels(row)) for row in read_rows("promotions.tsv")}


def _channels(row: dict[str, str]) -> Iterator[tuple[str, str]]:
    minor = ".".join(row["version"].split(".")[:2])
    for kind in KINDS:
        if row[kind]:
            yield f"{kind}-{minor}", row[kind]


def make_lock() -> LockedOpenShift:
    """Return the rows as a lock; what no data set names stays empty."""
    promotions = read_promotions()
    releases = {
        release_key(version, Arch.X86_64): LockedRelease(channels=channels) for version, channels in promotions.items()
    }
    for row in read_rows("releases.tsv"):
        key = release_key(row["version"], Arch(row["arch"]))
        known = releases.get(key, LockedRelease(channels=promotions.get(row["version"], {})))
        releases[key] = known.model_copy(update={"streams": known.streams | {row["stream"]: _stream(row)}})
    return LockedOpenShift(
        provider="openshift", resolved=_RESOLVED, releases=releases, kernels=derive_kernels(releases, {})
    )


def _stream(row: dict[str, str]) -> LockedStream:
    kernels = {
        parse_kernel_version(row[field]): tuple(f"{NODE}{name}" for name in row[source].split(","))
        for field, source in (("kernel", "kernel_from"), ("rt_kernel", "rt_from"))
        if row[field]
    }
    toolkit = f"{_CONTENT}{row['toolkit']}" if row["toolkit"] else ""
    return LockedStream(
        state=state_of(kernels, toolkit or "nobody looked for one"),
        kernels=kernels,
        toolkit=toolkit,
        image=f"{_CONTENT}{row['image']}" if row["image"] else "",
        build=row["build"],
        rhel=row["rhel"],
        origin=tuple(row["origin"].split(",")) if row["origin"] else (),
    )


def main() -> None:
    file = Path(__file__).parents[2] / LOCK_FILE_NAME
    lock = read_lock(file)
    write_lock(Lock(sources=lock.sources | {"openshift": make_lock()}), file)
    sys.stdout.write(f"{file}: {len(make_lock().kernels)} kernels of {len(make_lock().releases)} releases\n")


if __name__ == "__main__":
    main()
