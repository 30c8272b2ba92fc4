"""An index out of bytes that anybody may have put there: the signature first, then every value with its place. Pure.

The form is that of secure-systems-lab/dsse v1: the payload in base64 with its type, and signatures over both. What is
signed is JSON; docs/index.md has it. Further fields are passed over, so that a newer kmodsmith can say more.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from kmod_operator.index.index import Index, IndexedImage
from kmod_operator.index.keys import KeyProblem, read_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kmod_operator.index.keys import VendorKey

PAYLOAD_TYPE = "application/vnd.kmodsmith.index.v1+json"
LARGEST_INDEX = 8 * 1024**2
_FORMAT = 1
_DEEPEST = 16
_MOST_SIGNATURES = 10
# What of JSON takes memory is its parts: "[],[],[]" becomes twenty times its size. An envelope is read before anybody
# knows who made it, and has few of them, because base64 has no letter of these.
_PARTS = (b",", b":", b"[", b"{")
_MOST_PARTS_OF_ENVELOPE = 1_000
_MOST_PARTS = 600_000
_MOST_VERSIONS = 1_000
_MOST_IMAGES = 20_000
_MOST_RELEASES = 10_000
_MOST_KERNELS_OF_RELEASE = 64
_MOST_SIGNERS = 16
_SHOWN = 80

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.+~-]{0,61}[A-Za-z0-9])?", re.ASCII)
_KERNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+~-]{0,127}", re.ASCII)
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+~-]{0,127}", re.ASCII)
_WORD = re.compile(r"[a-z0-9_]{1,32}", re.ASCII)
_PROVEN = re.compile(r"[a-z0-9_-]{0,32}", re.ASCII)
_SIGNER = re.compile(r"[0-9A-Za-z:]{1,128}", re.ASCII)
_MADE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9.-]{1,253}|\[[0-9a-f:]{2,45}\])(?::\d{1,5})?/[a-z0-9]+(?:[._/-]{1,8}[a-z0-9]+){0,60}@sha256:[0-9a-f]{64}",
    re.ASCII,
)
_LONGEST_TEXT = 512


class IndexProblem(Exception):  # noqa: N818 - an answer: it is told, and the last good index is kept
    """Bytes are no index that can be believed; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class SignedIndex:
    """An index, and the fingerprint of the key that signed it."""

    index: Index
    signer: str


def read_index(content: bytes, keys: Sequence[str]) -> Index:
    """Return the index that bytes hold; see ``read_signed_index``."""
    return read_signed_index(content, keys).index


def read_signed_index(content: bytes, keys: Sequence[str]) -> SignedIndex:
    """Return the index that bytes hold, and who signed it.

    Args:
        content: the envelope, not packed.
        keys: the vendor's, in PEM form: one of them must have signed it.

    Raises:
        IndexProblem: it is none, or nobody of them signed it; nothing of it is to be used.
    """
    if len(content) > LARGEST_INDEX:
        raise IndexProblem(f"it has {len(content)} bytes, and an index has at most {LARGEST_INDEX}")
    try:
        known = read_keys(keys)
    except KeyProblem as problem:
        raise IndexProblem(str(problem)) from None
    envelope = _Place(_parse(content, "it", _MOST_PARTS_OF_ENVELOPE), "it")
    kind = envelope.field("payloadType").text(re.compile(r".{1,200}"))
    if kind != PAYLOAD_TYPE:
        raise IndexProblem(f"it is signed, but as {_show(kind)}: an index is {PAYLOAD_TYPE}")
    payload = envelope.field("payload").base64()
    signatures = [item.field("sig").base64() for item in envelope.field("signatures").items(_MOST_SIGNATURES)]
    signer = _find_signer(payload, signatures, known)
    return SignedIndex(_read_payload(payload), signer)


def _find_signer(payload: bytes, signatures: Sequence[bytes], keys: Sequence[VendorKey]) -> str:
    kind = PAYLOAD_TYPE.encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    for key in keys:
        if any(key.accepts(signature, signed) for signature in signatures):
            return key.fingerprint
    if not signatures:
        raise IndexProblem("it has no signature")
    raise IndexProblem("none of the vendor's keys signed it, or it was changed after it was signed")


def _read_payload(payload: bytes) -> Index:
    top = _Place(_parse(payload, "what it says", _MOST_PARTS), "")
    number = top.field("format").value
    if number != _FORMAT or isinstance(number, bool) or not isinstance(number, int):
        raise IndexProblem(f"its format is {_show(number)}, and this operator reads {_FORMAT}: update the operator")
    images: dict[str, Mapping[str, IndexedImage]] = {}
    count = 0
    for version, kernels in top.field("images").entries(_VERSION, _MOST_VERSIONS):
        images[version] = {kernel: _read_image(place) for kernel, place in kernels.entries(_KERNEL, _MOST_IMAGES)}
        count += len(images[version])
        if count > _MOST_IMAGES:
            raise IndexProblem(f"it has more than {_MOST_IMAGES} images")
    releases = {
        release: tuple(kernel.text(_KERNEL) for kernel in place.items(_MOST_KERNELS_OF_RELEASE))
        for release, place in top.field("releases").entries(_RELEASE, _MOST_RELEASES)
    }
    return Index(
        driver=top.field("driver").text(_NAME), made=_read_time(top.field("made")), images=images, releases=releases
    )


def _read_image(place: _Place) -> IndexedImage:
    signers = place.optional("signedBy")
    proven = place.optional("proven")
    return IndexedImage(
        image=place.field("image").text(_IMAGE),
        arch=place.field("arch").text(_WORD),
        proven=proven.text(_PROVEN) if proven else "",
        signed_by=tuple(item.text(_SIGNER) for item in signers.items(_MOST_SIGNERS)) if signers else (),
    )


def _read_time(place: _Place) -> datetime:
    text = place.text(_MADE)
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise IndexProblem(f"{place.name} is {_show(text)}, which is no time") from None


@dataclass(frozen=True, slots=True)
class _Place:
    """A value, and where it stands: for sentences."""

    value: Any
    name: str

    def field(self, key: str) -> _Place:
        found = self.optional(key)
        if found is None:
            raise IndexProblem(f"{self._inner(key)} is absent")
        return found

    def optional(self, key: str) -> _Place | None:
        data = self._mapping()
        return _Place(data[key], self._inner(key)) if key in data else None

    def entries(self, form: re.Pattern[str], most: int) -> Iterator[tuple[str, _Place]]:
        data = self._mapping()
        if len(data) > most:
            raise IndexProblem(f"{self.name} has {len(data)} entries, more than {most}")
        for key, value in data.items():
            if not form.fullmatch(key):
                raise IndexProblem(f"{self.name} has an entry of the name {_show(key)}, which is of another form")
            yield key, _Place(value, self._inner(key))

    def items(self, most: int) -> list[_Place]:
        if not isinstance(self.value, list):
            raise IndexProblem(f"{self.name} is {_show(self.value)}, and no list")
        if len(self.value) > most:
            raise IndexProblem(f"{self.name} has {len(self.value)} entries, more than {most}")
        return [_Place(value, f"{self.name}[{number}]") for number, value in enumerate(self.value)]

    def text(self, form: re.Pattern[str]) -> str:
        if not isinstance(self.value, str):
            raise IndexProblem(f"{self.name} is {_show(self.value)}, and no text")
        if len(self.value) > _LONGEST_TEXT or not form.fullmatch(self.value):
            raise IndexProblem(f"{self.name} is {_show(self.value)}, which is of another form")
        return self.value

    def base64(self) -> bytes:
        if not isinstance(self.value, str):
            raise IndexProblem(f"{self.name} is {_show(self.value)}, and no text")
        try:
            return base64.b64decode(self.value, validate=True)
        except (binascii.Error, ValueError):
            raise IndexProblem(f"{self.name} is not base64") from None

    def _mapping(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise IndexProblem(f"{self.name or 'what it says'} is {_show(self.value)}, and no object of JSON")
        return self.value

    def _inner(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name not in {"", "it"} else key


def _parse(content: bytes, what: str, most: int) -> Any:
    """Return JSON, in UTF-8 and no other way of writing it, of at most so many parts."""
    if sum(map(content.count, _PARTS)) > most:
        raise IndexProblem(f"{what} has more than {most} parts")
    try:
        data = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise IndexProblem(f"{what} is nested deeper than {_DEEPEST} levels") from None
    except ValueError as error:
        raise IndexProblem(f"{what} is not JSON: {error}"[:300]) from None
    _check_depth(data, what)
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: of two, programs take the first, the last, or parts of both."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the name {_show(twice)} stands twice in an object")
    return found


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _check_depth(data: Any, what: str) -> None:
    level = [data]
    for _ in range(_DEEPEST):
        level = (
            [
                value
                for item in level
                for value in (item.values() if isinstance(item, dict) else item)
                if isinstance(value, dict | list)
            ]
            if isinstance(data, dict | list)
            else []
        )
        if not level:
            return
    raise IndexProblem(f"{what} is nested deeper than {_DEEPEST} levels")


def _show(value: Any) -> str:
    """Return a value for a sentence: short, and nothing in it that a terminal or a log would obey."""
    text = (
        ascii(value)
        if not isinstance(value, dict | list)
        else f"{'an object' if isinstance(value, dict) else 'a list'}"
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
