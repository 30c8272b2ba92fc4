"""The small files by which a pipeline goes on: results of Tekton tasks, a file each, in a folder that it names.

Tekton takes 4096 bytes from all results of a step together (facts: its termination message), so there are digests,
counts and one sentence in them, and never a list of cells.

Plans and evidence are told in two ways: ``X_ARTIFACT`` for the task behind (``oci:REPOSITORY@DIGEST``), and
``X_ARTIFACT_URI`` with ``X_ARTIFACT_DIGEST`` for Tekton Chains, whose provenance then names them. No ``IMAGES``: Chains
would sign with its key what ``publish.signer`` has signed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from builder.host.places import replace_file
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from builder.shards.document import PlanDocument

_LONGEST_SENTENCE = 600


def plan_outputs(name: str, document: PlanDocument) -> dict[str, str]:
    """Return what a plan gives to the tasks behind it: where it is, and the shards, for a matrix and its guard."""
    found = _artifact("PLAN", name)
    for suffix, arch in (("", None), *((f"-{arch.oci}", arch) for arch in Arch)):
        numbers = document.numbers(arch)
        found[f"shards{suffix}"] = json.dumps(numbers, separators=(",", ":"))
        found[f"count{suffix}"] = str(len(numbers))
    return found


def evidence_outputs(
    name: str, *, summary: str, code: int, good: int, bad: int, warnings: int, finished: str
) -> dict[str, str]:
    """Return what a shard or the gate gives to the tasks behind it.

    ``TEST_OUTPUT`` has the keys of Konflux (ADR-14): result, timestamp, namespace, successes, failures, warnings, note.
    """
    plain = summary.encode("ascii", "replace").decode()  # a letter that JSON escapes takes six bytes
    sentence = plain if len(plain) <= _LONGEST_SENTENCE else f"{plain[: _LONGEST_SENTENCE - 3]}..."
    result = "SUCCESS" if code == 0 and good + warnings else "SKIPPED" if code == 0 else "FAILURE" if bad else "ERROR"
    told = {
        "result": result,
        "timestamp": finished,
        "namespace": "default",
        "successes": good,
        "failures": bad,
        "warnings": warnings,
        "note": sentence,
    }
    output = json.dumps(told, separators=(",", ":"))
    return _artifact("EVIDENCE", name) | {"summary": sentence, "TEST_OUTPUT": output}


def _artifact(what: str, name: str) -> dict[str, str]:
    repository, _, digest = name.removeprefix("oci:").rpartition("@")
    return {f"{what}_ARTIFACT": name, f"{what}_ARTIFACT_URI": repository, f"{what}_ARTIFACT_DIGEST": digest}


def write_outputs(folder: Path | None, outputs: Mapping[str, str]) -> None:
    """Write a file for each output, without an end of line; nothing where no folder was named."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in outputs.items():
        replace_file(folder / name, text.encode())
