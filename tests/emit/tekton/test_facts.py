"""What versions.yaml says of pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.tekton_facts import BUILDER, tekton_settings

from builder.config.model.config import Config
from builder.config.model.debian import DebianKernels
from builder.config.model.driver import Driver
from builder.config.model.group import Group
from builder.config.model.publish import PublishSettings
from builder.config.model.signer import ImageSigner, Signer
from builder.emit.tekton.facts import NO_DIGEST, make_tekton_facts, tell
from builder.errors import UsageError

if TYPE_CHECKING:
    from typing import Any


def _config(**changes: Any) -> Config:
    words: dict[str, Any] = dict.fromkeys(("vendor", "summary", "description", "maintainer"), "x")
    said: dict[str, Any] = {
        "drivers": (Driver(name="drv", version="1", source=".", modules=("drv",), image="quay.test/org/drv", **words),),
        "sources": {"debian": DebianKernels(provider="debian")},
        "signers": {
            "file": Signer(certificate="a.pem", key_file="a.key"), "token": Signer(certificate="b.pem", pkcs11="pkcs11:object=b?module-path=/usr/lib/b.so"),
            "unused": Signer(certificate="c.pem", key_file="c.key"),
        },
        "groups": {"g": Group(source="debian", signers=("token", "file"))},
        "default_group": "g",
        "tekton": tekton_settings(),
    }  # fmt: skip
    return Config(**(said | changes))


def test_keys_are_those_of_signers_that_are_used_and_are_files() -> None:
    facts = make_tekton_facts(_config())
    assert (facts.signers, facts.signs_images) == (["file"], False)
    signed = _config(publish=PublishSettings(signer=ImageSigner(public_key="i.pub", key_file="i.key")))
    assert make_tekton_facts(signed).signs_images


def test_what_a_secret_cannot_hold_is_told() -> None:
    config = _config(publish=PublishSettings(signer=ImageSigner(public_key="i.pub", command=("kms",))))
    told = list(tell(config, make_tekton_facts(config)))
    assert [sentence.partition(" has")[0] for sentence in told] == ["signer 'token'", "publish.signer"]


def test_traps_are_told() -> None:
    settings = tekton_settings(builder=BUILDER.replace("b" * 64, NO_DIGEST), isolation="privileged")
    words: dict[str, Any] = dict.fromkeys(("vendor", "summary", "description", "maintainer"), "x")
    config = _config(
        tekton=settings,
        drivers=(Driver(name="drv", version="1", source=".", modules=("drv",), **words),),
        signers={},
        groups={"g": Group(source="debian")},
    )
    told = " ".join(tell(config, make_tekton_facts(config)))
    assert "placeholder" in told
    assert "root on their nodes" in told
    assert "'drv' has no 'image'" in told


def test_without_settings_it_is_said_where_to_begin() -> None:
    with pytest.raises(UsageError, match="has no 'tekton'"):
        make_tekton_facts(_config(tekton=None))
