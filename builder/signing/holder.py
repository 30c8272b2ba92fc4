"""The process that holds a private key: it gets digests on stdin and prints signatures, a JSON line for each.

Each question has a number, and its answer carries the same.

It is a process of its own so that the build, which reads images, ELF files and build logs of others, never has the
key in its memory. It leaves no core behind and cannot be traced by another user. First line: where the key is.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import re
import resource
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from builder.config.pkcs11_uri import parse_pkcs11_uri
from builder.errors import FormatError, SignerError
from builder.kmod.signature import HASHES

if TYPE_CHECKING:
    from typing import IO

    from builder.config.pkcs11_uri import Pkcs11Uri

_PR_SET_DUMPABLE = 4  # prctl(2)
# DigestInfo headers of RFC 8017, section 9.2, note 1: PKCS#11 tokens sign what they are given as it is.
_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


# What 'cosign generate-key-pair' writes (sigstore/cosign, pkg/cosign/keys.go; encrypted as in go-securesystemslib).
_SIGSTORE_KEY = re.compile(rb"-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END")
# N times r: cosign's own are 2**19 and 2**20; scrypt takes 128 bytes of memory for each.
_MOST_SCRYPT = 2**21


def decrypt_sigstore_key(data: bytes, file: Path, password: bytes | None) -> bytes:
    """Return the key, PKCS#8 in DER, out of cosign's own format: scrypt and secretbox in JSON.

    Raises:
        SignerError: it needs a passphrase, or another one.
    """
    from nacl.exceptions import CryptoError  # noqa: PLC0415 - only this kind of key needs it
    from nacl.secret import SecretBox  # noqa: PLC0415

    from builder.foreign import read_json  # noqa: PLC0415

    if password is None:
        raise SignerError(
            "passphrase-missing", f"key file {file} is encrypted, as cosign does it",
            hint="name its passphrase with passphrase_env or passphrase_file in versions.yaml",
        )  # fmt: skip
    try:
        match = _SIGSTORE_KEY.search(data)
        content = read_json(base64.b64decode(match[1]), "it") if match else {}
        kdf, cipher = content["kdf"], content["cipher"]
        names = (kdf["name"], cipher["name"])
        n, r, p = (int(kdf["params"][name]) for name in ("N", "r", "p"))
        if names != ("scrypt", "nacl/secretbox") or not 1 < n * r <= _MOST_SCRYPT or not 0 < p <= 4 or r < 1:  # noqa: PLR2004
            raise ValueError(f"{names} with {n}, {r}, {p}")  # noqa: TRY301 - one message for all that is wrong with it
        salt, nonce, secret = (base64.b64decode(text) for text in (kdf["salt"], cipher["nonce"], content["ciphertext"]))
        box = SecretBox(Scrypt(salt=salt, length=SecretBox.KEY_SIZE, n=n, r=r, p=p).derive(password))
        return bytes(box.decrypt(secret, nonce))
    except CryptoError:
        raise SignerError("passphrase-wrong", f"key file {file} cannot be read: the passphrase is wrong") from None
    except (ValueError, KeyError, TypeError, OverflowError, FormatError) as error:
        raise SignerError("key-unreadable", f"key file {file} is no key of cosign's: {error!r}"[:200]) from None


class Key(Protocol):
    def sign(self, digest: bytes, algorithm: str) -> bytes: ...


def main() -> None:
    """Serve until stdin ends."""
    leave_no_traces()
    serve(sys.stdin, sys.stdout)


def leave_no_traces() -> None:
    """Forbid core dumps, tracing and reading of this process's memory by others."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def serve(questions: IO[str], answers: IO[str]) -> None:
    """Answer each line with the number of its question; an error is an answer, too. The first line opens the key."""
    key: Key | None = None
    for line in questions:
        question = json.loads(line)
        try:
            if key is None:
                key, reply = open_key(question), {"ready": "yes"}
            else:
                reply = {"signature": key.sign(bytes.fromhex(question["digest"]), question["algorithm"]).hex()}
        except SignerError as error:
            reply = {"error": error.code, "message": error.message, "hint": error.hint or ""}
        answers.write(json.dumps({**reply, "number": question.get("number")}) + "\n")
        answers.flush()
        if key is None:
            return


def open_key(request: dict[str, Any]) -> Key:
    """Open a key file or a token.

    Raises:
        SignerError: it cannot be read, may be read by others, or needs another passphrase.
    """
    passphrase = request.get("passphrase")
    if file := request.get("passphrase_file"):
        passphrase = _read_private(Path(file), "passphrase file").decode(errors="replace").rstrip("\r\n")
    if uri := request.get("pkcs11"):
        return TokenKey(parse_pkcs11_uri(uri), passphrase)
    return FileKey(Path(request["key_file"]), passphrase)


class FileKey:
    """A private key from a PEM or DER file."""

    def __init__(self, file: Path, passphrase: str | None) -> None:
        data = _read_private(file, "key file")
        password = passphrase.encode() if passphrase else None
        if _SIGSTORE_KEY.search(data):
            data, password = decrypt_sigstore_key(data, file, password), None
        read = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
        try:
            key = read(data, password)
        except TypeError:
            is_encrypted = password is None
            raise SignerError(
                "passphrase-missing" if is_encrypted else "passphrase-wrong",
                f"key file {file} is {'encrypted' if is_encrypted else 'not encrypted, but a passphrase is given'}",
                hint="name its passphrase with passphrase_env or passphrase_file in versions.yaml"
                if is_encrypted
                else "take passphrase_env or passphrase_file out of versions.yaml, or encrypt the key",
            ) from None
        except (ValueError, UnsupportedAlgorithm) as error:
            code = "passphrase-wrong" if password else "key-unreadable"
            reason = "the passphrase is wrong, or it is damaged" if password else f"it is no private key ({error})"
            raise SignerError(code, f"key file {file} cannot be read: {reason}") from None
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise SignerError("key-unreadable", f"key file {file} holds a key that is neither RSA nor ECDSA")
        self._key = key

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        prehashed = Prehashed(HASHES[algorithm])
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(digest, padding.PKCS1v15(), prehashed)
        try:  # RFC 6979 makes equal inputs give equal images; OpenSSL before 3.2 does not know it
            return self._key.sign(digest, ec.ECDSA(prehashed, deterministic_signing=True))
        except UnsupportedAlgorithm:
            return self._key.sign(digest, ec.ECDSA(prehashed))


class TokenKey:
    """A private key on a PKCS#11 token."""

    def __init__(self, uri: Pkcs11Uri, pin: str | None) -> None:
        import pkcs11  # noqa: PLC0415 - only this kind of signer needs it

        self._pkcs11 = pkcs11
        if uri.pin_source and pin is None:
            pin = _read_private(Path(uri.pin_source), "PIN file").decode(errors="replace").rstrip("\r\n")
        try:
            library = pkcs11.lib(uri.module_path)
            token = library.get_token(token_label=uri.token, token_serial=uri.serial)
            self._session = token.open(user_pin=pin)
            self._key: Any = self._session.get_key(
                object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=uri.object, id=uri.id
            )
        except pkcs11.PKCS11Error as error:
            raise SignerError(*_explain_token_error(error, uri)) from None

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        mechanisms = self._pkcs11.Mechanism
        try:
            if self._key.key_type == self._pkcs11.KeyType.RSA:
                return bytes(self._key.sign(_DIGEST_INFO[algorithm] + digest, mechanism=mechanisms.RSA_PKCS))
            raw = bytes(self._key.sign(digest, mechanism=mechanisms.ECDSA))
        except self._pkcs11.PKCS11Error as error:
            raise SignerError("token-unreachable", f"the token did not sign: {type(error).__name__} {error}") from None
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


def _explain_token_error(error: Exception, uri: Pkcs11Uri) -> tuple[str, str]:
    name = type(error).__name__
    match name:
        case "NoSuchToken" | "MultipleTokensReturned":
            return (
                "token-unreachable",
                f"there is {'no' if name == 'NoSuchToken' else 'more than one'} such token: {uri}",
            )
        case "NoSuchKey" | "MultipleObjectsReturned":
            return (
                "key-unreadable",
                f"the token has {'no' if name == 'NoSuchKey' else 'more than one'} such private key: {uri}",
            )
        case "PinIncorrect" | "PinInvalid" | "PinLenRange":
            return "passphrase-wrong", f"the token refuses the PIN: {uri}"
        case "PinLocked":
            return "passphrase-wrong", f"the token's PIN is locked after too many wrong ones: {uri}"
        case "UserNotLoggedIn" | "UserPinNotInitialized":
            return "passphrase-missing", f"the token demands a PIN: {uri}"
    return "token-unreachable", f"PKCS#11 error {name} at {uri}: {error}"


def _read_private(file: Path, what: str) -> bytes:
    """Read a file that nobody but its owner may be able to read."""
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise SignerError(
                    "key-readable-by-others", f"{what} {file} is open to other users (mode {mode:04o})",
                    hint=f"chmod 600 {file}, and think about who may have read it",
                )  # fmt: skip
            return stream.read(1024**2)
    except OSError as error:
        raise SignerError("key-unreadable", f"{what} {file} cannot be read: {error.strerror}") from None


if __name__ == "__main__":
    main()
