"""What certificates allow, and what groups demand of their signers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from fakes.signers import NOW, certify, make_signer

from builder.config.model.config import Config
from builder.errors import FormatError, SignerError
from builder.signing.certificates import (
    check_certificate,
    check_policy,
    may_sign_code,
    read_certificate,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("code", "certificate"),
    [
        ("certificate-expired", {"until": NOW - timedelta(hours=1)}),
        ("certificate-not-yet-valid", {"since": NOW + timedelta(hours=1)}),
        ("certificate-without-code-signing", {"digital_signature": False}),
        ("certificate-without-code-signing", {"digital_signature": None}),
        ("certificate-without-code-signing", {"extended": ExtendedKeyUsageOID.SERVER_AUTH}),
    ],
)
def test_certificates_that_may_not_sign(code: str, certificate: dict[str, Any]) -> None:
    with pytest.raises(SignerError) as caught:
        check_certificate(make_signer(**certificate).identity, now=NOW)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "extended", [None, ExtendedKeyUsageOID.CODE_SIGNING, x509.ObjectIdentifier("1.3.6.1.4.1.2312.16.1.2")]
)
def test_certificates_that_may_sign(extended: x509.ObjectIdentifier | None) -> None:
    assert may_sign_code(certify(extended=extended).x509)


def _config(signing: str) -> Config:
    driver = {
        "name": "d",
        "version": "1.0.0",
        "source": "s",
        "modules": ("m",),
        "vendor": "v",
        "summary": "s",
        "description": "d",
        "maintainer": "m",
    }
    group = {"source": "debian", "signing": signing}
    return Config.model_validate(
        {
            "drivers": (driver,),
            "sources": {"debian": {"provider": "debian"}},
            "groups": {"g": group},
            "default_group": "g",
        }
    )


def test_what_a_group_demands() -> None:
    development = make_signer(unit="kmodsmith development key").identity
    production = make_signer().identity
    check_policy(_config("optional"), "g", [])
    check_policy(_config("required"), "g", [development])
    check_policy(_config("production"), "g", [production])
    for signing in ("required", "production"):
        with pytest.raises(SignerError, match="names no signer") as caught:
            check_policy(_config(signing), "g", [])
        assert caught.value.code == "no-signer"
    with pytest.raises(SignerError, match="development key") as caught:
        check_policy(_config("production"), "g", [production, development])
    assert caught.value.code == "development-key-forbidden"


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file"):
        read_certificate(tmp_path / "none.pem")
    (tmp_path / "x.pem").write_text("hello")
    with pytest.raises(FormatError, match="it is not a certificate"):
        read_certificate(tmp_path / "x.pem")
