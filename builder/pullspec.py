"""Full names of images in registries. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.digest import is_digest
from builder.errors import FormatError

_LONGEST_NAME = 512
_REFERENCE = re.compile(
    r"(?P<host>[a-zA-Z0-9.-]+(?::\d+)?|\[[0-9a-f:]+\](?::\d+)?)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Pullspec:
    """An image's full name: registry host, repository, and a digest or a tag."""

    host: str
    repository: str
    reference: str

    @property
    def is_pinned(self) -> bool:
        return is_digest(self.reference)

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}{'@' if self.is_pinned else ':'}{self.reference}"

    def at(self, reference: str) -> Pullspec:
        """Return the name of another image of the repository, by digest or tag."""
        return Pullspec(self.host, self.repository, reference)


def find_host_problem(name: str) -> str:
    """Say why the first word of a name is no registry's host, as podman and Docker see it; empty where it is one.

    A word without dot and port is the beginning of a repository of Docker Hub or of a short name, whose meaning differs
    from machine to machine.
    """
    host, separator, _ = name.partition("/")
    if separator and (host == "localhost" or re.search(r"[.:]", host)):
        port = host.rpartition(":")[2] if ":" in host else ""
        return f"{port} is no port" if port.isdecimal() and not 0 < int(port[:6]) < 65_536 else ""  # noqa: PLR2004 - TCP
    return "it names no registry"


def find_repository_problem(name: str) -> str:
    """Say what is wrong with an image's name without tag, and what to write instead; empty where it is right."""
    path, _, last = name.partition("@")[0].rpartition("/")
    bare = f"{path}/{last.partition(':')[0]}".lstrip("/").lower()
    problems = [*filter(None, [find_host_problem(name)])]
    if bare != name.lower():
        problems.append("its tag comes from publish.tags")
    elif bare != name:
        problems.append("it must be in small letters")
    if find_host_problem(bare):
        repository = bare.rpartition("/")[2] or "name"
        ways = f"'localhost/{repository}' for this machine's store, or 'quay.io/organisation/{repository}'"
    else:
        ways = repr(bare)
    if problems:
        return f"{name[:200]!r} cannot name an image: {' and '.join(problems)}; write {ways}"
    if not _REFERENCE.fullmatch(f"{name}:tag") or len(name) > _LONGEST_NAME // 2:
        return f"{name[:200]!r} is not the name of an image such as quay.io/organisation/name"
    return ""


def parse_pullspec(text: str) -> Pullspec:
    """Parse a full image name; a digest counts more than a tag beside it.

    Raises:
        FormatError: it is none, or has neither digest nor tag.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or not (match["digest"] or match["tag"]) or len(text) > _LONGEST_NAME:
        raise FormatError(f"{text[:200]!r} is not a full image name such as quay.io/org/name@sha256:...")
    return Pullspec(match["host"].lower(), match["repository"], match["digest"] or match["tag"])
