"""The sample's place is taken, its name where it stands for anybody's, and nothing else is touched."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml
from fakes.template import DOCUMENT, VERSIONS

from builder.errors import FormatError
from builder.init.known import DriverDraft
from builder.init.sample import (
    Names,
    add_driver,
    ask_about_project,
    find_driver,
    is_sample,
    rename_in_document,
    rename_settings,
    replace_driver,
)

_ROOT = Path(__file__).parents[2]
_NAMES = Names(driver="card", vendor="My: Company", domain="my.com")
_DRAFT = DriverDraft(
    name="card",
    version="2.1",
    vendor="V",
    maintainer="M",
    summary="S",
    description="D",
    modules=("card",),
    source="card",
)


def _changed(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:1] in "+-" and line[:3] not in {"+++", "---"}]


def test_a_driver_takes_the_place_of_another_and_of_its_comment() -> None:
    text = replace_driver(VERSIONS, 0, _DRAFT)
    data = yaml.safe_load(text)
    assert [driver["name"] for driver in data["drivers"]] == ["card"]
    assert "The sample driver" not in text
    assert data | {"drivers": 0} == yaml.safe_load(VERSIONS) | {"drivers": 0}
    assert text.split("# Beside")[1] == VERSIONS.split("# Beside")[1]


def test_a_driver_is_added_behind_another() -> None:
    text = add_driver(VERSIONS, 0, _DRAFT)
    assert [driver["name"] for driver in yaml.safe_load(text)["drivers"]] == ["ptemplate", "card"]
    assert not [line for line in _changed(VERSIONS, text) if line.startswith("-")]


def test_any_indentation_is_kept() -> None:
    for indent in ("", "      "):
        text = f"drivers:\n{indent}- name: a\n{indent}  version: x\n{indent}- name: b\nother: 1\n"
        assert [item["name"] for item in yaml.safe_load(replace_driver(text, 0, _DRAFT))["drivers"]] == ["card", "b"]
        assert [item["name"] for item in yaml.safe_load(add_driver(text, 1, _DRAFT))["drivers"]] == ["a", "b", "card"]


@pytest.mark.parametrize("text", ["drivers: [{name: a}]\n", "drivers:\n  -\n    name: a\n", ""])
def test_drivers_without_lines_of_their_own_are_left_to_people(text: str) -> None:
    with pytest.raises(FormatError):
        replace_driver(text, 0, _DRAFT)


def test_settings_that_are_the_samples_get_the_vendors_names() -> None:
    text, changes = rename_settings(VERSIONS, yaml.safe_load(VERSIONS), _NAMES)
    data = yaml.safe_load(text)
    plugin, operator = data["components"]
    assert plugin["device_plugin"] == {"driver": "card", "resource": "drivers.my.com/card"}
    assert plugin["maintainer"] == "My: Company <drivers@my.com>"
    assert (plugin["vendor"], operator["vendor"]) == ("My: Company", "My: Company")
    assert "sample" not in f"{plugin}{operator}"
    assert data["operator"]["group"] == "drivers.my.com"
    assert (
        len(changes) == len([line for line in _changed(VERSIONS, text) if line.startswith("+")]) + 1
    )  # two on one line
    assert text.count("#") == VERSIONS.count("#")
    again, none = rename_settings(text, data, _NAMES)
    assert (again, none) == (text, [])


def test_answers_that_somebody_gave_stay() -> None:
    text = VERSIONS.replace("group: drivers.example.com", "group: gpu.other.com").replace(
        "driver: ptemplate", "driver: x"
    )
    data = yaml.safe_load(rename_settings(text, yaml.safe_load(text), _NAMES)[0])
    assert data["operator"]["group"] == "gpu.other.com"
    assert data["components"][0]["device_plugin"]["driver"] == "x"


def test_documents_are_renamed_where_the_name_is_anybodys() -> None:
    text, changes = rename_in_document(DOCUMENT, "docs/operator.md", _NAMES)
    assert text == (
        "apiVersion: drivers.my.com/v1alpha1\nmetadata: {name: card}\n"
        "index: {configMap: card-index}    # quay.io/mycompany/card:index\n"
        "The class `null.drivers.my.com`; `operator/devices/ptemplate.py` is 50 lines; driver ptemplate_edu was bound.\n"
    )
    assert {(item.before, item.place) for item in changes} == {
        ("drivers.example.com", "2 places"),
        ("ptemplate", "3 places"),
    }
    assert rename_in_document(text, "x", _NAMES) == (text, [])


@pytest.mark.parametrize("data", [{}, {"drivers": None}, {"drivers": [1, {"name": "ptemplate", "source": "other"}]}])
def test_no_sample(data: dict[str, object]) -> None:
    assert not is_sample(data)
    assert find_driver(data, name="x") is None
    assert list(ask_about_project(data)) == []


def test_a_fork_is_asked_what_it_alone_knows() -> None:
    keys = [question.key for question in ask_about_project(yaml.safe_load(VERSIONS))]
    assert keys == ["operator.documentation", "components[device-plugin].device_plugin.source"]


def test_nothing_of_the_sample_stays_in_the_real_file() -> None:
    """In the template, when it is replaced; in a fork, as it is."""
    text = (_ROOT / "versions.yaml").read_text()
    data = yaml.safe_load(text)
    if is_sample(data):
        text, _ = rename_settings(text, data, _NAMES)
        text = replace_driver(text, find_driver(data, name="ptemplate") or 0, _DRAFT)
    for word in ("ptemplate", "drivers.example.com", "Example Corp", "drivers@example.com", "sample"):
        assert word not in text
