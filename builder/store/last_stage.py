"""The image that the last stage of driver-container/Containerfile makes, written here: byte for byte buildah's.

That stage says what an image is called and copies a folder, so there is nothing to run. buildah starts a dozen
processes for it, and more to read what it wrote. Whoever changed the stage, or needs anything that was never compared
with buildah's own result, gets buildah: ``find_change`` and ``find_obstacle`` say why. The comparisons are
tests/integration/buildah/test_last_stage.py. Pure.

Forms: OCI image-spec 1.1 (layer, config, manifest), as buildah 1.28 fills them, and as Go writes JSON and archives.
Ustar headers: pax(1), "ustar Interchange Format".
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.digest import sha256_of
from builder.image.labels import CELL_LABEL, KERNEL_LABEL, KEY_LABEL
from builder.image.manifests import OCI_CONFIG, OCI_MANIFEST, make_descriptor
from builder.store.result import File, Folder, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from builder.store.result import CompileResult, ResultEntry

# In the manifest, too: then a registry tells what an image is with one request, without its configuration.
ANNOTATED = frozenset({CELL_LABEL, KEY_LABEL, KERNEL_LABEL})
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

_FROM = "FROM ${BASE_IMAGE}"
_ARGUMENTS = (
    "KERNEL_VERSION", "KERNEL_FULL_VERSION", "DRIVER_NAME", "DRIVER_VERSION", "VENDOR", "SUMMARY", "DESCRIPTION",
    "MAINTAINER",
)  # fmt: skip
_LABEL_LINES = (
    r'LABEL name="${DRIVER_NAME}" vendor="${VENDOR}" version="${DRIVER_VERSION}" release="${KERNEL_FULL_VERSION}" ',
    r'      summary="${SUMMARY}" description="${DESCRIPTION}" maintainer="${MAINTAINER}"',
)
_KNOWN = (
    _FROM,
    "ARG KERNEL_VERSION",
    "ARG KERNEL_FULL_VERSION=${KERNEL_VERSION}",
    "ARG DRIVER_NAME=driver",
    "ARG DRIVER_VERSION=0.0.0",
    'ARG VENDOR="not stated"',
    'ARG SUMMARY="Kernel modules of ${DRIVER_NAME} ${DRIVER_VERSION}"',
    'ARG DESCRIPTION="${SUMMARY} for kernel ${KERNEL_FULL_VERSION}"',
    "ARG MAINTAINER=${VENDOR}",
    f"{_LABEL_LINES[0]}\\",
    _LABEL_LINES[1],
    "COPY --from=modules / /",
)
_LABELS = {
    "name": "DRIVER_NAME", "vendor": "VENDOR", "version": "DRIVER_VERSION", "release": "KERNEL_FULL_VERSION",
    "summary": "SUMMARY", "description": "DESCRIPTION", "maintainer": "MAINTAINER",
}  # fmt: skip
# Words at the head of a Containerfile that change how all of it is read, and what only newer parsers know.
_DIRECTIVE = re.compile(r"^#\s*(escape|syntax|check)\s*=", re.IGNORECASE | re.MULTILINE)
_HEREDOC = "<<"
_BASE_ARGUMENT = re.compile(r"^ARG BASE_IMAGE(=.*)?$")
_INSTRUCTION = re.compile(r"^\s*FROM\s", re.IGNORECASE)

_EPOCH = "1970-01-01T00:00:00Z"
# As Go writes it: no zero at the end of a fraction.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z")
_STEP = "/bin/sh -c #(nop) "
_HISTORY = ("created", "created_by", "author", "comment", "empty_layer")
_SETTINGS = ("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "StopSignal")
_OF_CONFIG = frozenset({"created", "architecture", "os", "config", "rootfs", "history"})
_OF_MANIFEST = frozenset({"schemaVersion", "mediaType", "config", "layers", "annotations"})
# buildah writes our own labels as instructions, with quotes around them, and reads those back.
_QUOTED = re.compile(r"[A-Za-z0-9 ._+:/,@~^=-]*")
_OUTSIDE_OF_QUOTES = frozenset('"\\$`')
_NAMED = re.compile(r"localhost/[a-z0-9._/-]+:[A-Za-z0-9._-]+")
# As json.Marshal does, whose result may stand in a page.
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
_IGNORE_FILES = (".containerignore", ".dockerignore")

_BLOCK = 512
_NAME, _PREFIX, _LINK = 100, 155, 100
_LARGEST = 8**11 - 1
_FORMATS: Mapping[type, tuple[bytes, int]] = {Folder: (b"5", 0o040000), Link: (b"2", 0o120000), File: (b"0", 0o100000)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBase:
    """A base image as the store has it.

    ``name`` is what it is called there, ``digest`` that of its manifest; ``manifest`` and ``config`` are those of its
    export. ``layers`` are digests and sizes in bytes of its plain layers, lowest first. ``odd`` are paths of it that
    are no plain folders.
    """

    name: str
    digest: str
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    layers: Sequence[tuple[str, int]]
    odd: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an image is to be: build arguments, our own labels, and the architecture in OCI's spelling."""

    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    arch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLayer:
    """What was written of a layer: its digest and size in bytes, and the digest of what was copied into it."""

    digest: str
    size: int
    copied: str


def find_change(text: str) -> str:
    """Return why a Containerfile's last stage is not the known one; empty where it is."""
    lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    before = lines[: -len(_KNOWN)]
    if tuple(lines[-len(_KNOWN) :]) != _KNOWN:
        return "the last stage of the Containerfile is not the known one"
    if _DIRECTIVE.search(text) or any(_HEREDOC in line or "\r" in line for line in before):
        return "the Containerfile uses more than is read here"
    if not before or before[-1].rstrip().endswith("\\"):
        return "the last stage of the Containerfile is a part of something else"
    first = next((number for number, line in enumerate(before) if _INSTRUCTION.match(line)), len(before))
    if not any(_BASE_ARGUMENT.match(line) for line in before[:first]):
        return "the Containerfile has no argument BASE_IMAGE for all of its stages"
    return ""


def find_obstacle(base: StoredBase, wanted: Wanted, result: CompileResult) -> str:
    """Return why buildah has to make an image; empty where ``write_layer`` and ``describe`` make the same.

    The Containerfile itself is judged by ``find_change``.
    """
    return _find_in_base(base, wanted.arch) or _find_in_words(wanted) or _find_in_result(result, base.odd)


def write_layer(result: CompileResult, write: Callable[[bytes], object]) -> WrittenLayer:
    """Write the layer that holds a result, piece by piece."""
    layer, copied = hashlib.sha256(), hashlib.sha256()
    size = 0
    for path, entry in result.entries.items():
        content = entry.content if isinstance(entry, File) else b""
        filled = bytes(-len(content) % _BLOCK)
        for piece in (_layer_header(path, entry), content, filled):
            write(piece)
            layer.update(piece)
            size += len(piece)
        for piece in (_copy_header(path, entry), content, filled):
            copied.update(piece)
    end = bytes(2 * _BLOCK)
    write(end)
    layer.update(end)
    copied.update(end)
    return WrittenLayer(digest=f"sha256:{layer.hexdigest()}", size=size + len(end), copied=copied.hexdigest())


def describe(base: StoredBase, wanted: Wanted, layer: WrittenLayer) -> tuple[bytes, bytes]:
    """Return configuration and manifest of the image that has a layer on top of a base."""
    settings = dict(base.config.get("config") or {})
    labels = {label: wanted.arguments[name] for label, name in _LABELS.items()} | dict(wanted.labels)
    settings["Labels"] = dict(sorted({**(settings.get("Labels") or {}), **labels}.items()))
    config = _encode(
        {
            "created": _EPOCH,
            "architecture": wanted.arch,
            "os": "linux",
            "config": {name: settings[name] for name in _SETTINGS if settings.get(name)},
            "rootfs": {"type": "layers", "diff_ids": [*base.config["rootfs"]["diff_ids"], layer.digest]},
            "history": [*map(_in_order, base.config["history"]), *_make_history(base, wanted, layer)],
        }
    )
    own_words = {label: value for label, value in wanted.labels.items() if label in ANNOTATED} | {
        "org.opencontainers.image.base.digest": base.digest,
        "org.opencontainers.image.base.name": base.name,
    }
    annotations = {**(base.manifest.get("annotations") or {}), **own_words}
    layers = [*base.layers, (layer.digest, layer.size)]
    manifest = _encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": make_descriptor(OCI_CONFIG, sha256_of(config), len(config)),
            "layers": [make_descriptor(OCI_LAYER, digest, size) for digest, size in layers],
            "annotations": dict(sorted(annotations.items())),
        }
    )
    return config, manifest


def _find_in_base(base: StoredBase, arch: str) -> str:
    try:
        return _judge_base(base, arch)
    except (KeyError, TypeError, AttributeError, ValueError):
        return "the base image is described in a way that is not read here"


def _judge_base(base: StoredBase, arch: str) -> str:
    config, manifest = base.config, base.manifest
    settings = config.get("config") or {}
    if not _NAMED.fullmatch(base.name):
        return "the base image has no plain name in the store"
    if not config.keys() <= _OF_CONFIG or not settings.keys() <= set(_SETTINGS):
        return "the base image says more of itself than was compared"
    if not manifest.keys() <= _OF_MANIFEST or manifest["config"]["mediaType"] != OCI_CONFIG:
        return "the base image has another form than OCI's"
    if (config["architecture"], config["os"]) != (arch, "linux"):
        return "the base image is for another platform"
    if change := _judge_layers(base) or _judge_variables(settings):
        return change
    words = [config.get("created") or _EPOCH, *_strings(settings), *_strings({"of": manifest.get("annotations")})]
    if not _TIME.fullmatch(words[0]) or not all(map(_is_printable, words)):
        return "the base image says something that cannot be printed"
    return ""


def _judge_layers(base: StoredBase) -> str:
    if base.config["rootfs"].keys() != {"type", "diff_ids"} or base.config["rootfs"]["type"] != "layers":
        return "the base image says more of its layers than was compared"
    layers = sum(not step.get("empty_layer") for step in base.config["history"])
    if base.config["rootfs"]["diff_ids"] != [digest for digest, _ in base.layers] or layers != len(base.layers):
        return "the base image does not tell the history of its layers"
    if not all(map(_is_plain_step, base.config["history"])):
        return "the history of the base image says more than was compared"
    return ""


def _judge_variables(settings: Mapping[str, Any]) -> str:
    variables = [word.partition("=") for word in settings.get("Env") or ()]
    names = {name for name, _, _ in variables}
    if len(names) != len(variables) or not all(name and sign for name, sign, _ in variables):
        return "the base image sets its variables in a way that was not compared"
    if names & set(_ARGUMENTS):
        return "the base image sets a variable that is an argument of the last stage"
    if "PATH" not in names:
        return "the base image sets no PATH, so buildah does"
    return ""


def _is_plain_step(step: Mapping[str, Any]) -> bool:
    times = _TIME.fullmatch(step.get("created", _EPOCH))
    words = [step.get(name, "") for name in _HISTORY[1:4]]
    return bool(step.keys() <= set(_HISTORY) and times and all(map(_is_printable, words)))


def _find_in_words(wanted: Wanted) -> str:
    for name in _ARGUMENTS:
        value = wanted.arguments.get(name)
        if value is None or not _is_printable(value) or _OUTSIDE_OF_QUOTES & {*value}:
            return f"the argument {name} is not plain text"
    for label, value in wanted.labels.items():
        if not _QUOTED.fullmatch(label) or not _QUOTED.fullmatch(value):
            return f"the label {label} is not plain text"
    return "" if wanted.labels else "there are no labels"


def _find_in_result(result: CompileResult, odd: frozenset[str]) -> str:
    for path, entry in result.entries.items():
        if path in odd:
            return f"{path} is something else in the base image"
        if path in _IGNORE_FILES:
            return f"buildah reads {path}"
        target = entry.target if isinstance(entry, Link) else ""
        names = (path, f"{path}/") if isinstance(entry, Folder) else (path,)
        is_plain = path.isascii() and target.isascii() and len(target) <= _LINK
        if not is_plain or not all(map(_split, names)):
            return f"the name of {path[:100]} needs an extended header"
        if isinstance(entry, File) and len(entry.content) > _LARGEST:
            return f"{path} is too large for a plain header"
    return ""


def _layer_header(path: str, entry: ResultEntry) -> bytes:
    """As containers/storage writes it: a folder ends with a slash, and the mode tells also what something is."""
    name = f"{path}/" if isinstance(entry, Folder) else path
    return _header(name, entry, mode=_FORMATS[type(entry)][1] | _mode_of(entry), owner=b"")


def _copy_header(path: str, entry: ResultEntry) -> bytes:
    """As buildah's copier writes it, which knows who it is: the user 0 is root."""
    return _header(path, entry, mode=_mode_of(entry), owner=b"root")


def _mode_of(entry: ResultEntry) -> int:
    if isinstance(entry, Link):
        return 0o777
    return 0o755 if isinstance(entry, Folder) or entry.is_program else 0o644


def _header(path: str, entry: ResultEntry, *, mode: int, owner: bytes) -> bytes:
    """Return an ustar header, with owner and group 0 and the time 0."""
    prefix, name = _split(path) or ("", path)
    size = len(entry.content) if isinstance(entry, File) else 0
    target = entry.target if isinstance(entry, Link) else ""
    fields = [
        name.encode().ljust(_NAME, b"\0"), b"%07o\0" % mode, b"%07o\0" % 0, b"%07o\0" % 0, b"%011o\0" % size,
        b"%011o\0" % 0, b" " * 8, _FORMATS[type(entry)][0], target.encode().ljust(_LINK, b"\0"), b"ustar\x0000",
        owner.ljust(32, b"\0"), bytes(32), b"%07o\0" % 0, b"%07o\0" % 0, prefix.encode().ljust(_PREFIX, b"\0"),
    ]  # fmt: skip
    fields[6] = b"%06o\0 " % sum(map(sum, fields))
    return b"".join(fields).ljust(_BLOCK, b"\0")


def _split(path: str) -> tuple[str, str] | None:
    """Return prefix and name of a path in a header: the longest prefix there can be; None where it does not fit."""
    if len(path) <= _NAME:
        return "", path
    length = min(len(path) - 1 if path.endswith("/") else len(path), _PREFIX + 1)
    at = path.rfind("/", 0, length)
    if at <= 0 or at > _PREFIX or not 0 < len(path) - at - 1 <= _NAME:
        return None
    return path[:at], path[at + 1 :]


def _make_history(base: StoredBase, wanted: Wanted, layer: WrittenLayer) -> list[dict[str, Any]]:
    """Return what buildah says that it did: of arguments, all names so far; one layer for all, told with the last."""
    steps = ["ARG " + " ".join(sorted(_ARGUMENTS[: number + 1], key=str.encode)) for number in range(len(_ARGUMENTS))]
    steps += ["".join(_LABEL_LINES), f"COPY dir:{layer.copied} in / "]
    steps += [f'LABEL "{label}"="{value}"' for label, value in sorted(wanted.labels.items())]
    told = [{"created": _EPOCH, "created_by": f"{_STEP}{step}", "empty_layer": True} for step in steps]
    del told[-1]["empty_layer"]
    told[-1]["comment"] = f"FROM {base.name}"
    return told


def _in_order(step: Mapping[str, Any]) -> dict[str, Any]:
    return {name: step[name] for name in _HISTORY if step.get(name)}


def _encode(data: Mapping[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    for letter, escaped in _ESCAPED.items():
        text = text.replace(letter, escaped)
    return text.encode()


def _strings(settings: Mapping[str, Any]) -> Iterator[str]:
    for value in settings.values():
        match value:
            case str():
                yield value
            case list():
                yield from value
            case dict():
                yield from (*value, *value.values())
            case None:
                pass
            case _:
                raise TypeError(value)


def _is_printable(value: object) -> bool:
    if not isinstance(value, str):
        raise TypeError
    return value.isprintable()
