"""``publish``: what images are called in registries, and who signs them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.signer import ImageSigner
from builder.config.tag_rules import check_tag_rule, is_own_tag
from builder.errors import UsageError

if TYPE_CHECKING:
    from typing import Self


def _check_tag_rule(text: str) -> str:
    try:
        check_tag_rule(text)
    except UsageError as error:
        raise complain(error.message) from None
    return text


TagRule = Annotated[str, AfterValidator(_check_tag_rule)]


class PublishSettings(Declaration):
    """How images are named in registries, and who signs them. Which registry, each driver's `image` says."""

    tags: Annotated[tuple[TagRule, ...], Field(min_length=1)] = ("version-kernel",)
    """Tags of an image, the first being the one that plans show. version-kernel: `{version}-{kernel}`. kernel: the
    kernel alone, as KMM's day-1 wants it; then the driver's version belongs into the name of the image. Or a pattern
    of {driver}, {version}, {kernel}, {kernel_noarch} (the kernel without its architecture), {arch} and {variant}: where
    images of several architectures get the same tag, it stands for a list of them. None is ever moved."""
    signer: ImageSigner | None = None
    """Who signs images; without it they are published unsigned, and nothing is attested."""
    builder: Annotated[
        str, form(r"^[a-z][a-z0-9+.-]*:\S+$", "a URI such as https://ci.example.com/builder or urn:example:laptop")
    ] = "urn:kmodsmith:builder:local"
    """URI that says in provenance whose machine builds: another for laptops than for a guarded pipeline."""
    require_boot: Literal["any", "secure", "signed"] = "any"
    """What a boot test must have proved before an image is published, and for verify to pass. any: nothing more than
    build.boot wants. secure: its modules load under Secure Boot and lockdown, if only as copies with a throwaway
    signature. signed: they do with their own signatures."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not is_own_tag(self.tags[0]):
            raise complain(f"tags: the first must hold {{kernel}}, or kernels share it; {self.tags[0]!r} does not")
        return self
