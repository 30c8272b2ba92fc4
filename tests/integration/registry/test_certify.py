"""The same images and bundles before Red Hat's own preflight and before ``certify``: both have to say the same.

Preflight 1.14 is what can be built where tests run; the cases are those in which 1.21, whose conditions are ours, has
the same ones. What it asks a server or a cluster for is left out on both sides.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from fakes.bundle import annotate, bundle_files, put
from fakes.rpm import Rpm, rpm_database

from builder.certify.policies import CHECKS, CheckState, Policy, PolicyCheck
from builder.certify.subjects import certify_named
from builder.digest import sha256_of
from builder.plan.project import open_project
from integration.registry.test_preflight import preflight  # noqa: F401 - a fixture
from integration.registry_server import RegistryServer, serve_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.preflight

_OCI = "application/vnd.oci.image"
_LABELS = {
    "name": "demo", "vendor": "My Company", "version": "1.0", "release": "1", "summary": "s", "description": "d",
    "maintainer": "m",
}  # fmt: skip
_CP = "usr/bin/cp"
_OWNER = Rpm(name="coreutils", files=((f"/{_CP}", 0), ("/usr/share/doc/cp", 2)))
_DATABASE = "var/lib/rpm/rpmdb.sqlite"
_FOLDER = "var/lib/rpm/"
_BASE = {
    _FOLDER: b"",
    "etc/os-release": b'PLATFORM_ID="platform:el9"\n',
    _DATABASE: rpm_database("bash", _OWNER),
    _CP: b"cp",
}
_TOP = {"licenses/GPL": b"GPL", "opt/lib/modules/x/a.ko": b"x"}
_ASKS = {PolicyCheck.BASED_ON_UBI}


@dataclass(frozen=True)
class _Case:
    """An image: files of its layers, lowest first; a value of ``->`` and a path is a link, ``4755`` a mode."""

    layers: tuple[Mapping[str, bytes | str], ...] = (_BASE, _TOP)
    labels: Mapping[str, str] = field(default_factory=lambda: _LABELS)
    user: str = "1001"
    name: str = "mycompany/demo"
    tag: str = "1.0"


def _layer(files: Mapping[str, bytes | str]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o644
            if name.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            if isinstance(content, str) and content.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, content[2:]
                archive.addfile(member)
                continue
            if isinstance(content, str):
                member.mode = int(content, 8)
            data_of = b"x" if isinstance(content, str) else content
            member.size = len(data_of)
            archive.addfile(member, io.BytesIO(data_of))
    return data.getvalue()


def _push(server: RegistryServer, case: _Case) -> str:
    import httpx

    layers = [_layer(files) for files in case.layers]
    config = json.dumps(
        {
            "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": {"Labels": dict(case.labels), "User": case.user},
            "rootfs": {"type": "layers", "diff_ids": [sha256_of(layer) for layer in layers]},
        }
    ).encode()  # fmt: skip

    def describe(content: bytes, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": sha256_of(content), "size": len(content)}

    manifest = {
        "schemaVersion": 2, "mediaType": f"{_OCI}.manifest.v1+json",
        "config": describe(config, f"{_OCI}.config.v1+json"),
        "layers": [describe(layer, f"{_OCI}.layer.v1.tar") for layer in layers],
    }  # fmt: skip
    with httpx.Client(base_url=f"http://{server.host}/v2/", auth=("user", "secret"), timeout=60.0) as client:
        for content in (config, *layers):
            server._upload_blob(client, case.name, sha256_of(content), content)
        answer = client.put(
            f"{case.name}/manifests/{case.tag}", content=json.dumps(manifest),
            headers={"Content-Type": f"{_OCI}.manifest.v1+json"},
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
    return f"{server.host}/{case.name}:{case.tag}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with serve_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


def _ask(program: Path, server: RegistryServer, folder: Path, what: str, image: str) -> dict[str, str]:
    """Return what preflight says of each check: in its log also those that its results leave out."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text("apiVersion: v1\nkind: Config\n")
    auth = server.auth_file(folder)
    argv = [str(program), "check", what, image, "--docker-config", str(auth)]
    argv += ["--insecure"] if what == "container" else []
    environment = os.environ | {
        "PFLT_LOGLEVEL": "trace", "PFLT_LOGFILE": str(folder / "log"), "KUBECONFIG": str(kubeconfig),
        "PFLT_INDEXIMAGE": image, "PFLT_ARTIFACTS": str(folder / "artifacts"),
    }  # fmt: skip
    done = subprocess.run(argv, cwd=folder, check=False, capture_output=True, text=True, env=environment)
    log = (folder / "log").read_text()
    found = {}
    for line in log.splitlines():
        match = re.search(r'msg="check completed.*?"', line)
        check, result = re.search(r"check=(\w+)", line), re.search(r"result=(\w+)", line)
        if match and check and result:
            found[check[1]] = result[1].lower()
    assert found, done.stdout + done.stderr + log[-3000:]
    return found


def _own(image: str, folder: Path, policy: Policy | None, server: RegistryServer) -> dict[str, str]:
    project = open_project(folder, folder / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGISTRY_AUTH_FILE", str(server.auth_file(folder)))
        found = certify_named(project, [f"docker://{image}"], [], policy=policy, plain_http=True).certifications[0]
    return {str(item.check): str(item.state) for item in found.checks}


def _compare(program: Path, server: RegistryServer, folder: Path, case: _Case) -> dict[str, str]:
    image = _push(server, case)
    theirs = _ask(program, server, folder, "container", image)
    ours = _own(image, folder, Policy.CONTAINER, server)
    for check in _ASKS:
        assert ours.pop(check) == CheckState.NOT_JUDGED
        theirs.pop(check, None)
    assert ours == theirs
    return {check: state for check, state in theirs.items() if state != "passed"}


_FEW = {"etc/os-release": b"", "x": b"1"}
_CHANGED = {**_TOP, _CP: b"other"}


@pytest.mark.parametrize(
    ("case", "refused"),
    [
        (_Case(), {}),
        (_Case(layers=(_BASE, {"opt/x": b"1"})), {"HasLicense": "failed"}),
        (_Case(layers=(_BASE, {"licenses/GPL": b""})), {"HasLicense": "failed"}),
        (_Case(tag="latest", name="mycompany/onlylatest"), {"HasUniqueTag": "failed"}),
        (_Case(layers=(_BASE, *({f"opt/{n}": b"1"} for n in range(38)), _TOP)), {}),
        (_Case(layers=(_BASE, *({f"opt/{n}": b"1"} for n in range(39)), _TOP)), {"LayerCountAcceptable": "failed"}),
        (
            _Case(layers=({**_BASE, _DATABASE: rpm_database("bash", "kernel-core")}, _TOP)),
            {"HasNoProhibitedPackages": "failed"},
        ),
        (_Case(layers=({**_BASE, _DATABASE: rpm_database("kpatch-dnf")}, _TOP)), {"HasNoProhibitedPackages": "failed"}),
        (_Case(layers=({**_BASE, _DATABASE: rpm_database("kernel-rt", "kernel-headers")}, _TOP)), {}),
        (_Case(layers=(_FEW, _TOP)), {"HasNoProhibitedPackages": "error"}),
        (_Case(labels={**_LABELS, "maintainer": ""}), {"HasRequiredLabel": "failed"}),
        (_Case(labels={**_LABELS, "maintainer": " "}), {}),
        (_Case(labels={**_LABELS, "vendor": "Red Hat, Inc."}), {"HasNoProhibitedLabels": "failed"}),
        (_Case(labels={**_LABELS, "vendor": "V for Red Hat"}), {}),
        (_Case(labels={**_LABELS, "name": "for red hat by red hat"}), {"HasNoProhibitedLabels": "failed"}),
        (_Case(user=""), {"RunAsNonRoot": "failed"}),
        (_Case(user="0"), {"RunAsNonRoot": "failed"}),
        (_Case(user="root"), {"RunAsNonRoot": "failed"}),
        (_Case(user="0:0"), {}),
        (_Case(layers=(_BASE, _CHANGED)), {"HasModifiedFiles": "failed"}),
        (_Case(layers=(_BASE, {**_TOP, "usr/bin/.wh.cp": b""})), {"HasModifiedFiles": "failed"}),
        (_Case(layers=(_BASE, {**_TOP, _CP: "->busybox"})), {"HasModifiedFiles": "failed"}),
        (_Case(layers=(_BASE, {**_TOP, "usr/share/doc/cp": b"other"})), {}),
        (_Case(layers=(_BASE, {**_CHANGED, "usr/bin/copy": f"->/{_CP}"})), {}),
        (_Case(layers=({**_BASE, _CP: "4755"}, {**_TOP, _CP: "0755"})), {}),
        (
            _Case(layers=({**_BASE, _DATABASE: rpm_database(Rpm(name="c", release="1.fc40", files=((f"/{_CP}", 0),)))}, _CHANGED)),
            {},
        ),
        (
            _Case(layers=(_BASE, {_FOLDER: b"", **_CHANGED, _DATABASE: rpm_database(Rpm(name="coreutils", version="2", files=_OWNER.files))})),
            {},
        ),
        (
            _Case(layers=(_BASE, {_FOLDER: b"", **_CHANGED, _DATABASE: rpm_database(Rpm(name="coreutils", arch="i686", files=_OWNER.files))})),
            {"HasModifiedFiles": "failed"},
        ),
        (_Case(layers=({name: content for name, content in _BASE.items() if name != _FOLDER}, _CHANGED)), {}),
        (_Case(layers=({_DATABASE: _BASE[_DATABASE]}, _TOP)), {"HasModifiedFiles": "error"}),
        (_Case(name="mycompany/red-hat-demo"), {"HasProhibitedContainerName": "failed"}),
        (_Case(name="redhat/demo"), {}),
    ],
)  # fmt: skip
def test_an_image(
    preflight: Path,  # noqa: F811 - the fixture
    server: RegistryServer,
    tmp_path: Path,
    case: _Case,
    refused: dict[str, str],
) -> None:
    assert _compare(preflight, server, tmp_path, case) == refused


@pytest.mark.parametrize(
    ("change", "options", "refused"),
    [
        (None, {}, set()),
        (put("spec.displayName", ""), {}, {"ValidateOperatorBundle"}),
        (annotate("categories", "Drivers and plugins"), {}, {"ValidateOperatorBundle"}),
        (annotate("capabilities", "Level 5"), {}, {"ValidateOperatorBundle"}),
        (put("metadata.name", "Demo"), {}, {"ValidateOperatorBundle"}),
        (annotate("olm.skiprange", "<1"), {}, {"ValidateOperatorBundle"}),
        (annotate("alm-examples", "[{]"), {}, {"ValidateOperatorBundle"}),
        (annotate("alm-examples", '[{"apiVersion": "v1", "kind": "Secret"}]'), {}, {"ValidateOperatorBundle"}),
        (put("spec.installModes", None), {}, {"ValidateOperatorBundle"}),
        (put("spec.minKubeVersion", "1.27"), {}, {"ValidateOperatorBundle"}),
        (put("spec.minKubeVersion", None), {}, set()),
        (put("spec.version", None), {}, {"ValidateOperatorBundle"}),
        (put("spec.customresourcedefinitions", None), {}, {"ValidateOperatorBundle"}),
        (put("spec.provider", {"name": " "}), {}, {"ValidateOperatorBundle"}),
        (put("spec.maintainers", [{"name": "Jo", "email": "jo"}]), {}, {"ValidateOperatorBundle"}),
        (put("spec.links", [{"name": "x", "url": "example.com"}]), {}, {"ValidateOperatorBundle"}),
        (put("spec.links", [{"name": "x", "url": "/path"}]), {}, set()),
        (put("spec.icon", [{"base64data": "A", "mediatype": "image/webp"}]), {}, {"ValidateOperatorBundle"}),
        (put("spec.install.spec.deployments", None), {}, {"ValidateOperatorBundle"}),
        (
            None,
            {"more": {"manifests/sa.yaml": b"{apiVersion: v1, kind: ServiceAccount, metadata: {name: operator}}"}},
            {"ValidateOperatorBundle"},
        ),
        (
            None,
            {"more": {"manifests/p.yaml": b"{apiVersion: policy/v1beta1, kind: PodDisruptionBudget, metadata: {name: x}}"}},
            {"ValidateOperatorBundle"},
        ),
        (None, {"annotations": {"com.redhat.openshift.versions": "v4.9-"}}, {"ValidateOperatorBundle"}),
    ],
)  # fmt: skip
def test_a_bundle(
    preflight: Path,  # noqa: F811 - the fixture
    server: RegistryServer,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object] | None,
    options: dict[str, Any],
    refused: set[str],
) -> None:
    theirs, ours = _both(preflight, server, tmp_path, bundle_files(change, **options))
    assert theirs["ValidateOperatorBundle"] in ({"failed", "error"} if refused else {"passed"})
    assert ours["ValidateOperatorBundle"] == (theirs["ValidateOperatorBundle"] if refused else "not-judged")


def _by_tag(csv: dict[str, Any]) -> None:
    """Name no image by digest: this preflight asks Red Hat for digests, and ends where nobody answers."""
    put("spec.relatedImages", [{"name": "x", "image": "quay.io/a/b:1"}])(csv)
    put("spec.install.spec.deployments.0.spec.template.spec.containers.0.image", "quay.io/a/b:1")(csv)
    put("spec.install.spec.deployments.0.spec.template.spec.containers.0.env", [])(csv)


_FEATURES = "features.operators.openshift.io"
_SCCS = {"apiGroups": ["security.openshift.io"], "resources": ["securitycontextconstraints"], "verbs": ["use"]}
_OFTEN = {"BundleImageRefsAreCertified", "FollowsRestrictedNetworkEnablementGuidelines"}


def _rules(*names: str) -> Callable[[dict[str, Any]], object]:
    rules = [{**_SCCS, "resourceNames": list(names)}]
    return put("spec.install.spec.clusterPermissions", [{"serviceAccountName": "operator", "rules": rules}])


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (None, set()),
        (annotate(f"{_FEATURES}/tls-profiles", None), {"RequiredAnnotations"}),
        (annotate(f"{_FEATURES}/tls-profiles", "True"), {"RequiredAnnotations"}),
        (annotate(f"{_FEATURES}/csi", "yes"), {"RequiredAnnotations"}),
        (annotate(f"{_FEATURES}/csi", "true"), set()),
        (annotate(f"{_FEATURES}/disconnected", "false"), set()),
        (_rules("a", "b"), {"SecurityContextConstraintsInCSV"}),
        (_rules("a"), set()),
        (_rules(), set()),
        (put("spec.relatedImages", None), set()),
    ],
)
def test_the_other_checks_of_a_bundle(
    preflight: Path,  # noqa: F811 - the fixture
    server: RegistryServer,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object] | None,
    refused: set[str],
) -> None:
    def both(csv: dict[str, Any]) -> None:
        _by_tag(csv)
        if change is not None:
            change(csv)

    theirs, ours = _both(preflight, server, tmp_path, bundle_files(both))
    shared = set(ours) - {"DeployableByOLM", "ValidateOperatorBundle"}
    assert {check: ours[check] for check in shared} == {check: theirs[check] for check in shared}
    assert {check for check in shared if theirs[check] != "passed"} == refused | _OFTEN


def _both(
    program: Path, server: RegistryServer, folder: Path, files: Mapping[str, bytes]
) -> tuple[dict[str, str], dict[str, str]]:
    labels = {"operators.operatorframework.io.bundle.mediatype.v1": "registry+v1"}
    image = _push(server, _Case(layers=(files,), labels=labels, name="mycompany/bundle"))
    return _ask(program, server, folder, "operator", image), _own(image, folder, None, server)


def test_policies_have_the_checks_that_preflight_lists(preflight: Path) -> None:  # noqa: F811 - the fixture
    printed = subprocess.run([str(preflight), "list-checks"], check=True, capture_output=True, text=True).stdout
    sections = [section.splitlines() for section in re.split(r"\n\[", printed)[1:]]
    listed = [{line[2:] for line in lines if line.startswith("- ")} for lines in sections]
    of_1_14 = {"ScorecardBasicSpecCheck", "ScorecardOlmSuiteCheck"}  # gone since
    order = (Policy.OPERATOR, Policy.CONTAINER, Policy.ROOT, Policy.SCRATCH_NONROOT, Policy.SCRATCH_ROOT)
    assert [found - of_1_14 for found in listed] == [set(CHECKS[policy]) for policy in order]


def test_the_script_that_submits_stops_where_something_is_not_given(tmp_path: Path) -> None:
    from builder.certify.policies import Certification
    from builder.certify.submission import make_submission

    item = Certification(
        subject="x",
        digest="",
        arch="amd64",
        policy=Policy.ROOT,
        because="",
        checks=[],
        project="d",
        tags=["quay.io/a:1"],
    )
    (tmp_path / "submit.sh").write_text(make_submission([item], [])["submit.sh"])
    (tmp_path / "preflight").write_text("#!/bin/sh\necho called $*\n")
    (tmp_path / "preflight").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    given = {"PFLT_PYXIS_API_TOKEN": "t", "PFLT_DOCKERCONFIG": "f", "COMPONENT_ID_D": "id-1"}
    for missing in given:
        rest = {name: value for name, value in given.items() if name != missing}
        argv = [shutil.which("sh") or "sh", str(tmp_path / "submit.sh")]
        done = subprocess.run(argv, env=environment | rest, capture_output=True, text=True, check=False)
        assert (done.returncode != 0, missing in done.stderr, done.stdout) == (True, True, "")
    done = subprocess.run(argv, env=environment | given, capture_output=True, text=True, check=True)
    assert "called check container quay.io/a:1 --platform amd64 --submit" in done.stdout
    assert done.stdout.strip().endswith("--certification-component-id id-1")
