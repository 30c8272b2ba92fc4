"""Reads what a tool printed, and says what outside of the driver made it fail: the machine, a registry, the toolkit.

The strongest blame counts wherever it stands, because a full disk makes a compiler print errors about innocent lines.
Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import Failure, FailureClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_LOG_CHARS = 4 * 1024 * 1024
_MAX_LINE_CHARS = 1000
# buildah's last line quotes the whole step that failed, and says behind it what was wrong.
_MAX_STEP_CHARS = 256 * 1024


@dataclass(frozen=True, slots=True)
class Rule:
    failure_class: FailureClass
    code: str
    pattern: re.Pattern[str]
    hint: str | None = None


def make_rule(failure_class: FailureClass, code: str, pattern: str, hint: str | None = None) -> Rule:
    return Rule(failure_class, code, re.compile(pattern), hint)


_DISK_HINT = "free space where container storage and the cache live, then run again: the cell is repeated"
_MEMORY_HINT = "compile fewer cells at the same time, or give the machine more memory"
_STORAGE_HINT = "container storage answered wrongly: run doctor; 'buildah images' shows whether the store is readable"
_TOOLKIT_HINT = (
    "the toolkit image does not hold what compiling for this kernel needs: check its digest in the lock file"
)
_TOOLKIT_IMAGE_HINT = "build or pull the toolkit image of this kernel first; the lock file names it by digest"
_NETWORK_HINT = (
    "compiles run without network on purpose: put the file into the driver's source, or declare it there as a"
    " download with its digest, so that every build uses the same bytes"
)

_KBUILD_TOOL = r"(?:scripts/basic/fixdep|scripts/mod/modpost|tools/objtool/objtool|scripts/sign-file)"

# Blame outside the driver's source, strongest first; found anywhere in the log.
SURROUNDINGS = (
    make_rule(
        FailureClass.INFRASTRUCTURE,
        "disk-full",
        r"(?i)no space left on device|disk quota exceeded",
        _DISK_HINT,
    ),
    make_rule(
        FailureClass.INFRASTRUCTURE,
        "out-of-memory",
        r"Killed signal terminated program|internal compiler error: Killed|virtual memory exhausted"
        r"|out of memory allocating|(?:: |fork: )Cannot allocate memory|\] Killed$|^Killed$|Error 137$"
        r"|^subprocess exited on killed$|^Error: .*(?:signal: killed|exit status 137)$",
        _MEMORY_HINT,
    ),
    make_rule(
        FailureClass.INFRASTRUCTURE,
        "storage-error",
        r"^Error: .*(?:creating read-write layer|layer not known|containers/storage|mounting .*container"
        r"|identifier is not an? (?:container|image|layer)|container not known"
        r"|storage\.lock|database is locked)|exists in local storage but may be corrupted"
        r"|^Error: .*/(?:overlay|vfs)(?:-layers|-images|-containers)?/",
        _STORAGE_HINT,
    ),
    make_rule(
        FailureClass.INFRASTRUCTURE,
        "registry-unreachable",
        r"^Error: (?:creating build container|.*pinging container registry|initializing source docker://)"
        r".*(?:unreachable|no such host|i/o timeout|connection refused|TLS handshake|50[0-9] )",
        "the registry did not answer: the cell is repeated; build the toolkit image locally to do without it",
    ),
    make_rule(
        FailureClass.TOOLKIT,
        "toolkit-image-missing",
        r"^Error: .*(?:image not known|manifest unknown|unable to find a name and tag match)",
        _TOOLKIT_IMAGE_HINT,
    ),
    make_rule(
        FailureClass.TOOLKIT,
        "compiler-crash",
        r"internal compiler error:",
        "the compiler itself failed: try again; if it repeats, it is a defect of the toolkit's compiler",
    ),
    make_rule(
        FailureClass.TOOLKIT,
        "toolkit-incomplete",
        rf"^driver-container: toolkit has no |\*\*\* /(?:lib/modules|usr/src)/\S+: No such file or directory"
        rf"|ERROR: Kernel configuration is invalid"
        rf"|No rule to make target '\S*{_KBUILD_TOOL}'"
        rf"|{_KBUILD_TOOL}: (?:\d+: )?(?:\S+: )?"
        rf"(?:Permission denied|not found|No such file|cannot execute|Exec format)"
        rf"|gcc-plugins?/\S+\.so: cannot open|Cannot generate ORC metadata|Cannot generate __mcount_loc",
        _TOOLKIT_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "network-forbidden",
        r"(?i)could not resolve (?:host|proxy)|network is unreachable|temporary failure in name resolution"
        r"|name or service not known|unable to resolve host",
        _NETWORK_HINT,
    ),
)

# Where driver-container/Containerfile puts the source: a vendor knows the file by its name in the source.
_SOURCE_FOLDER = "/usr/src/driver/"

_ANSI = re.compile(r"\x1b\[[0-9;]{0,16}[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_STEP_FAILED = "Error: building at STEP "
_BUILDAH_TRAILER = re.compile(r'^Error: building at STEP ".*": ')
_EXIT_ONLY = re.compile(r"(?:while running runtime: )?exit status \d+$")
_NOISE = re.compile(
    r"STEP \d+(?:/\d+)?: |\+ |\s*\d* \|"  # the recipe, our own command line, quoted source
    r"|\s*(?:In file included )?from |COMMIT(?: |$)|--> [0-9a-f]+$|subprocess exited with status"
    r"|(?:g?make)(?:\[\d+\])?: (?:Entering|Leaving|Target |\*\*\* (?:Waiting|Deleting))"
    r"|(?:g?make)(?:\[\d+\])?: \*\*\* \[(?!.*(?:Error 137|Killed)$)"
    r"|(?:cc1(?:plus)?|\S*gcc\S*): (?:some|all) warnings being treated|compilation terminated"
    r"|\s{1,2}[A-Z]{2,8}(?: \[M\])? {1,9}\S"  # kbuild's own "  CC [M]  file"
    r"|Skipping BTF generation|warning: the compiler differs|\s+The kernel was built by|\s+You are using:"
)
_LOCATION = re.compile(r"^(?:\S*ld(?:\.\w+)?: (?:\S+\.o:)?)?(?P<file>/?[\w.+~@/-]{1,300}):(?P<line>\d{1,7})(?::|$)")
_QUOTES = str.maketrans("\u2018\u2019`", "'''")


def find_surroundings(text: str) -> Failure | None:
    """Return what outside of the driver made a command fail, if what it printed tells; None where it does not."""
    hits = find_hits(meaningful_lines(text))
    rules = (rule for rule in SURROUNDINGS if rule.failure_class is not FailureClass.COMPILE)
    return next((describe(rule, hits[rule.code]) for rule in rules if rule.code in hits), None)


def meaningful_lines(text: str) -> Iterator[str]:
    return (line for line in clean_lines(text) if not _NOISE.match(line))


def clean_lines(text: str) -> Iterator[str]:
    """Yield the lines of a log without what controls terminals, and of buildah's last one only the cause."""
    for raw in filter(None, text[-_MAX_LOG_CHARS:].split("\n")):
        unwrapped = _unwrap_buildah(raw[:_MAX_STEP_CHARS]) if raw.startswith(_STEP_FAILED) else raw
        if line := _CONTROL.sub("", _ANSI.sub("", unwrapped[:_MAX_LINE_CHARS])).rstrip().translate(_QUOTES):
            yield line


def _unwrap_buildah(line: str) -> str:
    """Drop the quoted recipe step, which may hold any words, and a bare exit status, which tells nothing."""
    cause = _BUILDAH_TRAILER.sub("", line)
    return "" if _EXIT_ONLY.match(cause) and not cause.endswith(" 137") else f"Error: {cause}"


def find_hits(lines: Iterable[str]) -> dict[str, str]:
    hits: dict[str, str] = {}
    for line in lines:
        for rule in SURROUNDINGS:
            if rule.code not in hits and rule.pattern.search(line):
                hits[rule.code] = line
    return hits


def find_place(line: str) -> tuple[str, int] | None:
    """Return file and line that an error begins with."""
    place = _LOCATION.match(line)
    return (place["file"], int(place["line"])) if place else None


def in_source(file: str) -> str:
    """Return a file by the name that a driver's author knows."""
    return file.removeprefix(_SOURCE_FOLDER)


def describe(rule: Rule, line: str) -> Failure:
    place = _LOCATION.match(line)
    return Failure(
        failure_class=rule.failure_class,
        code=rule.code,
        detail=shorten(line.strip()),
        hint=rule.hint,
        location=f"{in_source(place['file'])}:{place['line']}" if place else None,
    )


def shorten(line: str) -> str:
    """Return what stands in results: a whole line, as far as lines are read at all."""
    return line if len(line) <= _MAX_LINE_CHARS else f"{line[:_MAX_LINE_CHARS]} …"
