"""A registry that a project publishes to, and sends plans to."""

from __future__ import annotations

from fakes.publishing import registry  # noqa: F401 - fixture
