"""Full names of images in registries. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import FormatError

_LONGEST_NAME = 512
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE = re.compile(
    r"(?P<host>[a-zA-Z0-9.-]+(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class Pullspec:
    """An image's full name: registry host, repository, and a digest or a tag."""

    host: str
    repository: str
    reference: str

    @property
    def is_pinned(self) -> bool:
        return bool(_DIGEST.fullmatch(self.reference))

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}{'@' if self.is_pinned else ':'}{self.reference}"

    def at(self, reference: str) -> Pullspec:
        """Return the name of another image of the repository, by digest or tag."""
        return Pullspec(self.host, self.repository, reference)


def parse_pullspec(text: str) -> Pullspec:
    """Parse a full image name; a digest counts more than a tag beside it.

    Raises:
        FormatError: it is none, or has neither digest nor tag.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or not (match["digest"] or match["tag"]) or len(text) > _LONGEST_NAME:
        raise FormatError(f"{text[:200]!r} is not a full image name such as quay.io/org/name@sha256:...")
    return Pullspec(match["host"].lower(), match["repository"], match["digest"] or match["tag"])
