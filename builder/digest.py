"""Digests as registries spell them, and the identities that kmodsmith derives from plain values. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeGuard

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def sha256_of(content: bytes) -> str:
    """Return ``sha256:`` and the hexadecimal SHA-256 of content (OCI image-spec, descriptor digests)."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(value: object) -> TypeGuard[str]:
    """Tell whether a value is spelled as ``sha256_of`` does it: then it is no path either."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def content_id(*parts: object) -> str:
    """Hash of plain values in canonical JSON: the one way in which kmodsmith derives identities."""
    return hashlib.sha256(_CANONICAL.encode(parts).encode()).hexdigest()
