"""The key that signs images, and the public key that says whose it is."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, ClassVar

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fakes.image_keys import ImageKey

from builder.config.load import load_config
from builder.errors import SignerError
from builder.signing import access
from builder.signing.image_key import open_image_signer, read_image_key, read_public_key

if TYPE_CHECKING:
    from pathlib import Path

    from builder.config.model.config import Config
    from builder.signing.backends.key import KeyRequest

_KEY, _OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
_PUBLIC = _KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"", "it is no public key"),
        (b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "it is no public key"),
        (b"-----BEGIN PRIVATE KEY-----", "it holds a private key"),
    ],
)
def test_a_file_that_is_no_public_key_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "images.pub"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SignerError, match=f"public key {file}.*{reason}") as caught:
        read_public_key(file)
    assert caught.value.code == "public-key-unreadable"


def test_a_folder_is_no_public_key(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="cannot be read: Is a directory"):
        read_public_key(tmp_path)


class _Process(ImageKey):
    """In the place of the process that holds a key; ``log`` is what was done with it."""

    holds = _KEY
    log: ClassVar[list[str]]

    def __init__(self, request: KeyRequest) -> None:
        super().__init__(self.holds)
        self.log.append(f"open {request.place}")

    def sign(self, digest: bytes, algorithm: str) -> bytes:
        self.log.append("sign")
        return super().sign(digest, algorithm)

    def close(self) -> None:
        self.log.append("close")


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> type[_Process]:
    kind = type("_Process", (_Process,), {"log": []})
    monkeypatch.setattr(access, "HeldKey", kind)
    return kind


def _configure(project: Path, key_file: str | None = "../keys/images.key") -> Config:
    (project / "images.pub").write_bytes(_PUBLIC)
    if key_file:
        file = project / "versions.yaml"
        file.write_text(f"{file.read_text()}publish: {{signer: {{public_key: images.pub, key_file: {key_file}}}}}\n")
    return load_config(project / "versions.yaml", today=date(2026, 11, 23))


def test_the_public_key_is_that_of_versions_yaml(project_dir: Path) -> None:
    key = read_image_key(_configure(project_dir))
    assert key is not None
    assert key.pem.encode() == _PUBLIC


def test_without_a_signer_images_are_not_signed(project_dir: Path, process: type[_Process]) -> None:
    config = _configure(project_dir, key_file=None)
    assert read_image_key(config) is None
    with open_image_signer(config) as signer:
        assert signer is None
    assert process.log == []


def test_a_key_is_tried_before_anything_is_signed_and_closed_in_the_end(
    project_dir: Path, process: type[_Process]
) -> None:
    with open_image_signer(_configure(project_dir)) as signer:
        assert signer is not None
        assert process.log == [f"open {project_dir / '../keys/images.key'}", "sign"]
        assert signer.key.accepts(signer.sign(b"image"), b"image")
        assert not signer.key.accepts(signer.sign(b"image"), b"another")
    assert process.log[-1] == "close"


def test_a_key_of_another_public_key_signs_nothing_and_is_closed(
    project_dir: Path, process: type[_Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "holds", _OTHER)
    config = _configure(project_dir)
    key = read_image_key(config)
    assert key is not None
    with (
        pytest.raises(SignerError, match=f"does not belong to the public key of SHA-256 {key.fingerprint}") as caught,
        open_image_signer(config),
    ):
        raise AssertionError("it was opened")
    assert (caught.value.code, process.log[1:]) == ("key-mismatch", ["sign", "close"])


def test_a_key_in_a_drivers_source_is_not_opened(project_dir: Path, process: type[_Process]) -> None:
    with (
        pytest.raises(SignerError, match="lies in the driver source") as caught,
        open_image_signer(_configure(project_dir, "src/images.key")),
    ):
        raise AssertionError("it was opened")
    assert (caught.value.code, process.log) == ("key-in-source", [])
