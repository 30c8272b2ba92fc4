"""Which way leads to which key."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, get_args

import pytest
from pydantic import ValidationError

from builder.config.model.signer import KeyPlace
from builder.signing.backends.table import BACKENDS, choose_backend

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize(
    ("way", "content", "module"),
    [
        ("command", b"", "command"),
        ("pkcs11", b"", "pkcs11"),
        ("key_file", b"", "file"),
        ("key_file", b"-----BEGIN ENCRYPTED PRIVATE KEY-----", "file"),
        ("key_file", b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", "cosign"),
        ("key_file", b"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----", "cosign"),
    ],
)
def test_the_first_row_that_takes_a_request_opens_it(way: str, content: bytes, module: str) -> None:
    assert choose_backend(way, content).module == module


def test_what_has_a_key_in_memory_is_held_by_the_process_for_it() -> None:
    held = {backend.module for backend in BACKENDS if backend.is_held}
    assert held >= {"file", "cosign", "pkcs11"}
    assert all(backend.is_held for backend in BACKENDS if backend.way == "key_file")


def test_every_row_has_its_file_and_every_way_of_versions_yaml_a_row() -> None:
    assert all(find_spec(f"builder.signing.backends.{backend.module}") for backend in BACKENDS)
    ways = {name: field.annotation for name, field in KeyPlace.model_fields.items() if name in KeyPlace._WAYS}
    # The socket is no way of versions.yaml: it stands for all of them where KMODSMITH_KEY_SOCKET names it.
    assert ways.keys() == {backend.way for backend in BACKENDS} - {"socket"}
    assert all(type(None) in get_args(kind) for kind in ways.values()), "each of them may be missing"


@pytest.mark.parametrize(
    ("entry", "way"),
    [
        ({"command": ("kms", "--sign")}, ("command", ("kms", "--sign"))),
        ({"key_file": "/keys/a.key"}, ("key_file", "/keys/a.key")),
    ],
)
def test_an_entry_has_one_way(entry: Mapping[str, object], way: tuple[str, object]) -> None:
    assert KeyPlace.model_validate(entry).way == way
    with pytest.raises(ValidationError, match="give exactly one of key_file, "):
        KeyPlace.model_validate({"key_file": "a", "command": ("b",)})
