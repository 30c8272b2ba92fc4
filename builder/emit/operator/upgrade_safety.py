"""Whether a kind may take the place of the one that was released before: by the rules of Operator Lifecycle Manager v1.

OLM v1 refuses an upgrade that breaks one (operator-controller, docs/concepts/crd-upgrade-safety.md), also where it
cannot tell: a change that none of its rules is about is an "unknown change", and refused. Words for people, names of
columns and new versions it lets pass. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LEAST = ("minimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "maxLength", "maxItems", "maxProperties")
_INNER = ("properties", "items", "additionalProperties")
_JUDGED = frozenset({*_LEAST, *_MOST, *_INNER, "type", "default", "enum", "required", "description"})


def find_breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what would be refused of two whole CustomResourceDefinitions: field, and what it was and is."""
    before, after = old["spec"], new["spec"]
    found = []
    if before["scope"] != after["scope"]:
        found.append(f"scope was {before['scope']} and is {after['scope']}")
    there = {version["name"]: version for version in after["versions"]}
    for version in before["versions"]:
        name = version["name"]
        if name not in there:
            found.append(f"version {name} is gone, and objects may be stored as it")
            continue
        was, now = version["schema"]["openAPIV3Schema"], there[name]["schema"]["openAPIV3Schema"]
        found += [f"{name}: {sentence}" for sentence in _compare(was, now, "")]
    return found


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[str]:
    place = path or "the object itself"
    yield from _compare_values(old, new, place)
    yield from _compare_bounds(old, new, place)
    for word in sorted((old.keys() | new.keys()) - _JUDGED):
        if old.get(word) != new.get(word):
            yield f"{place}: {word} was {_shown(old, word)} and is {_shown(new, word)}, which no rule judges"
    fields, others = old.get("properties", {}), new.get("properties", {})
    for name, field in fields.items():
        inner = f"{path}.{name}"
        if name not in others:
            yield f"{inner} is gone"
        else:
            yield from _compare(field, others[name], inner)
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        yield from _compare(old["items"], new["items"], f"{path}[]")
    elif old.get("items") != new.get("items"):
        yield f"{place}: items was {_shown(old, 'items')} and is {_shown(new, 'items')}"
    # No rule of OLM v1 looks into these: whatever differs in them is unknown to it, words for people included.
    word = "additionalProperties"
    if old.get(word) != new.get(word):
        yield f"{place}: {word} was {_shown(old, word)} and is {_shown(new, word)}, which no rule judges"


def _compare_values(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[str]:
    if old.get("type") != new.get("type"):
        yield f"{place}: the type was {_shown(old, 'type')} and is {_shown(new, 'type')}"
    if ("default" in old, old.get("default")) != ("default" in new, new.get("default")):
        yield f"{place}: the default was {_shown(old, 'default')} and is {_shown(new, 'default')}"
    if "enum" in new and "enum" not in old:
        yield f"{place}: any value was taken, and now only {new['enum']}"
    elif "enum" in old and "enum" in new and (gone := [item for item in old["enum"] if item not in new["enum"]]):
        yield f"{place}: {gone} was taken, and is not any more"
    elif "enum" in old and "enum" not in new:
        # Nothing that is stored breaks; OLM's rules know no such change, though.
        yield f"{place}: enum was {old['enum']} and is absent, which no rule judges"
    if added := sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{place}: {', '.join(added)} was not required, and is now"


def _compare_bounds(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[str]:
    for words, sign in ((_LEAST, 1), (_MOST, -1)):
        for word in words:
            if word not in new:
                continue
            if word not in old:
                yield f"{place}: {word} is new"
            elif sign * (new[word] - old[word]) > 0:
                yield f"{place}: {word} was {old[word]} and is {new[word]}, which takes less"


def _shown(schema: Mapping[str, Any], word: str) -> str:
    return repr(schema[word])[:80] if word in schema else "absent"
