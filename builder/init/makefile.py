"""What a Makefile or Kbuild says: the modules that it names, and how it calls the build of a kernel. Pure.

The words are those of Documentation/kbuild/modules.rst (``obj-m``, ``-C`` and ``M=``). Nothing is run: assignments are
followed, functions and shells are not, and what stands under a condition is said to be so, unless the condition is only
whether the kernel's build reads the file (``KERNELRELEASE``). A Makefile is a stranger's: every step is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ASSIGNMENT = re.compile(r"(?:(?:export|override)\s+)*([\w./$(){}-]{1,200}?)\s*(\+=|\?=|::?=|=)(.*)", re.DOTALL)
_OBJECTS = re.compile(r"obj-(m|y|\$[({](\w+)[)}])")
_PARTS = re.compile(r"([\w-]+)-(?:y|m|objs|\$.+)")
_REFERENCE = re.compile(r"\$[({](\w[\w.-]*)[)}]")
_CONDITION = re.compile(r"(ifeq|ifneq|ifdef|ifndef|else|endif)\b")
_RULE = re.compile(r"([^\s:=#][^:=#]{0,400}?)\s*::?(?!=)")
_CALL = re.compile(
    r"""(?:\$[({]MAKE[)}]|\bmake\b)[^\n;|&]{0,500}?\s-C\s*(?:"([^"\n]{1,300})"|'([^'\n]{1,300})'|(\S{1,300}))([^\n]*)"""
)
_WORD_OF_CALL = re.compile(r"""(?:^|\s)([A-Za-z_]\w*)=""")
# What a call may say beside where the kernel and the source are without the build being another one.
_PLAIN_WORDS = frozenset({"M", "SUBDIRS", "O", "V", "W", "KBUILD_VERBOSE", "KBUILD_EXTMOD", "PWD", "SRCROOT"})
_MOST_LINES = 100_000
_LONGEST_VALUE = 64 * 1024
_DEEPEST = 8
_MOST_CALLS = 100
_MOST_MODULES = 1000
_LONGEST_RECIPE = 4000


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class NamedModule:
    """A module that a file names, in the kernel's folder of objects.

    ``condition`` is what must be so for it to be built; empty where it always is.
    """

    name: str
    line: int
    condition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCall:
    """A line that calls the build of a kernel.

    ``target`` is the rule that it stands in, ``variable`` what says which kernel is meant: by its version, not its
    folder, if ``is_version``. ``words`` are variables that it sets for that build.
    """

    target: str
    line: int
    variable: str
    is_version: bool
    is_first: bool
    words: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Makefile:
    """What one file says; ``path`` is relative to the source, ``folders`` are below its own."""

    path: str
    modules: tuple[NamedModule, ...] = ()
    folders: tuple[str, ...] = ()
    calls: tuple[KernelCall, ...] = ()
    exports: tuple[str, ...] = ()
    composites: frozenset[str] = frozenset()
    """Names of modules that it puts together of several objects."""

    @property
    def folder(self) -> str:
        """The folder of the file, empty for the source itself."""
        return self.path.rpartition("/")[0]


def read_makefile(text: str, path: str) -> Makefile:
    """Read a file; never fails, as what is not understood is passed over."""
    reader = _Reader(path)
    for line, number in _logical_lines(text):
        reader.take(line, number)
    return reader.finish()


def _logical_lines(text: str) -> Iterator[tuple[str, int]]:
    parts: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines()[:_MOST_LINES], 1):
        if not parts:
            start = number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        yield " ".join([*parts, line])[:_LONGEST_VALUE], start
        parts = []
    if parts:
        yield " ".join(parts)[:_LONGEST_VALUE], start


class _Reader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._values: dict[str, str] = {}
        self._conditions: list[str] = []
        self._found: list[tuple[str, str, int, tuple[str, ...]]] = []
        self._calls: list[tuple[str, bool, int, str]] = []
        self._targets: list[str] = []
        self._exports: dict[str, None] = {}
        self._composites: set[str] = set()
        self._has_rule = False

    def take(self, line: str, number: int) -> None:
        if line.startswith("\t"):
            if self._targets and len(self._calls) < _MOST_CALLS and "-C" in line:
                self._calls.append((self._targets[0], not self._has_rule, number, line[:_LONGEST_RECIPE]))
            return
        plain = line.partition("#")[0].strip()
        if not plain:
            return
        if match := _CONDITION.match(plain):
            self._condition(match[1], plain[match.end() :].strip())
        elif match := _ASSIGNMENT.fullmatch(plain):
            self._assign(match[1], match[2], match[3].strip(), number)
            if plain.startswith("export"):
                self._exports[match[1]] = None
        elif match := _RULE.match(plain):
            self._rule(match[1].split())
        elif plain.startswith("export "):
            self._exports |= dict.fromkeys(plain.split()[1:20])

    def _rule(self, targets: list[str]) -> None:
        if targets and not targets[0].startswith("."):
            self._has_rule = bool(self._targets)
            self._targets = targets

    def _condition(self, word: str, rest: str) -> None:
        if word == "endif":
            if self._conditions:
                self._conditions.pop()
            return
        if word == "else":
            before = self._conditions.pop() if self._conditions else ""
            self._conditions.append(f"not ({before})"[:200] if before else "")
            return
        about = f"{word} {' '.join(rest.split())}"[:200]
        self._conditions.append("" if "KERNELRELEASE" in rest else about)

    def _assign(self, name: str, operator: str, value: str, number: int) -> None:
        if _OBJECTS.fullmatch(name):
            self._found.append((name, value, number, tuple(self._conditions)))
            return
        if match := _PARTS.fullmatch(name):
            self._composites.add(match[1])
        if operator == "+=":
            self._values[name] = f"{self._values.get(name, '')} {value}"[:_LONGEST_VALUE]
        elif operator != "?=" or name not in self._values:
            self._values[name] = value

    def finish(self) -> Makefile:
        modules: dict[str, NamedModule] = {}
        folders: dict[str, None] = {}
        for key, value, line, conditions in self._found:
            condition = next(filter(self._counts, conditions), "")
            setting = _OBJECTS.fullmatch(key)
            option = setting[2] if setting else None
            kind = self._values.get(option, "").strip() if option else key[-1]
            under = condition or (f"{option}, which the source does not set" if option and kind != "m" else "")
            for word in _expand(value, self._values).split():
                if word.endswith("/"):
                    folders[word.strip("/")] = None
                elif kind != "y" and re.fullmatch(r"[\w./+-]+\.o", word) and len(modules) < _MOST_MODULES:
                    name = word.rpartition("/")[2].removesuffix(".o")
                    known = modules.get(name)
                    either = known is not None and under == f"not ({known.condition})"
                    if known is None or (known.condition and (either or not under)):
                        modules[name] = NamedModule(name=name, line=line, condition="" if either else under)
        return Makefile(
            path=self._path,
            modules=tuple(modules.values()),
            folders=tuple(folders),
            calls=tuple(self._read_calls()),
            exports=tuple(self._exports),
            composites=frozenset(self._composites),
        )

    def _counts(self, condition: str) -> bool:
        """Tell whether a condition leaves open what is built; one on a variable that is exported asks who calls."""
        return bool(condition) and self._exports.keys().isdisjoint(re.findall(r"\w+", condition))

    def _read_calls(self) -> Iterator[KernelCall]:
        for target, is_first, line, text in self._calls:
            match = _CALL.search(text)
            if match is None:
                continue
            place = match[1] or match[2] or match[3]
            rest = match[4]
            if not re.search(r"\b(?:M|SUBDIRS)=", rest + text[: match.start(0)] + match[0]):
                continue
            names = _REFERENCE.findall(place)
            variable = names[0] if len(names) == 1 else ""
            words = tuple(dict.fromkeys(word for word in _WORD_OF_CALL.findall(match[0]) if word not in _PLAIN_WORDS))
            yield KernelCall(
                target=target,
                line=line,
                variable=variable,
                is_version=bool(variable) and place.strip("\"'") not in {f"$({variable})", f"${{{variable}}}"},
                is_first=is_first,
                words=words,
                text=" ".join(match[0].split())[:200],
            )


def _expand(value: str, values: Mapping[str, str]) -> str:
    """Put values in the place of plain references; what is not known stays as it is written."""
    for _ in range(_DEEPEST):
        parts: list[str] = []
        length = at = 0
        for match in _REFERENCE.finditer(value):
            parts += (value[at : match.start()], values.get(match[1], match[0]))
            at = match.end()
            length += len(parts[-1]) + len(parts[-2])
            if length > _LONGEST_VALUE:
                return "".join(parts)[:_LONGEST_VALUE]
        expanded = "".join([*parts, value[at:]])
        if expanded == value:
            break
        value = expanded
    return value
