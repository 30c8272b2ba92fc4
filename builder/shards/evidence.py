"""What a shard, or the gate, leaves behind: how each cell and component image ended, for whoever looks at all. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from builder.errors import FailureClass, printable
from builder.foreign import Parsed, parse_json
from builder.image.manifests import dump

_MOST_ITEMS = 100_000
# Registries are strangers, and what shards say ends in terminals.
_Text = Annotated[str, Field(max_length=16_384), AfterValidator(printable)]
_Short = Annotated[str, Field(max_length=512), AfterValidator(printable)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Digest = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")]


class FailureRow(Parsed):
    """Why something failed, see ``builder.errors.Failure``."""

    failure_class: FailureClass
    code: _Short
    detail: _Text
    hint: _Text | None = None
    location: _Text | None = None


class EvidenceRow(Parsed):
    """How a cell or component image ended on its machine; ``published`` and ``why`` are those of its publication."""

    id: _Short
    key: _Short = ""
    status: _Short
    digest: _Digest = ""
    duration_s: _Seconds = 0.0
    timings: Annotated[dict[_Short, _Seconds], Field(max_length=32)] = Field(default_factory=dict)
    failure: FailureRow | None = None
    log: _Text = ""
    """Name of its log in the evidence; empty where there is none."""
    published: _Short = ""
    why: _Text = ""


class ShardEvidence(Parsed):
    """What a shard (its number), or the gate (``gate``) did about a plan, by the plan's digest.

    ``exit_code`` is that of the verb; ``error`` says why nothing came of it, where that was no single cell's fault.
    """

    format: Literal[1] = 1
    plan: _Digest
    who: _Short
    arch: _Short
    kmodsmith: _Short
    run: _Short = ""
    started: _Short
    finished: _Short
    wall_s: _Seconds = 0.0
    exit_code: Annotated[int, Field(ge=0, le=255)]
    error: _Text = ""
    cells: Annotated[tuple[EvidenceRow, ...], Field(max_length=_MOST_ITEMS)] = ()
    components: Annotated[tuple[EvidenceRow, ...], Field(max_length=_MOST_ITEMS)] = ()

    def write(self) -> bytes:
        data: dict[str, Any] = self.model_dump(mode="json")
        return dump(data)


def parse_evidence(content: bytes) -> ShardEvidence:
    """Return evidence that came from a registry.

    Raises:
        FormatError: it is none; "it is no evidence" and why.
    """
    return parse_json(ShardEvidence, content, "evidence of a shard")
