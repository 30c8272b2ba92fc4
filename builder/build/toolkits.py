"""The image that a cell is compiled in: its kernel's toolkit, maybe with build packages, or one of its driver's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.store.images import TOOLKIT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from builder.config.model.driver import Driver
    from builder.kernel import Arch
    from builder.plan.decide import Decision
    from builder.plan.project import Project
    from builder.registry.pull import Puller
    from builder.sources.provider import Toolkits

_ID_LENGTH = 16


def name_own_toolkit(pullspec: str) -> str:
    """Return the name in the container store of a toolkit image that a driver names."""
    return f"{TOOLKIT_PREFIX}toolkit:own-{pullspec.rpartition(':')[2][:_ID_LENGTH]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileImages:
    """Images of a run's compiles; safe to use from several threads. ``pulls`` returns what pulls those of drivers."""

    drivers: Mapping[str, Driver]
    toolkits: Mapping[str, Toolkits]
    build_arch: Arch
    pulls: Callable[[], Puller]

    def ensure(self, decision: Decision) -> str:
        """Return the name in the store of the image that a cell is compiled in, which is there when this returns.

        Raises:
            SourceError: the image, or a package, is not served, or nobody answers.
            CommandError: it could not be brought into the store.
        """
        driver, kernel = self.drivers[decision.cell.driver], decision.compile_kernel
        if own := driver.own_toolkit(kernel):
            return self.pulls().ensure(own, name_own_toolkit(own), self.build_arch)
        return self.toolkits[decision.cell.source].ensure(kernel, driver.build_packages)


def names_of_own_toolkits(project: Project) -> Iterator[str]:
    """Yield the names in the store of all toolkit images that drivers of a project name."""
    for driver in project.config.drivers:
        yield from (name_own_toolkit(item.image) for item in driver.toolkits)
