"""All files: by the strict schemas of both ends of Tekton's versions, by what every reader of YAML takes them for."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.schemas import SchemaViolation
from fakes.tekton_facts import BUILDER, EVERYTHING, VERSIONS, hold_to_schema, tekton_facts

from builder.emit.tekton.files import emit_tekton_files
from builder.emit.tekton.pipelines import make_pipelines
from builder.emit.tekton.runs import make_run
from builder.emit.tekton.tasks import make_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[3]
_STRICT = ("Task", "Pipeline", "PipelineRun", "Repository", "SecurityContextConstraints")


def _documents(files: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, content in files.items():
        if name.endswith(".yaml"):
            for document in yaml.safe_load_all(content):
                yield name, document


_ALL = {
    "least": {},
    "everything": EVERYTHING,
    "privileged": {"isolation": "privileged", "retries": 0, "shards": 1},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("said", _ALL.values(), ids=_ALL)
def test_every_object_is_what_both_ends_of_the_versions_know(said: dict[str, Any], version: str) -> None:
    kinds = set()
    for _, document in _documents(emit_tekton_files(tekton_facts(**said))):
        if document["kind"] in _STRICT:
            hold_to_schema(document, version)
            kinds.add(document["kind"])
    assert kinds == set(_STRICT)


_MUTATIONS = {
    "misspelled field": ("Task", lambda task: task["spec"].update(workspace=task["spec"].pop("steps"))),
    "field of a step": ("Task", lambda task: task["spec"]["steps"][0].update(cmd=["true"])),
    "a number for a text": ("Task", lambda task: task["spec"]["steps"][0].update(name=1)),
    "field of a pipeline's task": ("Pipeline", lambda item: item["spec"]["tasks"][0].update(needs=["x"])),
    "timeout in the wrong place": ("PipelineRun", lambda run: run["spec"].update(timeout="1h")),
    "a token in the wrong place": ("PipelineRun", lambda run: run["spec"].update(automountServiceAccountToken=False)),
}


@pytest.mark.parametrize(("kind", "change"), _MUTATIONS.values(), ids=_MUTATIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_wrong_field_is_noticed(kind: str, change: Any, version: str) -> None:
    facts = tekton_facts()
    made = {"Task": make_tasks(facts)["plan"], "Pipeline": make_pipelines(facts)["build"]}.get(kind)
    document = copy.deepcopy(made or make_run(facts, "build"))
    hold_to_schema(document, version)
    change(document)
    with pytest.raises(SchemaViolation):
        hold_to_schema(document, version)


def test_a_field_that_the_oldest_version_does_not_know_is_noticed() -> None:
    run = make_run(tekton_facts(), "build")
    run["spec"]["taskRunSpecs"][0]["timeout"] = "1h"
    hold_to_schema(run, "1.15")
    with pytest.raises(SchemaViolation):
        hold_to_schema(run, "1.3")


_PLAIN = re.compile(r"(?i)y|n|yes|no|on|off|true|false|~|null|[0-9]+(\.[0-9]*)?(e[0-9]+)?|\.[0-9]+|0o[0-7]+|\d+:\d+|")


def test_words_that_yaml_takes_for_others_are_quoted() -> None:
    """PyYAML reads back what it wrote itself; Go's reader has other ideas of numbers and of y and n."""
    text = "".join(emit_tekton_files(tekton_facts(**EVERYTHING)).values())
    values = re.findall(r"(?m)^ *(?:- )?(?:[\w./-]+: )?([^\s'\"|>{}\[\]&*!#-][^\s:]*)$", text)
    texts = {value for value in values if _PLAIN.fullmatch(value)}
    assert texts <= {"true", "false", "null", "0", "1", "3", "60", "600", "3600"}, "these are booleans and numbers"
    assert "name: 'no'" in text or "part-of: 'no'" in text
    assert "namespace: 'y'" in text
    assert "- '2024'" not in text, "only inside of words"


def test_one_image_by_digest_is_in_all_of_them() -> None:
    for said in _ALL.values():
        text = "".join(emit_tekton_files(tekton_facts(**said)).values())
        assert set(re.findall(r"image: (\S+)", text)) == {BUILDER}
        assert ":latest" not in text


def test_all_that_is_applied_is_in_the_kustomization() -> None:
    files = emit_tekton_files(tekton_facts())
    listed = yaml.safe_load(files["pipelines/kustomization.yaml"])["resources"]
    assert all(f"pipelines/{name}" in files for name in listed)
    apart = {"kustomization.yaml", "openshift", "pipelines-as-code", "runs", "README.md"}
    here = {name.removeprefix("pipelines/") for name in files if name.startswith("pipelines/")}
    assert set(listed) == {name for name in here if name.partition("/")[0] not in apart}
    kinds = [document["kind"] for name, document in _documents(files) if name.removeprefix("pipelines/") in listed]
    assert "PipelineRun" not in kinds, "what is applied starts nothing"
    assert yaml.safe_load(files["pipelines/openshift/kustomization.yaml"])["resources"] == ["../", "constraints.yaml"]


def test_equal_facts_give_equal_files_and_names_do_not_collide() -> None:
    assert emit_tekton_files(tekton_facts(**EVERYTHING)) == emit_tekton_files(tekton_facts(**EVERYTHING))
    names = [
        (document["kind"], document["metadata"].get("name"))
        for name, document in _documents(emit_tekton_files(tekton_facts()))
        if document["kind"] not in {"Kustomization", "PipelineRun"}
    ]
    assert len(set(names)) == len(names)


def test_the_committed_files_are_what_versions_yaml_stands_for() -> None:
    """Written by: python -m builder emit tekton."""
    from datetime import date

    from builder.config.load import load_config
    from builder.emit.tekton.facts import make_tekton_facts

    config = load_config(_ROOT / "versions.yaml", today=date(2026, 1, 1))
    files = emit_tekton_files(make_tekton_facts(config))
    stale = [name for name, content in files.items() if (_ROOT / name).read_text() != content]
    assert not stale, "run 'python -m builder emit tekton'"
    there = {
        str(file.relative_to(_ROOT))
        for top in ("pipelines", ".tekton")
        for file in (_ROOT / top).rglob("*")
        if file.is_file()
    }
    assert there == set(files), "what is not written any more is removed by hand"
