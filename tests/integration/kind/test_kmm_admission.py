"""Files for KMM and the verdicts of ``lint kmm``, held against the real API server with KMM's real CRDs and webhook."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.kmm import change_module
from fakes.kmm_facts import EVERYTHING, kmm_facts
from fakes.plugin_facts import plugin_facts

from builder.emit.kmm.files import emit_kmm
from builder.emit.kmm.version import Flavour, KmmVersion
from integration.kind.client import Client, Refused
from integration.kind.kmm import installed, released_crds
from integration.kind.verdicts import ask, compare, errors, have_namespaces, mutations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.emit.deviceplugin.files import PluginFacts
    from integration.kind.api_server import ApiServer

pytestmark = pytest.mark.kind
_RELEASES = [(version, flavour) for version in KmmVersion for flavour in Flavour]
# What the CRDs alone let pass: KMM's webhook refuses it, which the second half of this file holds.
_BY_WEBHOOK = {
    "dra", "files-to-sign", "host-path", "in-tree", "loading-order", "mapping", "modprobe", "name-length", "no-mappings", "regexp",
    "toleration",
}  # fmt: skip


@dataclass(frozen=True)
class _Release:
    version: KmmVersion
    flavour: Flavour
    client: Client


@pytest.fixture(scope="module", params=_RELEASES, ids=lambda pair: f"{pair[0]}-{pair[1].value}")
def release(request: pytest.FixtureRequest, api_server: ApiServer) -> Iterator[_Release]:
    """Each release in turn, with no webhook: what its CRDs say."""
    version, flavour = request.param
    have_namespaces(api_server.client)
    with installed(api_server.client, released_crds(version, flavour)):
        yield _Release(version, flavour, api_server.client)


@pytest.mark.parametrize("plugin", [None, plugin_facts(managed_by="kmm")], ids=["alone", "with a plugin"])
@pytest.mark.parametrize("kmm", [{}, EVERYTHING], ids=["plain", "everything"])
def test_what_is_emitted_is_applied_as_it_is(
    release: _Release, kmm: dict[str, Any], plugin: PluginFacts | None
) -> None:
    client, applied = release.client, []
    for name, content in emit_kmm(replace(kmm_facts(kmm), plugin=plugin), release.version, release.flavour).items():
        if not name.endswith(".yaml") or name in {"20-secrets.example.yaml", "imageset-config.yaml"}:
            continue  # skeletons without values, and what is for oc-mirror
        applied += [client.apply(item) for item in yaml.safe_load_all(content)]
    kinds = {item["kind"] for item in applied}
    assert {"Namespace", "ServiceAccount", "Module"} <= kinds
    assert kinds & {"PreflightValidation", "PreflightValidationOCP"}
    again = [client.apply(_as_written(item)) for item in applied if item["kind"] == "Module"]
    assert bool(again[0]["spec"].get("devicePlugin")) == bool(plugin), "nothing of it was dropped"
    assert again[0]["metadata"]["generation"] == 1, "applying it again changes nothing"
    for item in applied:
        if item["kind"] not in {"Namespace", "ConfigMap"}:
            client.delete(item)


def _as_written(item: dict[str, Any]) -> dict[str, Any]:
    written = {key: value for key, value in item.items() if key != "status"}
    return written | {"metadata": {key: item["metadata"][key] for key in ("name", "namespace")}}


def test_skeletons_of_secrets_are_refused_until_they_are_filled(api_server: ApiServer) -> None:
    text = emit_kmm(kmm_facts(EVERYTHING), KmmVersion.V2_6, Flavour.OPENSHIFT)["20-secrets.example.yaml"]
    have_namespaces(api_server.client)
    pull = next(item for item in yaml.safe_load_all(text) if item["type"] == "kubernetes.io/dockerconfigjson")
    with pytest.raises(Refused, match="Invalid value"):
        api_server.client.create(pull, dry_run=True)
    pull["stringData"][".dockerconfigjson"] = "{}"
    api_server.client.create(pull, dry_run=True)


def test_what_the_crds_refuse_lint_calls_a_mistake(release: _Release) -> None:
    """And the other way round, but for what only the webhook knows, and where lint is stricter on purpose."""
    wrong = compare(release.client, mutations(), (release.version, release.flavour), unknown=_BY_WEBHOOK)
    assert not wrong, "\n".join(wrong)


def test_a_rule_of_cel_is_one_of_lint(release: _Release) -> None:
    both = change_module("spec/dra", {"driverName": "d", "container": {"image": "a/b:c"}})
    both["spec"]["devicePlugin"] = {"container": {"image": "a/b:c"}}
    knows = release.version.has("2.7")
    expected = "spec.dra and spec.devicePlugin are mutually exclusive" if knows else 'unknown field "spec.dra"'
    assert expected in ask(release.client, both)
    assert errors(both, release.version, release.flavour) == {"dra" if knows else "too-new"}
