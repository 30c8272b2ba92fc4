"""A registry that bundles go to."""

from __future__ import annotations

from fakes.publishing import registry  # noqa: F401 - fixture
