"""What verify is asked for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.published_image import (
    NAME,
    SIGNER,
    PublishedImage,
)

from builder.config.model.registry import RegistrySettings
from builder.errors import UsageError
from builder.publish.verifier import WaivedTest
from builder.publish.verify import list_waived, verify_image

if TYPE_CHECKING:
    from pathlib import Path


def test_a_boot_test_is_not_waived_and_demanded(tmp_path: Path) -> None:
    key = tmp_path / "images.pub"
    key.write_text(SIGNER.key.pem)
    project: Any = SimpleNamespace(file=tmp_path / "versions.yaml", cache_dir=tmp_path, untrusted=False)
    with pytest.raises(UsageError, match="cannot be waived"):
        verify_image(
            project, str(NAME), [key], without=("boot",), require_boot="secure", signed_as=None, plain_http=False
        )


_SIGNED, _SECURE = "publish.require_boot: signed", "publish.require_boot: secure"


@pytest.mark.parametrize(
    ("without", "boot", "demanded", "waived"),
    [
        ((), "any", "any", []),
        ((), "signed", "secure", []),
        ((), "any", "secure", [("boot", "--require-boot any", _SECURE)]),
        (("boot",), "any", "any", [("boot", "--without boot", "")]),
        (("boot",), "signed", "signed", [("boot", "--without boot", _SIGNED)]),
        (("module-signature",), "secure", "signed", [
            ("module-signature", "--without module-signature", ""), ("boot", "--require-boot secure", _SIGNED),
        ]),
    ],
)  # fmt: skip
def test_what_is_waived(without: tuple[str, ...], boot: str, demanded: str, waived: list[tuple[str, str, str]]) -> None:
    found = [(item.test, item.by, item.demanded) for item in list_waived(without, boot, demanded)]
    assert found == waived


def test_a_waived_boot_test_is_told_with_what_versions_yaml_demands(
    image: PublishedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image.sign(replace(image.facts, boot=None))
    (tmp_path / "images.pub").write_text(SIGNER.key.pem)
    (tmp_path / "versions.yaml").touch()
    config = SimpleNamespace(publish=SimpleNamespace(require_boot="signed"), registry=RegistrySettings())
    project: Any = SimpleNamespace(file=tmp_path / "versions.yaml", cache_dir=tmp_path, untrusted=False, config=config)
    monkeypatch.setattr(
        "builder.publish.verify.open_registries",
        lambda *_: SimpleNamespace(registry=image.server.open(tmp_path / "read")[0]),
    )
    keys = [tmp_path / "images.pub"]
    options: dict[str, Any] = {"require_boot": None, "signed_as": None, "plain_http": False}
    assert not verify_image(project, str(NAME), keys, without=(), **options).passed
    found = verify_image(project, str(NAME), keys, without=("boot",), **options)
    assert found.passed
    assert found.waived == (WaivedTest(test="boot", by="--without boot", demanded=_SIGNED),)
