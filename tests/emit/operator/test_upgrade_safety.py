"""Each rule of OLM v1 on its own; and the kind that there is now, against the one that was released last."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from fakes.operator_facts import operator_settings

from builder.emit.operator.crd import make_crd
from builder.emit.operator.upgrade_safety import find_breaks

_RELEASED = Path(__file__).parents[2] / "data" / "operator" / "released-crd.json"
_CRD = make_crd(operator_settings(), [])


def _changed(path: str, value: Any) -> dict[str, Any]:
    """Return the kind with one thing changed; ``...`` takes it away."""
    crd = copy.deepcopy(_CRD)
    place: Any = crd
    *steps, last = path.split("/")
    for step in steps:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return crd


_SCHEMA = "spec/versions/0/schema/openAPIV3Schema"
_SPEC = f"{_SCHEMA}/properties/spec/properties"


def test_the_released_kind_can_be_upgraded_to_this_one() -> None:
    """Where this fails, objects of customers would break: change the schema otherwise, or make a new version of it.

    A release copies the kind of that time: python -m json.tool of what 'emit operator' wrote.
    """
    assert find_breaks(json.loads(_RELEASED.read_text()), _CRD) == []


def test_the_same_is_safe() -> None:
    assert find_breaks(_CRD, copy.deepcopy(_CRD)) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("spec/scope", "Namespaced", "scope was Cluster and is Namespaced"),
        ("spec/versions/0/name", "v1beta1", "version v1alpha1 is gone"),
        (f"{_SPEC}/monitoring", ..., r"\.spec\.monitoring is gone"),
        (f"{_SPEC}/driver/required", ["name", "version", "parameters"], r"\.spec\.driver: parameters was not required"),
        (f"{_SPEC}/rollout/required", ["paused"], r"\.spec\.rollout: paused was not required"),
        (f"{_SPEC}/rollout/properties/paused/type", "string", "the type was 'boolean' and is 'string'"),
        (f"{_SPEC}/rollout/properties/paused/default", False, "the default was absent and is False"),
        (f"{_SPEC}/driver/properties/name/enum", ["drv"], r"any value was taken, and now only \['drv'\]"),
        (f"{_SPEC}/clusterUpdate/properties/policy/enum", ["Ignore", "Warn"], r"\['HoldPools'\] was taken"),
        (f"{_SPEC}/clusterUpdate/properties/policy/enum", ..., "which no rule judges"),
        (f"{_SPEC}/driver/properties/name/maxLength", 38, "maxLength was 39 and is 38"),
        (f"{_SPEC}/driver/properties/name/minLength", 2, "minLength was 1 and is 2"),
        (f"{_SPEC}/rollout/properties/timeoutSeconds/minimum", 11, "minimum was 10 and is 11"),
        (f"{_SPEC}/rollout/properties/timeoutSeconds/maximum", 11, "maximum was 604800 and is 11"),
        (f"{_SPEC}/tolerations/maxItems", 15, r"\.spec\.tolerations: maxItems was 16 and is 15"),
        (f"{_SPEC}/tolerations/minItems", 1, "minItems is new"),
        (f"{_SPEC}/nodeSelector/maxProperties", 15, "maxProperties was 16 and is 15"),
        (f"{_SPEC}/nodeSelector/additionalProperties/maxLength", 62, r"\.spec\.nodeSelector: additionalProperties was"),
        (f"{_SPEC}/nodeSelector/additionalProperties/maxLength", 64, r"\.spec\.nodeSelector: additionalProperties was"),
        (f"{_SPEC}/nodeSelector/additionalProperties/description", "Other words.", "additionalProperties was"),
        (f"{_SPEC}/tolerations/items/properties/key/minLength", 1, r"\.spec\.tolerations\[\]\.key: minLength is new"),
        (f"{_SPEC}/driver/properties/name/pattern", "^x$", "pattern was .* which no rule judges"),
        (f"{_SPEC}/driver/properties/name/x-kubernetes-validations", ..., "which no rule judges"),
        (f"{_SPEC}/nodeSelector/additionalProperties", True, "additionalProperties was"),
    ],
)
def test_what_breaks_stored_objects_is_found(path: str, value: Any, words: str) -> None:
    (found,) = find_breaks(_CRD, _changed(path, value))
    assert re.search(words, found), found


def test_a_default_that_changes_or_goes_is_found() -> None:
    path = f"{_SPEC}/rollout/properties/paused/default"
    before = _changed(path, False)
    assert "the default was False and is True" in find_breaks(before, _changed(path, True))[0]
    assert "the default was False and is absent" in find_breaks(before, _CRD)[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{_SPEC}/driver/properties/name/description", "Other words."),
        (f"{_SPEC}/driver/properties/name/maxLength", 40),
        (f"{_SPEC}/driver/properties/name/maxLength", ...),
        (f"{_SPEC}/driver/required", ["name"]),
        (f"{_SPEC}/rollout/properties/timeoutSeconds/minimum", 1),
        (f"{_SPEC}/clusterUpdate/properties/policy/enum", ["Ignore", "Warn", "HoldPools", "Block"]),
        (f"{_SPEC}/rollout/properties/parallel", {"type": "integer"}),
        ("spec/versions/0/additionalPrinterColumns", []),
    ],
)
def test_what_breaks_nothing_is_let_through(path: str, value: Any) -> None:
    assert find_breaks(_CRD, _changed(path, value)) == []


def test_a_further_version_is_safe() -> None:
    crd = copy.deepcopy(_CRD)
    crd["spec"]["versions"].append(crd["spec"]["versions"][0] | {"name": "v1beta1"})
    assert find_breaks(_CRD, crd) == []
