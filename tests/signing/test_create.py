"""Keys that the program makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.signers import NOW

from builder.errors import UsageError
from builder.signing.certificates import (
    SignerIdentity,
    check_certificate,
    read_certificate,
)
from builder.signing.create import create_development_key, create_image_key, emit_enrolment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_a_development_key_says_what_it_is(kind: str, tmp_path: Path) -> None:
    made = create_development_key(
        "dev", key_folder=tmp_path / "k", certificate_folder=tmp_path / "c", kind=kind, now=NOW
    )
    assert made.key_file.stat().st_mode & 0o777 == 0o600
    identity = SignerIdentity(name="dev", certificate=read_certificate(made.certificate_file), algorithm="sha256")
    assert identity.is_development
    check_certificate(identity, now=NOW)
    assert "certificate: c/dev.pem" in made.versions_yaml(tmp_path)
    text = emit_enrolment(identity)
    assert "mokutil --import dev.der" in text
    assert identity.certificate.fingerprint in text
    assert "DEVELOPMENT key" in text
    with pytest.raises(UsageError, match=r"dev.key exists"):
        create_development_key("dev", key_folder=tmp_path / "k", certificate_folder=tmp_path / "c2", kind=kind, now=NOW)


def test_a_key_for_images_is_made_once(tmp_path: Path) -> None:
    from builder.signing.public_key import parse_public_key

    made = create_image_key("images", key_folder=tmp_path / "private", public_folder=tmp_path / "keys")
    assert made.key_file.stat().st_mode & 0o777 == 0o600
    assert parse_public_key(made.public_key_file.read_bytes()).pem
    assert "public_key: keys/images.pub" in made.versions_yaml(tmp_path)
    with pytest.raises(UsageError, match="exists"):
        create_image_key("images", key_folder=tmp_path / "private", public_folder=tmp_path / "other")
