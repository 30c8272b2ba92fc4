"""PKCS#11 URIs (RFC 7512), as far as they name one private key on one token. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

from builder.errors import SignerError

_PATH_WORDS = frozenset({"token", "serial", "object", "id", "type", "manufacturer", "model"})
_QUERY_WORDS = frozenset({"module-path", "pin-source"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Uri:
    """Where a key is; ``str()`` holds no secret."""

    module_path: str
    token: str | None
    serial: bytes | None
    object: str | None
    id: bytes | None
    pin_source: str | None

    def __str__(self) -> str:
        parts = [("token", self.token), ("object", self.object), ("id", self.id.hex() if self.id else None)]
        return f"pkcs11:{';'.join(f'{name}={value}' for name, value in parts if value)} in {self.module_path}"


def parse_pkcs11_uri(text: str) -> Pkcs11Uri:
    """Parse a URI.

    Raises:
        SignerError: not such a URI, or one that names no module or no key.
    """
    path, _, query = text.removeprefix("pkcs11:").partition("?")
    words = dict(_split(path, ";", _PATH_WORDS))
    options = dict(_split(query, "&", _QUERY_WORDS))
    if "module-path" not in options:
        raise _wrong("it does not say which PKCS#11 library to use: add ?module-path=/path/to/library.so")
    if not {"object", "id"} & words.keys():
        raise _wrong("it names no key: add object=LABEL or id=%01")
    if words.get("type", "private") != "private":
        raise _wrong("it must name a private key: type=private")
    pin_source = options.get("pin-source")
    return Pkcs11Uri(
        module_path=unquote(options["module-path"]),
        token=unquote(words["token"]) if "token" in words else None,
        serial=unquote_to_bytes(words["serial"]) if "serial" in words else None,
        object=unquote(words["object"]) if "object" in words else None,
        id=unquote_to_bytes(words["id"]) if "id" in words else None,
        pin_source=unquote(pin_source.removeprefix("file:")) if pin_source else None,
    )


def _split(text: str, separator: str, known: frozenset[str]) -> list[tuple[str, str]]:
    pairs = []
    for part in text.split(separator):
        name, equals, value = part.partition("=")
        if part and (not equals or name not in known):
            raise _wrong(f"{name[:100]!r} is not one of {', '.join(sorted(known))}")
        if part:
            pairs.append((name, value))
    return pairs


def _wrong(reason: str) -> SignerError:
    # The URI itself is not repeated: a PIN may have been written into it.
    return SignerError("key-unreadable", f"the PKCS#11 URI is wrong: {reason}", hint="the form is that of RFC 7512")
