"""Stage sign: modules on the host, after their proof of fit, get signatures; each is verified and logged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass, FormatError, SignerError
from builder.host.places import open_regular
from builder.kmod.finding import Check
from builder.kmod.packing import pack_module, unpack_module
from builder.kmod.signature import append_signature, split_signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from builder.kmod.signature import Certificate
    from builder.signing.access import OpenSigner
    from builder.signing.log import SigningLog
    from builder.store.result import CompileResult

_LARGEST_FILE = 512 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningJob:
    """Who signs, for what, and where that is written down."""

    signers: Sequence[OpenSigner]
    log: SigningLog
    cell: str
    run: str


def sign_content(content: bytes, name: str, job: SigningJob) -> bytes:
    """Return a module, uncompressed and unsigned, with its signatures.

    Raises:
        CellError: it is signed already, or a signer failed.
    """
    try:
        if split_signature(content).signers:
            raise CellError(
                FailureClass.SIGN,
                "already-signed",
                f"{name} comes out of the compile with a signature already",
                hint="signing belongs to kmodsmith alone: take it out of the driver's build, or strip the signature",
                location=name,
            )
        made: list[tuple[Certificate, str, bytes]] = []
        for signer in job.signers:
            identity = signer.identity
            digest = hashlib.new(identity.algorithm, content).digest()
            made.append((identity.certificate, identity.algorithm, signer.sign(digest)))
    except FormatError as error:
        raise CellError(FailureClass.SIGN, Check.SIGNATURE_UNREADABLE, f"{name}: {error.message}") from None
    except SignerError as error:
        raise CellError(FailureClass.SIGN, error.code, error.message, hint=error.hint, location=name) from None
    signed = append_signature(content, made)
    for entry in _log_entries(content, signed, name, job):
        job.log.append(entry)
    return signed


def sign_result(result: CompileResult, job: SigningJob) -> CompileResult:
    """Return a compile's result with every module signed, also compressed ones.

    Errors are those of ``sign_content``.
    """
    return result.replace({path: _sign_packed(content, path, job) for path, content in result.modules()})


def _sign_packed(data: bytes, path: str, job: SigningJob) -> bytes:
    name = path.rpartition("/")[2]
    signed = sign_content(unpack_module(data, name), name, job)
    suffix = name[name.rfind(".ko") + 3 :].removeprefix(".")
    return pack_module(signed, suffix) if suffix else signed


def read_file(file: Path) -> bytes:
    """Read somebody's own module.

    Raises:
        FormatError: it cannot be read, is no regular file (also: a link), or is larger than any module.
    """
    try:
        with open_regular(file, most=_LARGEST_FILE, follow=False) as stream:
            return stream.read(_LARGEST_FILE)
    except OSError as error:
        raise FormatError(f"{file} cannot be read: {error.strerror}") from None
    except FormatError as error:
        raise FormatError(f"{file} {error.message}") from None


def _log_entries(content: bytes, signed: bytes, name: str, job: SigningJob) -> Iterator[dict[str, str]]:
    for signer in job.signers:
        identity = signer.identity
        yield {
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "run": job.run,
            "cell": job.cell,
            "module": name,
            "algorithm": identity.algorithm,
            "digest": hashlib.new(identity.algorithm, content).hexdigest(),
            "signed_sha256": hashlib.sha256(signed).hexdigest(),
            "signer": identity.name,
            "certificate": identity.certificate.fingerprint,
            "development": "yes" if identity.is_development else "no",
        }
