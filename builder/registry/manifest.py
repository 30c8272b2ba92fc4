"""What a manifest of a registry says: an image with its layers, or a list of images by platform."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.digest import is_digest, sha256_of
from builder.errors import FormatError
from builder.foreign import read_json
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.pullspec import Pullspec

_IMAGE_TYPES = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_LIST_TYPES = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = (*_IMAGE_TYPES, *_LIST_TYPES)
_MEDIA_TYPE = re.compile(r"[!-~]{0,255}")  # it becomes a header


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that a manifest names: digest, size in bytes, media type."""

    digest: str
    size: int
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index, as parsed from bytes that have its digest.

    ``layers`` are those of an image, lowest first; ``images`` those of an index, by platform (``linux/amd64``).
    """

    digest: str
    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    images: Mapping[str, Descriptor]
    annotations: Mapping[str, str]

    @property
    def is_index(self) -> bool:
        return self.config is None


def parse_manifest(content: bytes, pullspec: Pullspec) -> Manifest:
    """Return what a registry served under a name, as an image or a list.

    Raises:
        FormatError: it is neither, or both at once.
    """
    digest = sha256_of(content)
    try:
        data = read_json(content, "it")
        media_type = str(data.get("mediaType", ""))
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise ValueError(f"{media_type!r} is no media type")  # noqa: TRY301 - one message for all that is wrong
        annotations = {str(key): str(value) for key, value in (data.get("annotations") or {}).items()}
        if _is_list(data, media_type):
            entries = [entry for entry in data["manifests"] if "platform" in entry]
            images = {_platform(entry["platform"]): _parse_descriptor(entry) for entry in entries}
            return Manifest(digest, media_type, None, (), images, annotations)
        layers = tuple(_parse_descriptor(entry) for entry in data["layers"])
        return Manifest(digest, media_type, _parse_descriptor(data["config"]), layers, {}, annotations)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError) as error:
        raise FormatError(f"{pullspec}: what the registry served is no manifest: {error!r}"[:300]) from None


def _is_list(data: Mapping[str, Any], media_type: str) -> bool:
    """Tell whether a manifest is a list; ValueError where one client would say so, and another not (CVE-2021-41190)."""
    is_list = "manifests" in data
    is_both = is_list and not data.keys().isdisjoint({"config", "layers"})
    if is_both or media_type in (_IMAGE_TYPES if is_list else _LIST_TYPES):
        raise ValueError("it is a list and an image at once")
    return is_list


def _platform(data: Mapping[str, str]) -> str:
    return "/".join(str(data[key]) for key in ("os", "architecture", "variant") if data.get(key))


def _parse_descriptor(data: dict[str, Any]) -> Descriptor:
    digest, size = data["digest"], data["size"]
    if not is_digest(digest) or type(size) is not int or size < 0:
        raise ValueError(f"{digest!r} with {size!r} bytes names no blob")
    return Descriptor(digest, size, str(data.get("mediaType", "")))
