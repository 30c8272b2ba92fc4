"""The way to registries as versions.yaml says: mirrors, credentials, and which of them are not verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.registry.reader import Credentials, Registry, default_auth_files

if TYPE_CHECKING:
    from builder.config.model import RegistrySettings


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """A registry client, and what buildah needs to be told to read the same images."""

    registry: Registry
    credentials: Credentials
    without_verification: frozenset[str]


def open_registries(settings: RegistrySettings, root: Path, cache_dir: Path) -> RegistryAccess:
    """Return access as versions.yaml says, without secrets if it is not trusted; files are relative to ``root``.

    Raises:
        UsageError: a file of pull secrets is not one.
    """
    files = [root / Path(name).expanduser() for name in settings.auth_files]
    credentials = Credentials([] if settings.is_anonymous else [*files, *default_auth_files()])
    registry = Registry(
        credentials,
        cache_dir / "registry",
        mirrors={mirror.source: mirror.mirrors for mirror in settings.mirrors},
        never_contact=[
            mirror.source for mirror in settings.mirrors if mirror.mirrorSourcePolicy == "NeverContactSource"
        ],
        plain_http=settings.plain_http,
        unverified_tls=settings.unverified_tls,
        token_services=settings.token_services,
        timeout_s=settings.timeout,
    )
    return RegistryAccess(registry, credentials, frozenset([*settings.plain_http, *settings.unverified_tls]))
