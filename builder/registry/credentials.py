"""Pull secrets, and who may be told them: a registry at its very address, and token services that are known beforehand.

What a registry answers never decides who gets a password.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from builder.errors import FormatError, UsageError
from builder.foreign import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.pullspec import Pullspec

# Token services that public registries have elsewhere, as their documentation says. Others: registry.token_services.
TOKEN_SERVICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "docker.io": ("auth.docker.io",),
        "registry-1.docker.io": ("auth.docker.io",),
        "registry.gitlab.com": ("gitlab.com",),
        "registry.redhat.io": ("sso.redhat.com",),
        "registry.connect.redhat.com": ("sso.redhat.com",),
    }
)


class Credentials:
    """Pull secrets (containers-auth.json(5)): the entry with the longest matching prefix of a name counts.

    Args:
        files: read in order; an entry of an earlier file counts more than the same one of a later file.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self._entries: dict[str, str] = {}
        self._files = tuple(files)
        for file in files:
            for name, secret in _read_auth_file(file).items():
                self._entries.setdefault(name, secret)

    def find(self, pullspec: Pullspec) -> str | None:
        """Return ``user:password`` for an image; None where no entry matches."""
        words = [pullspec.host, *pullspec.repository.split("/")]
        for length in range(len(words), 0, -1):
            secret = self._entries.get("/".join(words[:length]))
            if secret is not None:
                return secret
        return None

    @property
    def sources(self) -> str:
        return ", ".join(map(str, self._files)) or "none"

    def explain_refusal(self, pullspec: Pullspec) -> str:
        """Say what to look at where a registry refuses access to an image."""
        has_secret = self.find(pullspec) is not None
        fault = "the pull secret for it is wrong or may not read it" if has_secret else "there is no pull secret for it"
        return f"{fault}; files read: {self.sources}"


def default_auth_files() -> list[Path]:
    """Return the files that podman, buildah and skopeo read, where they exist."""
    run_dir = os.environ.get("XDG_RUNTIME_DIR")
    places = [os.environ.get("REGISTRY_AUTH_FILE"), f"{run_dir}/containers/auth.json" if run_dir else None]
    places += [f"/run/containers/{os.getuid()}/auth.json", "~/.config/containers/auth.json", "~/.docker/config.json"]
    return [path for place in places if place and (path := Path(place).expanduser()).is_file()]


def _read_auth_file(file: Path) -> dict[str, str]:
    try:
        data = read_json(file.read_text(encoding="utf-8"), "it")
        auths = data.get("auths", {})
        entries = {}
        for name, entry in auths.items():
            if "auth" in entry:
                secret = base64.b64decode(entry["auth"], validate=True).decode()
            elif "username" in entry:
                secret = f"{entry['username']}:{entry['password']}"
            else:
                continue  # a credential helper's; see the README
            user, _, password = secret.partition(":")
            entries[_plain_host(name)] = f"{user}:{password}"
    except (OSError, ValueError, AttributeError, TypeError, KeyError, FormatError) as error:
        raise UsageError(
            f"{file} is not a file of pull secrets: {error}"[:500],
            hint='it must be JSON with "auths", as podman login writes it',
        ) from None
    return entries


def _plain_host(name: str) -> str:
    """Return an entry's name without the address that old Docker clients wrote: https://index.docker.io/v1/."""
    without = re.sub(r"^https?://", "", name).rstrip("/")
    without = re.sub(r"/v[12]$", "", without)
    return "docker.io" if without == "index.docker.io" else without
