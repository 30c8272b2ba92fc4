"""What can be published, whatever it is: an image under its names, and a list of such images under a shared one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.digest import content_id
from builder.image.packed import Packing
from builder.publish.attest.bundle import SIGNATURE_PREDICATE
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from builder.pullspec import Pullspec


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNames:
    """Full names of an image, all in one repository: its own, and those that other architectures share."""

    own: tuple[str, ...]
    shared: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.own, *self.shared)

    @property
    def repository(self) -> str:
        return self.own[0].rpartition(":")[0]

    def image(self, digest: str) -> Pullspec:
        """Return the image by digest, in the repository of its names."""
        return parse_pullspec(self.own[0]).at(digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """What is stated of an image, by kind (predicate type), and when what is stated was made (RFC 3339)."""

    by_kind: Mapping[str, bytes]
    made: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishable:
    """An image that is published under names of its own.

    Args:
        title: what people call it, also in the journal.
        key: hash of all that it is made of; empty where that is not known here.
        arch: its architecture (OCI spelling).
        names: under which it is published.
        predicates: the kinds of statements that it must have where images are signed.
        state: gives them, for the digest of an image that is here, or holds the very files of it; called if need be.
        stored_as: its name in the container store.
        digest: of the image in registries; empty where it is not in the store as it should be.
        packing: how it becomes one with this digest.
        base: full name by digest of the image that gives the layers which it keeps; empty where it keeps none.
        why: why it is not, or why its key is not known.
        is_known: versions.yaml acknowledges that it cannot be made now, so that it lacks is no news.
    """

    title: str
    key: str
    arch: str
    names: ImageNames
    predicates: tuple[str, ...]
    state: Callable[[str], Statements]
    stored_as: str = ""
    digest: str = ""
    packing: Packing = field(default_factory=Packing)
    base: str = ""
    why: str = ""
    is_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishableList:
    """A name that stands for images of several architectures: all that have it.

    Those that cannot be made here now belong to it, too: a list without them would be final.
    """

    name: str
    title: str
    members: tuple[Publishable, ...]

    predicates = (SIGNATURE_PREDICATE,)

    @property
    def refused(self) -> tuple[str, ...]:
        """Say of which members it is not known here what they should be made of, and why."""
        return tuple(f"{item.title}: {item.why}" for item in self.members if not item.key)

    @property
    def is_known_to_wait(self) -> bool:
        """Whether there are such members, and versions.yaml acknowledges all of them."""
        return bool(self.refused) and all(item.is_known for item in self.members if not item.key)

    @property
    def key(self) -> str:
        """What all members are made of; empty as long as that is not known of one."""
        return "" if self.refused else content_id("list", sorted(item.key for item in self.members))
