"""A pretended registry with one image, and the way to open it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.pull_server import PullServer, make_layer
from fakes.registry import pretend_registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.registry.reader import Registry


@pytest.fixture
def server() -> PullServer:
    return PullServer(
        [
            make_layer({"etc/release.json": b"{}", "big": bytes(100_000)}),
            make_layer({"release/image-references": b"refs"}),
        ]
    )


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def open_registry(server: PullServer, tmp_path: Path, slept: list[float]) -> Callable[..., Registry]:
    def opened(auths: dict[str, str] | None = None, **options: Any) -> Registry:
        file = tmp_path / "auth.json"
        entries = {name: {"auth": base64.b64encode(secret.encode()).decode()} for name, secret in (auths or {}).items()}
        file.write_text(json.dumps({"auths": entries}))
        return pretend_registry(server, tmp_path / "cache", file, **{"sleep": slept.append, **options})

    return opened
