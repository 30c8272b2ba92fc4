"""Reads the log of a failed compile and says what failed; groups equal causes over many kernels. Pure.

The patterns are gcc's, GNU make's, modpost's (scripts/mod/modpost.c) and buildah's own words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FailureClass

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_READ = 4 * 1024**2
_MOST_LINE = 2000
_MOST_DETAIL = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a cell failed: a class, a stable code, the first real error line, where it is, and what to do."""

    failure_class: FailureClass
    code: str
    detail: str
    location: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cells that failed for one cause; ``failure`` is that of the first."""

    failure: Failure
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pattern:
    failure_class: FailureClass
    code: str
    regex: re.Pattern[str]
    hint: str | None = None


def _pattern(failure_class: FailureClass, code: str, regex: str, hint: str | None = None) -> _Pattern:
    return _Pattern(failure_class, code, re.compile(regex), hint)


_INFRA, _TOOLKIT, _COMPILE = FailureClass.INFRASTRUCTURE, FailureClass.TOOLKIT, FailureClass.COMPILE
_SYMBOL = FailureClass.UNRESOLVED_SYMBOL
_PLACE = r"(?P<place>[^\s:]+:\d+(?::\d+)?): "
_API = "the kernel's API differs here: guard the call by feature, RHEL backports make version checks wrong"

# These explain whatever else went wrong after them, so they win wherever in the log they stand.
_OVERRIDING = (
    _pattern(_INFRA, "disk-full", r"[Nn]o space left on device|disk quota exceeded", "free disk, then run again"),
    _pattern(
        _INFRA, "out-of-memory", r"[Cc]annot allocate memory|Killed signal terminated program|virtual memory exhausted",
        "build fewer cells at once (--jobs), or give build.memory_per_job a larger number",
    ),
    _pattern(
        _COMPILE, "network-forbidden",
        r"[Cc]ould not resolve host|Temporary failure in name resolution|Network is unreachable|bad address '",
        "compiles have no network on purpose: put what the build fetches into the driver's source folder",
    ),
)  # fmt: skip

# The first line of the log that fits one of these is the cause.
_CAUSES = (
    _pattern(
        _TOOLKIT, "toolkit-incomplete",
        r"toolkit has no /lib/modules/|(?:scripts/\S+|fixdep|modpost|objtool): .*(?:not found|Permission denied|No such file)"
        r"|/(?:build|linux-headers-\S+|kernels/\S+): No such file or directory",
        "the toolkit image does not keep the Driver Toolkit's contract for this kernel",
    ),
    _pattern(_COMPILE, "missing-header", rf"{_PLACE}fatal error: (?P<detail>.*No such file or directory)", _API),
    _pattern(
        _COMPILE, "api-arity", rf"{_PLACE}error: (?P<detail>(?:too (?:many|few) arguments|macro .* (?:passed|requires)).*)", _API
    ),
    _pattern(_COMPILE, "implicit-declaration", rf"{_PLACE}error: (?P<detail>implicit declaration of function.*)", _API),
    _pattern(_COMPILE, "warning-as-error", rf"{_PLACE}error: (?P<detail>.*\[-Werror.*)"),
    _pattern(_COMPILE, "compiler-crash", r"(?P<detail>.*internal compiler error.*)"),
    _pattern(_COMPILE, "compiler-error", rf"{_PLACE}(?:fatal )?error: (?P<detail>.*)"),
    _pattern(
        _SYMBOL, "modpost-gpl-only", r"modpost: (?P<detail>GPL-incompatible module .*)",
        "the module's MODULE_LICENSE does not allow this symbol",
    ),
    _pattern(
        _SYMBOL, "modpost-namespace", r"modpost: (?P<detail>module .* uses symbol .* from namespace .*)",
        "add MODULE_IMPORT_NS() for the namespace",
    ),
    _pattern(
        _SYMBOL, "modpost-undefined", r"modpost: (?P<detail>\".*\" \[.*\] undefined!)",
        "the kernel does not export this symbol; if another driver does, its Module.symvers has to be in the source",
    ),
    _pattern(_COMPILE, "missing-tool", r"(?P<detail>\S*: (?:\d+: )?\S+: (?:command )?not found)|(?P<detail2>make.*: \S+: No such file or directory)"),
    _pattern(_COMPILE, "no-rule", r"\*\*\* (?P<detail>No rule to make target .*)"),
    _pattern(_COMPILE, "makefile-error", r"(?P<place>[^\s:]+:\d+): \*\*\* (?P<detail>(?!\[).*)"),
    _pattern(
        _COMPILE, "expected-module-missing", r"driver-container: (?P<detail>expected module .* was not built)",
        "'modules' in versions.yaml names what the build must leave behind",
    ),
    _pattern(_COMPILE, "containerfile-error", r"driver-container: (?P<detail>.*)"),
    _pattern(
        _TOOLKIT, "toolkit-image-missing", r"(?P<detail>.*(?:image not known|no such image|unable to find|does not resolve to an image).*)",
        "the image was removed while the run went on; run again",
    ),
    _pattern(
        _INFRA, "storage-error",
        r"(?P<detail>Error: .*(?:containers-storage|overlay|mounting|layer not known|locked|creating build container).*)",
    ),
)  # fmt: skip


def classify_compile_log(text: str, *, exit_explanation: str, timed_out: bool = False) -> Failure:
    """Say what a failed compile failed at; only the last 4 MiB are looked at."""
    lines = [line[:_MOST_LINE] for line in text[-_MOST_READ:].splitlines()]
    lines = [line for line in lines if not _is_echo(line)]
    for pattern in _OVERRIDING:
        for line in lines:
            if pattern.regex.search(line):
                return _failure(pattern, line.strip())
    for line in lines:
        for pattern in _CAUSES:
            if match := pattern.regex.search(line):
                groups = match.groupdict()
                detail = groups.get("detail") or groups.get("detail2") or line.strip()
                return _failure(pattern, detail, groups.get("place"))
    if timed_out:
        hint = "build.timeout_minutes in versions.yaml says how long a compile may take"
        return Failure(
            failure_class=_COMPILE, code="timeout", detail=f"the compile {exit_explanation}", hint=hint
        )
    last = next((line.strip() for line in reversed(lines) if line.strip()), f"the build {exit_explanation}")
    return Failure(failure_class=_COMPILE, code="unknown", detail=last[:_MOST_DETAIL])


def cluster(failures: Mapping[str, Failure]) -> list[Cluster]:
    """Group failures by cause, the most frequent first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for cell, failure in failures.items():
        groups.setdefault(_signature(failure), []).append(cell)
    clusters = [Cluster(failure=failures[cells[0]], cells=tuple(cells)) for cells in groups.values()]
    return sorted(clusters, key=lambda item: (-len(item.cells), item.cells[0]))


# What differs between two logs of the same cause: kernel versions, scratch folders, addresses.
_VARYING = re.compile(
    r"\d+\.\d+\.\d+[-+][A-Za-z0-9_.+~-]+|/(?:var/)?tmp/\S+|0x[0-9a-f]+|linux-(?:headers|kbuild)-\S+|[0-9a-f]{32,}"
)


def _signature(failure: Failure) -> tuple[str, ...]:
    place = failure.location if failure.location and "/linux-headers-" not in failure.location else ""
    return (
        failure.failure_class,
        failure.code,
        _VARYING.sub("…", failure.detail),
        _VARYING.sub("…", place or ""),
    )


def _is_echo(line: str) -> bool:
    """Our own command line, and buildah's repetition of the whole RUN instruction."""
    return line.startswith(("+ ", 'Error: building at STEP "RUN'))


def _failure(pattern: _Pattern, detail: str, place: str | None = None) -> Failure:
    return Failure(
        failure_class=pattern.failure_class,
        code=pattern.code,
        detail=detail[:_MOST_DETAIL],
        location=place.removeprefix("/usr/src/driver/") if place else None,
        hint=pattern.hint,
    )
