"""A registry that a project publishes to."""

from __future__ import annotations

from fakes.publishing import registry  # noqa: F401 - fixture
