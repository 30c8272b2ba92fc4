"""Key files as cosign writes them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.key_holder import ask_holder

if TYPE_CHECKING:
    from pathlib import Path


_SIGSTORE_PASSWORD = b"hunter2"


def _sigstore_key(password: bytes = _SIGSTORE_PASSWORD, **changes: Any) -> bytes:
    """Write a key as cosign does; a real one is in the tests with real tools."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    from nacl.secret import SecretBox

    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    salt, nonce = b"s" * 32, b"n" * 24
    box = SecretBox(Scrypt(salt=salt, length=32, n=1024, r=8, p=1).derive(password))

    def encode(raw: bytes) -> str:
        return base64.b64encode(raw).decode()

    content = {
        "kdf": {"name": "scrypt", "params": {"N": 1024, "r": 8, "p": 1}, "salt": encode(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": encode(nonce)},
        "ciphertext": encode(box.encrypt(der, nonce).ciphertext),
    } | changes
    body = encode(json.dumps(content).encode())
    return f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{body}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n".encode()


def test_a_key_of_cosign_signs(tmp_path: Path) -> None:
    file = tmp_path / "cosign.key"
    file.write_bytes(_sigstore_key())
    file.chmod(0o600)
    ready, answer = ask_holder("key_file", str(file), b"0" * 32, passphrase="hunter2")
    assert (ready, bool(answer["signature"])) == ({"ready": "yes"}, True)


@pytest.mark.parametrize(
    ("changes", "passphrase", "code"),
    [
        ({}, None, "passphrase-missing"),
        ({}, "wrong", "passphrase-wrong"),
        ({"kdf": {}}, "hunter2", "key-unreadable"),
        ({"kdf": {"name": "scrypt", "params": {"N": 2**40, "r": 8, "p": 1}, "salt": ""}}, "hunter2", "key-unreadable"),
        ({"ciphertext": "!"}, "hunter2", "passphrase-wrong"),
    ],
)
def test_a_key_of_cosign_that_cannot_be_read(
    tmp_path: Path, changes: dict[str, Any], passphrase: str | None, code: str
) -> None:
    file = tmp_path / "cosign.key"
    file.write_bytes(_sigstore_key(**changes))
    file.chmod(0o600)
    (answer,) = ask_holder("key_file", str(file), passphrase=passphrase)
    assert answer["error"] == code
    assert "hunter2" not in answer["message"]
