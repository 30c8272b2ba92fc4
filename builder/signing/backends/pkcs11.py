"""Private keys on PKCS#11 tokens: they never leave the token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from builder.config.pkcs11_uri import parse_pkcs11_uri
from builder.errors import SignerError
from builder.signing.backends.key import read_secret

if TYPE_CHECKING:
    from builder.config.pkcs11_uri import Pkcs11Uri
    from builder.signing.backends.key import KeyRequest

# DigestInfo headers of RFC 8017, section 9.2, note 1: PKCS#11 tokens sign what they are given as it is.
_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


def open_key(request: KeyRequest) -> TokenKey:
    """Open a token; raises SignerError where it, or a key on it, cannot be reached."""
    return TokenKey(parse_pkcs11_uri(str(request.place)), request.passphrase)


class TokenKey:
    """A private key on a PKCS#11 token."""

    def __init__(self, uri: Pkcs11Uri, pin: str | None) -> None:
        if uri.pin_source and pin is None:
            pin = read_secret(Path(uri.pin_source), "PIN file").decode(errors="replace").rstrip("\r\n")
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
        mechanisms = pkcs11.Mechanism
        try:
            if self._key.key_type == pkcs11.KeyType.RSA:
                return bytes(self._key.sign(_DIGEST_INFO[algorithm] + digest, mechanism=mechanisms.RSA_PKCS))
            raw = bytes(self._key.sign(digest, mechanism=mechanisms.ECDSA))
        except pkcs11.PKCS11Error as error:
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
