"""Finds private keys and other secrets in files. Only what is certainly one counts: a header alone is no key.

Programs that read keys contain the words ``-----BEGIN PRIVATE KEY-----`` themselves, so a key is the header with
its base64 body, or the DER structure. A few keys are on every machine, and no secrets: their digests are known. Pure.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PEM = re.compile(
    rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----(?:\\n|[\r\n])+(?:[A-Za-z-]+: [^\n]*\n+)*[A-Za-z0-9+/=\s\\]{40}"
)
# SHA-256 of base64 bodies, without white space, of keys that their makers published; read from Debian 12's packages. By
# the body alone: no secret is let through by where it lies.
_PUBLISHED = frozenset(
    {
        # GnuTLS tries its algorithms with them when it starts: lib/crypto-selftests-pk.c, and so in libgnutls.so.30.
        "bf552d2ff30b20f0b0ee2bcc357a5ab68dbe899ae09a0071b097bee2d2434332",
        "cadf1e62661d5d21a7fce2c80b3319022ee366137e4b302a7ea78b7f17d6f599",
        "6d03bbf47115fad00d6f990593a6465ca693d0f6d797721cfc94b0190349b50d",
        "24a2416c5abbb67327599619c25906553b849d79cbc413e2a061f12de6718838",
        "9ab6db67523ba6071fdb948b3ce38349ec08fb726f359abbbca33a3a84238ba2",
        "f287c70b1db074fe73f73bfb1f09a8b0231e0d951d5bfd30a742bcb9de9195ab",
        # EDK II's example of who may enrol keys ("snakeoil"; its password is that word), of the packages of firmware.
        "b80fcdb95cfdf2553722f48f100e7806a412965a560d40a3919ded3c335da8fc",
    }
)
_END = b"-----END "
OVERLAP = 8192
"""How much of what was looked through has to be looked through again with what follows; bytes."""
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


def find_leaks(content: bytes, path: str, *, more: bool = False) -> list[Leak]:
    """Look through a file of an image, or through a part of it.

    Args:
        content: all of it; or a part, with the last ``OVERLAP`` bytes of the part before it.
        path: in the image.
        more: another part follows. A key that it ends is looked at then, when it is whole.
    """
    kinds = list(dict.fromkeys(_find_pem(content, len(content) - OVERLAP if more else len(content))))
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


def _find_pem(content: bytes, sure: int) -> Iterator[str]:
    """Yield kinds of keys; those without an end, from ``sure`` on, are left to whoever sees more."""
    for match in _PEM.finditer(content):
        end = content.find(_END, match.end(), match.end() + OVERLAP // 2)  # beyond that no key goes
        if end < 0 and match.start() >= sure:
            continue
        body = b"".join(content[match.end(1) + 5 : end].split()) if end >= 0 else b""
        if hashlib.sha256(body).hexdigest() not in _PUBLISHED:
            yield match[1].decode().lower()


def find_setting_leaks(settings: list[str]) -> list[Leak]:
    """Look through environment variables of an image's configuration."""
    return [Leak(word.partition("=")[0], "environment variable") for word in settings if _SECRET_SETTING.match(word)]
