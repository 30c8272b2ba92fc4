"""Whether the cluster has an object already as we would apply it, so that nothing has to be written. Pure.

Three things have to be so: what we want is what we wanted the last time (its digest is an annotation of ours: a field
that we do not want any more is seen by it), the server knows that it is ours, and each value of ours is still there.
What the server or somebody else added beside our fields is theirs. Which items of a list are ours, ``managedFields``
say.
"""

from __future__ import annotations

import hashlib
import json
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_operator.rollout.world import Object

_STEP = "f:"
_KEYED = "k:"
_VALUE = "v:"
_QUANTITIES = frozenset({"limits", "requests"})
_QUANTITY = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)(|[munkMGTPE]|[KMGTPE]i)", re.ASCII)
_POWERS = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIXES = {
    **{letter: Fraction(10) ** power for letter, power in _POWERS.items()},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", 1)},
}


def marked(item: Object, annotation: str) -> dict[str, Any]:
    """Return an object as it is applied: with the digest of what is wanted."""
    plain = _plain(item)
    metadata = plain["metadata"]
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {**annotations, annotation: digest(plain)}
    return plain


def digest(item: Object) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def is_as_applied(wanted: Object, there: Object, *, manager: str, annotation: str) -> bool:
    """Tell whether to apply an object (as ``marked`` made it) would change nothing of what is there."""
    marks = _map(_map(there.get("metadata")).get("annotations"))
    if marks.get(annotation) != wanted["metadata"]["annotations"][annotation]:
        return False
    owned = _owned(there, manager)
    if owned is None:
        return False
    return all(_has(value, there.get(name), owned.get(f"{_STEP}{name}")) for name, value in _content(wanted).items())


def content_digest(there: Object) -> str:
    """Return a digest of what an object says, without what changes by itself."""
    metadata = {
        name: value
        for name, value in there["metadata"].items()
        if name not in {"resourceVersion", "managedFields", "generation"}
    }
    return digest({**{name: value for name, value in there.items() if name != "status"}, "metadata": metadata})


def _content(wanted: Object) -> dict[str, Any]:
    """Return what of an object has owners: neither what it is, nor what it is called."""
    found = {name: value for name, value in wanted.items() if name not in {"apiVersion", "kind", "metadata"}}
    metadata = {name: value for name, value in wanted["metadata"].items() if name not in {"name", "namespace"}}
    return {**found, "metadata": metadata}


def _owned(there: Object, manager: str) -> Mapping[str, Any] | None:
    """Return the fields of a manager who applies; None where it has none."""
    for entry in _map(there.get("metadata")).get("managedFields") or ():
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
            and isinstance(entry.get("fieldsV1"), dict)
        ):
            fields: dict[str, Any] = entry["fieldsV1"]
            return fields
    return None


def _has(wanted: Any, there: Any, owned: Any) -> bool:
    """Tell whether a value is there, in what else there may be beside it."""
    if isinstance(wanted, dict):
        if not wanted:
            return there is None or isinstance(there, dict)
        fields = _map(owned)
        return isinstance(there, dict) and all(
            _has_quantities(value, there.get(name))
            if name in _QUANTITIES
            else _has(value, there.get(name), fields.get(f"{_STEP}{name}"))
            for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return _has_items(wanted, there, _map(owned))
    if wanted is None:
        return True
    # JSON knows no difference between 1 and 1.0, and Python none between 1 and true.
    return bool(wanted == there) and isinstance(wanted, bool) == isinstance(there, bool)


def _has_quantities(wanted: Any, there: Any) -> bool:
    """Tell the same of quantities, which the server writes in a way of its own: 0.01 is 10m."""
    if not isinstance(wanted, dict) or not isinstance(there, dict):
        return _has(wanted, there, None)
    return all(
        _has(value, there.get(name), None) or (_quantity(value) == _quantity(there.get(name)) is not None)
        for name, value in wanted.items()
    )


def _quantity(value: Any) -> Fraction | None:
    """Return how much a quantity is; None where it is none."""
    found = _QUANTITY.fullmatch(str(value)) if isinstance(value, (str, int, float)) else None
    return Fraction(found[1]) * _SUFFIXES[found[2]] if found else None


def _has_items(wanted: list[Any], there: Any, owned: Mapping[str, Any]) -> bool:
    if there is None:
        return not wanted
    if not isinstance(there, list):
        return False
    keyed = {name: fields for name, fields in owned.items() if name.startswith(_KEYED)}
    if keyed:  # each of our items has an entry, by the fields that tell items of this list apart
        return all(any(_is_of(item, name) for name in keyed) for item in wanted) and all(
            _has_keyed(wanted, there, name, fields) for name, fields in keyed.items()
        )
    if any(name.startswith(_VALUE) for name in owned):
        return all(item in there for item in wanted)
    # A list that is one value: all of it is ours, though the server may have put defaults into its items.
    return len(wanted) == len(there) and all(_has(one, other, None) for one, other in zip(wanted, there, strict=True))


def _has_keyed(wanted: list[Any], there: list[Any], name: str, fields: Any) -> bool:
    ours = [item for item in wanted if _is_of(item, name)]
    theirs = [item for item in there if _is_of(item, name)]
    # An entry of an item that we do not want any more would have changed the digest; of a default that the server uses
    # as a part of the key (protocol: TCP) our item says nothing.
    return all(any(_has(item, other, fields) for other in theirs) for item in ours)


def _is_of(item: Any, name: str) -> bool:
    """Tell whether an item is the one that an entry names; what the item does not say is no contradiction."""
    try:
        key = json.loads(name.removeprefix(_KEYED))
    except ValueError:
        return False
    if not isinstance(item, dict) or not isinstance(key, dict):
        return False
    said = [item[part] == value for part, value in key.items() if part in item]
    return bool(said) and all(said)


def _plain(item: Object) -> dict[str, Any]:
    """Return a copy of plain JSON: tuples become lists, as they are in what the server answers."""
    plain: dict[str, Any] = json.loads(json.dumps(item, default=_as_json))
    return plain


def _as_json(value: Any) -> Any:
    if hasattr(value, "items"):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
