"""Reads the log of a failed compile and says what failed, once per cause and not once per kernel.

Two questions in order. Is the machine or the toolkit to blame? Then that is the answer wherever in the log it
stands, because a full disk makes a compiler print errors about innocent lines. If not, the first error line
of the compiler, the linker, modpost or make decides, because later ones are mostly its consequences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FailureClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_MAX_LOG_CHARS = 4 * 1024 * 1024
_MAX_LINE_CHARS = 1000
_MAX_DETAIL_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """``code`` is stable, ``detail`` is the first real error line, ``location`` its ``file:line``."""

    failure_class: FailureClass
    code: str
    detail: str
    hint: str | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cells that failed for the same cause; ``failure`` is that of the first of them."""

    failure: Failure
    cells: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.cells)


@dataclass(frozen=True, slots=True)
class _Rule:
    failure_class: FailureClass
    code: str
    pattern: re.Pattern[str]
    hint: str | None = None


def _rule(failure_class: FailureClass, code: str, pattern: str, hint: str | None = None) -> _Rule:
    return _Rule(failure_class, code, re.compile(pattern), hint)


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
_TOOL_HINT = "the toolkit has no such program: add it to the toolkit, or put the file that it makes into the source"

_KBUILD_TOOL = r"(?:scripts/basic/fixdep|scripts/mod/modpost|tools/objtool/objtool|scripts/sign-file)"

# Blame outside the driver's source, strongest first; found anywhere in the log.
_SURROUNDINGS = (
    _rule(
        FailureClass.INFRASTRUCTURE,
        "disk-full",
        r"(?i)no space left on device|disk quota exceeded",
        _DISK_HINT,
    ),
    _rule(
        FailureClass.INFRASTRUCTURE,
        "out-of-memory",
        r"Killed signal terminated program|internal compiler error: Killed|virtual memory exhausted"
        r"|out of memory allocating|(?:: |fork: )Cannot allocate memory|\] Killed$|^Killed$|Error 137$"
        r"|^subprocess exited on killed$|^Error: .*(?:signal: killed|exit status 137)$",
        _MEMORY_HINT,
    ),
    _rule(
        FailureClass.INFRASTRUCTURE,
        "storage-error",
        r"^Error: .*(?:creating read-write layer|layer not known|containers/storage|mounting .*container"
        r"|storage\.lock|database is locked)|exists in local storage but may be corrupted"
        r"|^Error: .*/(?:overlay|vfs)(?:-layers|-images|-containers)?/",
        _STORAGE_HINT,
    ),
    _rule(
        FailureClass.INFRASTRUCTURE,
        "registry-unreachable",
        r"^Error: (?:creating build container|.*pinging container registry|initializing source docker://)"
        r".*(?:unreachable|no such host|i/o timeout|connection refused|TLS handshake|50[0-9] )",
        "the registry did not answer: the cell is repeated; build the toolkit image locally to do without it",
    ),
    _rule(
        FailureClass.TOOLKIT,
        "toolkit-image-missing",
        r"^Error: .*(?:image not known|manifest unknown|unable to find a name and tag match)",
        _TOOLKIT_IMAGE_HINT,
    ),
    _rule(
        FailureClass.TOOLKIT,
        "compiler-crash",
        r"internal compiler error:",
        "the compiler itself failed: try again; if it repeats, it is a defect of the toolkit's compiler",
    ),
    _rule(
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
    _rule(
        FailureClass.COMPILE,
        "network-forbidden",
        r"(?i)could not resolve (?:host|proxy)|network is unreachable|temporary failure in name resolution"
        r"|name or service not known|unable to resolve host",
        _NETWORK_HINT,
    ),
)

_HEADER_HINT = "this kernel has no such header: guard the include by feature; RHEL backports make version checks wrong"
_API_HINT = "this kernel's interface differs: guard the call by feature; RHEL backports make version checks wrong"
_MODPOST_HINT = (
    "this kernel does not export the symbol to modules, or another module of yours does:"
    " then build that one first and pass its Module.symvers in KBUILD_EXTRA_SYMBOLS"
)
_GPL_HINT = "the kernel gives this symbol only to modules whose MODULE_LICENSE is GPL-compatible"
_NAMESPACE_HINT = "add MODULE_IMPORT_NS() for the named namespace to the module"

# Blame in the driver's source; the first matching line of the log wins, on one line the first matching rule.
_CAUSES = (
    _rule(
        FailureClass.COMPILE,
        "missing-header",
        r"fatal error: '?\S+?'?(?:: No such file or directory| file not found)$",
        _HEADER_HINT,
    ),
    _rule(
        FailureClass.COMPILE,
        "implicit-declaration",
        r"error: (?:implicit declaration of function|call to undeclared function)",
        _API_HINT,
    ),
    _rule(
        FailureClass.COMPILE,
        "api-arity",
        r"error: (?:too (?:many|few) arguments|macro \S+ (?:requires|passed) \d+ arguments)",
        _API_HINT,
    ),
    _rule(
        FailureClass.COMPILE,
        "incompatible-types",
        r"error: .*(?:incompatible (?:function )?pointer type|\[-W(?:error=)?incompatible-)",
        _API_HINT,
    ),
    _rule(
        FailureClass.COMPILE,
        "warning-as-error",
        r"error: .*\[-Werror[=\]]|error: .*\[-Werror,-W",
        "the driver asks for -Werror: repair the warning, or drop -Werror for released kernels",
    ),
    _rule(
        FailureClass.UNRESOLVED_SYMBOL,
        "modpost-gpl-only",
        r"modpost: GPL-incompatible module|FATAL: modpost: GPL-incompatible|uses GPL-only symbol",
        _GPL_HINT,
    ),
    _rule(
        FailureClass.UNRESOLVED_SYMBOL,
        "modpost-namespace",
        r"(?:ERROR|error): .*uses symbol \S+ from namespace",
        _NAMESPACE_HINT,
    ),
    _rule(
        FailureClass.UNRESOLVED_SYMBOL,
        "modpost-undefined",
        r"(?:ERROR|error): .*\] undefined!",
        _MODPOST_HINT,
    ),
    _rule(
        FailureClass.COMPILE,
        "modpost-error",
        r"(?:ERROR|FATAL): modpost: |modpost: (?:error|fatal): ",
    ),
    _rule(
        FailureClass.COMPILE,
        "linker-error",
        r"\bld(?:\.\w{1,8})?: (?:error: |.*(?:multiple definition of|undefined reference to|cannot find) )",
    ),
    _rule(
        FailureClass.COMPILE,
        "missing-tool",
        r"^(?:/bin/)?(?:ba|da)?sh: (?:line )?(?:\d+: )?[\w./+-]+: (?:command )?not found$"
        r"|^(?:make|gmake)(?:\[\d+\])?: [\w.+-]+: (?:No such file or directory|Command not found)$"
        r"|^env: .*: No such file or directory$|: line \d+: [\w./+-]+: command not found$",
        _TOOL_HINT,
    ),
    _rule(
        FailureClass.COMPILE,
        "expected-module-missing",
        r"^driver-container: expected module |"
        r"^(?:cp|install|mv|strip|objcopy|modinfo)(?: \S+)?: .*\.ko\b.*(?:No such file|not found)",
        "make ended well without making this module: correct 'modules' in versions.yaml, or its Kbuild",
    ),
    _rule(FailureClass.COMPILE, "containerfile-error", r"^driver-container: "),
    _rule(
        FailureClass.COMPILE,
        "no-rule",
        r"\*\*\* No rule to make target|\*\*\* No targets specified and no makefile found",
        "a source file or a target that the makefile names does not exist",
    ),
    _rule(
        FailureClass.COMPILE,
        "makefile-error",
        r"^[^\s:*]{1,300}:\d+: \*\*\* ",
    ),
    _rule(
        FailureClass.COMPILE,
        "configure-failed",
        r"^configure: error: ",
        "the driver's own configure script refused: it may lack a tool, or an option in 'make'",
    ),
    _rule(FailureClass.COMPILE, "compiler-error", r"(?:^|: )(?:fatal )?error: |: (?:Fatal e|E)rror: "),
)

_TIMEOUT_HINT = "see in the log which command waits, or raise build.timeout_minutes in versions.yaml"

# Where driver-container/Containerfile puts the source: a vendor knows the file by its name in the source.
_SOURCE_FOLDER = "/usr/src/driver/"

_ANSI = re.compile(r"\x1b\[[0-9;]{0,16}[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_BUILDAH_TRAILER = re.compile(r'^Error: building at STEP ".*": ')
_EXIT_ONLY = re.compile(r"(?:while running runtime: )?exit status \d+$")
_NOISE = re.compile(
    r"STEP \d+(?:/\d+)?: |\+ |\s*\d* \|"  # the recipe, our own command line, quoted source
    r"|\s*(?:In file included )?from |subprocess exited with status"
    r"|(?:g?make)(?:\[\d+\])?: (?:Entering|Leaving|Target |\*\*\* (?:Waiting|Deleting))"
    r"|(?:g?make)(?:\[\d+\])?: \*\*\* \[(?!.*(?:Error 137|Killed)$)"
    r"|(?:cc1(?:plus)?|\S*gcc\S*): (?:some|all) warnings being treated|compilation terminated"
    r"|\s{1,2}[A-Z]{2,8}(?: \[M\])? {1,9}\S"  # kbuild's own "  CC [M]  file"
    r"|Skipping BTF generation|warning: the compiler differs|\s+The kernel was built by|\s+You are using:"
)
_LOOKS_LIKE_ERROR = re.compile(r"(?i)\b(?:error|fatal|failed|failure|cannot|can't|denied|not found|no such)\b")
_LOCATION = re.compile(r"^(?:\S*ld(?:\.\w+)?: (?:\S+\.o:)?)?(?P<file>/?[\w.+~@/-]{1,300}):(?P<line>\d{1,7})(?::|$)")
_QUOTES = str.maketrans("\u2018\u2019`", "'''")


def classify_compile_log(text: str, *, exit_explanation: str) -> Failure:
    """Say what made a compile fail.

    Args:
        text: the log; of a longer one only the last 4 MiB are read.
        exit_explanation: how the command ended, as ``Outcome.explain()`` words it.
    """
    lines = tuple(_meaningful_lines(text))
    if found := _blame_surroundings(lines, exit_explanation):
        return found
    for line in lines:
        for rule in _CAUSES:
            if rule.pattern.search(line):
                return _failure(rule, line)
    return Failure(
        failure_class=FailureClass.COMPILE,
        code="unknown",
        detail=_shorten(_most_telling(lines) or f"the compile {exit_explanation} and said nothing"),
        hint="the log holds everything that was printed",
    )


def find_surroundings(text: str) -> Failure | None:
    """Return what outside of the driver made a command fail, if what it printed tells; None where it does not."""
    hits = _first_hits(_meaningful_lines(text))
    rules = (rule for rule in _SURROUNDINGS if rule.failure_class is not FailureClass.COMPILE)
    return next((_failure(rule, hits[rule.code]) for rule in rules if rule.code in hits), None)


def cluster(failures: Mapping[str, Failure]) -> list[Cluster]:
    """Group cells by cause, the most frequent first.

    Two cells have the same cause when class, code and detail agree after kernel versions, temporary paths,
    addresses and line numbers in the kernel's own headers are taken out; the driver's own file and line stay.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    for cell in sorted(failures):
        failure = failures[cell]
        groups.setdefault((failure.failure_class, failure.code, _signature(failure.detail)), []).append(cell)
    clusters = [Cluster(failure=failures[cells[0]], cells=tuple(cells)) for cells in groups.values()]
    return sorted(clusters, key=lambda each: (-each.count, each.failure.code, each.failure.detail, each.cells))


def _meaningful_lines(text: str) -> Iterator[str]:
    for raw in filter(None, text[-_MAX_LOG_CHARS:].split("\n")):
        line = _CONTROL.sub("", _ANSI.sub("", raw[:_MAX_LINE_CHARS])).rstrip().translate(_QUOTES)
        if line.startswith("Error: building at STEP "):
            line = _unwrap_buildah(line)
        if line and not _NOISE.match(line):
            yield line


def _unwrap_buildah(line: str) -> str:
    """Drop the quoted recipe step, which may hold any words, and a bare exit status, which tells nothing."""
    cause = _BUILDAH_TRAILER.sub("", line)
    return "" if _EXIT_ONLY.match(cause) and not cause.endswith(" 137") else f"Error: {cause}"


def _blame_surroundings(lines: Sequence[str], exit_explanation: str) -> Failure | None:
    hits = _first_hits(lines)
    if "disk-full" not in hits and "longer than" in exit_explanation:
        return Failure(
            failure_class=FailureClass.COMPILE,
            code="timeout",
            detail=f"the compile {exit_explanation}",
            hint=_TIMEOUT_HINT,
        )
    if "SIGKILL" in exit_explanation:
        hits.setdefault("out-of-memory", f"the compile {exit_explanation}")
    return next((_failure(rule, hits[rule.code]) for rule in _SURROUNDINGS if rule.code in hits), None)


def _first_hits(lines: Iterable[str]) -> dict[str, str]:
    hits: dict[str, str] = {}
    for line in lines:
        for rule in _SURROUNDINGS:
            if rule.code not in hits and rule.pattern.search(line):
                hits[rule.code] = line
    return hits


def _failure(rule: _Rule, line: str) -> Failure:
    place = _LOCATION.match(line)
    return Failure(
        failure_class=rule.failure_class,
        code=rule.code,
        detail=_shorten(line.strip()),
        hint=rule.hint,
        location=f"{place['file'].removeprefix(_SOURCE_FOLDER)}:{place['line']}" if place else None,
    )


def _most_telling(lines: Sequence[str]) -> str:
    return next((line for line in lines if _LOOKS_LIKE_ERROR.search(line)), lines[-1] if lines else "").strip()


def _shorten(line: str) -> str:
    """Cut in the middle: the place stands at the head of a line and the reason at its tail."""
    half = _MAX_DETAIL_CHARS // 2
    return line if len(line) <= _MAX_DETAIL_CHARS else f"{line[:half]} … {line[-half:]}"


_VARIABLE_PARTS = (
    (re.compile(r"\b\d+\.\d+\.\d+[-+][\w.+~-]+"), "<kernel>"),
    (re.compile(r"\blinux-(headers|kbuild)-[\w.+~-]+"), r"linux-\1-<kernel>"),
    (re.compile(r"(/(?:usr/src/(?:kernels/|linux-)|lib/modules/)[^\s:]+):\d+(?::\d+)?"), r"\1"),
    (re.compile(r"/(?:var/)?tmp/[^\s/:'\"\]]+"), "<tmp>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{12,64}\b"), "<hex>"),
    (re.compile(r"\bmake\[\d+\]:"), "make:"),
    (re.compile(r"/\d+(?=/)"), "/<n>"),
    (re.compile(r"(\.k?o)\.\d+\b"), r"\1"),
)


def _signature(detail: str) -> str:
    for pattern, replacement in _VARIABLE_PARTS:
        detail = pattern.sub(replacement, detail)
    return detail
