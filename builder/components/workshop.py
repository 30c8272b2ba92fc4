"""What a run builds component images with: sources that are copied, base images, logs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.components.planning import name_pulled, package_source
from builder.host.once import Once
from builder.image.contents import LayerCache
from builder.plan.decide import Action
from builder.registry.pull import open_puller
from builder.store.images import STAGE_REPOSITORY, read_base_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from builder.components.decide import ComponentDecision
    from builder.components.planning import PlannedComponents
    from builder.components.source import StagedComponent
    from builder.image.packed import Packing
    from builder.kernel import Arch
    from builder.plan.project import Project
    from builder.registry.pull import Puller
    from builder.sources.provider import PackageImages


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentWorkshop:
    """What a run builds component images with; to be used by one thread."""

    project: Project
    staged: Mapping[str, StagedComponent]
    run_id: str
    open_packages: Callable[[], PackageImages]
    open_pulls: Callable[[], Puller]
    say: Callable[[str], None]
    layers: LayerCache = field(default_factory=LayerCache)
    once: Once = field(default_factory=Once)

    def log_file(self, decision: ComponentDecision) -> Path:
        return self.project.work_dir / "components" / decision.item.id / "build.log"

    def base(self, decision: ComponentDecision) -> str:
        """Return the name in the store of an image's base, which is there when this returns."""
        said, arch = decision.item.declaration, decision.item.arch
        return self._image(said.base_image, said.packages, arch)

    def build_image(self, decision: ComponentDecision) -> str:
        said = decision.item.declaration
        if not said.build_image and not said.build_packages:
            return self.base(decision)
        return self._image(said.build_image, said.build_packages, self.project.build_arch)

    def passing_name(self, decision: ComponentDecision) -> str:
        """Return the name of an image until it is proven; a killed run's are found by it, and removed."""
        return f"{STAGE_REPOSITORY}:{decision.key}-{self.run_id}-unproven"

    def _image(self, pinned: str | None, packages: Sequence[str], arch: Arch) -> str:
        if pinned:
            return self.open_pulls().ensure(pinned, name_pulled(pinned, arch), arch)
        return self.open_packages().ensure_packages(arch, packages)

    def packing(self, decision: ComponentDecision) -> Packing:
        """Return how an image is packed: layers of a base that is in a registry stay as they are there."""
        plain = self.project.packing
        if not decision.item.declaration.base_image:
            return plain
        name = self.base(decision)
        return plain.keeping(self.once.get(("layers", name), lambda: read_base_layers(name)))


def open_component_workshop(
    project: Project, planned: PlannedComponents, run_id: str, say: Callable[[str], None], held: ExitStack
) -> ComponentWorkshop:
    """Copy the sources and return what builds them; what it opens is closed with ``held``.

    The caller holds the project and the store.
    """
    once = Once()

    def open_packages() -> PackageImages:
        opened = package_source(project).open_packages(project.workplace)
        held.callback(opened.close)
        return opened

    def open_pulls() -> Puller:
        place = project.workplace
        puller = open_puller(place.registry, place.root, cache_dir=place.cache_dir, work_dir=place.work_dir)
        held.callback(puller.close)
        return puller

    folder = project.work_dir / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    # Of an image that is only proven, the Python packages are asked for: they are part of what is attested.
    wanted = {decision.item.declaration.name for decision in planned.plan.work if decision.action is not Action.TAG}
    return ComponentWorkshop(
        project=project,
        staged={name: planned.sources[name].stage(folder) for name in sorted(wanted)},
        run_id=run_id,
        open_packages=lambda: once.get("packages", open_packages),
        open_pulls=lambda: once.get("pulls", open_pulls),
        say=say,
    )
