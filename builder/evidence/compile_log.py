"""Reads the log of a failed compile and says what failed. Pure.

Two questions in order. Is the machine or the toolkit to blame (``host.surroundings``)? If not, the first error line
of the compiler, the linker, modpost or make decides, because later ones are mostly its consequences. A program that is
missing counts only where no compiler complained: makefiles ask for some that they can do without (``$(shell dkms)``).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.errors import Failure, FailureClass
from builder.host.surroundings import (
    SURROUNDINGS,
    clean_lines,
    describe,
    find_hits,
    find_place,
    in_source,
    make_rule,
    meaningful_lines,
    shorten,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from builder.host.surroundings import Rule

_TOOL_HINT = (
    "the toolkit has no such program: name its package in the driver's 'build_packages' (docs/toolkits.md), or put the"
    " file that it makes into the source"
)
_HEADER_HINT = "this kernel has no such header: guard the include by feature; RHEL backports make version checks wrong"
_API_HINT = "this kernel's interface differs: guard the call by feature; RHEL backports make version checks wrong"
_MODPOST_HINT = (
    "this kernel does not export the symbol to modules, or another module of yours does:"
    " then build that one first and pass its Module.symvers in KBUILD_EXTRA_SYMBOLS"
)
_GPL_HINT = "the kernel gives this symbol only to modules whose MODULE_LICENSE is GPL-compatible"
_NAMESPACE_HINT = "add MODULE_IMPORT_NS() for the named namespace to the module"

DRIVER_EXCLUDES = "driver-excludes"
"""Code of a compile that the driver's own dkms.conf did not want: no failure, see ``build.cells``."""
_EXCLUDED = "driver-container: dkms excludes this kernel: "

# Blame in the driver's source; the first matching line of the log wins, on one line the first matching rule.
_CAUSES = (
    make_rule(
        FailureClass.COMPILE,
        "missing-header",
        r"fatal error: '?\S+?'?(?:: No such file or directory| file not found)$",
        _HEADER_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "implicit-declaration",
        r"error: (?:implicit declaration of function|call to undeclared function)",
        _API_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "api-arity",
        r"error: (?:too (?:many|few) arguments|macro \S+ (?:requires|passed) \d+ arguments)",
        _API_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "incompatible-types",
        r"error: .*(?:incompatible (?:function )?pointer type|\[-W(?:error=)?incompatible-)",
        _API_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "no-member",
        r"error: .*(?:has no member named|no member named) ",
        _API_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "undeclared-name",
        r"error: (?:'\w+' undeclared|use of undeclared identifier)",
        _API_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "conflicting-types",
        r"error: conflicting types for ",
        "the kernel declares this name itself, in another way: rename yours, or leave it out where the kernel has it",
    ),
    make_rule(
        FailureClass.COMPILE,
        "warning-as-error",
        r"error: .*\[-Werror[=\]]|error: .*\[-Werror,-W",
        "the driver asks for -Werror: repair the warning, or drop -Werror for released kernels",
    ),
    make_rule(
        FailureClass.UNRESOLVED_SYMBOL,
        "modpost-gpl-only",
        r"modpost: GPL-incompatible module|FATAL: modpost: GPL-incompatible|uses GPL-only symbol",
        _GPL_HINT,
    ),
    make_rule(
        FailureClass.UNRESOLVED_SYMBOL,
        "modpost-namespace",
        r"(?:ERROR|error): .*uses symbol \S+ from namespace",
        _NAMESPACE_HINT,
    ),
    make_rule(
        FailureClass.UNRESOLVED_SYMBOL,
        "modpost-undefined",
        r"(?:ERROR|error): .*\] undefined!",
        _MODPOST_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "modpost-error",
        r"(?:ERROR|FATAL): modpost: |modpost: (?:error|fatal): ",
    ),
    make_rule(
        FailureClass.COMPILE,
        "linker-error",
        r"\bld(?:\.\w{1,8})?: (?:error: |.*(?:multiple definition of|undefined reference to|cannot find) )",
    ),
    make_rule(
        FailureClass.COMPILE,
        "missing-tool",
        r"^(?:/bin/)?(?:ba|da)?sh: (?:line )?(?:\d+: )?[\w./+-]+: (?:command )?not found$"
        r"|^(?:make|gmake)(?:\[\d+\])?: [\w.+-]+: (?:No such file or directory|Command not found)$"
        r"|^env: .*: No such file or directory$|: line \d+: [\w./+-]+: command not found$",
        _TOOL_HINT,
    ),
    make_rule(
        FailureClass.COMPILE,
        "expected-module-missing",
        r"^driver-container: expected module |"
        r"^(?:cp|install|mv|strip|objcopy|modinfo)(?: \S+)?: .*\.ko\b.*(?:No such file|not found)",
        "make ended well without making this module: correct 'modules' in versions.yaml, or its Kbuild",
    ),
    make_rule(FailureClass.COMPILE, "containerfile-error", r"^driver-container: "),
    make_rule(
        FailureClass.COMPILE,
        "no-rule",
        r"\*\*\* No rule to make target|\*\*\* No targets specified and no makefile found",
        "a source file or a target that the makefile names does not exist",
    ),
    make_rule(
        FailureClass.COMPILE,
        "makefile-error",
        r"^[^\s:*]{1,300}:\d+: \*\*\* ",
    ),
    make_rule(
        FailureClass.COMPILE,
        "configure-failed",
        r"^configure: error: ",
        "the driver's own configure script refused: it may lack an option in 'make', or a package that"
        " 'build_packages' in versions.yaml can name (docs/toolkits.md)",
    ),
    make_rule(FailureClass.COMPILE, "compiler-error", r"(?:^|: )(?:fatal )?error: |: (?:Fatal e|E)rror: "),
)

_WEAK = "missing-tool"
# What only a compiler, a linker's input or modpost prints: with such a line a program that is missing is not the cause.
_COMPILER_ERROR = re.compile(r"^\S+:\d+(?::\d+)?: (?:fatal )?error: |modpost: |\] undefined!$")
# Where kernels and toolkits have their headers; by a path of their own where make runs in the kernel's folder.
_KERNEL_FILE = re.compile(
    r"^(?:\./|(?:\.\./)*)(?:include|arch)/\w|^/(?:usr/src/(?:linux-|kernels/)|lib/modules/|usr/lib/gcc/|usr/include/)"
)
_MOST_AROUND = 40
_INCLUDED = re.compile(r"^(?:In file included |\s+)from (?P<file>[^\s:]{1,300}):(?P<line>\d{1,7})[:,]")
_EXPANDED = re.compile(
    r"^(?P<file>[^\s:]{1,300}):(?P<line>\d{1,7}):\d{1,7}: note: (?:in expansion of macro|expanded from macro)"
)
_ON_THE_WAY = re.compile(r"^In file included from |^\s+from |: In function |: At top level|: note: |^\s*\d* +\|")

_TIMEOUT_HINT = "see in the log which command waits, or raise build.timeout_minutes in versions.yaml"

_LOOKS_LIKE_ERROR = re.compile(r"(?i)\b(?:error|fatal|failed|failure|cannot|can't|denied|not found|no such)\b")


def classify_compile_log(text: str, *, exit_explanation: str, may_exclude: bool = False) -> Failure:
    """Say what made a compile fail.

    Args:
        text: the log; of a longer one only the last 4 MiB are read.
        exit_explanation: how the command ended, as ``Outcome.explain()`` words it.
        may_exclude: a dkms.conf was run and asked whether it wants this kernel. Of other drivers nobody asks that, and
            one that says it all the same has failed: what is excluded counts as no failure.
    """
    lines = tuple(meaningful_lines(text))
    # Before make said anything, and with the exit code by which dkms says the same.
    if may_exclude and lines and lines[0].startswith(_EXCLUDED) and text.rstrip().endswith("exit status 77"):
        sentence = f"its dkms.conf, run for this kernel: {lines[0].removeprefix(_EXCLUDED)}"
        return Failure(failure_class=FailureClass.COMPILE, code=DRIVER_EXCLUDES, detail=shorten(sentence))
    if found := _blame_surroundings(lines, exit_explanation):
        return found
    # A configure may print what a compiler said of its tries, as comments (ipt-netflow): what failed comes later.
    if cause := _find_cause([line for line in lines if not line.startswith("//")]) or _find_cause(lines):
        rule, line, aside = cause
        failure = describe(rule, line)
        led_there = _find_way_there(text, line)
        if led_there:
            failure = replace(failure, location=led_there, detail=shorten(f"{failure.detail} (from {led_there})"))
        if aside:
            failure = replace(failure, hint=f"{failure.hint or ''}; also in the log: {shorten(aside)}".lstrip("; "))
        return failure
    return Failure(
        failure_class=FailureClass.COMPILE,
        code="unknown",
        detail=shorten(_most_telling(lines) or f"the compile {exit_explanation} and said nothing"),
        hint="the log holds everything that was printed",
    )


def _find_cause(lines: Sequence[str]) -> tuple[Rule, str, str] | None:
    """Return the rule and the line of the cause, and a line about a missing program that was passed over for it."""
    aside: tuple[Rule, str] | None = None
    for line in lines:
        rule = next((rule for rule in _CAUSES if rule.pattern.search(line)), None)
        if rule is None:
            continue
        if rule.code != _WEAK and (aside is None or _COMPILER_ERROR.search(line)):
            return rule, line, aside[1] if aside else ""
        aside = aside or ((rule, line) if rule.code == _WEAK else None)
    return (*aside, "") if aside else None


def _find_way_there(text: str, error: str) -> str:
    """Return the driver's line that led to an error inside of a header of the kernel; empty where none is told.

    gcc and clang print above it who includes the header, and below it in which macro's expansion it was.
    """
    place = find_place(error)
    if place is None or not _KERNEL_FILE.search(place[0]):
        return ""
    lines = list(clean_lines(text))
    at = next((number for number, line in enumerate(lines) if line.rstrip() == error.rstrip()), -1)
    if at < 0:
        return ""
    below = _take_while(lines[at + 1 : at + 1 + _MOST_AROUND], lambda line: not _COMPILER_ERROR.search(line))
    expanded = (match for line in below if (match := _EXPANDED.match(line)))
    above = _take_while(reversed(lines[max(at - _MOST_AROUND, 0) : at]), lambda line: bool(_ON_THE_WAY.match(line)))
    included = (match for line in reversed(above) if (match := _INCLUDED.match(line)))
    for match in (*expanded, *included):
        if not _KERNEL_FILE.search(match["file"]):
            return f"{in_source(match['file'])}:{match['line']}"
    return ""


def _take_while(lines: Iterable[str], is_part: Callable[[str], bool]) -> list[str]:
    taken = []
    for line in lines:
        if not is_part(line):
            break
        taken.append(line)
    return taken


def _blame_surroundings(lines: Sequence[str], exit_explanation: str) -> Failure | None:
    hits = find_hits(lines)
    if "disk-full" not in hits and "longer than" in exit_explanation:
        return Failure(
            failure_class=FailureClass.COMPILE,
            code="timeout",
            detail=f"the compile {exit_explanation}",
            hint=_TIMEOUT_HINT,
        )
    if "SIGKILL" in exit_explanation:
        hits.setdefault("out-of-memory", f"the compile {exit_explanation}")
    return next((describe(rule, hits[rule.code]) for rule in SURROUNDINGS if rule.code in hits), None)


def _most_telling(lines: Sequence[str]) -> str:
    return next((line for line in lines if _LOOKS_LIKE_ERROR.search(line)), lines[-1] if lines else "").strip()
