"""Which compiles use the compile cache, and which lane of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.errors import KmodsmithError, LockFileError
from builder.host.once import Once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from builder.drivers.source import DriverSource
    from builder.plan.decide import Decision
    from builder.sources.provider import KernelSource
    from builder.store.compile_cache import CompileCache, Lane

_FORMAT = "1"
# Below this there is little to save, and the scripts in front of the compiler cost something, too.
_FEWEST_FILES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedCompile:
    """A compile's lane, and the folder with ccache."""

    lane: Lane
    ccache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileLanes:
    """The lanes of a run's compiles; safe to use from several threads.

    ``ensure_ccache`` returns the folder of a source's ccache, None where there is none; ``check_percent`` of the
    compiles that took something from the cache are compared; ``say`` tells people what they should know.
    """

    cache: CompileCache
    drivers: Mapping[str, DriverSource]
    sources: Mapping[str, KernelSource]
    ensure_ccache: Callable[[str], Path | None]
    say: Callable[[str], None]
    check_percent: int
    _once: Once = field(default_factory=Once)

    def find(self, decision: Decision) -> CachedCompile | None:
        """Return what a cell's compile uses; None where it gains nothing, or there is no ccache."""
        driver, inputs = self.drivers[decision.cell.driver], decision.inputs
        if inputs is None or not self.cache.most or _count_files(driver) < _FEWEST_FILES:
            return None
        source = decision.cell.source
        ccache = self._once.get(source, lambda: self._open(source))
        if ccache is None:
            return None
        kernel = decision.compile_kernel
        own = driver.declaration.own_toolkit(kernel)
        try:
            toolchain = own or self.sources[source].toolchain_id(kernel)
        except LockFileError:
            return None
        brought = [inputs.source, inputs.containerfile, inputs.recipe, inputs.driver, inputs.packages]
        key = content_id("lane", _FORMAT, brought, toolchain, kernel.arch, ccache.name)
        return CachedCompile(lane=self.cache.lane(key, decision.cell.driver), ccache=ccache)

    def is_to_be_checked(self) -> bool:
        """Tell whether a compile is done again: nobody can know which."""
        return secrets.randbelow(100) < self.check_percent

    def _open(self, source: str) -> Path | None:
        try:
            found = self.ensure_ccache(source)
        except KmodsmithError as error:
            self.say(f"compiles do without the compile cache: {error.message}")
            return None
        if found is None:
            self.say("compiles do without the compile cache: the lock has no ccache; 'nox -s discover' finds it")
        return found


def _count_files(driver: DriverSource) -> int:
    return sum(file.path.endswith(".c") for file in driver.tree.files)
