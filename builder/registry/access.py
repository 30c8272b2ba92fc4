"""The way to registries as versions.yaml says: mirrors, credentials, and which of them are not verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.registry.credentials import Credentials, default_auth_files
from builder.registry.reader import Registry
from builder.registry.transport import Connection, Transport

if TYPE_CHECKING:
    from builder.config.model.registry import RegistrySettings


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
    connection = Connection(
        mirrors={mirror.source: mirror.mirrors for mirror in settings.mirrors},
        never_contact=frozenset(
            mirror.source for mirror in settings.mirrors if mirror.mirrorSourcePolicy == "NeverContactSource"
        ),
        plain_http=frozenset(settings.plain_http),
        unverified_tls=frozenset(settings.unverified_tls),
        token_services=settings.token_services,
        timeout_s=settings.timeout,
    )
    registry = Registry(Transport(credentials, connection), cache_dir / "registry")
    return RegistryAccess(registry, credentials, connection.plain_http | connection.unverified_tls)
