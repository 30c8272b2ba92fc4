"""Toolkits of releases come into the store: from where, with which secret, and what a failure says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from fakes.registry import pretend_registry

from builder.errors import (
    FailureClass,
    LockFileError,
    NoPackagesError,
    SourceError,
    SourceGoneError,
)
from builder.kernel import Arch, parse_kernel_version
from builder.plan.project import open_project
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials
from builder.registry.pull import Puller
from builder.sources.openshift.source import OpenShiftSource
from builder.sources.openshift.toolkit import PulledToolkits

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.site import Site
    from fakes.tools import FakeTools


_K1 = "5.14.0-427.50.1.el9_4.x86_64"


_PULL = """\
case "$1" in
images) echo "[]";;
pull) for word; do last=$word; file=$prev; prev=$word; done; cat "$file" >>{log}; echo "$last" >>{log}
      case "$last" in *mirror*) echo "no such manifest" >&2; exit 125;; esac; echo 0123abcd;;
esac
"""


def test_pulls_go_to_mirrors_first_and_hand_over_one_secret_in_a_file(
    site: Site, fake_tools: FakeTools, tmp_path: Path
) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    log = tmp_path / "pulls"
    fake_tools.add("buildah", _PULL.format(log=log))
    secrets = tmp_path / "secrets.json"
    secrets.write_text(
        json.dumps({"auths": {"quay.test": {"auth": "dTpzZWNyZXQ="}, "other.test": {"auth": "dTpvdGhlcg=="}}})
    )
    registry = pretend_registry(site.world, tmp_path / "cache", mirrors={"quay.test": ["mirror.test"]})
    puller = Puller(RegistryAccess(registry, Credentials([secrets]), frozenset({"quay.test"})), work_dir=tmp_path)
    source = open_project(site.folder).kernel_source("ocp")
    assert isinstance(source, OpenShiftSource)
    toolkits = PulledToolkits(source, puller, None)
    kernel = parse_kernel_version(_K1)
    assert toolkits.estimate_bytes([kernel])[0] > 0
    assert toolkits.ensure(kernel) == source.toolkit_image(kernel)
    assert toolkits.ensure(parse_kernel_version(f"{_K1}+rt")) == source.toolkit_image(kernel), "one image, pulled once"
    with pytest.raises(NoPackagesError, match=r"wants libelf-dev: 'toolkits' of the driver .* built FROM its toolkit"):
        toolkits.ensure(kernel, ("libelf-dev",))
    assert source.compile_image(kernel, ()) == source.toolkit_image(kernel)
    digest = source.toolkit_pullspec(kernel).rpartition("@")[2]
    pulls = [call for call in fake_tools.calls("buildah") if call[0] == "pull"]
    assert [call[-1].split("/")[2] for call in pulls] == ["mirror.test", "quay.test"]
    assert all(call[-1].endswith(digest) for call in pulls)
    assert ["--tls-verify=false" in call for call in pulls] == [False, True]
    assert not any("secret" in word or "dTpzZWNyZXQ" in word for call in pulls for word in call)
    assert '"quay.test": {"auth": "dTpzZWNyZXQ="}' in log.read_text()
    assert "other.test" not in log.read_text()
    toolkits.close()
    assert not list(tmp_path.glob("toolkits-*")), "the secret does not stay"
    with pytest.raises(LockFileError, match="no small base image"):
        toolkits.ensure_runtime(Arch.X86_64)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("exit 125", "mirror.test"),
        (None, "does not exist (HTTP 404)"),
    ],
)
def test_a_toolkit_that_cannot_be_pulled(
    site: Site, fake_tools: FakeTools, tmp_path: Path, answer: str | None, words: str
) -> None:
    """A toolkit that is gone must not set off a discovery, as a package of Debian that is gone does."""
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    fake_tools.add("buildah", f'case "$1" in images) echo "[]";; *) {answer};; esac')
    if answer is None:
        site.world.manifests.clear()
    registry = pretend_registry(site.world, tmp_path / "cache", mirrors={"quay.test": ["mirror.test"]})
    puller = Puller(RegistryAccess(registry, Credentials(), frozenset()), work_dir=tmp_path)
    source = open_project(site.folder).kernel_source("ocp")
    assert isinstance(source, OpenShiftSource)
    with pytest.raises(SourceError) as caught:
        PulledToolkits(source, puller, None).ensure(parse_kernel_version(_K1))
    assert words in caught.value.message
    assert not isinstance(caught.value, SourceGoneError)
    assert "['" not in caught.value.message


def test_a_registry_that_gives_no_answer_is_no_fault_of_the_toolkits(site: Site) -> None:
    site.release("4.17.1", _K1)
    drivers = yaml.safe_load((site.folder / "versions.yaml").read_text())["drivers"]
    drivers[0]["image"] = "quay.test/drivers/demo"
    site.edit(drivers=drivers)
    site.run("discover", "--source", "ocp")
    site.world.failures[f"1.2.0-{_K1}"] = httpx.Response(500)
    selection = ("--group", "ocp", "--variant", "standard")
    code, report = site.json("build", "--unless-published", *selection)
    assert [(cell["status"], cell["reason"]) for cell in report["cells"]] == [("refused", "registry-unknown")]
    assert code == FailureClass.INFRASTRUCTURE.exit_code
