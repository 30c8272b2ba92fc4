"""``groups``: which kernels are built for. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builder.config.model.declaration import Declaration, form
from builder.config.model.names import Glob, Name
from builder.config.release_kinds import ReleaseKind
from builder.kernel import Arch, Variant


class Group(Declaration):
    """A named selection of kernels."""

    source: str
    """Kernel source."""
    description: str = ""
    """For people."""
    kernels: Annotated[tuple[Glob, ...], Field(min_length=1)] = ("*",)
    """Globs over kernel versions (`uname -r`)."""
    releases: tuple[Glob, ...] = ()
    """Globs over versions of OpenShift: only kernels that such a release runs. Empty: those of every release."""
    include: Annotated[tuple[Annotated[ReleaseKind, Field(strict=False)], ...], Field(min_length=1)] = (ReleaseKind.GA,)
    """Kinds of releases that count. ga: generally available. candidate: ec, fc, rc and nightlies. hotfix: hotfixes and
    assemblies, made for one customer. What `releases` names in full, without a glob, counts whatever its kind."""
    arches: Annotated[tuple[Annotated[Arch, Field(strict=False)], ...], Field(min_length=1)] = tuple(Arch)
    """Architectures."""
    variants: Annotated[tuple[Annotated[Variant, Field(strict=False)], ...], Field(min_length=1)] = tuple(Variant)
    """Kernel variants."""
    newest: bool = False
    """Only the newest kernel of each series, variant and architecture."""
    signers: tuple[Name, ...] = ()
    """Who signs the modules; two while certificates are being rotated: a kernel that trusts either loads them."""
    tag_suffix: Annotated[
        str,
        form(r"^(-[a-z0-9]([a-z0-9-]*[a-z0-9])?)?$", "a '-' and small letters or digits, such as -dev", max_length=20),
    ] = ""
    """What the tags of its images end with, such as `-dev`: groups that take the same kernels and sign otherwise must
    differ in it, or one would take the names of the other's images."""
    signing: Literal["optional", "required", "production"] = "optional"
    """optional: without signers, images are labelled as unsigned. required: no cell without a signer. production:
    in addition, no development key."""
