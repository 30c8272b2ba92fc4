"""What verify is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.published_image import (
    NAME,
    SIGNER,
)

from builder.errors import UsageError
from builder.publish.verify import verify_image

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
