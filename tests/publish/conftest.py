"""An image, and a list of images, in a registry in memory; and a project that publishes to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.list_place import Place
from fakes.published_image import (
    PublishedImage,
    make_published_image,
)
from fakes.publishing import registry  # noqa: F401 - fixture
from fakes.registry import FakeRegistry

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=[False, True], ids=["tags", "referrers"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> PublishedImage:
    return make_published_image(FakeRegistry(lists_referrers=request.param), tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(FakeRegistry(lists_referrers=True), tmp_path)
