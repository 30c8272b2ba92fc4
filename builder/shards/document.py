"""A plan as it travels: which cells there are and why, what is to be made of which inputs, and in which shard. Pure.

Equal plans are equal bytes: there is no time in it, and no name of a machine. Who wants evidence of one run alone puts
a word of its own into it (``run``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from builder.drivers.commit import Dirty  # noqa: TC001 - pydantic reads annotations
from builder.errors import FormatError, printable
from builder.foreign import Parsed, parse_json
from builder.image.manifests import dump
from builder.kernel import Arch, Variant
from builder.plan.decide import Action, Reason  # noqa: TC001 - pydantic reads annotations
from builder.shards.grouping import MOST_SHARDS

_MOST_CELLS = 100_000
_Text = Annotated[str, Field(max_length=4096), AfterValidator(printable)]
_Id = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(printable)]
_Key = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
_Globs = Annotated[tuple[_Text, ...], Field(max_length=1000)]
_Ids = Annotated[tuple[_Id, ...], Field(max_length=_MOST_CELLS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWish:
    """What is asked of a plan for many machines, beside what is selected.

    Args:
        shards: machines at once, at most.
        publish: whether what is made goes to its registries; without, only evidence is left.
        run: a word that only this run has, or nothing: then equal plans are one plan.
        boot: policy for boot tests; None: that of versions.yaml.
    """

    shards: int
    publish: bool = True
    run: str = ""
    boot: str | None = None


class PlanSelection(Parsed):
    """What was asked for, as the options of ``plan``: all that a name, list or index depends on."""

    group: _Text
    drivers: _Globs = ()
    kernels: _Globs = ()
    arches: tuple[Arch, ...] = ()
    variants: tuple[Variant, ...] = ()
    components: _Globs = ()
    has_cells: bool = True
    """Whether cells are meant at all, and not component images alone."""
    has_components: bool = False


class PlannedItem(Parsed):
    """A cell or a component image, by its id: what was decided of it and why; ``key`` is empty where it has none."""

    id: _Id
    action: Action
    reason: Reason
    explanation: _Text = ""
    key: _Key = ""
    image: _Text = ""


class PlannedCommit(Parsed):
    """Which commit files were taken from, see ``builder.drivers.commit``: another machine has no repository to ask."""

    name: _Text
    commit: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
    dirty: Dirty
    repository: _Text = ""
    path: _Text = ""


class PlannedShard(Parsed):
    """What one machine of an architecture does; ``predicted_s`` are seconds."""

    number: Annotated[int, Field(ge=0, lt=MOST_SHARDS * len(Arch))]
    arch: Arch
    cells: _Ids = ()
    components: _Ids = ()
    predicted_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class PlanDocument(Parsed):
    """A plan; ``kmodsmith`` is the version that made it, ``boot`` the policy for boot tests (None: versions.yaml's)."""

    format: Literal[1] = 1
    kmodsmith: _Text
    run: _Text = ""
    publish: bool
    untrusted: bool = False
    boot: Literal["always", "changed", "never"] | None = None
    is_guessed: bool = False
    """Whether the predictions rest on nothing that was recorded."""
    selection: PlanSelection
    commits: Annotated[dict[_Id, PlannedCommit], Field(max_length=10_000)] = Field(default_factory=dict)
    """By ``driver NAME``, ``component NAME`` and ``project``; what lies in no repository is not in it."""
    cells: Annotated[tuple[PlannedItem, ...], Field(max_length=_MOST_CELLS)] = ()
    components: Annotated[tuple[PlannedItem, ...], Field(max_length=_MOST_CELLS)] = ()
    shards: Annotated[tuple[PlannedShard, ...], Field(max_length=MOST_SHARDS * len(Arch))] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.untrusted and self.publish:
            raise ValueError("it wants to publish what is not trusted")
        if [shard.number for shard in self.shards] != [*range(len(self.shards))]:
            raise ValueError("its shards are not numbered from 0 on")
        for what, known, placed in (
            ("cell", self.cells, [item for shard in self.shards for item in shard.cells]),
            ("component", self.components, [item for shard in self.shards for item in shard.components]),
        ):
            ids = {item.id for item in known}
            keyed = {item.id for item in known if item.key}
            if len(ids) != len(known):
                raise ValueError(f"it has a {what} twice")
            if len(set(placed)) != len(placed):
                raise ValueError(f"a {what} is in two of its shards")
            if strangers := set(placed) - keyed:
                raise ValueError(f"a shard has {what} {min(strangers)}, which is not in the plan, or has no key there")
        return self

    @property
    def keys(self) -> dict[str, str]:
        """Keys by the ids of cells and component images; those that have none are not in it."""
        return {item.id: item.key for item in (*self.cells, *self.components) if item.key}

    @cached_property
    def items(self) -> dict[str, PlannedItem]:
        """What was decided, by the ids of cells and component images."""
        return {item.id: item for item in (*self.cells, *self.components)}

    def shard(self, number: int) -> PlannedShard:
        """Return a shard; FormatError where the plan has none of this number."""
        if not 0 <= number < len(self.shards):
            have = f"it has 0 to {len(self.shards) - 1}" if self.shards else "it has none: there was nothing to do"
            raise FormatError(f"the plan has no shard {number}; {have}")
        return self.shards[number]

    def shard_of(self, item: str) -> int | None:
        """Return the number of the shard that a cell or component image is in; None where nobody makes it."""
        return self._places.get(item)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {item: shard.number for shard in self.shards for item in (*shard.cells, *shard.components)}

    def numbers(self, arch: Arch | None = None) -> list[str]:
        """Return the numbers of the shards for machines of an architecture, or of all; as text, as Tekton wants it."""
        return [str(shard.number) for shard in self.shards if arch in {None, shard.arch}]

    def write(self) -> bytes:
        data: dict[str, Any] = self.model_dump(mode="json")
        return dump(data)


def parse_plan(content: bytes) -> PlanDocument:
    """Return a plan that came from a registry.

    Raises:
        FormatError: it is none, or contradicts itself; "it is no plan" and why.
    """
    return parse_json(PlanDocument, content, "plan of kmodsmith")
