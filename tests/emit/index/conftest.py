"""A project that publishes to a registry in memory."""

from __future__ import annotations

from fakes.publishing import registry  # noqa: F401 - fixture
