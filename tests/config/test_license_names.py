"""What files with licences are called."""

from __future__ import annotations

import pytest

from builder.config.license_names import is_license_name


@pytest.mark.parametrize("name", ["LICENSE", "Licence.txt", "COPYING", "gpl-2.0.txt", "EULA", "copyright"])
def test_licences(name: str) -> None:
    assert is_license_name(name)


@pytest.mark.parametrize("name", ["README", "my-gpl.c", "neula", ""])
def test_others(name: str) -> None:
    assert not is_license_name(name)
