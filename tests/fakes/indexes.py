"""Indexes that a vendor signed, and those that nobody should believe."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

KIND = "application/vnd.kmodsmith.index.v1+json"
IMAGE = f"quay.test/vendor/ptemplate@sha256:{'a' * 64}"
KERNEL = "5.14.0-427.13.1.el9_4.x86_64"


class VendorSigner:
    """A private key in memory, and its public half in PEM form."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = self.key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def sign(self, payload: bytes, kind: str = KIND) -> bytes:
        signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(signed, ec.ECDSA(hashes.SHA256()))

    def envelope(self, payload: bytes, kind: str = KIND, /, **changes: Any) -> bytes:
        sig = base64.b64encode(self.sign(payload, kind)).decode()
        data = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [{"keyid": "", "sig": sig}],
        }
        return json.dumps(data | changes).encode()

    def index(self, **changes: Any) -> bytes:
        return self.envelope(json.dumps(say(**changes)).encode())


def say(**changes: Any) -> dict[str, Any]:
    """Return what an index says."""
    image = {"image": IMAGE, "arch": "amd64", "proven": "secure", "signedBy": ["ab" * 32]}
    return {
        "format": 1,
        "driver": "ptemplate",
        "made": "2026-11-27T07:00:00Z",
        "images": {"1.0.0": {KERNEL: image}},
        "releases": {"4.18.25-x86_64": [KERNEL]},
    } | changes


VENDOR, STRANGER = VendorSigner(), VendorSigner()
