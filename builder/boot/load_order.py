"""The order in which modprobe would load modules. Pure.

Followed: dependencies, soft dependencies, aliases, and of modprobe.d(5) ``alias``, ``options``, ``blacklist`` and
``softdep``. Not followed: ``install`` and ``remove``, which are commands of a shell that no guest has.

Source: kmod 30. The order: libkmod-module.c, ``__kmod_module_get_probe_list()`` and ``__kmod_module_fill_softdep()``.
What a name stands for: ``kmod_module_new_from_lookup()``. Only the first soft dependency that fits a module counts
(``kmod_module_get_softdeps()``), and one that cannot be loaded stops nothing (``kmod_module_probe_insert_module()``,
"Ignore errors from softdeps"). Files: libkmod-config.c, ``kmod_config_parse()``; they come in the order of their names,
modules.softdep among them, and one in /etc takes the place of its namesake in /usr/lib (modprobe.d(5)).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase, translate
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# What a module says of itself, depmod(8) writes here.
_SOFTDEP_FILE = "modules.softdep"
_MOST_LOADS = 500
# Modules, and files of modprobe.d, are a stranger's. What is beyond these bounds is told and not followed: who misses a
# module then cannot be loaded, and nobody takes that for green.
_MOST_ASKED = 300
_MOST_OWN_ALIASES = 10_000
_MOST_LINES = 2000
_MOST_BYTES = 256 * 1024
# Deeper than any real chain; modules of an image are a stranger's.
_DEEPEST = 60
_GLOB = re.compile(r"[*?\[]")
_FILE = re.compile(r"(?:(?:usr/)?(?P<folder>etc|run|local/lib|lib)/)modprobe\.d/(?P<name>[^/]+\.conf)")
_PRECEDENCE = ("etc", "run", "local/lib", "lib")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFacts:
    """What a module says of its place among others; ``softdeps`` as in modinfo (``pre: a b post: c``)."""

    name: str
    depends: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    softdeps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SoftDep:
    """Modules to try before and after those whose name fits the glob ``module``."""

    module: str
    pre: tuple[str, ...]
    post: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModprobeConfig:
    """What files of modprobe.d say; ``softdeps_first`` come before those of the modules themselves, others after."""

    aliases: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    blacklist: frozenset[str] = frozenset()
    softdeps_first: tuple[SoftDep, ...] = ()
    softdeps: tuple[SoftDep, ...] = ()
    not_followed: tuple[str, ...] = ()
    """Lines of other kinds, with their file."""

    def options_of(self, module: str, alias: str = "") -> str:
        """Return the parameters for a module, those for the alias that it was found by included."""
        return " ".join(text for name, text in self.options if name in {module, alias})


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A module to be loaded. One that is only a soft dependency may fail; ``because_of`` says whose it is."""

    name: str
    is_required: bool = True
    because_of: str = ""
    options: str = ""


class ModuleIndex:
    """Modules by name and alias, in the order of modules.order; ``built_in`` are names and aliases in the kernel."""

    def __init__(self, modules: Iterable[ModuleFacts], built_in: Iterable[str] = ()) -> None:
        self.modules: Mapping[str, ModuleFacts] = {module.name: module for module in modules}
        self.built_in = frozenset(map(underscored, built_in))

    def with_modules(self, modules: Iterable[ModuleFacts]) -> ModuleIndex:
        """Return an index in which these come first and take the place of namesakes."""
        left = _MOST_OWN_ALIASES
        own: dict[str, ModuleFacts] = {}
        for module in modules:
            own[module.name] = replace(module, aliases=module.aliases[:left])
            left -= len(own[module.name].aliases)
        others = [module for name, module in self.modules.items() if name not in own]
        return ModuleIndex([*own.values(), *others], self.built_in)

    @cached_property
    def _aliases(self) -> dict[str, list[str]]:
        """Names by what is an alias as it stands."""
        found: dict[str, list[str]] = {}
        for alias, name in self._pairs():
            if not _GLOB.search(alias):
                found.setdefault(alias, []).append(name)
        return found

    @cached_property
    def _globs(self) -> list[tuple[re.Pattern[str], str]]:
        return [(re.compile(translate(alias)), name) for alias, name in self._pairs() if _GLOB.search(alias)]

    def _pairs(self) -> Iterator[tuple[str, str]]:
        for module in self.modules.values():
            yield from ((underscored(alias), module.name) for alias in module.aliases)

    def is_built_in(self, name: str) -> bool:
        return underscored(name) in self.built_in

    def by_alias(self, alias: str) -> list[str]:
        """Return the modules that give themselves an alias, each once, in their order."""
        found = {*self._aliases.get(alias, ()), *(name for glob, name in self._globs if glob.match(alias))}
        return [name for name in self.modules if name in found] if found else []


def underscored(name: str) -> str:
    """Return a name with ``_`` for ``-``, but for what is inside of brackets (libkmod-util.c, alias_normalize())."""
    parts = re.split(r"(\[[^\]]*\])", name)
    return "".join(part if part.startswith("[") else part.replace("-", "_") for part in parts)


def parse_softdep(words: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what comes before and what after; words before the first ``pre:`` or ``post:`` are nothing to kmod."""
    lists: dict[str, list[str]] = {"pre:": [], "post:": []}
    current: list[str] | None = None
    for word in words:
        if word in lists:
            current = lists[word]
        elif current is not None:
            current.append(word)
    return tuple(lists["pre:"]), tuple(lists["post:"])


def read_modprobe_files(files: Mapping[str, bytes]) -> ModprobeConfig:
    """Read the files of modprobe.d by their paths in an image; others are passed over."""
    chosen: dict[str, tuple[int, str]] = {}
    for path in files:
        if match := _FILE.fullmatch(path):
            place = (_PRECEDENCE.index(match["folder"]), path)
            chosen[match["name"]] = min(place, chosen.get(match["name"], place))
    reader = _ConfigReader()
    for name, (_, path) in sorted(chosen.items()):
        reader.read(name, path, files[path])
    return reader.close()


class _ConfigReader:
    """Collects the lines of several files."""

    def __init__(self) -> None:
        self._aliases: list[tuple[str, str]] = []
        self._options: list[tuple[str, str]] = []
        self._blacklist: set[str] = set()
        self._first: list[SoftDep] = []
        self._later: list[SoftDep] = []
        self._others: list[str] = []
        self._left = _MOST_LINES

    def read(self, name: str, path: str, content: bytes) -> None:
        lines = content[:_MOST_BYTES].decode(errors="replace").replace("\\\n", "").split("\n")
        if len(content) > _MOST_BYTES or len(lines) > self._left:
            self._others.append(f"{path}: what comes after its first lines: it is larger than any real one")
        taken, self._left = lines[: self._left], max(0, self._left - len(lines))
        for line in taken:
            match line.split():
                case [] | ["include" | "config", *_]:
                    pass
                case [word, *_] if word.startswith("#"):
                    pass
                case ["alias", alias, module, *_]:
                    self._aliases.append((underscored(alias), underscored(module)))
                case ["options", module, _, *_]:
                    # As it stands: there may be quotes with spaces between them.
                    self._options.append((underscored(module), line.split(maxsplit=2)[2].rstrip()))
                case ["blacklist", module, *_]:
                    self._blacklist.add(underscored(module))
                case ["softdep", module, *words]:
                    softdep = SoftDep(underscored(module), *parse_softdep(words))
                    (self._first if name < _SOFTDEP_FILE else self._later).append(softdep)
                case words:
                    self._others.append(f"{path}: {' '.join(words)[:200]}")

    def close(self) -> ModprobeConfig:
        return ModprobeConfig(
            aliases=tuple(self._aliases), options=tuple(self._options), blacklist=frozenset(self._blacklist),
            softdeps_first=tuple(self._first), softdeps=tuple(self._later), not_followed=tuple(self._others),
        )  # fmt: skip


@dataclass(slots=True)
class _Found:
    """A list of loads as it grows."""

    loads: dict[str, Load] = field(default_factory=dict)
    visited: set[tuple[str, str]] = field(default_factory=set)
    depth: int = 0
    missing: dict[str, None] = field(default_factory=dict)
    asked: int = 0


class LoadOrder:
    """Says what modprobe would load for names, in order."""

    def __init__(
        self,
        index: ModuleIndex,
        config: ModprobeConfig | None = None,
        requests: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Take ``requests``: what a module is known to ask the kernel for while it is loaded, by its name."""
        self._index = index
        self._config = config or ModprobeConfig()
        self._requests = requests or {}
        self._found = _Found()

    @property
    def loads(self) -> list[Load]:
        """Everything that was asked for so far and what it needs, each once."""
        return list(self._found.loads.values())

    @property
    def missing(self) -> list[str]:
        """Soft dependencies that no module and nothing in the kernel answers to: ``NAME (of MODULE)``."""
        return list(self._found.missing)

    @property
    def is_cut_short(self) -> bool:
        """Whether there are more soft dependencies than are looked for."""
        return self._found.asked > _MOST_ASKED

    def add(self, wanted: str) -> bool:
        """Add what ``modprobe WANTED`` loads; False where no module has this name or alias."""
        found = self._look_up(wanted)
        for name, alias in found:
            # What is blacklisted answers to its name, not to its aliases (modprobe.d(5)).
            if not alias or name not in self._config.blacklist:
                self._require(name, alias)
                self._probe(name, alias, "")
        return bool(found) or self._index.is_built_in(wanted)

    def add_module(self, name: str) -> None:
        """Add what loading a module by its own name takes, whatever aliases say."""
        self._require(name, "")
        self._probe(name, "", "")

    def answers(self, request: str) -> bool:
        """Tell whether the modprobe that the kernel starts for a request would find something to load."""
        return any(not alias or name not in self._config.blacklist for name, alias in self._look_up(request))

    def _require(self, name: str, alias: str) -> None:
        for needed in [*self._dependencies(name), name]:
            if (load := self._found.loads.get(needed)) and not load.is_required:
                options = self._config.options_of(needed, alias)
                self._found.loads[needed] = Load(name=needed, options=options)
        self._found.visited.discard((name, alias))

    def _probe(self, name: str, alias: str, because_of: str) -> None:
        found = self._found
        # kmod knows a module that it found by an alias and one that it found by its name apart.
        if (name, alias) in found.visited or len(found.loads) >= _MOST_LOADS or found.depth >= _DEEPEST:
            return
        found.visited.add((name, alias))
        found.depth += 1
        for needed in self._dependencies(name):
            self._append(needed, "", because_of)
        self._append(name, alias, because_of)
        found.depth -= 1

    def _append(self, name: str, alias: str, because_of: str) -> None:
        pre, post = self._soft(name)
        self._try([*pre, *self._requests.get(name, ())], name)
        if name not in self._found.loads:
            self._found.loads[name] = Load(
                name=name, is_required=not because_of, because_of=because_of,
                options=self._config.options_of(name, alias),
            )  # fmt: skip
        self._try(post, name)

    def _try(self, words: Iterable[str], of: str) -> None:
        for word in words:
            self._found.asked += 1
            if self.is_cut_short:
                return
            found = self._look_up(word)
            if not found and not self._index.is_built_in(word):
                self._found.missing[f"{word} (of {of})"] = None
            for name, alias in found:
                self._probe(name, alias, of)

    def _soft(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the first soft dependency that fits, as kmod does."""
        facts = self._index.modules.get(name)
        own = [SoftDep(name, *parse_softdep(text.split())) for text in (facts.softdeps if facts else ())]
        for softdep in [*self._config.softdeps_first, *own, *self._config.softdeps]:
            if fnmatchcase(name, softdep.module):
                return softdep.pre, softdep.post
        return (), ()

    def _dependencies(self, name: str) -> list[str]:
        """Return everything that a module needs, what is needed by others first; without itself."""
        ordered: dict[str, None] = {}

        def visit(current: str, above: frozenset[str]) -> None:
            facts = self._index.modules.get(current)
            if facts is None or current in ordered or current in above or len(above) >= _DEEPEST:
                return
            for needed in facts.depends:
                visit(underscored(needed), above | {current})
            ordered[current] = None

        visit(name, frozenset())
        ordered.pop(name, None)
        return list(ordered)

    def _look_up(self, wanted: str) -> list[tuple[str, str]]:
        """Return modules for a name or an alias, and the alias where it was one."""
        word = underscored(wanted)
        configured = [module for alias, module in self._config.aliases if fnmatchcase(word, alias)]
        if configured:
            return [(module, word) for module in dict.fromkeys(configured) if module in self._index.modules]
        if word in self._index.modules:
            return [(word, "")]
        return [(name, word) for name in self._index.by_alias(word)]
