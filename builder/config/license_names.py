"""What files with licences are called: certification wants one, and vendors do not agree on a name. Pure."""

from __future__ import annotations

import re

_OF_LICENSE = re.compile(r"(?i)licen[cs]e|copying|^gpl|^eula|copyright")


def is_license_name(name: str) -> bool:
    """Tell whether a file of this name, without folder, probably holds a licence."""
    return _OF_LICENSE.search(name) is not None
