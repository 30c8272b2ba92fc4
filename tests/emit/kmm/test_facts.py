from __future__ import annotations

import pytest

from builder.config.model import RegistrySettings
from builder.emit.kmm.facts import registry_tls
from builder.kernel import parse_kernel_version
from builder.publish.result import PublishedCell

_CELLS = [
    PublishedCell(
        kernel=parse_kernel_version("6.1.0-9-amd64"),
        repository="quay.test:5000/org/drv",
        digest="sha256:1",
        tags=("x",),
    )
]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {}),
        ({"plain_http": ("quay.test:5000",)}, {"insecure": True}),
        ({"unverified_tls": ("quay.test:5000",)}, {"insecureSkipTLSVerify": True}),
        ({"plain_http": ("quay.test",), "unverified_tls": ("other.test:5000",)}, {}),
    ],
)
def test_kmm_asks_a_registry_as_we_do(settings: dict[str, tuple[str, ...]], wanted: dict[str, bool]) -> None:
    assert registry_tls(RegistrySettings.model_validate(settings), _CELLS) == wanted
