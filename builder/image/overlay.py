"""What a container sees of an image's layers: how each is unpacked, and how they lie over each other. Pure.

Rules: OCI image-spec, layer.md (whiteouts hide what is below, never what is beside them); containers/storage,
pkg/archive (each layer is unpacked into a folder of its own, and links are followed within that folder alone); the
kernel's Documentation/filesystems/overlayfs.rst (only folders merge; all else hides whatever is below it).

Engines that unpack each layer into the tree of those before it see something else of some layers; those are told.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, cast

from builder.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from builder.image.leaks import Leak

_MOST_HOPS = 40
# Trees nest some twenty folders deep; what nests deeper only makes every path slow.
_DEEPEST = 256
_LONGEST_PATH = 4095
_LONGEST_NAME = 255
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """A file of an image. ``link`` is the target of a symbolic link; ``content`` is kept where checks need it.

    What is neither file, folder nor link is a device, a pipe or a socket. ``head`` is how a program begins.
    ``twin_of`` is set where its layer has it as another name (a hard link) of that path; ``has_capabilities`` where its
    own entry gives it some.
    """

    path: str
    mode: int
    size: int
    is_file: bool = False
    is_folder: bool = False
    link: str = ""
    content: bytes | None = None
    head: bytes = b""
    twin_of: str = ""
    has_capabilities: bool = False


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """A path of which not every engine sees the same, and why."""

    path: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer as it is when it is unpacked alone, and what in it looks like a secret.

    ``hidden`` are paths that it takes away from below, ``opaque`` folders that it empties; ``folders`` are all that it
    has, ``implied`` those of them that it never mentions itself.
    """

    digest: str
    files: Mapping[str, ImageFile]
    folders: frozenset[str]
    implied: frozenset[str]
    hidden: frozenset[str]
    opaque: frozenset[str]
    leaks: tuple[Leak, ...]
    ambiguities: tuple[Ambiguity, ...] = ()


@dataclass(slots=True)
class _Folder:
    """A folder while a layer is unpacked; ``own`` is its entry, None where the layer never mentions it."""

    own: ImageFile | None = None
    children: dict[str, _Folder | ImageFile] = field(default_factory=dict)


class LayerTree:
    """Unpacks one layer, entry by entry, in the order of the archive.

    Args:
        digest: of the layer, for errors.
    """

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._root = _Folder()
        self._entered: dict[str, tuple[str, _Folder]] = {"": ("", self._root)}
        self._hidden: set[str] = set()
        self._opaque: set[str] = set()
        self._ambiguities: list[Ambiguity] = []

    def tell(self, found: Iterable[Ambiguity]) -> None:
        """Add what was seen of an entry; a few are enough to refuse an image."""
        self._ambiguities += islice(found, _MOST_TOLD - len(self._ambiguities))

    def place(self, path: str) -> str:
        """Return where an entry comes to lie: links on its way are followed, and folders are made as needed.

        Raises:
            FormatError: the way leads through something that is no folder, or to nowhere: no engine unpacks that.
        """
        folder, _, name = path.rpartition("/")
        if len(path) > _LONGEST_PATH or len(name) > _LONGEST_NAME:
            raise self._wrong(path, "is longer than any file system takes")
        where, _ = self._enter(folder)
        return f"{where}/{name}" if where else name

    def put(self, file: ImageFile) -> None:
        """Add an entry at a path that ``place`` gave; what was there before goes, unless both are folders."""
        parent, _, name = file.path.rpartition("/")
        if len(file.link) > _LONGEST_PATH:
            raise self._wrong(file.path, "is a link to a longer path than any file system takes")
        _, folder = self._enter(parent)
        there = folder.children.get(name)
        if file.is_folder:
            if isinstance(there, _Folder):
                there.own = file
                return
            folder.children[name] = _Folder(own=file)
        else:
            if isinstance(there, _Folder) and there.own is not None:  # its times are set in the end, when it is gone
                raise self._wrong(file.path, "is a folder first, and then something else")
            folder.children[name] = file
        if there is not None:  # ways that led over it lead elsewhere now
            self._entered = {"": ("", self._root)}

    def find(self, path: str) -> ImageFile | None:
        """Return the entry at a path, links on the way followed but not the last one; None if there is none."""
        folder, _, name = path.rpartition("/")
        try:
            _, node = self._follow(folder, may_make=False)
        except FormatError:
            return None
        found = node.children.get(name)
        return found if isinstance(found, ImageFile) else None

    def hide(self, path: str) -> None:
        """Take a path away from the layers below."""
        parent, _, name = path.rpartition("/")
        if name in {"", ".", ".."}:
            raise self._wrong(path, "can be hidden by nobody")
        if _is_hidden(parent, self._hidden, frozenset()):  # some tools name what is below a hidden folder, too
            self._hidden.add(path)
            return
        where, folder = self._enter(parent)
        hidden = f"{where}/{name}" if where else name
        if name in folder.children:
            self.tell([Ambiguity(hidden, "one layer brings it, and then takes it away")])
        self._hidden.add(hidden)

    def empty(self, folder: str) -> None:
        """Take all that a folder has in the layers below away."""
        where, _ = self._enter(folder)
        if not where:
            self.tell([Ambiguity("/", "a mark that hides all layers below, which overlayfs ignores")])
        self._opaque.add(where)

    def finish(self, leaks: Sequence[Leak]) -> Layer:
        files: dict[str, ImageFile] = {}
        folders: set[str] = set()
        implied: set[str] = set()
        for path, node in _walk(self._root):
            if isinstance(node, ImageFile):
                files[path] = node
                continue
            folders.add(path)
            if node.own is None:
                implied.add(path)
            else:
                files[path] = node.own
        return Layer(
            digest=self._digest, files=files, folders=frozenset(folders), implied=frozenset(implied),
            hidden=frozenset(self._hidden), opaque=frozenset(self._opaque - {""}), leaks=tuple(leaks),
            ambiguities=tuple(self._ambiguities),
        )  # fmt: skip

    def _enter(self, folder: str) -> tuple[str, _Folder]:
        """Return the folder that a path leads to, and where it really is; made where it is missing."""
        known = self._entered.get(folder)
        if known is None:
            where, node = self._follow(folder, may_make=True)
            known = self._entered[folder] = ("/".join(where), node)
        return known

    def _follow(self, path: str, *, may_make: bool) -> tuple[list[str], _Folder]:
        """Walk a path from the root of this layer; returns where it ends. What links name is never made."""
        parts = _split(path)
        done: list[str] = []
        nodes = [self._root]
        hops = of_links = 0
        while parts:
            if len(parts) + len(done) > _DEEPEST or hops > _MOST_HOPS:
                raise self._wrong(
                    path, "leads in a circle" if hops > _MOST_HOPS else "nests deeper than any path should"
                )
            part = parts.pop(0)
            is_own, of_links = not of_links, max(of_links - 1, 0)
            if part == "..":
                del done[-1:]
                del nodes[len(done) + 1 :]
                continue
            there = nodes[-1].children.get(part)
            if there is None and may_make and is_own:
                there = nodes[-1].children[part] = _Folder()
            if isinstance(there, _Folder):
                done.append(part)
                nodes.append(there)
            elif there is not None and there.link:
                target = _split(there.link)
                parts, hops, of_links = [*target, *parts], hops + 1, of_links + len(target)
                if there.link.startswith("/"):
                    done, nodes = [], [self._root]
            else:
                what = "is no folder" if there else "does not exist"
                raise self._wrong("/".join([*done, part]), f"{what}, and something is to lie below it")
        return done, nodes[-1]

    def _wrong(self, path: str, sentence: str) -> FormatError:
        return FormatError(f"layer {self._digest} cannot be unpacked: {path[:200]} {sentence}")


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


def _walk(root: _Folder) -> Iterator[tuple[str, _Folder | ImageFile]]:
    waiting = [("", root)]
    while waiting:
        prefix, folder = waiting.pop()
        for name, node in folder.children.items():
            yield prefix + name, node
            if isinstance(node, _Folder):
                waiting.append((f"{prefix}{name}/", node))


def merge_layers(layers: Sequence[Layer]) -> tuple[Mapping[str, ImageFile], tuple[Ambiguity, ...]]:
    """Return the files that a container sees, layers lowest first, and what other engines would see differently."""
    merged: ChainMap[str, ImageFile] = ChainMap()
    folders: set[str] = set()
    ambiguities: list[Ambiguity] = []
    for layer in layers:
        ambiguities += [*layer.ambiguities, *islice(_find_ambiguities(layer, merged, folders), _MOST_TOLD)]
        covered = {path for path in folders & layer.files.keys() if not layer.files[path].is_folder}
        replaced = {path for path in layer.folders if (file := merged.get(path)) and not file.is_folder}
        gone = layer.hidden | covered | replaced
        if gone or layer.opaque:
            kept = {path: file for path, file in merged.items() if not _is_hidden(path, gone, layer.opaque)}
            folders = {path for path in folders if not _is_hidden(path, gone, layer.opaque)}
            merged = ChainMap(kept)
        # An entry of a layer counts for the folder that it is about; the layers below still fill it.
        merged = ChainMap(cast("dict[str, ImageFile]", layer.files), *merged.maps)
        folders |= layer.folders
    return merged, tuple(ambiguities)


def _find_ambiguities(layer: Layer, below: Mapping[str, ImageFile], folders: set[str]) -> Iterator[Ambiguity]:
    for path in sorted(layer.implied):
        file = below.get(path)
        if file is not None and not file.is_folder:
            what = f"a link to {file.link}" if file.link else "no folder"
            yield Ambiguity(path, f"a layer puts files below it without saying that it is a folder, and it was {what}")
    for path in sorted(layer.hidden & layer.folders & folders):
        yield Ambiguity(path, "one layer takes it away and brings it again, and some engines keep what it held")


def _is_hidden(path: str, gone: AbstractSet[str], opaque: AbstractSet[str]) -> bool:
    if path in gone:
        return True
    parents = [path[:place] for place, letter in enumerate(path) if letter == "/"]
    return any(parent in gone or parent in opaque for parent in parents)
