"""What git keeps of a repository, as text and bytes: settings with URLs, commits, trees and deltas. Pure.

Formats: git's documentation, git-config(1), gitformat-pack(5). All of it may be hostile: a source comes from anybody,
and its repository with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEMES = frozenset({"http", "https", "ssh", "git"})
_SCP = re.compile(r"(?:[^@/:]+@)?([A-Za-z0-9._-]{2,}):/?([^/:].*)")
_PLAIN = re.compile(r"[!-~]{1,2000}")
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", '"': '"', "\\": "\\"}
_SECTION = re.compile(r'\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)")
_MOST_ENTRIES = 200_000
_LARGEST_OBJECT = 64 * 1024**2


def clean_url(url: str) -> str:
    """Return a remote's URL as everybody may see it, such as ``git+https://host/path``; empty where it tells too much.

    User, password, query and fragment can be credentials, and a path of this machine, or a helper of git's (``ext::``),
    is nobody else's business.
    """
    if not _PLAIN.fullmatch(url) or "\\" in url:
        return ""
    if "://" not in url:
        match = _SCP.fullmatch(url)
        url = f"ssh://{match[1]}/{match[2]}" if match else ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    # A password with one of / ? # in it ends the host too early, and the rest of it would be a part of the path.
    is_odd = "@" in parts.path + parts.query + parts.fragment
    if is_odd or parts.scheme not in _SCHEMES or not _HOST.fullmatch(host) or not parts.path.strip("/"):
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"git+{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def parse_settings(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield section (with its subsection: ``remote.origin``), key and value of a file of settings, and include none.

    Lines that git would not understand are passed over.
    """
    section = ""
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        rest = line.strip()
        if match := _SECTION.match(rest):
            name, sub = match[1].lower(), match[2]
            section = name if sub is None else f"{name}.{_ESCAPED.sub(_unescape, sub)}"
            rest = rest[match.end() :].strip()
        if section and (match := _KEY.fullmatch(rest)):
            yield section, match[1].lower(), _read_value(match[2] or "")


def _unescape(match: re.Match[str]) -> str:
    return match[1]


def _read_value(text: str) -> str:
    """Return a value without its quotes, escapes, comment, and blanks around it."""
    value, is_quoted, kept = "", False, 0
    characters = iter(text)
    for character in characters:
        if character == "\\":
            value += _ESCAPES.get(next(characters, ""), "")
            kept = len(value)
        elif character == '"':
            is_quoted = not is_quoted
            kept = len(value)
        elif character in "#;" and not is_quoted:
            break
        else:
            value += character
            kept = len(value) if is_quoted or not character.isspace() else kept
    return value[:kept]


def choose_remote(settings: list[tuple[str, str, str]]) -> str:
    """Return the cleaned URL of the remote that others know: origin, or the only one; empty where there is none."""
    urls: dict[str, str] = {}
    for section, key, value in settings:
        kind, _, name = section.partition(".")
        if (kind, key) == ("remote", "url") and name:
            urls.setdefault(name, value)
    chosen = urls.get("origin") or (next(iter(urls.values())) if len(urls) == 1 else "")
    return clean_url(chosen)


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name of a tree: kind is file, program, link, folder or commit (a submodule)."""

    name: str
    kind: str
    id: str


_KINDS = {
    b"100644": "file", b"100664": "file", b"100755": "program", b"120000": "link", b"40000": "folder",
    b"160000": "commit",
}  # fmt: skip


def parse_tree(content: bytes, id_size: int) -> list[TreeEntry]:
    """Return the entries of a tree object.

    Raises:
        FormatError: it is damaged.
    """
    entries: list[TreeEntry] = []
    place = 0
    while place < len(content):
        space, end = content.find(b" ", place, place + 8), content.find(b"\0", place, place + 5000)
        kind = _KINDS.get(content[place : max(space, place)])
        raw = content[end + 1 : end + 1 + id_size]
        if kind is None or end <= space + 1 or len(raw) != id_size or len(entries) >= _MOST_ENTRIES:
            raise FormatError("a tree of its repository is damaged")
        name = content[space + 1 : end].decode(errors="surrogateescape")
        entries.append(TreeEntry(name, kind, raw.hex()))
        place = end + 1 + id_size
    return entries


def parse_commit_tree(content: bytes) -> str:
    """Return the id of the tree of a commit object.

    Raises:
        FormatError: it is none.
    """
    match = re.match(rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n", content)
    if match is None:
        raise FormatError("a commit of its repository is damaged")
    return match[1].decode()


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """Return the object that a delta makes of another one.

    Raises:
        FormatError: it is damaged, or makes more than it may.
    """
    base_size, place = _read_size(delta, 0)
    size, place = _read_size(delta, place)
    if base_size != len(base) or size > _LARGEST_OBJECT:
        raise FormatError("a delta of its repository is not of its base, or makes too much")
    made = bytearray()
    while place < len(delta):
        code = delta[place]
        place += 1
        if code & 0x80:
            values = []
            for bit in range(7):
                has = code >> bit & 1
                values.append(delta[place] if has and place < len(delta) else 0)
                place += has
            start = int.from_bytes(bytes(values[:4]), "little")
            length = int.from_bytes(bytes(values[4:]), "little") or 0x10000
            piece = base[start : start + length]
        else:
            length = code
            piece = delta[place : place + length]
            place += length
        made += piece
        if not length or len(piece) != length or len(made) > size:
            raise FormatError("a delta of its repository is damaged")
    if len(made) != size:
        raise FormatError("a delta of its repository is cut off")
    return bytes(made)


def _read_size(data: bytes, place: int) -> tuple[int, int]:
    size = shift = 0
    while place < len(data) and shift < 63:  # noqa: PLR2004 - no size has more bits
        byte = data[place]
        place += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, place
    raise FormatError("a delta of its repository is cut off")
