"""A node is explained by its cluster, by somebody else's kubeconfig, and by what somebody saved."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes.indexes import KERNEL, STRANGER
from fakes.kube_server import GROUP, FakeServer, refusal
from fakes.logs import logging_as_it_was
from fakes.saved_cluster import HEARD, NAMESPACE, TEMPLATES, make_saved, save
from kmod_operator import explaining
from kmod_operator.__main__ import main
from kmod_operator.cluster.looker import Looker
from kmod_operator.explaining import explain_node
from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.settings import ExplainSettings, SettingError, read_explain_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2
    from kmod_operator.cluster.client import Client
    from kmod_operator.explaining import Explained

_MODULE = {
    "apiVersion": "kmm.sigs.x-k8s.io/v1beta1", "kind": "Module", "metadata": {"name": "p", "namespace": "d"},
    "spec": {"selector": {"x": "y"}, "moduleLoader": {"container": {"version": "0", "kernelMappings": []}}},
}  # fmt: skip
_DRIVER: dict[str, Any] = {"namespace": "d", "module": _MODULE, "plugin": [], "rules": [], "resource": ""}
_TEMPLATES = {**TEMPLATES, "namespace": "o", "drivers": {"p": _DRIVER}}
_OUTSIDE = ExplainSettings(namespace=NAMESPACE)


def test_settings_of_elsewhere_are_a_namespace_alone(tmp_path: Path) -> None:
    assert read_explain_settings({"KMOD_NAMESPACE": "o"}) == ExplainSettings(namespace="o")
    file = tmp_path / "t"
    assert read_explain_settings({"KMOD_NAMESPACE": "o", "KMOD_TEMPLATES": str(file)}).templates == file
    for wrong, told in (
        ({}, "KMOD_NAMESPACE is absent"),
        ({"KMOD_NAMESPACE": "A b"}, "KMOD_NAMESPACE is 'A b'"),
        ({"KMOD_NAMESPACE": "o", "KMOD_TEMPLATES": "t"}, "KMOD_TEMPLATES is 't'; it is a file's whole path"),
    ):
        with pytest.raises(SettingError, match=told):
            read_explain_settings(wrong)


def _serve(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.asynccontextmanager
    async def opened(_: str) -> AsyncIterator[Client]:
        yield server.client

    monkeypatch.setattr(explaining, "open_client", opened)


def _explain(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str, driver: str = ""
) -> Explained:
    """Explain as the operator's pod does."""
    _serve(server, monkeypatch)
    file = tmp_path / "t.json"
    file.write_text(json.dumps(_TEMPLATES))
    settings = ExplainSettings(templates=file, namespace="o")
    return asyncio.run(asyncio.wait_for(explain_node(settings, node, driver), 20))


def _ask_for(server: FakeServer, *names: str) -> None:
    server.put("/api/v1/nodes/a", {"metadata": {"name": "a", "labels": {}}})
    for name in names:
        spec = {"driver": {"name": "p", "version": "1"}, "index": {"configMap": "i"}}
        server.put(f"/apis/{GROUP}/v1alpha1/kerneldrivers/{name}", {"metadata": {"name": name}, "spec": spec})


def test_a_node_is_explained_for_each_object_or_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    found = _explain(server, tmp_path, monkeypatch, "a")
    assert found.lines() == ["The cluster has no such KernelDriver: nothing asks for a driver."]
    _ask_for(server, "one", "two")
    lines = _explain(server, tmp_path, monkeypatch, "a").lines()
    assert [line for line in lines if line.endswith(":")] == ["one:", "two:"]
    assert "a is not selected: it lacks the label x=y" in lines[1]
    assert len(_explain(server, tmp_path, monkeypatch, "a", "two").lines()) == 1
    assert not _explain(server, tmp_path, monkeypatch, "a", "three").found
    assert [path for method, path in server.writes() if "selfsubjectaccessreviews" not in path] == []


def test_an_object_that_goes_while_it_is_explained_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer()
    _ask_for(server, "one")
    real = Looker.world

    async def world(looker: Looker, item: Any, node: str) -> Any:
        monkeypatch.setattr(looker, "items", dict)
        return await real(looker, item, node)

    monkeypatch.setattr(Looker, "world", world)
    assert list(_explain(server, tmp_path, monkeypatch, "a").found) == ["one"]


def _fill(server: FakeServer, objects: list[dict[str, Any]]) -> None:
    """Have a server with saved objects, as far as it knows their kinds."""
    for item in objects:
        kinds = server.kinds.get(item["apiVersion"], {})
        if item["kind"] in kinds:
            plural, _ = kinds[item["kind"]]
            root = f"/apis/{item['apiVersion']}" if "/" in item["apiVersion"] else f"/api/{item['apiVersion']}"
            place = f"/namespaces/{found}" if (found := item["metadata"].get("namespace")) else ""
            server.put(f"{root}{place}/{plural}/{item['metadata']['name']}", item)


def test_from_elsewhere_the_cluster_says_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's rights, index and templates: not those of whoever asks."""
    server = FakeServer()
    _fill(server, make_saved())
    _serve(server, monkeypatch)
    server.items["/api/v1/nodes/n0"]["metadata"]["uid"] = "n"
    found = asyncio.run(asyncio.wait_for(explain_node(_OUTSIDE, "n0"), 20))
    assert (found.at, found.found["ptemplate"].state) == (None, "Ready")
    assert found.lines()[0] == "n0 has ptemplate 1.0.0."
    assert server.writes() == [], "nobody asks what may be done"
    assert not [path for _, path in server.asked if "/secrets" in path]


def test_a_namespace_without_an_operator_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    _serve(server, monkeypatch)
    with pytest.raises(
        SettingError, match="'kmod-operator', and its ConfigMap operator-templates, which says .* is not"
    ):
        asyncio.run(explain_node(_OUTSIDE, "n0"))


def test_somebody_who_may_not_read_what_tells_of_devices_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    _ask_for(server, "x")
    plugin = {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "plugin", "namespace": "d"},
        "spec": {"selector": {}, "template": {"spec": {}}},
    }  # fmt: skip
    driver: dict[str, Any] = {**_DRIVER, "plugin": [plugin], "resource": "a.example/p"}
    text = json.dumps({**_TEMPLATES, "drivers": {"p": driver}})
    place = {"name": "operator-templates", "namespace": NAMESPACE}
    server.put(f"/api/v1/namespaces/{NAMESPACE}/configmaps/operator-templates",
               {"metadata": place, "data": {"templates.json": text}})  # fmt: skip
    server.refuse = lambda one: refusal(403, "not yours") if "daemonsets" in one.url.path else None
    _serve(server, monkeypatch)
    found = asyncio.run(asyncio.wait_for(explain_node(_OUTSIDE, "a"), 20))
    assert found.found["x"].state == "NotSelected"


def test_a_server_that_refuses_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    _serve(server, monkeypatch)

    def refuse(_: httpx2.Request) -> httpx2.Response:
        return refusal(403, "you are nobody")

    server.refuse = refuse
    with pytest.raises(ApiError, match="operator-templates cannot be read: .* 403: you are nobody"):
        asyncio.run(explain_node(_OUTSIDE, "n0"))


def _saved(folder: Path, objects: list[dict[str, Any]], node: str = "n0", driver: str = "") -> Explained:
    return asyncio.run(asyncio.wait_for(explain_node(_OUTSIDE, node, driver, save(folder, objects)), 20))


def test_a_saved_cluster_is_explained_as_of_its_time(tmp_path: Path) -> None:
    found = _saved(tmp_path / "s", make_saved())
    assert found.lines()[:2] == [f"As of {HEARD}:", "n0 has ptemplate 1.0.0."]
    data = found.as_json()
    assert (data["format"], data["node"], data["kind"], data["at"]) == (1, "n0", "KernelDriver", HEARD)
    assert [(one["name"], one["state"]) for one in data["drivers"]] == [("ptemplate", "Ready")]
    assert data["drivers"][0]["sentences"] == found.lines()[1:]


def test_time_in_a_saved_cluster_is_its_own(tmp_path: Path) -> None:
    """By the clock of who reads it, a year later, each step would have lasted for a year."""
    objects = make_saved(loaded=False)
    note = {"to": "1.0.0", "phase": "Loading", "since": "2026-11-20T09:59:00Z"}
    objects[0]["metadata"]["annotations"] = {f"{GROUP}/ptemplate": json.dumps(note)}
    found = _saved(tmp_path / "s", objects)
    assert found.found["ptemplate"].state == "Loading"
    assert "It is loading for 60 s" in " ".join(found.lines())


@pytest.mark.parametrize(
    ("node", "driver", "state"), [("nx", "", "NoNode"), ("n0", "other", ""), ("n0", "ptemplate", "Ready")]
)
def test_what_is_asked_for_is_answered(node: str, driver: str, state: str, tmp_path: Path) -> None:
    found = _saved(tmp_path / "s", make_saved(), node, driver).found
    assert [one.state for one in found.values()] == ([state] if state else [])


def test_without_a_last_index_it_says_so_and_asks_no_registry(tmp_path: Path) -> None:
    found = _saved(tmp_path / "s", [one for one in make_saved() if one["metadata"]["name"] != "ptemplate-last-index"])
    assert "the operator keeps no index (ConfigMap ptemplate-last-index)" in " ".join(found.lines())


def test_an_index_of_a_stranger_is_not_believed_in_a_saved_cluster_either(tmp_path: Path) -> None:
    objects = make_saved()
    (kept,) = [one for one in objects if one["metadata"]["name"] == "ptemplate-last-index"]
    kept.pop("binaryData")
    kept["data"] = {"index.json": STRANGER.index().decode()}
    lines = " ".join(_saved(tmp_path / "s", objects).lines())
    assert f"Its kernel {KERNEL} has the image" not in lines


def test_kmm_is_absent_only_where_definitions_were_saved(tmp_path: Path) -> None:
    objects = [one for one in make_saved(loaded=False) if one["metadata"]["name"] != "modules.kmm.sigs.x-k8s.io"]
    assert "the cluster has no Kernel Module Management" in " ".join(_saved(tmp_path / "a", objects).lines())
    objects = [one for one in objects if one["kind"] != "CustomResourceDefinition"]
    with pytest.raises(ApiError, match=r"nothing of Module \(kmm.sigs.x-k8s.io/v1beta1\) was saved, so whether"):
        _saved(tmp_path / "b", objects)


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [("False", "MayNotDrain", "It waits: the operator has no right to drain"), ("True", "AllThere", "It begins now")],
)
def test_a_right_that_the_operator_lacks_is_known_by_its_condition(
    status: str, reason: str, told: str, tmp_path: Path
) -> None:
    """A node is to be drained: whoever saved the cluster may do that, and plays no part."""
    condition = {"type": "PrerequisitesMet", "status": status, "reason": reason}
    drain = {"drain": {"enabled": True}}
    objects = make_saved(conditions=[condition], driver={"name": "ptemplate", "version": "2.0.0"}, rollout=drain)
    found = _saved(tmp_path / "s", objects)
    assert told in " ".join(found.lines())


def _main(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["kmod_operator", "explain", *words])
    monkeypatch.setattr("os.environ", {"KMOD_NAMESPACE": NAMESPACE})
    with logging_as_it_was():
        return main()


def test_the_program_prints_sentences_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(save(tmp_path / "s", make_saved()))
    assert _main(monkeypatch, "n0", "--from", folder) == 0
    assert "n0 has ptemplate 1.0.0." in capsys.readouterr().out
    assert _main(monkeypatch, "n0", "--from", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["drivers"][0]["state"] == "Ready"
    assert _main(monkeypatch, "n0", "--from", folder, "--driver", "x") == 1


def test_what_cannot_be_read_ends_it_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, "n0", "--from", str(tmp_path / "nowhere")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere cannot be read: No such file" in json.loads(line)["message"]
