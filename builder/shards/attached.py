"""What is left behind with evidence: results and JUnit as the verb wrote them, and the logs of what failed.

Logs are of compiles, which a driver's own code writes: they are read within bounds, and never by a name that is in
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import FormatError
from builder.foreign import read_json
from builder.host.places import open_inside, write_below
from builder.image.manifests import dump
from builder.shards.artefact import ArtifactFile

if TYPE_CHECKING:
    from pathlib import Path

    from builder.shards.evidence import ShardEvidence

RESULTS_FILE, JUNIT_FILE, LOGS_FILE = "results.json", "junit.xml", "logs.json"
_LARGEST = 32 * 1024**2
_LOG_TAIL = 64 * 1024
_MOST_LOGS = 200


def read_files_to_attach(work_dir: Path, evidence: ShardEvidence) -> list[ArtifactFile]:
    """Return the files of a work folder that belong to evidence; those that are not there are left out."""
    found = []
    for name, media_type in ((RESULTS_FILE, "application/json"), (JUNIT_FILE, "application/xml")):
        content = _read(work_dir, name)
        if content is not None:
            found.append(ArtifactFile(name=name, content=content, media_type=media_type))
    if logs := read_logs(work_dir, evidence):
        found.append(ArtifactFile(name=LOGS_FILE, content=dump(logs)))
    return found


def read_logs(work_dir: Path, evidence: ShardEvidence) -> dict[str, str]:
    """Return the ends of the logs of what failed, by the ids of cells and component images."""
    failed = [row for row in (*evidence.cells, *evidence.components) if row.failure and row.log][:_MOST_LOGS]
    found = {}
    for row in failed:
        content = _read(work_dir, row.log)
        if content is not None:
            found[row.id] = content[-_LOG_TAIL:].decode(errors="replace")
    return found


def keep_logs(work_dir: Path, folder: str, content: bytes) -> dict[str, str]:
    """Write the logs of a shard that came from a registry below a folder; returns their paths by the ids they are of.

    Raises:
        FormatError: they are none.
    """
    found = {}
    for number, (name, text) in enumerate(read_json(content, "the logs").items()):
        if number < _MOST_LOGS and isinstance(text, str):
            # Names of cells are a stranger's: files are numbered.
            found[name] = str(write_below(work_dir, f"{folder}/{number}.log", text[-_LOG_TAIL:]).relative_to(work_dir))
    return found


def _read(folder: Path, name: str) -> bytes | None:
    try:
        with open_inside(folder, name, most=_LARGEST) as stream:
            return stream.read()
    except (FormatError, OSError):
        return None
