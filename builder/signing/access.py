"""Signers of versions.yaml: what their certificates allow, and the way to their keys. There is no fallback."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from builder.errors import CommandError, FormatError, SignerError
from builder.host.run import Command, Service, run
from builder.kmod.fit import ExpectedSigner
from builder.kmod.signature import parse_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from builder.config.model import Config, KeyPlace
    from builder.kmod.signature import Certificate

# The subject of a certificate that 'keys create' made says so in its organizational unit.
DEVELOPMENT_UNIT = "kmodsmith development key"
# Red Hat's own extended key usage for keys that may sign modules only (shim, "SB_SIGNING" documentation).
_MODULE_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.2312.16.1.2")
_MAY_SIGN_CODE = frozenset(
    {ExtendedKeyUsageOID.CODE_SIGNING, _MODULE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
)
_CHALLENGE = b"kmodsmith asks whether this key belongs to this certificate"
_ANSWER_TIMEOUT_S = 120.0
_NO_ANSWER = "no-answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerIdentity:
    """A signer by name, with its certificate and digest algorithm: all that a cell's key needs to know of it."""

    name: str
    certificate: Certificate
    algorithm: str

    @property
    def is_development(self) -> bool:
        units = self.certificate.x509.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return any(unit.value == DEVELOPMENT_UNIT for unit in units)

    @property
    def expected(self) -> ExpectedSigner:
        return ExpectedSigner(certificate=self.certificate, algorithm=self.algorithm)


def read_certificate(file: Path) -> Certificate:
    """Read a certificate, PEM or DER.

    Raises:
        FormatError: it cannot be read; see ``parse_certificate``.
    """
    try:
        return parse_certificate(file.read_bytes())
    except OSError as error:
        raise FormatError(f"certificate {file} cannot be read: {error.strerror}") from None
    except FormatError as error:
        raise FormatError(f"certificate {file}: {error.message}") from None


def read_identities(config: Config, group: str) -> tuple[SignerIdentity, ...]:
    """Read the certificates of a group's signers; raises as ``read_named_identities``."""
    return read_named_identities(config, config.groups[group].signers)


def read_named_identities(config: Config, names: Iterable[str]) -> tuple[SignerIdentity, ...]:
    """Read the certificates of signers.

    Raises:
        SignerError: there is no such signer, or its certificate cannot be read.
    """
    identities = []
    for name in names:
        signer = config.signers.get(name)
        if signer is None:
            known = ", ".join(sorted(config.signers)) or "none"
            raise SignerError(
                "no-signer",
                f"there is no signer {name!r} in versions.yaml; known: {known}",
                hint="'nox -s keys -- create' makes one for development",
            )
        try:
            certificate = read_certificate(signer.resolve(signer.certificate))
        except FormatError as error:
            raise SignerError("certificate-unreadable", f"signer {name}: {error.message}") from None
        identities.append(SignerIdentity(name=name, certificate=certificate, algorithm=signer.digest))
    return tuple(identities)


def check_policy(config: Config, group: str, identities: Sequence[SignerIdentity]) -> None:
    """Check that a group's signers are what the group demands; whether they may sign now is asked where they sign.

    Raises:
        SignerError: the first thing that is wrong.
    """
    demand = config.groups[group].signing
    if demand != "optional" and not identities:
        raise SignerError(
            "no-signer",
            f"group {group} demands signed modules, but names no signer",
            hint="name one under 'signers' of the group; 'nox -s keys -- create' makes a key for development",
        )
    for identity in identities:
        if demand == "production" and identity.is_development:
            raise SignerError(
                "development-key-forbidden",
                f"signer {identity.name} has a development key, which group {group} forbids (signing: production)",
            )


def check_certificate(identity: SignerIdentity, *, now: datetime) -> None:
    """Check validity and usage of a certificate.

    Raises:
        SignerError: with the code of what is wrong.
    """
    certificate = identity.certificate.x509
    where = f"signer {identity.name}: the certificate of {identity.certificate.subject}"
    if now > certificate.not_valid_after_utc:
        raise SignerError("certificate-expired", f"{where} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        since = certificate.not_valid_before_utc
        raise SignerError("certificate-not-yet-valid", f"{where} is valid only from {since:%Y-%m-%d %H:%M} UTC on")
    if not may_sign_code(certificate):
        raise SignerError(
            "certificate-without-code-signing",
            f"{where} may not be used to sign code",
            hint="it needs the key usage digitalSignature and, if it has extended key usages, codeSigning among them",
        )


def find_complaints(identities: Iterable[SignerIdentity], *, now: datetime) -> list[str]:
    """Return why signers may not sign now, a sentence each; who signs nothing need not stop because of it."""
    complaints = []
    for identity in identities:
        try:
            check_certificate(identity, now=now)
        except SignerError as error:
            complaints.append(error.message)
    return complaints


def may_sign_code(certificate: x509.Certificate) -> bool:
    """Tell whether the usages of a certificate cover signing modules (RFC 5280, 4.2.1.3 and 4.2.1.12)."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool(_MAY_SIGN_CODE & set(usages))


class KeyAccess(Protocol):
    """A way to a private key: a digest in, a raw signature out."""

    def sign(self, digest: bytes, algorithm: str) -> bytes: ...

    def close(self) -> None: ...


def _ask_twice(sign: Callable[[], bytes]) -> bytes:
    """Sign, and try again once where no answer came: the first way to the key is given up by then."""
    try:
        return sign()
    except SignerError as error:
        if error.code != _NO_ANSWER:
            raise
    return sign()


class HeldKey:
    """A key file or token, in a process of its own (``builder.signing.holder``); safe to use from several threads.

    A process that answers late is ended: its answer would be taken for that to the next question.
    """

    def __init__(self, name: str, request: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self._name = name
        self._request = request
        argv = (sys.executable, "-I", "-m", "builder.signing.holder")
        self._command = Command(argv=argv, environment=environment, timeout_s=_ANSWER_TIMEOUT_S)
        self._guard = threading.Lock()
        self._asked = 0
        self._service: Service | None = None
        self._open()

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        with self._guard:
            return _ask_twice(lambda: self._sign({"digest": digest.hex(), "algorithm": algorithm}))

    def close(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None

    def _sign(self, question: Mapping[str, str]) -> bytes:
        service = self._service or self._open()
        return bytes.fromhex(self._ask(service, question)["signature"])

    def _open(self) -> Service:
        self._service = Service(self._command, f"the process that holds the key of signer {self._name}")
        try:
            self._ask(self._service, self._request)
        except SignerError:
            self.close()
            raise
        return self._service

    def _ask(self, service: Service, question: Mapping[str, str]) -> dict[str, Any]:
        self._asked += 1
        number = self._asked
        try:
            answer = json.loads(service.ask(json.dumps({**question, "number": number})))
            if answer["number"] != number:
                raise ValueError(f"question {number} got the answer to {answer['number']}")  # noqa: TRY301 - all alike
        except (CommandError, ValueError, KeyError, TypeError) as error:
            service.kill()
            self._service = None
            raise SignerError(
                _NO_ANSWER, f"signer {self._name}: {error.message if isinstance(error, CommandError) else error!r}"
            ) from None
        if "error" in answer:
            raise SignerError(answer["error"], f"signer {self._name}: {answer['message']}", hint=answer["hint"] or None)
        return dict(answer)


class CommandKey:
    """A key that a program of the user's reaches: a cloud KMS, a signing host."""

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._name = name
        self._argv = tuple(argv)
        self._environment = environment

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        return _ask_twice(lambda: self._run(digest, algorithm))

    def close(self) -> None:
        pass

    def _run(self, digest: bytes, algorithm: str) -> bytes:
        argv = tuple(word.replace("{algorithm}", algorithm) for word in self._argv)
        outcome = run(Command(argv=argv, environment=self._environment, input=digest, timeout_s=_ANSWER_TIMEOUT_S))
        if not outcome:
            code = _NO_ANSWER if outcome.timed_out else "command-failed"
            reason = outcome.stderr.strip().splitlines()[-1:] or ["it printed no reason"]
            raise SignerError(code, f"signer {self._name}: {argv[0]} {outcome.explain()}: {reason[0]}")
        try:
            return base64.b64decode("".join(outcome.stdout.split()), validate=True)
        except (binascii.Error, ValueError):
            raise SignerError("command-failed", f"signer {self._name}: {argv[0]} did not print base64") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSigner:
    """A signer whose key was tried and belongs to its certificate."""

    identity: SignerIdentity
    access: KeyAccess

    def sign(self, digest: bytes) -> bytes:
        """Sign a digest of the identity's algorithm.

        Raises:
            SignerError: the key cannot be reached, or what came back is no signature of this certificate.
        """
        algorithm = self.identity.algorithm
        signature = self.access.sign(digest, algorithm)
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
            access = open_key_access(identity.name, entry)
            held.callback(access.close)
            signer = OpenSigner(identity=identity, access=access)
            signer.sign(hashlib.new(identity.algorithm, _CHALLENGE).digest())
            opened.append(signer)
        yield opened


def check_key_place(name: str, signer: KeyPlace, sources: Iterable[Path]) -> None:
    """Check that no key and no passphrase lies in a driver's source, which goes into the compile's container.

    Raises:
        SignerError: one does.
    """
    secrets = [signer.resolve(file).resolve() for file in (signer.key_file, signer.passphrase_file) if file]
    for source in sources:
        for secret in secrets:
            if secret.is_relative_to(source.resolve()):
                raise SignerError(
                    "key-in-source",
                    f"signer {name}: {secret} lies in the driver source {source}, which is copied into containers",
                    hint="move it out of the project, and consider it known to whoever has seen the source",
                )


def open_key_access(name: str, signer: KeyPlace) -> KeyAccess:
    """Open the way to a signer's key; the key itself is not tried yet.

    Raises:
        SignerError: versions.yaml is not trusted, or the key cannot be reached.
    """
    if signer.is_forbidden:
        raise SignerError(
            "untrusted", f"signer {name}: versions.yaml is not trusted (--untrusted), so no key is opened"
        )
    environment = {variable: os.environ[variable] for variable in signer.pass_environment if variable in os.environ}
    if signer.command:
        return CommandKey(name, signer.command, environment)
    request: dict[str, str] = {}
    if signer.key_file:
        request["key_file"] = str(signer.resolve(signer.key_file))
    if signer.pkcs11:
        request["pkcs11"] = signer.pkcs11
    if signer.passphrase_file:
        request["passphrase_file"] = str(signer.resolve(signer.passphrase_file))
    if signer.passphrase_env:
        passphrase = os.environ.get(signer.passphrase_env)
        if passphrase is None:
            raise SignerError("passphrase-missing", f"signer {name}: the environment has no {signer.passphrase_env}")
        request["passphrase"] = passphrase
    return HeldKey(name, request, environment)
