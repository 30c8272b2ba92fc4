"""Keys on tokens; a token of software is in the tests with real tools."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from fakes.signers import KEYS, certify

from builder.errors import SignerError
from builder.kmod.signature import HASHES
from builder.signing.backends.key import KeyRequest
from builder.signing.backends.pkcs11 import open_key

if TYPE_CHECKING:
    from pathlib import Path

_URI = "pkcs11:token=Vendor%20Token;serial=%01;object=release;id=%02?module-path=/usr/lib/token.so"


class _Token:
    """A library with one token that has one key; it can fail in any of its calls."""

    def __init__(self, kind: str = "rsa", fails: dict[str, Exception] | None = None) -> None:
        self._key = KEYS[kind]
        self._fails = fails or {}
        self.calls: dict[str, dict[str, Any]] = {}
        self.key_type = pkcs11.KeyType.RSA if kind == "rsa" else pkcs11.KeyType.EC

    def _note(self, call: str, arguments: dict[str, Any]) -> _Token:
        self.calls[call] = arguments
        if call in self._fails:
            raise self._fails[call]
        return self

    def lib(self, path: str) -> _Token:
        return self._note("lib", {"path": path})

    def get_token(self, **arguments: Any) -> _Token:
        return self._note("get_token", arguments)

    def open(self, **arguments: Any) -> _Token:
        return self._note("open", arguments)

    def get_key(self, **arguments: Any) -> _Token:
        return self._note("get_key", arguments)

    def sign(self, data: bytes, mechanism: pkcs11.Mechanism) -> bytes:
        """Sign as tokens do: RSA what it is given, ECDSA into two numbers side by side."""
        self._note("sign", {"mechanism": mechanism})
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            assert mechanism == pkcs11.Mechanism.ECDSA
            numbers = decode_dss_signature(self._key.sign(data, ec.ECDSA(Prehashed(HASHES[f"sha{len(data) * 8}"]))))
            return b"".join(number.to_bytes(self._key.key_size // 8, "big") for number in numbers)
        assert mechanism == pkcs11.Mechanism.RSA_PKCS
        assert isinstance(self._key, rsa.RSAPrivateKey)
        size = self._key.key_size // 8
        padded = b"\x00\x01".ljust(size - len(data) - 1, b"\xff") + b"\x00" + data
        numbers_ = self._key.private_numbers()
        return pow(int.from_bytes(padded, "big"), numbers_.d, numbers_.public_numbers.n).to_bytes(size, "big")


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Any:
    def plug(token: _Token) -> _Token:
        monkeypatch.setattr("pkcs11.lib", token.lib)
        return token

    return plug


def _request(place: str = _URI, passphrase: str | None = "2468") -> KeyRequest:
    return KeyRequest(signer="release", way="pkcs11", place=place, passphrase=passphrase)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_token_signs_digests(plug: Any, kind: str, algorithm: str) -> None:
    plug(_Token(kind))
    digest = hashlib.new(algorithm, b"x").digest()
    assert certify(kind).accepts(open_key(_request()).sign(digest, algorithm), digest, algorithm)


def test_a_key_is_found_by_all_that_its_uri_says(plug: Any) -> None:
    token = plug(_Token())
    open_key(_request())
    assert token.calls == {
        "lib": {"path": "/usr/lib/token.so"},
        "get_token": {"token_label": "Vendor Token", "token_serial": b"\x01"},
        "open": {"user_pin": "2468"},
        "get_key": {"object_class": pkcs11.ObjectClass.PRIVATE_KEY, "label": "release", "id": b"\x02"},
    }


def test_a_pin_comes_out_of_its_file_unless_another_is_given(plug: Any, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text("1357\r\n")
    file.chmod(0o600)
    token = plug(_Token())
    for passphrase, pin in ((None, "1357"), ("2468", "2468")):
        open_key(_request(f"{_URI}&pin-source=file:{file}", passphrase))
        assert token.calls["open"] == {"user_pin": pin}
    open_key(_request(passphrase=None))
    assert token.calls["open"] == {"user_pin": None}
    file.chmod(0o644)
    with pytest.raises(SignerError, match="PIN file .* is open to other users"):
        open_key(_request(f"{_URI}&pin-source=file:{file}", None))


@pytest.mark.parametrize(
    ("call", "error", "code", "words"),
    [
        (
            "lib",
            pkcs11.PKCS11Error("cannot open /usr/lib/token.so"),
            "token-unreachable",
            "PKCS11Error at pkcs11:.*cannot open",
        ),
        ("get_token", pkcs11.NoSuchToken(), "token-unreachable", "there is no such token"),
        ("get_token", pkcs11.MultipleTokensReturned(), "token-unreachable", "there is more than one such token"),
        ("open", pkcs11.PinIncorrect(), "passphrase-wrong", "the token refuses the PIN"),
        ("open", pkcs11.PinLenRange(), "passphrase-wrong", "the token refuses the PIN"),
        ("open", pkcs11.PinLocked(), "passphrase-wrong", "PIN is locked after too many wrong ones"),
        ("open", pkcs11.exceptions.UserPinNotInitialized(), "passphrase-missing", "the token demands a PIN"),
        ("get_key", pkcs11.UserNotLoggedIn(), "passphrase-missing", "the token demands a PIN"),
        ("get_key", pkcs11.NoSuchKey(), "key-unreadable", "the token has no such private key"),
        ("get_key", pkcs11.MultipleObjectsReturned(), "key-unreadable", "the token has more than one such private key"),
        ("get_key", pkcs11.DeviceRemoved(), "token-unreachable", "PKCS#11 error DeviceRemoved"),
        ("sign", pkcs11.DeviceRemoved("gone"), "token-unreachable", "the token did not sign: DeviceRemoved gone"),
    ],
)
def test_what_a_token_answers_is_said_without_the_pin(
    plug: Any, call: str, error: Exception, code: str, words: str
) -> None:
    plug(_Token(fails={call: error}))
    with pytest.raises(SignerError, match=words) as caught:
        open_key(_request()).sign(b"x" * 32, "sha256")
    assert caught.value.code == code
    assert "2468" not in f"{caught.value}{caught.value.hint}"
    assert call == "sign" or "token=Vendor Token;object=release" in caught.value.message


def test_a_library_that_is_not_there_is_named() -> None:
    with pytest.raises(SignerError, match=r"in /nowhere/token\.so") as caught:
        open_key(_request("pkcs11:object=a?module-path=/nowhere/token.so"))
    assert caught.value.code == "token-unreachable"
