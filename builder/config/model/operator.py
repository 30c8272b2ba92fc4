"""``operator``: what brings drivers onto nodes of clusters. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import model_validator

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.names import Name, Text

if TYPE_CHECKING:
    from typing import Self


def _form_of_group() -> Any:
    return form(
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$",
        "a domain of yours with a dot in it, such as drivers.example.com",
        max_length=189,  # with the longest plural, and a dot, it is the longest name that a kind may have
    )


class OperatorSettings(Declaration):
    """What `emit operator` and `emit monitoring` write: a fork changes this and no code; see docs/operator-files.md."""

    component: Name
    """Component that is the operator's image; its version is that of the operator, `1.4.0`."""
    group: Annotated[str, _form_of_group()]
    """API group of the kind, a domain of yours; also the prefix of its labels and annotations."""
    documentation: Annotated[str, form(r"^https?://[^\s#]+$", "an address such as https://example.com/operator.md")]
    """Where docs/operator-files.md, or your own page with its headings, is to be read: alerts point there."""
    kind: Annotated[
        str,
        form(r"^[A-Z][A-Za-z0-9]{0,58}$", "a word that begins with a capital letter, such as KernelDriver"),
    ] = "KernelDriver"
    """Kind by which people say which driver they want; with `List` behind it, it is a name of at most 63 characters."""
    plural: Annotated[str, form(r"^[a-z][a-z0-9]{0,62}$", "small letters and digits")] | None = None
    """Its plural, as in `kubectl get kerneldrivers`; default: the kind in small letters and an `s`."""
    name: Name = "kmod-operator"
    """Name of everything that the operator consists of, and of its package; another vendor's in the same cluster has
    another one."""
    namespace: Name | None = None
    """Namespace that it runs in, where indexes and the pull secret lie, and no other operator and no driver; default:
    `name`."""
    drivers: tuple[Name, ...] = ()
    """Drivers that it may bring; default: all that have an image in a registry."""
    pull_secret: Name = "kmod-operator-pull"  # noqa: S105 - the name of an object
    """The one Secret that it may read: the pull secret of the registry that it reads indexes from, and that its own
    image is pulled from. It may be absent where anybody may read."""
    display_name: Text | None = None
    """What consoles call it; default: the summary of the component."""
    channel: Annotated[
        str, form(r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$", "small letters, digits, '.' and '-', such as stable")
    ] = "stable"
    """Channel of the catalog that it is offered in."""

    @property
    def plural_name(self) -> str:
        return self.plural or f"{self.kind.lower()}s"

    @property
    def namespace_name(self) -> str:
        return self.namespace or self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.drivers)) < len(self.drivers):
            raise complain("drivers names one twice")
        return self
