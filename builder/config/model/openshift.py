"""``sources`` of providers openshift and okd. Pure."""

from __future__ import annotations

import re
from datetime import date
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.image_names import Pullspec
from builder.config.model.names import Glob, Name, Text
from builder.config.model.source import NamedFile, SourceSettings
from builder.kernel import Arch

if TYPE_CHECKING:
    from typing import Self

_GRAPHS = {
    "openshift": "https://api.openshift.com/api/upgrades_info/v1/graph",
    "okd": "https://amd64.origin.releases.ci.openshift.org/graph",
}


def _check_graph(text: str) -> str:
    names = set(re.findall(r"\{([^{}]*)\}", text))
    if "://" in text and not re.match(r"https?://", text):
        raise complain(f"{text!r} is neither an address that begins with http:// or https:// nor a file")
    if "://" in text and names:
        raise complain(f"{text!r}: an address is asked with channel and arch as parameters, and has no fields")
    if unknown := sorted(names - {"channel", "arch"}):
        raise complain(f"{text!r} has the unknown field {{{unknown[0]}}}; known: {{channel}}, {{arch}}")
    return text


Channel = Annotated[str, form(r"^[0-9a-z.-]+$", "the name of a channel, such as fast-4.18", max_length=64)]
Minor = Annotated[str, form(r"^\d{1,4}\.\d{1,4}$", 'a minor such as "4.18", in quotes')]


class DropRelease(Declaration):
    """Releases that are not wanted."""

    release: Glob
    """Glob over release versions, such as `4.16.3` or `*-rc.*`."""
    reason: Text
    """Why; shown when they leave the lock."""


class OpenShiftKernels(SourceSettings):
    """Kernels of OpenShift or OKD releases, with the Driver Toolkits of their payloads."""

    provider: Literal["openshift", "okd"]
    """Kind of the source; they differ in the address of the update graph only."""
    channels: tuple[Channel, ...] = ()
    """Update channels, such as fast-4.18 and eus-4.16. Of each, only releases of its own minor count."""
    arches: Annotated[tuple[Annotated[Arch, Field(strict=False)], ...], Field(min_length=1)] = (Arch.X86_64,)
    """Architectures of nodes."""
    releases: tuple[Pullspec, ...] = ()
    """Further release images, by tag or digest: `quay.io/openshift-release-dev/ocp-release:4.18.12-x86_64`."""
    payloads: Literal["single", "multi"] = "single"
    """Which payloads the graph is asked for: those of one architecture, or those of all."""
    graph: Annotated[Text, AfterValidator(_check_graph)] | None = None
    """Address of the update graph, or a file relative to versions.yaml; `{channel}` and `{arch}` in its name are
    replaced. Default: api.openshift.com, or OKD's."""
    end_of_life: dict[Minor, Annotated[date, Field(strict=False)]] = {}
    """Last day of a minor's support (`"4.14": 2025-10-31`); its kernels leave the lock the day after."""
    drop: tuple[DropRelease, ...] = ()
    """Releases that are not wanted."""
    largest_layer: Annotated[int, Field(ge=1, le=4096)] = 64
    """MiB of a layer that may be read for one file. Toolkits have theirs in a small last layer, unless squashed."""
    runtime: Name | None = None
    """Source of provider debian that gives what OpenShift does not have: the small base image for drivers without
    `base_image`, and the busybox of boot tests. Default: the first there is."""

    has_releases: ClassVar[bool] = True

    @property
    def runtime_source(self) -> str | None:
        return self.runtime

    def why_left_out(self, version: str, today: date) -> str:
        for entry in self.drop:
            if fnmatchcase(version, entry.release):
                return f"dropped in versions.yaml: {entry.reason}"
        end = self.end_of_life.get(".".join(version.split(".")[:2]))
        return f"end of life since {end}" if end is not None and end < today else ""

    @property
    def graph_address(self) -> str:
        return self.graph or _GRAPHS[self.provider]

    @property
    def named_files(self) -> tuple[NamedFile, ...]:
        """Files that `graph` stands for; none where it is an address."""
        if re.match(r"https?://", self.graph_address):
            return ()
        named = {
            self.graph_address.replace("{channel}", channel).replace("{arch}", arch)
            for channel in self.channels
            for arch in ("multi", *(arch.oci for arch in self.arches))
        }
        return tuple(NamedFile(key="graph", text=name) for name in sorted(named))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.channels and not self.releases:
            raise complain("give channels, such as [fast-4.18], or releases")
        return self
