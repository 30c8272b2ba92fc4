"""What a component image is made of: its inputs, their key, and the unit that is planned. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from builder.config.tag_rules import component_names
from builder.digest import content_id

if TYPE_CHECKING:
    from builder.config.model.component import Component
    from builder.kernel import Arch

COMPONENT_REPOSITORY = "localhost/kmodsmith/component"
# Part of every key: a change in how images are put together makes new ones.
_FORMAT = "1"


def name_key_image(key: str) -> str:
    """Return the name in the container store that carries a key."""
    return f"{COMPONENT_REPOSITORY}:{key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentItem:
    """One component for one architecture: what is planned, built, proven and published."""

    declaration: Component
    arch: Arch

    @property
    def id(self) -> str:
        """Its printable name, ``name-version/arch``."""
        return f"{self.declaration.name}-{self.declaration.version}/{self.arch}"

    @property
    def names(self) -> tuple[str, str]:
        """Full names: its own, and the one that architectures share."""
        return component_names(self.declaration.image_name, self.declaration.version, self.arch.oci)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentInputs:
    """Everything that goes into a component image; each field is a digest, an identity or a version."""

    component: str
    arch: str
    source: str
    containerfile: str
    recipe: str
    licenses: str
    base: str
    wheels: str = ""
    """Digest of the file that locks them, and the version of Python; empty without."""
    build: str = ""
    """Identity of the image in which the stage ``build`` runs; empty where that is the base."""
    trust: str = ""
    """``UNTRUSTED`` where versions.yaml is not trusted: such an image is never taken for one that is."""
    format: str = _FORMAT

    @property
    def key(self) -> str:
        return content_id("component", asdict(self))

    @property
    def key_image(self) -> str:
        """The name in the container store that carries the key."""
        return name_key_image(self.key)
