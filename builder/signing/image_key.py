"""The way to the key that signs images, and the public keys that they are verified with. There is no fallback."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import FormatError, SignerError
from builder.signing.access import check_key_place, open_key
from builder.signing.public_key import parse_public_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from builder.config.model.config import Config
    from builder.signing.backends.key import Key
    from builder.signing.public_key import PublicKey

IMAGE_SIGNER = "of images"
"""What the one signer of images is called beside those of modules, which have names of versions.yaml."""
_CHALLENGE = b"kmodsmith asks whether this key belongs to this public key"


@dataclass(frozen=True, slots=True)
class OpenImageSigner:
    """A key that was tried and belongs to its public key; safe to use from several threads."""

    key: PublicKey
    _private: Key

    def sign(self, content: bytes) -> bytes:
        """Return a signature over the SHA-256 of content.

        Raises:
            SignerError: the key cannot be reached, or is not the private half of the public key.
        """
        signature = self._private.sign(hashlib.sha256(content).digest(), "sha256")
        if not self.key.accepts(signature, content):
            raise SignerError(
                "key-mismatch",
                f"signer {IMAGE_SIGNER}: the private key does not belong to the public key of SHA-256 "
                f"{self.key.fingerprint}",
                hint="clusters that trust the public key would refuse the images",
            )
        return signature


def read_public_key(file: Path) -> PublicKey:
    """Read a public key.

    Raises:
        SignerError: it cannot be read, or is of a kind that not everybody takes.
    """
    try:
        return parse_public_key(file.read_bytes())
    except OSError as error:
        raise SignerError("public-key-unreadable", f"public key {file} cannot be read: {error.strerror}") from None
    except FormatError as error:
        raise SignerError("public-key-unreadable", f"public key {file}: {error.message}") from None


def read_image_key(config: Config) -> PublicKey | None:
    """Return the public key of versions.yaml; None where images are not signed.

    Errors are those of ``read_public_key``.
    """
    signer = config.publish.signer
    return None if signer is None else read_public_key(signer.resolve(signer.public_key))


@contextlib.contextmanager
def open_image_signer(config: Config) -> Iterator[OpenImageSigner | None]:
    """Open the key that versions.yaml names, try it, and close it in the end; None where images are not signed.

    Raises:
        SignerError: it cannot be reached, may not be used, or belongs to another public key.
    """
    key, entry = read_image_key(config), config.publish.signer
    if key is None or entry is None:
        yield None
        return
    check_key_place(IMAGE_SIGNER, entry, [driver.source_dir for driver in config.drivers])
    with open_key(IMAGE_SIGNER, entry) as private:
        signer = OpenImageSigner(key, private)
        signer.sign(_CHALLENGE)
        yield signer
