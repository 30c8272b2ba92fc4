"""Private keys as 'cosign generate-key-pair' writes them (sigstore/cosign, pkg/cosign/keys.go).

Encrypted as in go-securesystemslib: scrypt and secretbox, in JSON.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from builder.errors import FormatError, SignerError
from builder.foreign import read_json
from builder.signing.backends.file import FileKey

if TYPE_CHECKING:
    from builder.signing.backends.key import KeyRequest

_KEY = re.compile(rb"-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END")
# N times r: cosign's own are 2**19 and 2**20; scrypt takes 128 bytes of memory for each.
_MOST_SCRYPT = 2**21
_MOST_PARALLEL = 4


def open_key(request: KeyRequest) -> FileKey:
    """Open a key file of cosign's; raises SignerError where it is damaged, or needs another passphrase."""
    password = request.passphrase.encode() if request.passphrase else None
    return FileKey(_decrypt(request.content, password, str(request.place)), None, str(request.place))


def _decrypt(data: bytes, password: bytes | None, file: str) -> bytes:
    """Return the key, PKCS#8 in DER."""
    if password is None:
        raise SignerError(
            "passphrase-missing", f"key file {file} is encrypted, as cosign does it",
            hint="name its passphrase with passphrase_env or passphrase_file in versions.yaml",
        )  # fmt: skip
    try:
        match = _KEY.search(data)
        content = read_json(base64.b64decode(match[1]), "it") if match else {}
        kdf, cipher = content["kdf"], content["cipher"]
        names = (kdf["name"], cipher["name"])
        n, r, p = (int(kdf["params"][name]) for name in ("N", "r", "p"))
        if (
            names != ("scrypt", "nacl/secretbox")
            or not 1 < n * r <= _MOST_SCRYPT
            or not 0 < p <= _MOST_PARALLEL
            or r < 1
        ):
            raise ValueError(f"{names} with {n}, {r}, {p}")  # noqa: TRY301 - one message for all that is wrong with it
        salt, nonce, secret = (base64.b64decode(text) for text in (kdf["salt"], cipher["nonce"], content["ciphertext"]))
        box = SecretBox(Scrypt(salt=salt, length=SecretBox.KEY_SIZE, n=n, r=r, p=p).derive(password))
        return bytes(box.decrypt(secret, nonce))
    except CryptoError:
        raise SignerError("passphrase-wrong", f"key file {file} cannot be read: the passphrase is wrong") from None
    except (ValueError, KeyError, TypeError, OverflowError, FormatError) as error:
        raise SignerError("key-unreadable", f"key file {file} is no key of cosign's: {error!r}"[:200]) from None
