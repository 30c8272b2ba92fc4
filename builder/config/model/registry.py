"""``registry``: how registries are read and written. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.file_names import FileName
from builder.config.model.image_names import ImagePrefix

if TYPE_CHECKING:
    from typing import Self


def _check_port(text: str) -> str:
    _, separator, port = text.partition(":")
    if separator and not 0 < int(port) < _PORTS:
        raise complain(f"{port} is no port")
    return text


_PORTS = 65_536
RegistryHost = Annotated[
    str,
    form(r"^[a-z0-9.-]+(:[0-9]{1,6})?$", "a host, with its port if need be, such as registry.site:5000; no https://"),
    AfterValidator(_check_port),
]


class Mirror(Declaration):
    """Where else images are, spelled as in an ImageDigestMirrorSet."""

    source: ImagePrefix
    """Registry, or registry and the beginning of a repository."""
    mirrors: Annotated[tuple[ImagePrefix, ...], Field(min_length=1)]
    """What takes the place of `source`, in the order in which they are asked."""
    mirrorSourcePolicy: Literal["AllowContactingSource", "NeverContactSource"] = "AllowContactingSource"  # noqa: N815
    """NeverContactSource: for sites without a way out."""


class RegistrySettings(Declaration):
    """How registries are read and written; a pull secret is never in this file."""

    auth_files: tuple[FileName, ...] = ()
    """Files with pull secrets, as `podman login` writes them, relative to versions.yaml; the first that has the longest
    prefix of an image's name counts. Read before those that podman and docker use."""
    mirrors: tuple[Mirror, ...] = ()
    """Mirrors, for disconnected sites."""
    plain_http: tuple[RegistryHost, ...] = ()
    """Hosts that are spoken to without TLS."""
    unverified_tls: tuple[RegistryHost, ...] = ()
    """Hosts whose certificate is not verified."""
    token_services: dict[RegistryHost, tuple[RegistryHost, ...]] = {}
    """Hosts that get a registry's password because its tokens come from there: `registry.site: [gitlab.site]`. The
    registry itself and the token services of Docker Hub, GitLab and Red Hat need no entry; see docs/publish.md."""
    timeout: Annotated[int, Field(ge=1, le=600)] = 30
    """Seconds that a server may be silent."""

    _is_anonymous: bool = PrivateAttr(default=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether no pull secret may be used, wherever it lies: the file is not trusted."""
        return self._is_anonymous

    def forget_secrets(self) -> Self:
        """Return settings with which no pull secret is used."""
        settings = self.model_copy()
        settings._is_anonymous = True  # noqa: SLF001 - its own
        return settings

    def without_tls(self, host: str) -> Self:
        """Return settings with which one host is spoken to without TLS, as a command line may say."""
        return self.model_copy(update={"plain_http": (*self.plain_http, host)})
