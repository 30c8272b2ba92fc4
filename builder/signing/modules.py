"""Stage sign: modules on the host, after their proof of fit, get signatures; each is verified and logged."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from builder.errors import CellError, FailureClass, FormatError, SignerError
from builder.foreign import parse_with, read_json
from builder.host.line_file import LineFile
from builder.host.places import open_regular
from builder.kmod.finding import Check
from builder.kmod.packing import pack_module, unpack_module
from builder.kmod.signature import append_signature, split_signature

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from builder.kmod.signature import Certificate
    from builder.signing.access import OpenSigner
    from builder.store.result import CompileResult

_FIRST = "0" * 64
_LARGEST_FILE = 512 * 1024**2
_ENTRY = TypeAdapter(dict[str, str])
# What an entry must say: of a signature, or of a line that was set aside.
_WORDS = (
    {"time", "run", "cell", "module", "algorithm", "digest", "signed_sha256", "signer", "certificate", "development"},
    {"time", "torn_sha256", "torn_bytes"},
)


class SigningLog:
    """What was signed, by which key, when and for which cell: a line for each signature, never changed.

    Every line holds the SHA-256 of the line before it, so that a line that was changed, removed or put in between
    breaks the chain. Safe to append to from several threads.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines = LineFile(file)
        self._guard = threading.Lock()
        self._previous: str | None = None

    def append(self, entry: dict[str, str]) -> None:
        """Write an entry to the disk.

        Raises:
            OSError: it cannot be written, so the signature must not be used.
        """
        with self._guard:
            if torn := self._lines.set_torn_aside():
                facts = {"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "torn_sha256": torn.sha256}
                self._append({**facts, "torn_bytes": str(torn.size)})
            self._append(entry)

    def _append(self, entry: dict[str, str]) -> None:
        if self._previous is None:
            lines = self._lines.read()
            self._previous = _line_digest(lines[-1]) if lines else _FIRST
        line = json.dumps({**entry, "previous": self._previous}, separators=(",", ":")).encode()
        self._lines.append(line)
        self._previous = _line_digest(line)

    def read(self) -> list[dict[str, str]]:
        """Return all entries, oldest first. One with ``torn_bytes`` says that an incomplete line was set aside there.

        Raises:
            FormatError: the chain is broken; the message names the line.
        """
        entries = []
        previous = _FIRST
        for number, line in enumerate(self._lines.read(), start=1):
            try:
                entry = parse_with(_ENTRY, read_json(line, "it"), "entry")
                is_next = entry.get("previous") == previous and any(entry.keys() >= words for words in _WORDS)
            except FormatError:
                is_next = False
            if not is_next:
                raise FormatError(
                    f"{self._file}:{number}: this line does not follow the one before it: the log was changed by hand"
                )
            entries.append(entry)
            previous = _line_digest(line)
        return entries


def _line_digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


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
    """Return a compile's result with every module signed, also compressed ones; raises as ``sign_content``."""
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
