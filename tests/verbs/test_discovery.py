"""The verbs about kernels and releases, through the command line: discover, matrix, upgrade-check, nightly."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from fakes.image_keys import make_image_signer
from fakes.locks import debian_of, openshift_of
from fakes.openshift_world import World, digest_of
from fakes.registry import pretend_registry

from builder.__main__ import run_cli
from builder.errors import (
    CommandError,
    FailureClass,
    FormatError,
    HostError,
    KmodsmithError,
    LockFileError,
    SourceError,
    SourceGoneError,
    SourceRefusedError,
    SourceUnreachableError,
    UsageError,
)
from builder.evidence.blame import describe_error
from builder.image.manifests import OCI_MANIFEST
from builder.kernel import Arch, parse_kernel_version
from builder.plan.project import open_project
from builder.publish.attest.simple_signing import ImageSignature, make_payload, make_signature_image, signature_tag
from builder.registry.access import RegistryAccess, open_registries
from builder.registry.credentials import Credentials
from builder.registry.pull import Puller
from builder.sources.lock_file import read_lock, write_lock
from builder.sources.openshift.lock import LockedOpenShift, LockedStream
from builder.sources.openshift.source import OpenShiftSource
from builder.sources.openshift.toolkit import PulledToolkits
from builder.sources.release import ReleaseState
from builder.sources.table import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.registry.reader import Registry
    from builder.signing.image_key import OpenImageSigner

_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"
_ARM = "5.14.0-427.50.1.el9_4.aarch64"


@dataclass
class _Site:
    """A project with a source of OpenShift whose graph is a file."""

    folder: Path
    world: World
    capsys: pytest.CaptureFixture[str]
    opened: list[Registry] = field(default_factory=list)

    def release(self, version: str, kernel: str = _K1, *, node: str | None = None, toolkit: bool = True) -> None:
        tags = {
            "rhel-coreos": self.world.os_image(node or kernel, build=version),
            "rhel-coreos-extensions": self.world.extensions(),
        }
        if toolkit:
            tags["driver-toolkit"] = self.world.toolkit(kernel, rt=f"{kernel}+rt")
        self.world.promote(self.world.release(version, tags), version, "fast-4.17")
        self.write_graph()

    def write_graph(self) -> None:
        (self.folder / "fast-4.17_amd64.json").write_bytes(self.world.graph("fast-4.17", "amd64"))

    def edit(self, **changes: Any) -> None:
        file = self.folder / "versions.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = run_cli(["--project", str(self.folder), *arguments])
        printed = self.capsys.readouterr()
        return code, printed.out, printed.err

    def json(self, *arguments: str) -> tuple[int, Any]:
        code, out, _ = self.run(*arguments, "--json")
        return code, json.loads(out)

    @property
    def locked(self) -> LockedOpenShift:
        return openshift_of(read_lock(self.folder / "versions.lock.yaml"), "ocp")


@pytest.fixture
def site(
    project_dir: Path, fake_tools: FakeTools, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> _Site:
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir.parent / "cache"))
    monkeypatch.setattr("builder.host.http._PAUSE_S", 0.0)
    fake_tools.add("buildah", 'case "$1" in images) echo "[]";; *) exit 9;; esac')
    made = _Site(project_dir, World(), capsys)

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        registry = pretend_registry(made.world, cache_dir / "registry")
        return RegistryAccess(registry, Credentials(), frozenset())

    monkeypatch.setattr("builder.registry.access.open_registries", open_pretended)
    monkeypatch.setattr("builder.publish.reading.open_registries", open_pretended)
    made.edit(
        sources={"debian": {"provider": "debian"},
                 "ocp": {"provider": "openshift", "channels": ["fast-4.17"], "graph": "{channel}_{arch}.json"}},
        groups={"few": {"source": "debian", "newest": True, "arches": ["x86_64"]}, "ocp": {"source": "ocp"},
                "ocp-1": {"source": "ocp", "releases": ["4.17.1"], "variants": ["standard"]}},
    )  # fmt: skip
    return made


def test_discover_says_what_changed_and_which_cells_that_adds(site: _Site) -> None:
    site.release("4.17.1", _K1)
    code, out, err = site.run("discover", "--source", "ocp")
    assert code == 0, err
    assert f"new kernel {_K1}: of 4.17.1" in out
    assert "new release 4.17.1-x86_64: in fast-4.17 since before the first look; rhel-coreos complete" in out
    assert f"2 new cells to build: demo-1.2.0/{_K1}, demo-1.2.0/{_K1}+rt" in out
    assert "1 releases read with" in out
    assert debian_of(read_lock(site.folder / "versions.lock.yaml")).kernels, "the other source stays"
    before = (site.folder / "versions.lock.yaml").read_bytes()
    code, out, _ = site.run("discover", "--source", "ocp")
    assert (code, out.splitlines()[-1]) == (0, "nothing changed")
    assert (site.folder / "versions.lock.yaml").read_bytes() == before
    site.release("4.17.2", _K2)
    code, report = site.json("discover", "--source", "ocp")
    assert (code, report["releases_read"], len(report["new_cells"])) == (0, 1, 2)
    assert {change["kind"] for change in report["changes"]} == {"new kernel", "new release"}
    assert "for a minute" in next(change["detail"] for change in report["changes"] if change["kind"] == "new release")


def test_a_source_that_fails_keeps_what_it_had_and_has_its_exit_code(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    (site.folder / "fast-4.17_amd64.json").unlink()
    code, _, err = site.run("discover", "--source", "ocp")
    assert (code, "cannot be read" in err, "hint: run it again later" in err) == (7, True, True)
    assert list(site.locked.kernels) == [_K1, f"{_K1}+rt"]
    site.release("4.17.2", _K2)
    site.edit(sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17", "nope-4.17"], "graph": "{channel}_{arch}.json"}}, groups={"few": {"source": "ocp"}})  # fmt: skip
    code, out, err = site.run("discover")
    assert (code, "nope-4.17" in err, "new kernel" in out) == (7, True, True), "what can be read is"
    code, _, err = site.run("discover", "--source", "opc")
    assert (code, "there is no source 'opc'" in err) == (2, True)


def test_a_source_that_never_answered_leaves_the_others_alone(site: _Site) -> None:
    code, _, err = site.run("discover", "--source", "ocp")
    assert (code, "source ocp: fast-4.17 x86_64:" in err) == (7, True)
    assert list(read_lock(site.folder / "versions.lock.yaml").sources) == ["debian"]


@pytest.mark.parametrize(
    ("error", "problem", "words", "code"),
    [
        (SourceUnreachableError("no route"), "unreachable", "no route", 7),
        (SourceRefusedError("a wrong password"), "unreachable", "a wrong password", 7),
        (SourceError("wrong signature"), "malformed", "wrong signature", 7),
        (FormatError("no JSON"), "malformed", "no JSON", 8),
        (HostError("apt-get is not installed"), "host", "apt-get is not installed", 6),
        (CommandError("buildah ended with exit code 125"), "host", "exit code 125", 17),
        (UsageError("'x' is not a kernel version"), "malformed", "not a kernel version", 7),
        (
            OSError(30, "Read-only file system", "/cache/apt"),
            "host",
            "/cache/apt cannot be read or written: Read-only file system",
            6,
        ),
        (KeyError("Package"), "defect", "defect in kmodsmith: KeyError: 'Package'", 1),
    ],
)
def test_each_source_has_its_own_outcome(
    site: _Site, monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str, words: str, code: int
) -> None:
    """Whatever ends the first source, the second is asked; the older answer stays, marked, until it answers."""
    from builder.sources.debian import discover as debian

    def fail(*_: object, **_options: object) -> None:
        raise error

    known = debian_of(read_lock(site.folder / "versions.lock.yaml"))
    monkeypatch.setattr("builder.sources.debian.discover.discover", fail)
    site.release("4.17.1", _K1)
    found, out, err = site.run("discover")
    assert (found, f"new kernel {_K1}" in out) == (code, True), err
    assert "source debian: " in err
    assert words in err
    assert "Traceback" not in err
    locked = debian_of(read_lock(site.folder / "versions.lock.yaml"))
    assert locked == known.model_copy(update={"problem": problem})
    _, out, _ = site.run("matrix", "--source", "debian")
    assert f"all of it is the answer of {known.resolved}: the last reading failed ({problem})" in out
    answer = debian.DebianAnswer(locked=known, lost={}, problems=[])
    monkeypatch.setattr("builder.sources.debian.discover.discover", lambda *_, **_options: answer)
    assert site.run("discover")[0] == 0
    assert debian_of(read_lock(site.folder / "versions.lock.yaml")) == known


def test_sources_that_fail_for_different_reasons_are_one_answer_that_is_not_whole(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **_options: object) -> None:
        raise HostError("apt-get is not installed")

    monkeypatch.setattr("builder.sources.debian.discover.discover", fail)
    code, _, err = site.run("discover")
    assert (code, "apt-get" in err, "source ocp" in err) == (7, True, True)


def test_accept_loss_is_for_every_source(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.sources.debian import discover as debian

    asked: list[object] = []

    def discover(_source: object, previous: Any, *_: object, **options: object) -> object:
        asked.append(options["accept_loss"])
        return debian.DebianAnswer(locked=previous, lost={}, problems=["amd64: 5 of the 6 kernels are not there"])

    monkeypatch.setattr("builder.sources.debian.discover.discover", discover)
    code, _, err = site.run("discover", "--source", "debian")
    assert (code, "source debian: amd64: 5 of the 6" in err) == (7, True)
    site.run("discover", "--source", "debian", "--accept-loss")
    assert asked == [False, True]


def test_kernels_that_their_source_does_not_have_whole_are_in_plan_and_matrix(site: _Site) -> None:
    file = site.folder / "versions.lock.yaml"
    lock = read_lock(file)
    reasons = {"6.1.0-11-amd64": "no common headers", "6.1.0-8-amd64": "no gcc", "6.1.0-odd-x": "no kernel's name"}
    debian = debian_of(lock).model_copy(update={"left_out": reasons, "stale": {"6.1.0-9-amd64": "2026-01-01"}})
    write_lock(lock.model_copy(update={"sources": {"debian": debian}}), file)
    _, plan = site.json("plan", "--group", "few")
    rows = {cell["kernel"]: (cell["action"], cell["reason"], cell["explanation"]) for cell in plan["cells"]}
    assert rows["6.1.0-11-amd64"] == ("exclude", "kernel-incomplete", "no common headers")
    assert rows["6.1.0-10-amd64"][0] == "build", "the newest that is whole"
    assert "6.1.0-8-amd64" not in rows, "the group wants the newest only"
    _, answer = site.json("matrix", "--source", "debian")
    assert "source debian: 6.1.0-8-amd64 is left out: no gcc" in answer["notes"]
    assert "source debian: the answer of 2026-01-01 is kept for 6.1.0-9-amd64" in answer["notes"]


def test_a_source_that_is_taken_out_says_what_leaves_with_it(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17"], "graph": "{channel}_{arch}.json"}}, groups={"few": {"source": "ocp"}})  # fmt: skip
    code, out, _ = site.run("discover")
    assert (code, "source gone debian: versions.yaml no longer names it; 6 kernels leave with it" in out) == (0, True)


def test_upgrade_check_leaves_out_what_the_driver_itself_excludes(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    (site.folder / "src" / "dkms.conf").write_text(
        "PACKAGE_NAME=demo\nPACKAGE_VERSION=1.2.0\nBUILT_MODULE_NAME[0]=demo\nDEST_MODULE_LOCATION[0]=/extra\n"
        'BUILD_EXCLUSIVE_KERNEL="^6\\."\nMAKE[0]="make"\n'
    )
    drivers = yaml.safe_load((site.folder / "versions.yaml").read_text())["drivers"]
    drivers[0] = {name: value for name, value in drivers[0].items() if name != "modules"} | {"dkms": "dkms.conf"}
    site.edit(drivers=drivers)
    code, answer = site.json("upgrade-check", "4.17.1")
    assert (code, {row["presence"] for row in answer["images"]}) == (0, {"not-wanted"}), answer


def test_many_changes_are_counted(site: _Site) -> None:
    for number in range(30):
        site.release(f"4.17.{number}", _K1)
    _, out, _ = site.run("discover", "--source", "ocp")
    assert "... and 10 more of: new release (--json lists all)" in out


def test_matrix_shows_and_filters(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.release("4.17.2", _K1, node=_K2)
    site.release("4.17.3", _K2, toolkit=False)
    site.run("discover", "--source", "ocp")
    _, rows = site.json("matrix", "--source", "ocp")
    assert [row["kernel"] for row in rows["kernels"]] == [_K1, f"{_K1}+rt", _K2]
    assert rows["kernels"][2]["releases"] == ["4.17.2", "4.17.3"]
    assert rows["kernels"][2]["states"] == ["no-toolkit", "toolkit-differs"]
    assert [(row["release"], row["state"]) for row in rows["releases"]] == [
        ("4.17.1", "complete"), ("4.17.2", "toolkit-differs"), ("4.17.3", "no-toolkit")
    ]  # fmt: skip
    _, rows = site.json("matrix", "--state", "toolkit-differs")
    assert ([row["kernel"] for row in rows["kernels"]], len(rows["releases"])) == ([_K2], 1)
    _, rows = site.json("matrix", "--release", "4.17.[12]", "--variant", "rt")
    assert [row["kernel"] for row in rows["kernels"]] == [f"{_K1}+rt"]
    _, rows = site.json("matrix", "--kernel", "6.1.0-9-*")
    assert ([row["kernel"] for row in rows["kernels"]], rows["releases"]) == (["6.1.0-9-amd64"], [])
    code, out, _ = site.run("matrix", "--source", "ocp")
    assert (code, "3 kernels of 3 releases (1 complete, 1 toolkit-differs, 1 no-toolkit)" in out) == (0, True)
    code, out, _ = site.run("matrix", "--by", "release", "--arch", "ppc64le")
    assert (code, "0 kernels" in out) == (0, True)


def test_groups_of_releases(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.release("4.17.2", _K2)
    site.run("discover", "--source", "ocp")
    _, plan = site.json("plan", "--group", "ocp-1")
    assert [(cell["kernel"], cell["action"]) for cell in plan["cells"]] == [(_K1, "build")]
    _, plan = site.json("plan", "--group", "ocp")
    assert len(plan["cells"]) == 4
    site.edit(groups={"few": {"source": "debian", "releases": ["4.17.*"]}}, default_group="few")
    code, _, err = site.run("plan")
    assert (code, "source 'debian' has no releases" in err) == (3, True)


def test_a_plan_says_why_a_kernel_has_no_toolkit(site: _Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    site.release("4.17.2", "5.14.0-427.52.1.el9_4.x86_64", toolkit=False)
    site.run("discover", "--source", "ocp")
    code, plan = site.json("plan", "--group", "ocp", "--variant", "standard")
    cells = {cell["kernel"]: (cell["action"], cell["reason"], cell["explanation"]) for cell in plan["cells"]}
    assert code == 0
    assert cells[_K2][:2] == ("refuse", "no-toolkit")
    assert f"release 4.17.1 runs it, but brings a toolkit for {_K1}" in cells[_K2][2]
    assert "release 4.17.2 brings none for rhel-coreos" in cells["5.14.0-427.52.1.el9_4.x86_64"][2]


_RT_TAG = "1.2.0-5.14.0-427.50.1.el9_4.x86_64_rt"


def _presences(site: _Site) -> tuple[int, dict[str, str]]:
    code, answer = site.json("upgrade-check", "4.17.1")
    assert answer["ready"] is (code == 0)
    return code, {row["variant"]: row["presence"] for row in answer["images"]}


def _use_registry(site: _Site, **publish: Any) -> str:
    """Publish the driver in a registry; returns the key that its image for the real-time kernel must have."""
    drivers = yaml.safe_load((site.folder / "versions.yaml").read_text())["drivers"]
    drivers[0]["image"] = "quay.test/drivers/demo"
    site.edit(drivers=drivers, publish=publish)
    _, plan = site.json("plan", "--group", "ocp")
    return next(str(cell["key"]) for cell in plan["cells"] if cell["kernel"] == f"{_K1}+rt")


def test_upgrade_check_says_what_is_there(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    assert _presences(site) == (18, {"standard": "absent", "rt": "absent"})
    key = _use_registry(site)
    labels = {"io.kmodsmith.cell.key": key}
    site.world.image([{"x": b""}], repository="drivers/demo", tag=_RT_TAG)
    assert _presences(site) == (18, {"standard": "absent", "rt": "stale"}), "a name alone says nothing"
    site.world.image([{"x": b""}], repository="drivers/demo", tag=_RT_TAG, labels=labels)
    assert _presences(site) == (18, {"standard": "absent", "rt": "ready"})
    site.world.failures["1.2.0-5.14.0-427.50.1.el9_4.x86_64"] = httpx.Response(500)
    assert _presences(site) == (18, {"standard": "unknown", "rt": "ready"})
    site.edit(exclude=[{"kernel": _K1, "reason": "no such customers"}])
    assert _presences(site) == (0, {"standard": "not-wanted", "rt": "ready"})
    code, out, _ = site.run("upgrade-check", "4.17.1")
    assert (code, "4.17.1: ready" in out) == (0, True)


def test_upgrade_check_reads_signatures(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(exclude=[{"kernel": _K1, "reason": "no such customers"}])
    ours, other = make_image_signer(), make_image_signer()
    (site.folder / "images.pub").write_text(ours.key.pem)
    key = _use_registry(site, signer={"public_key": "images.pub", "key_file": "~/images.key"})
    image = site.world.image([{}], repository="drivers/demo", tag=_RT_TAG, labels={"io.kmodsmith.cell.key": key})
    digest = image.partition("@")[2]

    def sign(signer: OpenImageSigner, name: str) -> None:
        payload = make_payload(name, digest)
        found = ImageSignature(digest_of(payload), len(payload), signer.sign(payload))
        manifest, _ = make_signature_image([found])
        site.world.manifests["drivers/demo", signature_tag(digest)] = (OCI_MANIFEST, manifest)

    name = f"quay.test/drivers/demo:{_RT_TAG}"
    assert _presences(site)[1]["rt"] == "unsigned"
    sign(other, name)
    assert _presences(site)[1]["rt"] == "other-key"
    sign(ours, "quay.test/drivers/demo:another")
    assert _presences(site)[1]["rt"] == "other-key"
    sign(ours, name)
    assert _presences(site) == (0, {"standard": "not-wanted", "rt": "ready"})
    site.world.failures[signature_tag(digest)] = httpx.Response(403)
    assert _presences(site)[1]["rt"] == "unknown"
    (site.folder / "images.pub").unlink()
    assert _presences(site)[1]["rt"] == "unknown"


def test_upgrade_check_looks_at_mirrors_and_a_dead_one_makes_it_unknown(
    site: _Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(exclude=[{"kernel": _K1, "reason": "no such customers"}])
    key = _use_registry(site)
    mirror = "mirror.test:5000/copies"

    def open_mirrored(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        registry = pretend_registry(site.world, cache_dir / "registry", mirrors={"quay.test/drivers": [mirror]})
        return RegistryAccess(registry, Credentials(), frozenset())

    monkeypatch.setattr("builder.publish.reading.open_registries", open_mirrored)
    assert _presences(site)[1]["rt"] == "absent"
    site.world.failures[f"/copies/demo/manifests/{_RT_TAG}"] = httpx.Response(503)
    assert _presences(site)[1]["rt"] == "unknown"
    site.world.failures.clear()
    site.world.image([{}], repository="copies/demo", tag=_RT_TAG, labels={"io.kmodsmith.cell.key": key})
    assert _presences(site)[1]["rt"] == "ready"


def test_upgrade_check_of_the_container_store(site: _Site, fake_tools: FakeTools) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    site.edit(exclude=[{"kernel": _K1, "reason": "no such customers"}])
    _, plan = site.json("plan", "--group", "ocp")
    cell = next(item for item in plan["cells"] if item["kernel"] == f"{_K1}+rt")

    def keep(**names: list[str]) -> None:
        images = [
            {"id": image, "names": held, "digest": f"sha256:{image * 64}", "size": "1 MB"}
            for image, held in names.items()
        ]
        fake_tools.add("buildah", f"case \"$1\" in images) echo '{json.dumps(images)}';; *) exit 9;; esac")

    made = f"localhost/kmodsmith/cell:{cell['key']}"
    keep(a=[cell["image"]], b=[made])
    assert _presences(site)[1]["rt"] == "stale"
    keep(a=[cell["image"], made])
    assert _presences(site) == (0, {"standard": "not-wanted", "rt": "ready"})


def test_upgrade_check_of_what_is_not_known(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.world.failures["/image-references"] = httpx.Response(500)
    payload = site.world.channels["fast-4.17", "amd64"][0]["payload"]
    site.world.failures[payload.rpartition("@")[2]] = httpx.Response(403)
    site.run("discover", "--source", "ocp")
    code, answer = site.json("upgrade-check", "4.17.1")
    assert (code, [row["presence"] for row in answer["images"]]) == (18, ["no-kernel"])
    code, _, err = site.run("upgrade-check", "4.17.12")
    assert (code, "does not know release 4.17.12" in err, "did you mean '4.17.1'?" in err) == (2, True, True)
    code, _, err = site.run("upgrade-check", "4.17.1", "--driver", "nope")
    assert (code, "no driver matches nope" in err) == (2, True)


def test_nightly_does_nothing_when_nothing_changed_and_tells_of_sources_that_failed(site: _Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    site.edit(sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17"], "graph": "{channel}_{arch}.json"}}, groups={"few": {"source": "ocp", "variants": ["standard"]}})  # fmt: skip
    code, report = site.json("nightly")
    assert (code, report["cells"], report["run"]) == (10, {"refused": 1}, "")
    assert json.loads((site.folder / ".kmodsmith" / "nightly.json").read_text())["cells"] == {"refused": 1}
    assert report["freshness"] == [
        {"cell": f"demo-1.2.0/{_K2}", "kernel": _K2, "seen": "", "ready": "", "hours": None}
    ]  # fmt: skip
    code, report = site.json("nightly")
    assert (report["discovery"]["changes"], report["discovery"]["bytes_read"]) == ([], 0)
    site.edit(exclude=[{"kernel": "*", "reason": "none"}])
    (site.folder / "fast-4.17_amd64.json").unlink()
    code, out, err = site.run("nightly")
    assert (code, "1 excluded" in out, "cannot be read" in err) == (7, True, True)


def test_toolkits_of_another_architecture_are_refused_with_the_way_out(site: _Site) -> None:
    tags = {"rhel-coreos": site.world.os_image(_ARM, arch="arm64"), "rhel-coreos-extensions": site.world.extensions("arm64"), "driver-toolkit": site.world.toolkit(_ARM, arch="arm64")}  # fmt: skip
    site.world.promote(site.world.release("4.17.1", tags, arch="arm64"), "4.17.1", "fast-4.17", arch="arm64")
    (site.folder / "fast-4.17_arm64.json").write_bytes(site.world.graph("fast-4.17", "arm64"))
    site.edit(sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17"], "arches": ["aarch64"], "graph": "{channel}_{arch}.json"}}, groups={"few": {"source": "ocp"}})  # fmt: skip
    site.run("discover")
    project = open_project(site.folder)
    source = open_source(project.config, project.lock, "ocp", Arch.X86_64)
    with pytest.raises(LockFileError, match="runs on aarch64 only, and this machine is x86_64"):
        source.toolkit_id(parse_kernel_version(_ARM))
    native = open_source(project.config, project.lock, "ocp", Arch.AARCH64)
    assert native.toolkit_image(parse_kernel_version(_ARM)) == native.toolkit_image(parse_kernel_version(f"{_ARM}+64k"))
    assert native.toolkit_id(parse_kernel_version(_ARM)) != native.toolkit_id(parse_kernel_version(f"{_ARM}+64k"))
    with pytest.raises(LockFileError, match="name a source of provider debian as its 'runtime'"):
        native.base_id(Arch.AARCH64)


def test_what_guests_boot(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    project = open_project(site.folder)
    source = project.kernel_source("ocp")
    assert isinstance(source, OpenShiftSource)
    assert source.runtime is not None, "the first source of provider debian helps out"
    stream = site.locked.releases["4.17.1-x86_64"].streams["rhel-coreos"]
    assert source.boot_pullspec(parse_kernel_version(_K1)) == stream.image
    assert source.boot_pullspec(parse_kernel_version(f"{_K1}+rt")) == stream.toolkit, "no OS image has it"


_PULL = """\
case "$1" in
images) echo "[]";;
pull) for word; do last=$word; file=$prev; prev=$word; done; cat "$file" >>{log}; echo "$last" >>{log}
      case "$last" in *mirror*) echo "no such manifest" >&2; exit 125;; esac; echo 0123abcd;;
esac
"""


def test_pulls_go_to_mirrors_first_and_hand_over_one_secret_in_a_file(
    site: _Site, fake_tools: FakeTools, tmp_path: Path
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
    site: _Site, fake_tools: FakeTools, tmp_path: Path, answer: str | None, words: str
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


_REFUSALS = [
    ("Error: initializing source docker://x: pinging container registry x: dial tcp: connect: connection refused",
     SourceUnreachableError, "source-unreachable", 17),
    ("Error: reading manifest x: received unexpected HTTP status: 503 Service Unavailable",
     SourceUnreachableError, "source-unreachable", 17),
    ("Error: initializing source docker://x: lookup x: no such host", SourceUnreachableError, "source-unreachable", 17),
    ("Error: reading manifest x: unauthorized: authentication required", SourceRefusedError, "access-refused", 17),
    ("Error: reading manifest x: denied: requested access", SourceRefusedError, "access-refused", 17),
    ("Error: reading manifest x in quay.test/y: manifest unknown", SourceError, "package-wrong", 10),
    ("Error: copying system image: writing blob: no space left on device", CommandError, "disk-full", 17),
    ("Error: creating read-write layer with ID 1: database is locked", CommandError, "storage-error", 17),
]  # fmt: skip


@pytest.mark.parametrize(("printed", "kind", "code", "exit_code"), _REFUSALS)
def test_what_a_failed_pull_says_of_the_toolkit(
    site: _Site, fake_tools: FakeTools, tmp_path: Path, printed: str, kind: type[Exception], code: str, exit_code: int
) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    fake_tools.add("buildah", f'case "$1" in images) echo "[]";; *) echo \'{printed}\' >&2; exit 125;; esac')
    registry = pretend_registry(site.world, tmp_path / "c")
    puller = Puller(RegistryAccess(registry, Credentials(), frozenset()), work_dir=tmp_path)
    source = open_project(site.folder).kernel_source("ocp")
    assert isinstance(source, OpenShiftSource)
    with pytest.raises(KmodsmithError) as caught:
        PulledToolkits(source, puller, None).ensure(parse_kernel_version(_K1))
    failure = describe_error(caught.value, stage="toolkit")
    assert (type(caught.value), failure.code, failure.failure_class.exit_code) == (kind, code, exit_code)


def test_a_place_that_did_not_answer_may_have_the_toolkit(site: _Site, fake_tools: FakeTools, tmp_path: Path) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    fake_tools.add(
        "buildah",
        'for last; do :; done; case "$1 $last" in images*) echo "[]";; *mirror.test*) echo "i/o timeout" >&2; exit 125;; '
        '*) echo "manifest unknown" >&2; exit 125;; esac',
    )
    registry = pretend_registry(site.world, tmp_path / "c", mirrors={"quay.test": ["mirror.test"]})
    puller = Puller(RegistryAccess(registry, Credentials(), frozenset()), work_dir=tmp_path)
    source = open_project(site.folder).kernel_source("ocp")
    assert isinstance(source, OpenShiftSource)
    with pytest.raises(SourceUnreachableError, match="i/o timeout.*manifest unknown"):
        PulledToolkits(source, puller, None).ensure(parse_kernel_version(_K1))


def test_a_registry_that_gives_no_answer_is_no_fault_of_the_toolkits(site: _Site) -> None:
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


def test_a_toolkit_that_nobody_read_is_unknown_and_not_absent(site: _Site) -> None:
    site.release("4.17.1", _K1)
    site.run("discover", "--source", "ocp")
    lock = read_lock(site.folder / "versions.lock.yaml")
    ocp = openshift_of(lock, "ocp")
    release = ocp.releases["4.17.1-x86_64"]
    unread = LockedStream(state=ReleaseState.UNCONFIRMED, kernels={_K1: ("node:data set",)})
    kernel = ocp.kernels[_K1].model_copy(update={"toolkit": "", "toolkits": ()})
    ocp = ocp.model_copy(
        update={
            "releases": {"4.17.1-x86_64": release.model_copy(update={"streams": {"rhel-coreos": unread}})},
            "kernels": {_K1: kernel},
        }
    )
    write_lock(lock.model_copy(update={"sources": {**lock.sources, "ocp": ocp}}), site.folder / "versions.lock.yaml")
    code, report = site.json("build", "--group", "ocp")
    assert [(cell["status"], cell["reason"]) for cell in report["cells"]] == [("refused", "toolkit-unknown")]
    assert code == FailureClass.INFRASTRUCTURE.exit_code


def test_registries_as_versions_yaml_describes_them(site: _Site, tmp_path: Path) -> None:
    (site.folder / "pull-secret.json").write_text(json.dumps({"auths": {"quay.test": {"auth": "dTpzZWNyZXQ="}}}))
    site.edit(
        registry={
            "auth_files": ["pull-secret.json"], "plain_http": ["local:5000"], "unverified_tls": ["old.test"],
            "mirrors": [{"source": "quay.test/org", "mirrors": ["mirror.test/org"], "mirrorSourcePolicy": "NeverContactSource"}],
        }
    )  # fmt: skip
    access = open_registries(open_project(site.folder).config.registry, site.folder, tmp_path)
    assert access.without_verification == {"local:5000", "old.test"}
    from builder.pullspec import parse_pullspec

    assert access.credentials.find(parse_pullspec("quay.test/a:1")) == "u:secret"
    assert [str(place) for place in access.registry.places(parse_pullspec("quay.test/org/a:1"))] == [
        "mirror.test/org/a:1"
    ]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"provider": "openshift"}, "give channels, such as [fast-4.18], or releases"),
        ({"provider": "openshfit", "channels": ["a"]}, "'openshfit' is not allowed: did you mean 'openshift'?"),
        ({"channels": ["fast-4.17"]}, "'provider' is required and missing"),
        ({"provider": "okd", "channels": ["fast_4.17"]}, "does not have the right form"),
        ({"provider": "okd", "chanels": ["fast-4.17"]}, "is not a known key: did you mean 'channels'?"),
        ({"provider": "okd", "releases": ["quay.io/okd/scos-release"]}, "is not a full image name"),
        ({"provider": "okd", "channels": ["a"], "arches": ["amd64"]}, "'amd64' is not allowed"),
        ({"provider": "okd", "channels": ["a"], "end_of_life": {"4.14": "soon"}}, "must be a date"),
        ({"provider": "okd", "channels": ["a"], "end_of_life": {"four": "2025-10-31"}}, "does not have the right form"),
        ({"provider": "okd", "channels": ["a"], "runtime": "ocp"}, "there is no source with base images 'ocp'"),
        ({"provider": "okd", "channels": ["a"], "drop": [{"release": "4.*"}]}, "'reason' is required and missing"),
    ],
)
def test_mistakes_in_a_source_are_named(site: _Site, source: dict[str, Any], words: str) -> None:
    site.edit(sources={"debian": {"provider": "debian"}, "ocp": source})
    code, _, err = site.run("plan")
    assert (code, words in " ".join(err.split())) == (3, True), err
