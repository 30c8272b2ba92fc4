"""What was published, and what registries have, for people and for programs. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from builder.publish.result import advise
from builder.show.table import make_table
from builder.writing import count, emit_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from builder.publish.airgap import BundleReport, Loaded
    from builder.publish.audit import Audit
    from builder.publish.published import LeftOutCell
    from builder.publish.result import PublishResult
    from builder.publish.verifier import Verification

FORMAT_VERSION = 1
_STATUS_STYLE = {
    "published": "green",
    "completed": "green",
    "there": "dim",
    "waiting": "yellow",
    "conflict": "bold red",
    "unsigned": "red",
    "blocked": "red",
    "unknown": "yellow",
    "not-built": "red",
}
_DRIFT_STYLE = {
    "none": "green",
    "missing": "red",
    "different": "bold red",
    "unsigned": "red",
    "waiting": "yellow",
    "extra": "yellow",
    "unknown": "yellow",
}


def emit_publish_table(results: Sequence[PublishResult], *, wide: bool, title: str = "cell") -> RenderableType:
    """Return results, a row for each; why something is not published stands below."""
    table = make_table(title, "status", *(("digest", "names, or why not") if wide else ()))
    for result in results:
        table.add_row(
            result.title,
            Text(result.status, style=_STATUS_STYLE.get(result.status, "dim")),
            *((result.digest.removeprefix("sha256:")[:12], result.why or ", ".join(result.names)) if wide else ()),
        )
    return table


def emit_publish_summary(results: Sequence[PublishResult]) -> str:
    counts = Counter(result.status for result in results)
    parts = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    blobs, size = sum(result.blobs_sent for result in results), sum(result.bytes_sent for result in results)
    attached = sum(result.attached for result in results)
    return f"{parts}; {blobs} blobs with {size} bytes sent, {attached} signatures and attestations added"


def emit_publish_json(
    results: Sequence[PublishResult],
    components: Sequence[PublishResult] = (),
    indexes: Sequence[PublishResult] = (),
) -> str:
    rows = [describe_result(result) for result in results]
    images = [_describe_other(result, "component") for result in components]
    lists = [_describe_other(result, "index") for result in indexes]
    advice = advise([*results, *components, *indexes])
    return emit_json(
        {"format": FORMAT_VERSION, "cells": rows, "components": images, "indexes": lists, "advice": advice}
    )


def _describe_other(result: PublishResult, what: str) -> dict[str, object]:
    data = asdict(result)
    del data["kernel"]
    return {what: data.pop("title"), **data}


def describe_result(result: PublishResult) -> dict[str, object]:
    data = asdict(result)
    return {"cell": data.pop("title"), "kernel": data.pop("kernel"), **data}


def emit_audit_table(audits: Sequence[Audit], *, wide: bool) -> RenderableType:
    """Return what is wrong with tags, a row for each; tags that are right are only counted."""
    table = make_table("status", "name", *(("why",) if wide else ()))
    for audit in audits:
        if audit.drift != "none":
            digests = f" (recorded {audit.recorded}, found {audit.found})" if audit.recorded and audit.found else ""
            why = (f"{audit.why}{digests}",) if wide else ()
            table.add_row(Text(audit.drift, style=_DRIFT_STYLE[audit.drift]), audit.name, *why)
    return table


def emit_audit_summary(audits: Sequence[Audit]) -> str:
    counts = Counter("as it should be" if audit.drift == "none" else str(audit.drift) for audit in audits)
    parts = ", ".join(f"{number} {drift}" for drift, number in sorted(counts.items()))
    return f"{count(len(audits), 'tag')}: {parts}" if parts else "no tag was looked at"


def emit_audit_json(audits: Sequence[Audit]) -> str:
    return _dump([asdict(audit) for audit in audits], "tags")


def emit_verification(verification: Verification) -> RenderableType:
    """Return all checks of an image, and what came of them."""
    table = make_table("", "check", "finding")
    several = len({check.subject for check in verification.checks}) > 1
    for check in verification.checks:
        mark = Text("ok" if check.passed else "WRONG", style="green" if check.passed else "bold red")
        of = f" {check.subject.removeprefix('sha256:')[:12]}" if several else ""
        table.add_row(mark, f"{check.name}{of}", check.finding)
    for item in verification.waived:
        demanded = f", though versions.yaml demands it ({item.demanded})" if item.demanded else ""
        table.add_row(Text("waived", style="yellow"), f"test {item.test}", f"not demanded: {item.by}{demanded}")
    verdict = "is what was signed" if verification.passed else "is NOT to be trusted"
    if verification.waived:
        verdict += f"; waived: {', '.join(item.test for item in verification.waived)}"
    style = "green" if verification.passed else "bold red"
    return Group(
        Text(f"{verification.image} ({verification.digest})"), table, Text(f"the image {verdict}", style=style)
    )


def emit_verification_json(verification: Verification) -> str:
    data = {"format": FORMAT_VERSION, "passed": verification.passed, **asdict(verification)}
    return emit_json(data)


def emit_bundle_json(report: BundleReport, left_out: Sequence[LeftOutCell]) -> str:
    images = [{"name": name, "digest": digest} for name, digest in report.images]
    facts = {"file": report.file, "blobs": report.blobs, "bytes": report.size}
    data = {"format": FORMAT_VERSION, **facts, "images": images, "left_out": [asdict(item) for item in left_out]}
    return emit_json(data)


def emit_loaded_json(loaded: Sequence[Loaded]) -> str:
    return _dump([asdict(item) for item in loaded], "names")


def _dump(rows: list[dict[str, object]], title: str) -> str:
    return emit_json({"format": FORMAT_VERSION, title: rows})
