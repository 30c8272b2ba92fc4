"""Finds private keys and other secrets in files. Only what is certainly one counts: a header alone is no key.

Programs that read keys contain the words ``-----BEGIN PRIVATE KEY-----`` themselves, so a key is the header with
its base64 body, or the DER structure. Pure.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

_PEM = re.compile(
    rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----(?:\\n|[\r\n])+(?:[A-Za-z-]+: [^\n]*\n+)*[A-Za-z0-9+/=\s\\]{40}"
)
# PKCS#8 PrivateKeyInfo (RFC 5958) with the algorithm RSA, EC or Ed25519, and PKCS#1 RSAPrivateKey (RFC 8017, A.1.2):
# SEQUENCE, INTEGER 0, then the algorithm, or the modulus and the exponent 65537.
_PKCS8 = re.compile(
    rb"\x30(?:[\x20-\x7f]|\x81.|\x82..)\x02\x01\x00\x30."
    rb"\x06(?:\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01|\x07\x2a\x86\x48\xce\x3d\x02\x01|\x03\x2b\x65\x70)",
    re.DOTALL,
)
_PKCS1 = re.compile(
    rb"\x30\x82..\x02\x01\x00\x02(?:\x81.|\x82..).{64,520}?\x02\x03\x01\x00\x01\x02(?:\x81|\x82)", re.DOTALL
)
_REGISTRY_AUTH = re.compile(rb'"auth"\s{0,9}:\s{0,9}"[A-Za-z0-9+/=]{8}')
_TOKENS = (
    (
        "cloud-access-key",
        re.compile(rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])[^\n]{0,80}[\r\n]+[^\n]{0,40}secret"),
    ),
    ("access-token", re.compile(rb"(?<![A-Za-z0-9_])(?:ghp_[A-Za-z0-9]{36}|glpat-[A-Za-z0-9_-]{20})(?![A-Za-z0-9_])")),
)
# Files that exist only to hold secrets.
_SECRET_FILES = frozenset({".dockercfg", ".netrc", ".git-credentials", "id_rsa", "id_ecdsa", "id_ed25519", ".pgpass"})
_SECRET_SETTING = re.compile(r"(?i)[^=]*(password|passphrase|passwd|secret|token|api_?key|private_?key)[^=]*=.+")


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that must not be in an image: where and of which kind; the secret itself is never kept."""

    path: str
    kind: str


def find_leaks(content: bytes, path: str) -> list[Leak]:
    """Look through a file of an image."""
    kinds = []
    if match := _PEM.search(content):
        kinds.append(match[1].decode().lower())
    # The DER forms start with a SEQUENCE and the INTEGER 0: searching for that first keeps large files cheap.
    if b"\x02\x01\x00\x30" in content and _PKCS8.search(content):
        kinds.append("private key (PKCS#8)")
    if b"\x02\x01\x00\x02" in content and _PKCS1.search(content):
        kinds.append("private key (PKCS#1)")
    if b'"auths"' in content and _REGISTRY_AUTH.search(content):
        kinds.append("registry-credentials")
    kinds += [kind for kind, pattern in _TOKENS if pattern.search(content)]
    if posixpath.basename(path) in _SECRET_FILES and content.strip():
        kinds.append("file for credentials")
    return [Leak(path, kind) for kind in kinds]


def find_setting_leaks(settings: list[str]) -> list[Leak]:
    """Look through environment variables of an image's configuration."""
    return [Leak(word.partition("=")[0], "environment variable") for word in settings if _SECRET_SETTING.match(word)]
