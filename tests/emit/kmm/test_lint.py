"""Files for KMM as people have them: each mistake at its place, what is judged, and what is only seen."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.kmm import (
    CONTAINER,
    MODULE,
    SECRETS,
    SMALL_KERNEL,
    SMALL_MODULE,
    change_module,
    found_in,
    good_module,
    lint_objects,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.config.yamlfile import YamlFile, read_documents, read_documents_leniently
from builder.emit.kmm.lint import choose_images, lint
from builder.emit.kmm.version import Flavour, KmmVersion


def _run(folder: Path, *objects: Any, options: tuple[str, ...] = ()) -> tuple[int, str]:
    from builder.__main__ import run_cli

    (folder / "kmm.yaml").write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run_cli(["--project", str(folder), "lint", "kmm", str(folder / "kmm.yaml"), *options])
    return code, out.getvalue()


def test_a_good_module_is_judged(tmp_path: Path) -> None:
    assert _run(tmp_path, SMALL_MODULE) == (0, "1 object of KMM: nothing wrong\n")


@pytest.mark.parametrize(
    ("objects", "seen"),
    [
        ((), "no object at all"),
        (({"kind": "ConfigMap", "apiVersion": "v1"}, {"kind": "Pod"}), "1 ConfigMap, 1 Pod"),
        ((["a", "list"],), "1 objects without a kind"),
        (({"kind": "NodeModulesConfig", "apiVersion": "kmm.sigs.x-k8s.io/v1beta1"},), "1 NodeModulesConfig"),
    ],
)
def test_nothing_to_judge_is_not_nothing_wrong(objects: tuple[Any, ...], seen: str, tmp_path: Path) -> None:
    assert _run(tmp_path, *objects) == (19, f"0 objects of KMM: nothing to judge; there is {seen}\n")
    code, out = _run(tmp_path, *objects, options=("--json",))
    assert (code, json.loads(out)["objects"], json.loads(out)["findings"]) == (19, 0, [])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "module"}, "KMM has no kind 'module': did you mean 'Module'?"),
        ({"kind": "Modul"}, "KMM has no kind 'Modul': there are Module, PreflightValidation"),
        ({"kind": "Preflight", "apiVersion": "kmm.sigs.x-k8s.io/v1beta2"}, "KMM has no kind 'Preflight'"),
        ({"kind": "Managed", "apiVersion": "hub.kmm.sigs.x-k8s.io/v1beta1"}, "KMM has no kind 'Managed'"),
    ],
)
def test_a_kind_that_was_meant_to_be_ours_is_an_error(changes: dict[str, str], sentence: str, tmp_path: Path) -> None:
    result = lint_objects(tmp_path, SMALL_MODULE | changes)
    assert result.has_errors
    (finding,) = result.findings
    assert (finding.code, sentence in str(finding.mistake)) == ("kind-name", True)


_BROKEN = json.loads(json.dumps(SMALL_MODULE).replace("moduleName", "modulName"))


@pytest.mark.parametrize(
    ("around", "place"),
    [
        ({"apiVersion": "v1", "kind": "List", "items": [SMALL_MODULE, _BROKEN]}, "items[1].spec"),
        (
            {
                "apiVersion": "policy.open-cluster-management.io/v1",
                "kind": "Policy",
                "spec": {"policy-templates": [{"objectDefinition": {"apiVersion": "policy.open-cluster-management.io/v1", "kind": "ConfigurationPolicy", "spec": {"object-templates": [{"complianceType": "musthave", "objectDefinition": _BROKEN}]}}}]},
            },
            "spec.policy-templates[0].objectDefinition.spec.object-templates[0].objectDefinition.spec",
        ),
        ({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork", "spec": {"workload": {"manifests": [_BROKEN]}}}, "spec.workload.manifests[0].spec"),
    ],
    ids=["List", "Policy", "ManifestWork"],
)  # fmt: skip
def test_objects_inside_of_others_are_judged_where_they_stand(around: Any, place: str, tmp_path: Path) -> None:
    result = lint_objects(tmp_path, around)
    unknown = [item.mistake for item in result.findings if item.code == "unknown-field"]
    assert [mistake.path for mistake in unknown] == [f"{place}.moduleLoader.container.modprobe.modulName"]
    line = (tmp_path / "kmm.yaml").read_text().splitlines()[unknown[0].line - 1]
    assert "modulName" in line
    documents, _ = read_documents_leniently(tmp_path / "kmm.yaml")
    assert {choice.mapping for choice in choose_images(documents, [SMALL_KERNEL])} == {0}


def test_a_key_that_is_given_twice_hides_nothing_else(tmp_path: Path) -> None:
    text = yaml.safe_dump(_BROKEN) + "kind: Module\n"
    result = lint_objects(tmp_path, text=text)
    assert {item.code for item in result.findings} >= {"yaml", "unknown-field"}
    assert "is given twice" in next(str(item.mistake) for item in result.findings if item.code == "yaml")


def test_a_variable_that_kmm_does_not_know_is_an_error(tmp_path: Path) -> None:
    data = json.loads(json.dumps(SMALL_MODULE))
    mapping = data["spec"]["moduleLoader"]["container"]["kernelMappings"][0]
    mapping["containerImage"] = "q.test/drv:${KERNEL_FULL_VERSION}-$MOD_NAME"
    assert found_in(lint_objects(tmp_path, data)) == {("not-pinned", "warning")}
    mapping["containerImage"] = "q.test/drv:${KERNEL_FULL_VERSIO}"
    result = lint_objects(tmp_path, data)
    assert ("variable", "error") in found_in(result)
    assert any("did you mean KERNEL_FULL_VERSION?" in str(item.mistake) for item in result.findings)


def test_lint_names_the_place(tmp_path: Path) -> None:
    file = tmp_path / "kmm.yaml"
    file.write_text(
        MODULE.replace("moduleName: drv", "modulName: drv") + "---\nkind: Secret\nmetadata: {name: k}\n---\n"
    )
    result = lint(read_documents(file), KmmVersion.V2_7, Flavour.OPENSHIFT)
    assert (result.objects, result.has_errors) == (1, True)
    line = next(number for number, text in enumerate(file.read_text().splitlines(), 1) if "modulName" in text)
    (unknown,) = result.findings
    assert (unknown.mistake.line, unknown.subject) == (line, "Module drv")
    assert "is no field of KMM; known here" in str(unknown.mistake)


def test_lint_knows_the_keys_of_secrets_and_config_maps(tmp_path: Path) -> None:
    """KMM's own documentation once put the certificate under the key's name."""
    data = change_module(f"{CONTAINER}/sign", {**SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/opt/x.ko"]})
    data["spec"]["moduleLoader"]["container"]["build"] = {"dockerfileConfigMap": {"name": "f"}}
    objects = [
        data,
        {"kind": "Secret", "metadata": {"name": "c"}, "data": {"key": "eA=="}},
        {"kind": "Secret", "metadata": {"name": "k"}, "stringData": {"key": "x"}},
        {"kind": "ConfigMap", "metadata": {"name": "f"}, "data": {"Dockerfile": "FROM x"}},
    ]
    file = tmp_path / "kmm.yaml"
    file.write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    found = [str(item.mistake) for item in lint(read_documents(file), KmmVersion.V2_7, Flavour.OPENSHIFT).findings]
    assert len(found) == 2
    assert any("Secret c has no key 'cert', only key" in text for text in found)
    assert any("ConfigMap f has no key 'dockerfile', only Dockerfile" in text for text in found)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_object_is_a_defect(data: st.DataObject) -> None:
    """Whatever stands in place of anything: problems, never an exception."""
    junk = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=5),
        st.builds(list),
        st.builds(dict),
        st.builds(lambda: [None]),
    )
    changed = copy.deepcopy(good_module())
    changed["spec"]["tolerations"] = [{"key": "a", "operator": "Exists"}]
    changed["spec"]["devicePlugin"] = {"container": {"image": "a/b:c"}, "volumes": [{"hostPath": {"path": "/dev"}}]}
    changed["spec"]["moduleLoader"]["container"]["sign"] = {
        **SECRETS,
        "filesToSign": ["/opt/x"],
        "unsignedImage": "a:b",
    }
    for _ in range(data.draw(st.integers(1, 3))):
        at: Any = changed
        while isinstance(at, dict | list) and at:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = data.draw(st.sampled_from(keys))
            if data.draw(st.booleans()) or not isinstance(at[key], dict | list):
                at[key] = data.draw(junk)
                break
            at = at[key]
    secret = {"kind": "Secret", "metadata": {"name": "k"}, "data": data.draw(junk)}
    documents = [YamlFile(file=Path("x"), data=item) for item in (changed, secret)]
    for version in KmmVersion:
        lint(documents, version, Flavour.OPENSHIFT)
    choose_images(documents, ["6.1.0-9-amd64"])
