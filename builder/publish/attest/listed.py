"""Images that are lists: each layer is a small blob about another image, and whoever may write adds to them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from builder.errors import FormatError
from builder.foreign import Parsed, parse_data, parse_json
from builder.image.manifests import make_list_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
_MOST_LAYERS = 1000
"""cosign reads no list with more."""


class ListedLayer(Parsed):
    media_type: Annotated[str, Field(alias="mediaType", min_length=1)]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, strict=True)]
    annotations: dict[str, str] = Field(default_factory=dict)


class _Manifest(Parsed):
    layers: Annotated[list[Any], Field(max_length=_MOST_LAYERS)]


def read_layers(content: bytes, what: str) -> list[ListedLayer]:
    """Return the layers that the manifest of a list names; what is none is passed over.

    Args:
        content: the manifest.
        what: it is a list of, for sentences.

    Raises:
        FormatError: it is no manifest, or lists too many.
    """
    return [layer for item in _list_items(content, what) if (layer := _read(item)) is not None]


def extend_list(there: bytes | None, new: Sequence[Mapping[str, Any]], what: str) -> tuple[bytes, bytes]:
    """Return manifest and configuration of a list that has new layers (descriptors), too.

    Args:
        there: manifest of the list that is there. What others put into it stays, whatever it is, as long as it is a
            layer: one that is none would keep every engine from reading the whole list.
        new: what is added.
        what: it is a list of, for sentences.

    Raises:
        FormatError: what is there is no list, or the list would be longer than anybody reads.
    """
    kept = [] if there is None else [item for item in _list_items(there, what) if _read(item) is not None]
    layers = [*kept, *new]
    if len(layers) > _MOST_LAYERS:
        raise FormatError(
            f"its list of {what} would have {len(layers)} entries, and nobody reads more than {_MOST_LAYERS}"
        )
    return make_list_image(layers)


def _list_items(content: bytes, what: str) -> list[Any]:
    return parse_json(_Manifest, content, f"list of {what}").layers


def _read(item: object) -> ListedLayer | None:
    try:
        return parse_data(ListedLayer, item, "layer")
    except FormatError:
        return None
