"""A node of the sample driver."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from fakes.node import FakeNode
from kmod_operator.log import JsonLines
from kmod_operator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_log_stays() -> Iterator[None]:
    """Take back what a program that was called here logs to: the test's own stderr is closed when it is over."""
    root = logging.getLogger()
    level = root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler.formatter, JsonLines)]
    root.setLevel(level)


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with TemporaryDirectory(prefix="node") as folder:  # sockets have short names: the folder of a test is too long
        root = Path(folder)
        settings = Settings(
            resource="drivers.example.com/ptemplate",
            scan_s=0.01,
            plugin_dir=root / "plugins",
            registry_dir=root / "registry",
            node="worker",
            cdi_dir=root / "cdi",
            root=root,
            port=0,
        )
        settings.plugin_dir.mkdir()
        settings.registry_dir.mkdir()
        settings.cdi_dir.mkdir()
        yield FakeNode(root=root, settings=settings)
