"""The way to the private keys of versions.yaml, and signers whose key was tried. There is no fallback."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.config.pkcs11_uri import parse_pkcs11_uri
from builder.errors import SignerError
from builder.signing.backends.key import KeyRequest
from builder.signing.backends.table import choose_backend
from builder.signing.held_key import HeldKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from builder.config.model.config import Config
    from builder.config.model.signer import KeyPlace
    from builder.signing.backends.key import Key
    from builder.signing.certificates import SignerIdentity

_CHALLENGE = b"kmodsmith asks whether this key belongs to this certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSigner:
    """A signer whose key was tried and belongs to its certificate."""

    identity: SignerIdentity
    key: Key

    def sign(self, digest: bytes) -> bytes:
        """Sign a digest of the identity's algorithm.

        Raises:
            SignerError: the key cannot be reached, or what came back is no signature of this certificate.
        """
        algorithm = self.identity.algorithm
        signature = self.key.sign(digest, algorithm)
        if not self.identity.certificate.accepts(signature, digest, algorithm):
            raise SignerError(
                "key-mismatch",
                f"signer {self.identity.name}: the key does not belong to the certificate of "
                f"{self.identity.certificate.subject}",
                hint="signatures by it would be refused by every kernel that trusts the certificate",
            )
        return signature


@contextlib.contextmanager
def open_signers(config: Config, identities: Sequence[SignerIdentity]) -> Iterator[Sequence[OpenSigner]]:
    """Open signers, try the key of each against its certificate, and close them in the end.

    Raises:
        SignerError: a key cannot be reached, may not be used, or belongs to another certificate.
    """
    sources = [driver.source_dir for driver in config.drivers]
    with contextlib.ExitStack() as held:
        opened = []
        for identity in identities:
            entry = config.signers[identity.name]
            check_key_place(identity.name, entry, sources)
            key = held.enter_context(open_key(identity.name, entry))
            signer = OpenSigner(identity=identity, key=key)
            signer.sign(hashlib.new(identity.algorithm, _CHALLENGE).digest())
            opened.append(signer)
        yield opened


def check_key_place(name: str, signer: KeyPlace, sources: Iterable[Path]) -> None:
    """Check that no key and no passphrase lies in a driver's source, which goes into the compile's container.

    Raises:
        SignerError: one does.
    """
    pin_file = parse_pkcs11_uri(signer.pkcs11).pin_source if signer.pkcs11 else None
    files = [signer.resolve(file) for file in (signer.key_file, signer.passphrase_file) if file]
    secrets = [file.resolve() for file in (*files, *([Path(pin_file)] if pin_file else ()))]
    for source in sources:
        for secret in secrets:
            if secret.is_relative_to(source.resolve()):
                raise SignerError(
                    "key-in-source",
                    f"signer {name}: {secret} lies in the driver source {source}, which is copied into containers",
                    hint="move it out of the project, and consider it known to whoever has seen the source",
                )


KEY_SOCKET = "KMODSMITH_KEY_SOCKET"
"""Environment variable: keys are asked for there, whatever versions.yaml says of where they are on other machines."""


@contextlib.contextmanager
def open_key(name: str, signer: KeyPlace) -> Iterator[Key]:
    """Open the way to a signer's key, and close it in the end; the key itself is not tried yet.

    Where this machine has no keys and asks another process (``KEY_SOCKET``), that is the way to all of them.

    Raises:
        SignerError: versions.yaml is not trusted, or the key cannot be reached.
    """
    if signer.is_forbidden:
        raise SignerError(
            "untrusted", f"signer {name}: versions.yaml is not trusted (--untrusted), so no key is opened"
        )
    if place := os.environ.get(KEY_SOCKET):
        yield choose_backend("socket").open(KeyRequest(signer=name, way="socket", place=place))
        return
    with open_own_key(name, signer) as key:
        yield key


@contextlib.contextmanager
def open_own_key(name: str, signer: KeyPlace) -> Iterator[Key]:
    """Open a key that this machine has, as its entry says. Errors are those of ``open_key``."""
    way, place = signer.way
    request = KeyRequest(
        signer=name,
        way=way,
        place=str(signer.resolve(signer.key_file)) if signer.key_file else place,
        environment={variable: os.environ[variable] for variable in signer.pass_environment if variable in os.environ},
    )
    backend = choose_backend(way)
    if not backend.is_held:
        yield backend.open(request)
        return
    with contextlib.closing(HeldKey(_with_passphrase(request, signer))) as key:
        yield key


def _with_passphrase(request: KeyRequest, signer: KeyPlace) -> KeyRequest:
    if signer.passphrase_file:
        return replace(request, passphrase_file=str(signer.resolve(signer.passphrase_file)))
    if not signer.passphrase_env:
        return request
    passphrase = os.environ.get(signer.passphrase_env)
    if passphrase is None:
        raise SignerError(
            "passphrase-missing", f"signer {request.signer}: the environment has no {signer.passphrase_env}"
        )
    return replace(request, passphrase=passphrase)
