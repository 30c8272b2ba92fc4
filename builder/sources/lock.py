"""The resolved matrix as every kernel source has it in ``versions.lock.yaml``. Pure.

The lock holds, for each kernel source, what the source said. What that is, only its own folder knows
(``debian/lock.py``, ``openshift/lock.py``); here is what all of them have, and what everything after discovery asks of
any of them. Identities of toolkits and base images follow from it without building anything, so a plan made on a fresh
machine has the same keys as one made anywhere else. ``lock_file`` reads and writes it.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from builder.config.parsed import ParsedKernel  # noqa: TC001 - pydantic reads annotations
from builder.errors import LockFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from builder.kernel import Arch, KernelVersion
    from builder.sources.release import Release, Withdrawal


def _need_date(text: str) -> str:
    try:
        datetime.fromisoformat(text or "2026-01-01")
    except ValueError:
        raise PydanticCustomError("date", "{said}", {"said": f"{text[:80]!r} is no date"}) from None
    return text


SourceProblem = Literal["", "unreachable", "malformed", "host", "defect"]
"""Why the last reading of a whole source failed; then all of it is the answer of ``resolved``."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Stamp = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
"""A moment (UTC)."""
Since = Annotated[str, AfterValidator(_need_date)]
"""A moment (UTC) or a day; empty where it is not known."""


class LockedModel(BaseModel):
    """What a part of the lock is made of: it does not change, and has no keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenReference:
    """A place in a source's part of the lock that names what is not there, and a sentence about it."""

    place: str
    sentence: str


class LockedNodeKernel(LockedModel):
    """A kernel that nodes of releases run, and which releases make them run it.

    ``toolkit`` is the one that cells are built with: it stays when another release brings the same kernel with another
    toolkit, or nothing that is built and published would ever be done. ``toolkits`` are all of them, the newest
    release's first.
    """

    releases: tuple[str, ...]
    streams: tuple[str, ...]
    toolkit: str = ""
    toolkits: tuple[str, ...] = ()
    image: str = ""
    """Operating system image of the newest release that has it."""
    rhel: str = ""
    seen: Since = ""
    """When it was first seen in a channel (UTC); empty if that was before the first look."""


class LockedSource(LockedModel):
    """What a kernel source said at ``resolved``; each kind of source has a class of its own, named by ``provider``.

    ``stale`` names what the last answer did not have, or not whole, with the date of the answer that was kept.
    """

    provider: str
    resolved: Stamp
    kernels: Mapping[ParsedKernel, object]
    stale: dict[str, str] = Field(default_factory=dict)
    problem: SourceProblem = ""

    @abstractmethod
    def lines(self) -> Iterator[str]:
        """Yield its canonical lines in the file, after those that all sources have."""

    @abstractmethod
    def broken_references(self) -> Iterator[BrokenReference]:
        """Yield the places that name what is not there: somebody edited the file, or merged it by hand."""

    def incomplete(self) -> Mapping[str, str]:
        """Return the kernels that the source serves, but not all that their toolkits need, with the reason."""
        return {}

    def list_downloads(self, kernel: KernelVersion, build_arch: Arch) -> Mapping[str, int]:
        """Return the bytes of all that a kernel's toolkit and the kernel itself are fetched as, by name.

        Empty where the lock does not say that, or has no toolkit for machines of ``build_arch``.
        """
        del kernel, build_arch
        return {}

    def node_kernel(self, kernel: KernelVersion) -> LockedNodeKernel | None:
        """Return what releases say of a kernel; None where no release has it, or the source has none."""
        del kernel
        return None

    def list_releases(self) -> Iterator[Release]:
        """Yield the releases, oldest first; nothing where the source has none."""
        yield from ()

    def list_withdrawals(self) -> Iterator[Withdrawal]:
        """Yield the releases that were there and were withdrawn, oldest first."""
        yield from ()


class Lock(LockedModel):
    """The whole lock, by the names of sources in versions.yaml."""

    format: Literal[1] = 1
    sources: dict[str, LockedSource] = Field(default_factory=dict)

    def node_kernel(self, source: str, kernel: KernelVersion) -> LockedNodeKernel:
        """Return which releases run a kernel.

        Raises:
            LockFileError: the source has no releases.
        """
        found = self.sources[source].node_kernel(kernel)
        if found is None:
            raise LockFileError(f"the lock has no source {source!r} with releases", hint="run 'nox -s discover'")
        return found

    def kernel_versions(self, source: str) -> list[KernelVersion]:
        """All kernels of a source, oldest first in natural order."""
        return sorted(self.sources[source].kernels, key=lambda kernel: kernel.sort_key)


def natural_key(text: str) -> list[str | int]:
    """Sort key by which 4.9 comes before 4.10."""
    parts = re.split(r"([0-9]{1,18})", text)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def format_rows(title: str, rows: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Yield the lines of a mapping, a line for a row: what it maps to is written as JSON."""
    # JSON is YAML: a flow mapping in JSON spelling is read by every YAML reader and has one canonical form.
    lines = [f"      {key}: {json.dumps(value)}" for key, value in rows]
    yield from [f"    {title}:", *lines] if lines else [f"    {title}: {{}}"]
