"""Digests as registries spell them. Pure."""

from __future__ import annotations

import hashlib


def sha256_of(content: bytes) -> str:
    """Return ``sha256:`` and the hexadecimal SHA-256 of content (OCI image-spec, descriptor digests)."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
