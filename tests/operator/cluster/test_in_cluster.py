"""The verbs of the operator: their settings, and the sentences with which they end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import pytest_socket
from fakes.kube_server import GROUP
from fakes.logs import logging_as_it_was
from kmod_operator.__main__ import main
from kmod_operator.in_cluster import try_in_cluster
from kmod_operator.settings import OperatorSettings, SettingError, read_operator_settings

_GOOD = {"KMOD_TEMPLATES": "/etc/t.json", "KMOD_NAMESPACE": "kmod-operator", "KMOD_POD": "operator-0"}
_MODULE = {
    "apiVersion": "kmm.sigs.x-k8s.io/v1beta1", "kind": "Module", "metadata": {"name": "p", "namespace": "d"},
    "spec": {"selector": {"x": "y"}, "moduleLoader": {"container": {"version": "0", "kernelMappings": []}}},
}  # fmt: skip
_TEMPLATES = {
    "format": 1, "group": GROUP, "version": "v1alpha1", "kind": "KernelDriver", "plural": "kerneldrivers",
    "namespace": "o", "keys": ["-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"],
    "drivers": {"p": {"namespace": "d", "module": _MODULE, "plugin": [], "rules": [], "resource": ""}},
}  # fmt: skip


def test_settings() -> None:
    found = read_operator_settings({**_GOOD, "KMOD_LISTEN": "9090", "OTHER": "x"})
    assert found == OperatorSettings(
        templates=Path("/etc/t.json"), namespace="kmod-operator", pod="operator-0", port=9090
    )
    assert read_operator_settings(_GOOD).port == 8080


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("KMOD_TEMPLATES", " ", "KMOD_TEMPLATES is absent; it is the file"),
        ("KMOD_TEMPLATES", "t.json", "KMOD_TEMPLATES is 't.json'; it is a file's whole path"),
        ("KMOD_NAMESPACE", "", "KMOD_NAMESPACE is absent; it is the operator's own namespace"),
        ("KMOD_NAMESPACE", "../x", "KMOD_NAMESPACE is '../x'; it is the name of a namespace"),
        ("KMOD_POD", "", "KMOD_POD is absent"),
        ("KMOD_POD", "A b", "KMOD_POD is 'A b'; it is the name of a pod"),
        ("KMOD_LISTEN", "x", "KMOD_LISTEN is 'x'; it is a number"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        read_operator_settings({**_GOOD, name: value})


def _main(monkeypatch: pytest.MonkeyPatch, *words: str, **environment: str) -> int:
    monkeypatch.setattr("sys.argv", ["kmod_operator", *words])
    monkeypatch.setattr("os.environ", {**_GOOD, **environment})
    with logging_as_it_was():
        return main()


@pytest.mark.parametrize("verb", [["operator"], ["explain", "node-1"]])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "which cannot be read: No such file"),
        (b"[]", "which cannot be used: "),
        (b"x" * (5 << 20), "which has more than 4 MiB"),
    ],
)
def test_templates_that_cannot_be_used_end_it_with_a_sentence(
    verb: list[str], content: bytes | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / "t.json"
    if content is not None:
        file.write_bytes(content)
    assert _main(monkeypatch, *verb, KMOD_TEMPLATES=str(file)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in json.loads(line)["message"]


@pytest.mark.parametrize("verb", [["operator"], ["explain", "node-1"]])
def test_without_a_server_it_ends_with_a_sentence(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps(_TEMPLATES))
    assert _main(monkeypatch, *verb, KMOD_TEMPLATES=str(file), KUBECONFIG="/nowhere") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"].startswith("where the API server is, is not known; the file of KUBECONFIG")


@pytest.mark.parametrize("words", [["explain"], ["operator", "node-1"], ["device-plugin", "node-1"]])
def test_a_node_belongs_to_explain(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        _main(monkeypatch, *words)


def test_the_parts_begin_and_end_without_a_server() -> None:
    pytest_socket.enable_socket()
    assert asyncio.run(try_in_cluster(Path("/none")))
