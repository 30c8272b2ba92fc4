"""KMM's rules, offline: each thing that its admission refuses, and each trap that it does not see."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.config.regexp import matches
from builder.config.yamlfile import YamlFile, read_documents
from builder.emit.kmm.fields import MODULE_SPEC, SPECS, Field, Kind
from builder.emit.kmm.lint import choose_images, lint
from builder.emit.kmm.mapping import choose_mapping, expand, image_of
from builder.emit.kmm.problem import Severity
from builder.emit.kmm.rules import find_problems
from builder.emit.kmm.version import Flavour, KmmVersion

_DATA = Path(__file__).parents[2] / "data" / "kmm"
_PINNED = f"quay.test/org/drv@sha256:{'1' * 64}"
_MODULE = f"""
apiVersion: kmm.sigs.x-k8s.io/v1beta1
kind: Module
metadata: {{name: drv, namespace: drivers}}
spec:
  selector: {{feature.node.kubernetes.io/drv: "true"}}
  moduleLoader:
    serviceAccountName: drv
    container:
      imagePullPolicy: IfNotPresent
      modprobe: {{moduleName: drv, dirName: /opt}}
      kernelMappings:
        - {{literal: 5.14.0-427.68.1.el9_4.x86_64, containerImage: "{_PINNED}"}}
        - {{regexp: '^5\\.14\\.0-427\\.[0-9.]+\\.el9_4\\.x86_64$', containerImage: "{_PINNED}"}}
"""


def _module() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(_MODULE)
    return data


def _change(path: str, value: Any) -> dict[str, Any]:
    """Return the good module with one thing changed; ``...`` removes it."""
    data = _module()
    at: Any = data
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in parents:
        at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return data


def _codes(data: Any, version: str = "2.7", flavour: str = "openshift") -> dict[str, str]:
    found = find_problems(data, KmmVersion(version), Flavour(flavour))
    return {problem.code: problem.severity.value for problem in found}


@pytest.mark.parametrize("version", ["2.4", "2.6", "2.7"])
def test_a_good_module_has_nothing_wrong(version: str) -> None:
    assert _codes(_module(), version) == {}


_C = "spec/moduleLoader/container"
_M = f"{_C}/kernelMappings/0"
_R = f"{_C}/kernelMappings/1"
_SECRETS = {"keySecret": {"name": "k"}, "certSecret": {"name": "c"}}
_TOLERATION = "spec/tolerations"


@pytest.mark.parametrize(
    ("path", "value", "code", "severity"),
    [
        ("apiVersion", "kmm.sigs.x-k8s.io/v1beta2", "api-version", "error"),
        ("metadata/name", ..., "name", "error"),
        ("metadata/name", "Drv", "name", "error"),
        ("metadata/name", "d" * 40, "name-length", "error"),
        ("metadata/name", "d" * 33, "name-length", "warning"),
        ("metadata/name", "a.b", "name-with-dot", "warning"),
        ("metadata/namespace", ..., "namespace", "warning"),
        ("spec/selector", ..., "missing", "error"),
        ("spec/selector", {}, "selector", "warning"),
        ("spec/selector", {"a": True}, "kind", "error"),
        ("spec/selector", {"a b": "x"}, "selector", "error"),
        ("spec/selector", {"a": "-x"}, "selector", "error"),
        ("spec/selector", {"node-role.kubernetes.io/worker": "worker"}, "selector", "warning"),
        ("spec/modulLoader", {}, "unknown-field", "error"),
        ("spec/moduleLoader", ..., "empty", "warning"),
        (_TOLERATION, [{"operator": "In"}], "toleration", "error"),
        (_TOLERATION, [{"value": "x"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a b", "operator": "Exists"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "operator": "Exists", "value": "x"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "value": "-"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "effect": "Never"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "tolerationSeconds": 1}], "toleration", "error"),
        (f"{_C}/kernelMappings", [], "no-mappings", "error"),
        (f"{_C}/kernelMappings", ..., "missing", "error"),
        (f"{_C}/version", "1.0+x", "version", "error"),
        (f"{_M}/regexp", "^x$", "mapping", "error"),
        (f"{_M}/literal", ..., "mapping", "error"),
        (f"{_M}/literal", "5.14\f", "control-character", "error"),
        (f"{_M}/containerImage", ..., "missing", "error"),
        (f"{_M}/containerImage", "quay.test/org/drv", "image", "error"),
        (f"{_M}/containerImage", "registry:5000/drv", "image", "error"),
        (f"{_M}/containerImage", "registry:5000/drv:1", "not-pinned", "warning"),
        (f"{_C}/imagePullPolicy", "Always", "pull-policy", "warning"),
        (f"{_R}/regexp", "^(?=5).*$", "regexp", "error"),
        (f"{_R}/regexp", r"^(5)\1$", "regexp", "error"),
        (f"{_R}/regexp", "^.+$", "catch-all", "warning"),
        (f"{_R}/regexp", ".*", "catch-all", "warning"),
        (f"{_R}/regexp", r"el9_4\.x86_64", "unanchored", "warning"),
        (f"{_R}/regexp", r"^.+\fc37\.x86_64$", "control-character", "error"),
        (f"{_R}/literal", "5.14.0-427.68.1.el9_4.x86_64", "mapping", "error"),
        (f"{_C}/modprobe/moduleName", ..., "modprobe", "error"),
        (f"{_C}/modprobe/moduleName", "drv.ko", "modprobe", "error"),
        (f"{_C}/modprobe/rawArgs", {"load": ["a"]}, "modprobe", "error"),
        (f"{_C}/modprobe/modulesLoadingOrder", ["drv"], "loading-order", "error"),
        (f"{_C}/modprobe/modulesLoadingOrder", ["a", "drv"], "loading-order", "error"),
        (f"{_C}/modprobe/modulesLoadingOrder", ["drv", "a", "a"], "loading-order", "error"),
        (f"{_C}/modprobe/parameters", ["debug"], "parameter", "warning"),
        (f"{_C}/inTreeModuleToRemove", "x", "deprecated", "warning"),
        (f"{_C}/sign", {**_SECRETS, "unsignedImage": "a/b:c"}, "files-to-sign", "error"),
        (f"{_C}/sign", {**_SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/lib/x.ko"]}, "files-to-sign", "error"),
        (f"{_C}/sign", {**_SECRETS, "filesToSign": ["/opt/lib/x.ko"]}, "unsigned-image", "error"),
        (f"{_C}/sign", {"keySecret": {"name": "k"}}, "missing", "error"),
        (f"{_C}/build", {"dockerfileConfigMap": {"name": "x"}, "buildArgs": [{"name": "A"}]}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}, "host-path", "error"),
        (f"{_R}/regexp", r"^5\.14\C$", "regexp", "error"),
        (f"{_M}/containerImage", "", "image", "error"),
        (f"{_C}/modprobe/rawArgs", {"load": []}, "modprobe", "error"),
        (f"{_C}", {**_module()["spec"]["moduleLoader"]["container"], "inTreeModuleToRemove": "x", "inTreeModulesToRemove": []}, "in-tree", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "env": [{"value": "x"}]}}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "volumeMounts": [{"name": "v"}]}}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"hostPath": {"path": "/dev"}}]}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostpath": {"path": "/dev"}}]}, "unknown-field", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "resources": {"limits": {"cpu": "abc"}}}}, "quantity", "error"),
        ("metadata/labels", {"a": 1}, "kind", "error"),
        ("metadata/annotation", {"a": "b"}, "unknown-field", "error"),
        ("spec/dra", {"driverName": "Not", "container": {"image": "a/b:c"}}, "dra", "error"),
        ("spec/dra", {"driverName": "d", "container": {"image": "a/b:c"}, "deviceClasses": [{"name": "a"}, {"name": "a"}]}, "dra", "error"),
    ],
)  # fmt: skip
def test_each_mistake_is_found(path: str, value: Any, code: str, severity: str) -> None:
    assert _codes(_change(path, value)).get(code) == severity


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{_R}/regexp", r"^5\\C$"),
        (f"{_R}/regexp", r"^\Q\C\E$"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "resources": {"limits": {"cpu": "1.5", "memory": "64Mi", "x/y": 1}}}}),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "//dev/x"}}]}),
        ("metadata/annotations", {"a": "1"}),
    ],
)  # fmt: skip
def test_what_the_webhook_takes_is_taken(path: str, value: Any) -> None:
    assert _codes(_change(path, value)) == {}


def test_fields_and_rules_depend_on_the_version() -> None:
    newer = _change("spec/imageRebuildTriggerGeneration", 2)
    assert _codes(newer, "2.4") == {"too-new": "error"}
    assert _codes(newer, "2.6") == {}
    plugin = {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "/run/x"}}]}
    assert _codes(_change("spec/devicePlugin", plugin), "2.4") == {}
    assert _codes(_change("spec/devicePlugin", plugin), "2.6") == {"host-path": "error"}
    assert _codes(_change("spec/devicePlugin", plugin), "2.7") == {}
    globs = {**_SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/opt/lib/modules/*/x.ko"]}
    assert _codes(_change(f"{_C}/sign", globs), "2.4") == {"files-to-sign": "error"}
    assert _codes(_change(f"{_C}/sign", globs), "2.6") == {}
    long = _change("metadata/name", "d" * 33)
    long["metadata"]["namespace"] = "n" * 8
    assert (_codes(long, "2.6"), _codes(long, "2.7")) == ({"name-length": "error"}, {"name-length": "warning"})


def test_a_normalised_path_is_no_path_for_kernels_with_a_plus() -> None:
    sign = {**_SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/opt/lib/modules/${KERNEL_FULL_VERSION}/x.ko"]}
    assert _codes(_change(f"{_C}/sign", sign)) == {"normalised-path": "warning"}


def test_a_mapping_that_is_never_used_is_told() -> None:
    data = _module()
    mappings = data["spec"]["moduleLoader"]["container"]["kernelMappings"]
    mappings.reverse()
    assert _codes(data) == {"shadowed": "warning"}


def test_preflights_differ_between_flavours() -> None:
    preflight = {"apiVersion": "kmm.sigs.x-k8s.io/v1beta2", "kind": "PreflightValidationOCP", "metadata": {"name": "x"}, "spec": {"kernelVersion": "5.14.0-1.el9", "dtkImage": "a"}}  # fmt: skip
    assert _codes(preflight) == {}
    assert _codes(preflight, flavour="upstream") == {"flavour": "error"}
    assert _codes(preflight | {"kind": "PreflightValidation"}) == {"unknown-field": "error"}
    assert _codes(preflight | {"apiVersion": "kmm.sigs.x-k8s.io/v1beta1"}) == {"deprecated": "warning"}
    assert _codes(preflight | {"spec": {"kernelVersion": "5"}}) == {"kernel-version": "error"}
    assert _codes(preflight | {"metadata": {"name": "x", "namespace": "y"}}) == {"namespace": "error"}


def test_a_module_inside_of_a_hub_is_looked_into() -> None:
    spec = _change(f"{_M}/literal", ...)["spec"]
    hub = {"apiVersion": "hub.kmm.sigs.x-k8s.io/v1beta1", "kind": "ManagedClusterModule", "metadata": {"name": "x"}, "spec": {"moduleSpec": spec, "selector": {}, "spokeNamespace": "d"}}  # fmt: skip
    assert _codes(hub) == {"mapping": "error"}


def test_other_objects_are_left_alone() -> None:
    assert _codes({"kind": "Secret"}) == {}
    assert _codes(["a list"]) == {}


@pytest.mark.parametrize(
    ("pattern", "kernel", "fits"),
    [
        ("el9_4", "5.14.0-427.el9_4.x86_64", True),  # searched, not compared whole
        ("^el9_4$", "5.14.0-427.el9_4.x86_64", False),
        (r"^5\.14\.0-427\.(6|7).+$", "5.14.0-427.68.1.el9_4.x86_64", True),
        (r"\+rt$", "5.14.0-427.68.1.el9_4.x86_64+rt", True),
        (r"(?i)EL9", "5.14.0-427.el9_4.x86_64", True),
    ],
)
def test_patterns_are_those_of_go(pattern: str, kernel: str, fits: bool) -> None:
    assert matches(pattern, kernel) is fits


def test_the_first_mapping_that_fits_counts() -> None:
    mappings = [{"regexp": "el9"}, {"literal": "5.14.0-1.el9.x86_64"}, {"regexp": "(?=bad"}, {"regexp": "^6"}]
    assert choose_mapping(mappings, "5.14.0-1.el9.x86_64") == 0
    assert choose_mapping(mappings, "6.12.0-1.el10.x86_64") == 3
    assert choose_mapping(mappings, "4.18.0-1.el8.x86_64") is None


def test_variables_are_replaced_as_kmm_does() -> None:
    text = "q/${MOD_NAMESPACE}/$MOD_NAME:${KERNEL_FULL_VERSION}-$KERNEL_X-${KERNEL_XYZ}-${NO:-x}"
    kernel = "5.14.0-427.68.1.el9_4.x86_64+rt"
    assert expand(text, kernel, name="m", namespace="n") == "q/n/m:5.14.0-427.68.1.el9_4.x86_64_rt-5-5.14.0-"
    container = {"containerImage": "q/a:$KERNEL_Y", "kernelMappings": [{"regexp": "^5"}]}
    assert image_of(container, kernel, name="m", namespace="n") == "q/a:14"
    assert image_of(container, "6.1.0-1", name="m", namespace="n") is None


def test_lint_names_the_place(tmp_path: Path) -> None:
    file = tmp_path / "kmm.yaml"
    file.write_text(
        _MODULE.replace("moduleName: drv", "modulName: drv") + "---\nkind: Secret\nmetadata: {name: k}\n---\n"
    )
    result = lint(read_documents(file), KmmVersion.V2_7, Flavour.OPENSHIFT)
    assert (result.objects, result.has_errors) == (1, True)
    line = next(number for number, text in enumerate(file.read_text().splitlines(), 1) if "modulName" in text)
    (unknown,) = result.findings
    assert (unknown.mistake.line, unknown.subject) == (line, "Module drv")
    assert "is no field of KMM; known here" in str(unknown.mistake)


def test_lint_knows_the_keys_of_secrets_and_config_maps(tmp_path: Path) -> None:
    """KMM's own documentation once put the certificate under the key's name."""
    data = _change(f"{_C}/sign", {**_SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/opt/x.ko"]})
    data["spec"]["moduleLoader"]["container"]["build"] = {"dockerfileConfigMap": {"name": "f"}}
    objects = [
        data,
        {"kind": "Secret", "metadata": {"name": "c"}, "data": {"key": "eA=="}},
        {"kind": "Secret", "metadata": {"name": "k"}, "stringData": {"key": "x"}},
        {"kind": "ConfigMap", "metadata": {"name": "f"}, "data": {"Dockerfile": "FROM x"}},
    ]
    file = tmp_path / "kmm.yaml"
    file.write_text(yaml.safe_dump_all(objects))
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
    changed = copy.deepcopy(_module())
    changed["spec"]["tolerations"] = [{"key": "a", "operator": "Exists"}]
    changed["spec"]["devicePlugin"] = {"container": {"image": "a/b:c"}, "volumes": [{"hostPath": {"path": "/dev"}}]}
    changed["spec"]["moduleLoader"]["container"]["sign"] = {
        **_SECRETS,
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


@pytest.mark.parametrize("version", ["2.4", "2.6", "2.7"])
def test_our_fields_are_those_of_the_crds(version: str) -> None:
    kinds = json.loads((_DATA / f"{version}.json").read_text())["openshift"]["kinds"]
    for kind, (api_version, known) in SPECS.items():
        assert kinds[kind]["apiVersion"] == api_version
        schema = kinds[kind]["schema"]["properties"]["spec"]
        if kind == "ManagedClusterModule":
            schema["properties"]["moduleSpec"] = kinds["Module"]["schema"]["properties"]["spec"]
        _compare(known, schema, kind, KmmVersion(version))


_TYPES = {Kind.OBJECT: "object", Kind.LIST: "array", Kind.TEXT: "string", Kind.BOOLEAN: "boolean", Kind.NUMBER: "integer", Kind.LABELS: "object"}  # fmt: skip


def _compare(known: Field, schema: dict[str, Any], path: str, version: KmmVersion) -> None:
    if known.kind is Kind.ANY:
        return
    assert schema["type"] == _TYPES[known.kind], path
    if known.kind is Kind.LIST:
        assert known.item is not None
        _compare(known.item, schema["items"], f"{path}[]", version)
    if known.kind is Kind.OBJECT:
        fields = {name: item for name, item in known.fields.items() if version.has(item.since)}
        assert set(fields) == set(schema["properties"]), path
        assert {name for name, item in fields.items() if item.is_required} == set(schema.get("required", ())), path
        for name, item in fields.items():
            _compare(item, schema["properties"][name], f"{path}.{name}", version)


def test_both_flavours_have_the_same_module() -> None:
    for file in _DATA.glob("*.json"):
        data = json.loads(file.read_text())
        assert data["upstream"]["kinds"]["Module"] == "openshift", "the generator of the file found them equal"
        assert re.fullmatch("[0-9a-f]{40}", data["openshift"]["commit"])
    assert MODULE_SPEC.fields["dra"].since == "2.7"
    assert Severity("error") is Severity.ERROR


def _lint(folder: Path, *files: str) -> tuple[int, str, str]:
    from builder.__main__ import run_cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_cli(["--project", str(folder), "lint", "kmm", *(str(folder / name) for name in files)])
    return code, out.getvalue(), err.getvalue()


def test_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("kind: Module\nkind: Module\n")
    (tmp_path / "none.yaml").write_text("a: [\n")
    (tmp_path / "good.yaml").write_text(_MODULE)
    code, out, err = _lint(tmp_path, "twice.yaml", "none.yaml", "good.yaml", "absent.yaml")
    assert (code, err) == (3, "")
    assert all(f"{name}: error: " in out for name in ("twice.yaml:2:1", "none.yaml:2:1", "absent.yaml:1:1"))
    code, out, err = _lint(tmp_path, "good.yaml")
    assert (code, out, err) == (0, "1 object of KMM: nothing wrong\n", "")
