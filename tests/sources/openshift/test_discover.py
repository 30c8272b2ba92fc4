"""Discovery of OpenShift's kernels against a pretended graph and registry: the chain, the lock, and every known trap."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.openshift_world import CONTENT, RELEASES, World, digest_of, make_layer
from fakes.registry import pretend_registry

from builder.config.model import OpenShiftKernels
from builder.errors import SourceError
from builder.host.http import with_retries
from builder.kernel import parse_kernel_version
from builder.sources.lock import Lock
from builder.sources.lock_file import format_lock, read_lock
from builder.sources.openshift.changes import describe_releases, format_age
from builder.sources.openshift.discover import Discovered, discover
from builder.sources.provider import DiscoverOptions
from builder.sources.release import ReleaseState

if TYPE_CHECKING:
    from pathlib import Path

    from builder.sources.openshift.lock import LockedOpenShift

_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"
_K10 = "6.12.0-211.47.1.el10_2.x86_64"
_ARM = "5.14.0-427.50.1.el9_4.aarch64"
_NOW = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


@dataclass
class Lab:
    """A world, and discoveries of it one after the other; each starts from the lock of the one before."""

    folder: Path
    world: World = field(default_factory=World)
    now: datetime = _NOW
    settings: dict[str, Any] = field(default_factory=lambda: {"channels": ("fast-4.17",)})
    locked: LockedOpenShift | None = None
    auths: str = "{}"
    slept: list[float] = field(default_factory=list)

    def release(
        self, version: str, kernel: str = _K1, *, node: str | None = None, style: str = "label", toolkit: bool = True,
        channels: tuple[str, ...] = ("fast-4.17",), rt: str = "",
    ) -> str:  # fmt: skip
        """Add a release with one operating system and put it into channels."""
        tags = {"rhel-coreos": self.world.os_image(node or kernel, style=style, build=version)}
        tags["rhel-coreos-extensions"] = self.world.extensions()
        if toolkit:
            tags["driver-toolkit"] = self.world.toolkit(kernel, rt=rt)
        payload = self.world.release(version, tags)
        self.world.promote(payload, version, *channels)
        return payload

    def discover(self, *, cache: str = "cache", **wishes: bool) -> Discovered:
        auth = self.folder / "auth.json"
        auth.write_text(self.auths)
        registry = pretend_registry(self.world, self.folder / cache, auth, sleep=self.slept.append)
        client = httpx.Client(transport=httpx.MockTransport(self.world))
        settings = OpenShiftKernels.model_validate({"provider": "openshift"} | self.settings)
        found = discover(
            settings,
            self.locked,
            registry,
            root=self.folder,
            now=self.now,
            options=DiscoverOptions(**wishes),
            client=client,
        )
        self.locked = found.locked
        return found

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def kinds(self, before: LockedOpenShift | None, found: Discovered) -> list[tuple[str, str]]:
        changes = describe_releases(before, found.locked, found.lost, now=self.now)
        return [(change.kind, change.subject) for change in changes]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.host.http._PAUSE_S", 0.0)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def _states(found: Discovered) -> dict[str, list[str]]:
    return {key: [str(state) for state in release.states] for key, release in found.locked.releases.items()}


def test_from_the_graph_to_kernels_and_toolkits(lab: Lab, tmp_path: Path) -> None:
    lab.release("4.17.11", _K1, rt=f"{_K1}+rt")
    lab.release("4.17.12", _K2)
    found = lab.discover()
    assert found.problems == []
    assert _states(found) == {"4.17.11-x86_64": ["complete"], "4.17.12-x86_64": ["complete"]}
    assert list(found.locked.kernels) == [_K2, _K1, f"{_K1}+rt"] or set(found.locked.kernels) == {_K1, _K2, f"{_K1}+rt"}
    kernel = found.locked.kernels[f"{_K1}+rt"]
    assert (kernel.releases, kernel.rhel, kernel.streams, kernel.image) == (("4.17.11",), "9.4", ("rhel-coreos",), "")
    assert kernel.toolkit == found.locked.kernels[_K1].toolkit
    assert kernel.toolkit.startswith(f"quay.test/{CONTENT}@sha256:")
    stream = found.locked.releases["4.17.11-x86_64"].streams["rhel-coreos"]
    assert stream.kernels == {_K1: ("toolkit", "node:ostree.linux"), f"{_K1}+rt": ("toolkit",)}
    assert stream.image.startswith(f"quay.test/{CONTENT}@sha256:")
    text = format_lock(Lock(sources={"openshift": found.locked}))
    (tmp_path / "lock").write_text(text)
    assert read_lock(tmp_path / "lock").sources["openshift"] == found.locked
    assert format_lock(read_lock(tmp_path / "lock")) == text


def test_what_the_lock_knows_is_not_read_again_even_on_a_machine_without_a_cache(lab: Lab) -> None:
    for number in range(5):
        lab.release(f"4.17.{number}", _K1)
    assert lab.discover().read == 5
    first = lab.locked
    lab.world.requests.clear()
    again = lab.discover(cache="another")
    assert [request.url.path.rpartition("/")[2] for request in lab.world.requests] == ["graph"]
    assert (again.read, again.bytes_read, again.locked) == (0, 0, first)
    lab.release("4.17.9", _K2)
    third = lab.discover(cache="third")
    assert third.read == 1
    assert lab.kinds(first, third) == [("new kernel", _K2), ("new release", "4.17.9-x86_64")]
    lab.world.requests.clear()
    assert lab.discover(refresh=True, cache="third").read == 6


def test_the_same_answer_is_the_same_lock_in_any_order(lab: Lab, tmp_path: Path) -> None:
    for version, kernel in (("4.17.2", _K1), ("4.17.10", _K2), ("4.17.9", _K1)):
        lab.release(version, kernel)
    one = format_lock(Lock(sources={"openshift": lab.discover().locked}))
    lab.world.channels["fast-4.17", "amd64"].reverse()
    lab.locked = None
    two = format_lock(Lock(sources={"openshift": lab.discover(cache="other").locked}))
    assert one == two
    rows = [line.split(":")[0].strip() for line in one.splitlines() if line.strip().startswith("4.17")]
    assert rows == ["4.17.2-x86_64", "4.17.9-x86_64", "4.17.10-x86_64"]


def test_a_new_release_changes_few_lines_of_the_lock(lab: Lab) -> None:
    for number in range(20):
        lab.release(f"4.17.{number}", _K1 if number < 10 else _K2)
    before = format_lock(Lock(sources={"openshift": lab.discover().locked})).splitlines()
    lab.release("4.17.20", _K2)
    lab.later(days=1)
    after = format_lock(Lock(sources={"openshift": lab.discover().locked})).splitlines()
    assert len(set(after) - set(before)) == 3, "resolved, the kernel and the release"


def test_releases_of_other_minors_and_holes_in_their_numbers(lab: Lab) -> None:
    for version in ("4.16.9", "4.17.1", "4.17.4", "4.18.0"):
        lab.release(version, _K1)
    assert list(_states(lab.discover())) == ["4.17.1-x86_64", "4.17.4-x86_64"]


def test_an_older_kernel_in_a_newer_release(lab: Lab) -> None:
    """4.17.13 ran 427.51.1, 4.17.14 again 427.50.1."""
    for version, kernel in (("4.17.12", _K1), ("4.17.13", _K2), ("4.17.14", _K1)):
        lab.release(version, kernel)
    kernels = lab.discover().locked.kernels
    assert kernels[_K1].releases == ("4.17.12", "4.17.14")
    assert kernels[_K2].releases == ("4.17.13",)


def test_a_channel_that_does_not_exist_is_an_error_not_an_empty_list(lab: Lab) -> None:
    lab.release("4.17.1")
    lab.settings["channels"] = ("fast-4.17", "fsat-4.17")
    found = lab.discover()
    assert found.problems == [
        "fsat-4.17 x86_64: it has no releases: it does not exist, or is misspelt (unknown channels are answered with no nodes)"
    ]
    lab.settings["channels"] = ("fsat-4.17",)
    lab.locked = None
    with pytest.raises(SourceError, match="misspelt"):
        lab.discover()


def test_the_graph_is_asked_with_its_own_names_of_architectures(lab: Lab) -> None:
    lab.release("4.17.1")
    lab.settings["arches"] = ("x86_64", "aarch64")
    arm = lab.world.release(
        "4.17.1",
        {"rhel-coreos": lab.world.os_image(_ARM, arch="arm64"), "rhel-coreos-extensions": lab.world.extensions("arm64"),
         "driver-toolkit": lab.world.toolkit(_ARM, arch="arm64", rt="package kernel-rt-core is not installed")},
        arch="arm64",
    )  # fmt: skip
    lab.world.promote(arm, "4.17.1", "fast-4.17", arch="arm64")
    found = lab.discover()
    asked = [request.url.params["arch"] for request in lab.world.requests if request.url.path.endswith("graph")]
    assert asked == ["amd64", "arm64"]
    assert _states(found) == {"4.17.1-x86_64": ["complete"], "4.17.1-aarch64": ["complete"]}
    stream = found.locked.releases["4.17.1-aarch64"].streams["rhel-coreos"]
    assert stream.kernels == {_ARM: ("toolkit", "node:ostree.linux"), f"{_ARM}+64k": ("derived",)}
    assert found.locked.kernels[f"{_ARM}+64k"].toolkit == stream.toolkit


def test_extensions_confirm_rt_and_64k_from_4_19_on(lab: Lab) -> None:
    world = lab.world
    k9 = "5.14.0-570.1.1.el9_6.x86_64"
    tags = {
        "rhel-coreos": world.os_image(k9, style="metalayer"),
        "rhel-coreos-extensions": world.extensions(kernel_rt_core=f"0:{k9}"),
        "driver-toolkit": world.toolkit(k9, rt=f"{k9}+rt", rhel="9.6"),
    }
    world.promote(world.release("4.19.1", tags), "4.19.1", "fast-4.19")
    lab.settings["channels"] = ("fast-4.19",)
    stream = lab.discover().locked.releases["4.19.1-x86_64"].streams["rhel-coreos"]
    assert stream.state is ReleaseState.COMPLETE
    assert stream.kernels == {k9: ("toolkit", "node:meta.json"), f"{k9}+rt": ("toolkit", "node:extensions.json")}


def test_an_rt_kernel_that_differs_is_seen(lab: Lab) -> None:
    world = lab.world
    k9, other = "5.14.0-570.1.1.el9_6.x86_64", "5.14.0-570.2.1.el9_6.x86_64"
    tags = {
        "rhel-coreos": world.os_image(k9),
        "rhel-coreos-extensions": world.extensions(kernel_rt_core=other),
        "driver-toolkit": world.toolkit(k9, rt=f"{k9}+rt"),
    }
    world.promote(world.release("4.19.1", tags), "4.19.1", "fast-4.19")
    lab.settings["channels"] = ("fast-4.19",)
    found = lab.discover()
    assert _states(found) == {"4.19.1-x86_64": ["toolkit-differs"]}
    assert found.locked.kernels[f"{other}+rt"].toolkit == ""
    assert f"{k9}+rt" not in found.locked.kernels, "no node runs it"


def test_two_operating_systems_one_without_a_toolkit(lab: Lab) -> None:
    """4.21 and 4.22 have rhel-coreos-10, and no toolkit for it; later payloads have driver-toolkit-10."""
    world = lab.world
    tags = {
        "rhel-coreos": world.os_image(_K1), "rhel-coreos-extensions": world.extensions(),
        "rhel-coreos-10": world.os_image(_K10), "rhel-coreos-10-extensions": world.extensions(),
        "driver-toolkit": world.toolkit(_K1), "machine-os-images": world.image([{"x": b""}]),
    }  # fmt: skip
    builds = {"rhel-coreos": "machine-os=9.6.20260504-0", "rhel-coreos-10": "machine-os=10.2.20260521-0"}
    world.promote(world.release("4.21.9", tags, builds=builds), "4.21.9", "fast-4.21")
    tags["driver-toolkit-10"] = world.toolkit(_K10, rhel="10.2")
    world.promote(world.release("4.21.10", tags, builds=builds), "4.21.10", "fast-4.21")
    lab.settings["channels"] = ("fast-4.21",)
    found = lab.discover()
    assert _states(found) == {"4.21.9-x86_64": ["complete", "no-toolkit"], "4.21.10-x86_64": ["complete", "complete"]}
    streams = found.locked.releases["4.21.9-x86_64"].streams
    assert {tag: stream.build for tag, stream in streams.items()} == {
        "rhel-coreos": "9.6.20260504-0", "rhel-coreos-10": "10.2.20260521-0"
    }  # fmt: skip
    assert streams["rhel-coreos-10"].kernels == {_K10: ("node:ostree.linux",)}
    assert found.locked.kernels[_K10].releases == ("4.21.9", "4.21.10")
    assert found.locked.kernels[_K10].toolkit, "another release's toolkit is for this kernel"


def test_a_toolkit_for_another_kernel_than_the_nodes(lab: Lab) -> None:
    """okd-project/okd issue 2061: the node runs 531, the toolkit is for 460."""
    lab.release("4.17.1", kernel=_K1, node=_K2)
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["toolkit-differs"]}
    assert set(found.locked.kernels) == {_K2}
    assert found.locked.kernels[_K2].toolkit == ""
    lab.release("4.17.2", kernel=_K2)
    kernel = lab.discover().locked.kernels[_K2]
    assert kernel.releases == ("4.17.1", "4.17.2")
    assert kernel.toolkit, "keyed on the kernel, the next release's toolkit helps the nodes of the first"


@pytest.mark.parametrize(
    ("version", "node", "toolkit"),
    [
        ("4.16.0-okd-scos.1", "5.14.0-531.el9.x86_64", "5.14.0-460.el9.x86_64"),
        ("4.17.0-okd-scos.ec.3", "5.14.0-522.el9.x86_64", "5.14.0-452.el9.x86_64"),
        ("4.21.0-okd-scos.10", "6.12.0-219.el10.x86_64", "6.12.0-213.el10.x86_64"),
        ("4.22.0-okd-scos.0", "6.12.0-224.el10.x86_64", "6.12.0-212.el10.x86_64"),
    ],
)
def test_releases_of_okd_whose_toolkit_was_for_another_kernel(lab: Lab, version: str, node: str, toolkit: str) -> None:
    """Real ones: okd-project/okd issues 2061 and 2350, okd-payload-pipeline pull request 62."""
    world = lab.world
    tags = {
        "stream-coreos": world.os_image(node), "stream-coreos-extensions": world.extensions(),
        "driver-toolkit": world.toolkit(toolkit, rhel="9"),
    }  # fmt: skip
    world.promote(world.release(version, tags), version, "stable-scos-4")
    lab.settings |= {"provider": "okd", "channels": ("stable-scos-4",)}
    found = lab.discover()
    assert _states(found) == {f"{version}-x86_64": ["toolkit-differs"]}
    assert {raw: kernel.toolkit for raw, kernel in found.locked.kernels.items()} == {node: ""}


def test_a_toolkit_for_another_kernel_says_nothing_of_the_rt_kernel_either(lab: Lab) -> None:
    lab.release("4.17.1", kernel=_K1, node=_K2, rt=f"{_K1}+rt")
    assert set(lab.discover().locked.kernels) == {_K2}


def test_the_word_true_in_a_label_is_no_kernel(lab: Lab) -> None:
    lab.release("4.17.1", style="true")
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["unconfirmed"]}
    assert found.locked.kernels[_K1].toolkit


def test_a_release_whose_kernel_nobody_names(lab: Lab) -> None:
    lab.release("4.17.1", style="true", toolkit=False)
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["no-toolkit"]}
    assert found.locked.kernels == {}


def test_old_payloads_and_their_labels(lab: Lab) -> None:
    world = lab.world
    k8 = "4.18.0-305.17.1.el8_4.x86_64"
    tags = {"machine-os-content": world.os_image(k8, style="old"), "driver-toolkit": world.toolkit(k8, rhel="8.4")}
    world.promote(world.release("4.9.0", tags), "4.9.0", "fast-4.9")
    lab.settings["channels"] = ("fast-4.9",)
    found = lab.discover()
    assert found.locked.releases["4.9.0-x86_64"].streams["machine-os-content"].kernels[k8] == (
        "toolkit", "node:com.coreos.rpm.kernel",
    )  # fmt: skip


def test_manifest_lists_where_images_were_expected(lab: Lab) -> None:
    world = lab.world
    tags = {
        "rhel-coreos": world.listed({"arm64": world.os_image(_ARM, arch="arm64"), "amd64": world.os_image(_K1)}),
        "rhel-coreos-extensions": world.extensions(),
        "driver-toolkit": world.listed({"arm64": world.toolkit(_ARM, arch="arm64"), "amd64": world.toolkit(_K1)}),
    }
    payload = world.listed({"arm64": world.release("4.17.1", tags, arch="arm64"), "amd64": world.release("4.17.1", tags)}, repository=RELEASES)  # fmt: skip
    lab.settings |= {"arches": ("x86_64", "aarch64"), "payloads": "multi"}
    world.promote(payload, "4.17.1", "fast-4.17", arch="multi")
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["complete"], "4.17.1-aarch64": ["complete"]}
    toolkits = {raw: kernel.toolkit for raw, kernel in found.locked.kernels.items()}
    assert toolkits[_K1] == world.toolkit(_K1), (
        "the image's own digest, not the list's: it is the same in single payloads"
    )
    assert toolkits[_ARM] == world.toolkit(_ARM, arch="arm64")


def test_a_list_without_the_architecture(lab: Lab) -> None:
    world = lab.world
    payload = world.listed({"s390x": lab.release("4.17.1", channels=())}, repository=RELEASES)
    world.promote(payload, "4.17.1", "fast-4.17")
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["malformed"]}
    assert "has no image for amd64, only for linux/s390x" in found.problems[0]


def test_a_toolkit_whose_release_file_is_not_in_its_last_layer(lab: Lab) -> None:
    world = lab.world
    release = json.dumps({"KERNEL_VERSION": _K1}).encode()
    name = "etc/driver-toolkit-release.json"
    stale = json.dumps({"KERNEL_VERSION": _K2}).encode()
    tags = {
        "rhel-coreos": world.os_image(_K1), "rhel-coreos-extensions": world.extensions(),
        "driver-toolkit": world.image([{name: stale}, {name: release}, {"root/.bashrc": b""}, {}]),
    }  # fmt: skip
    world.promote(world.release("4.17.1", tags), "4.17.1", "fast-4.17")
    assert _states(lab.discover()) == {"4.17.1-x86_64": ["complete"]}


def test_releases_given_by_name_and_in_a_graph_file(lab: Lab, tmp_path: Path) -> None:
    lab.world.channels.clear()
    lab.release("4.17.1", channels=())
    tagged = lab.world.release("4.18.0-rc.1", {"rhel-coreos": lab.world.os_image(_K2), "rhel-coreos-extensions": lab.world.extensions(), "driver-toolkit": lab.world.toolkit(_K2)}, tag="4.18.0-rc.1-x86_64")  # fmt: skip
    lab.release("4.17.5", channels=("stable-4.17",))
    (tmp_path / "stable-4.17_amd64.json").write_bytes(lab.world.graph("stable-4.17", "amd64"))
    lab.settings |= {
        "channels": ("stable-4.17",), "graph": "{channel}_{arch}.json",
        "releases": (f"quay.test/{RELEASES}:4.18.0-rc.1-x86_64",),
    }  # fmt: skip
    found = lab.discover()
    assert found.problems == []
    assert set(found.locked.releases) == {"4.17.5-x86_64", "4.18.0-rc.1-x86_64"}
    assert found.locked.releases["4.18.0-rc.1-x86_64"].payload == tagged
    assert not any(request.url.path.endswith("graph") for request in lab.world.requests)
    lab.world.failures["manifests/4.18.0-rc.1-x86_64"] = httpx.Response(503)
    kept = lab.discover()
    assert set(kept.locked.releases) == {"4.17.5-x86_64", "4.18.0-rc.1-x86_64"}
    assert "HTTP 503" in kept.problems[0]
    lab.settings["releases"] = ()
    assert lab.discover().lost == {"4.18.0-rc.1-x86_64": "versions.yaml no longer names it, and no channel has it"}


def test_a_major_beyond_four(lab: Lab) -> None:
    lab.release("5.0.0-ec.2", _K10, channels=("candidate-5.0",))
    lab.settings["channels"] = ("candidate-5.0",)
    assert _states(lab.discover()) == {"5.0.0-ec.2-x86_64": ["complete"]}


# What servers do wrong.


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("place", ["graph", "payload", "toolkit", "os"])
def test_a_server_that_does_not_answer_costs_nothing_that_was_known(lab: Lab, status: int, place: str) -> None:
    payload = lab.release("4.17.1", _K1)
    before = lab.discover().locked
    assert before is not None
    stream = before.releases["4.17.1-x86_64"].streams["rhel-coreos"]
    ends = {"graph": "/graph", "payload": payload, "toolkit": stream.toolkit, "os": stream.image}
    lab.world.failures[ends[place].rpartition("@")[2]] = httpx.Response(status, headers={"Retry-After": "0"})
    found = lab.discover(refresh=True, cache="cold")
    assert found.problems, "it is said"
    assert f"HTTP {status}" in found.problems[0]
    assert found.locked.kernels == before.kernels
    assert found.lost == {}
    after = found.locked.releases["4.17.1-x86_64"]
    assert after.streams["rhel-coreos"].kernels == stream.kernels
    if place == "graph":
        assert found.locked.stale == {"fast-4.17 x86_64": "2026-03-01T06:00:00Z"}
    else:
        assert (after.problem, after.stale) == ("unreachable", "2026-03-01T06:00:00Z")
    lab.world.failures.clear()
    lab.later(days=2)
    healed = lab.discover(cache="cold")
    assert healed.problems == []
    assert healed.locked.releases == before.releases
    assert healed.locked.stale == {}


def test_a_registry_without_a_pull_secret_still_tells_digests(lab: Lab) -> None:
    """Payloads are public, what they name is not: version, build and digests come without an account."""
    payload = lab.release("4.17.1")
    for repository, reference in list(lab.world.manifests):
        if repository == CONTENT:
            lab.world.failures[f"{CONTENT}/manifests/{reference}"] = httpx.Response(401)
    found = lab.discover()
    release = found.locked.releases["4.17.1-x86_64"]
    assert (release.payload, release.problem) == (payload, "unreachable")
    assert release.streams["rhel-coreos"].state is ReleaseState.KERNEL_UNKNOWN
    assert release.streams["rhel-coreos"].toolkit.startswith("quay.test/")
    assert "there is no pull secret for it" in found.problems[0]
    assert "sha256:..." in found.problems[0] or "4.17.1" in found.problems[0]


def test_many_releases_with_one_problem_are_one_line(lab: Lab) -> None:
    for number in range(30):
        lab.release(f"4.17.{number}", _K1)
    for repository, reference in list(lab.world.manifests):
        if repository == RELEASES and reference:
            lab.world.failures[reference] = httpx.Response(403)
    lab.locked = None
    found = lab.discover()
    assert len(found.problems) == 1
    assert found.problems[0].startswith("4.17.0-x86_64 and 29 more: ")
    assert set(_states(found)["4.17.3-x86_64"]) == {"unreachable"}


def test_one_failing_source_of_a_release_does_not_hide_the_others(lab: Lab) -> None:
    lab.release("4.17.1", _K1)
    payload = lab.release("4.17.2", _K2)
    lab.world.failures[payload.rpartition("@")[2]] = httpx.ReadTimeout("the server is silent")
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["complete"], "4.17.2-x86_64": ["unreachable"]}
    assert "silent" in found.problems[0]


@pytest.mark.parametrize(
    ("graph", "words"),
    [(b"<html>", "not JSON"), (b'{"version":1}', "no nodes"), (b'{"version":1,"nodes":[{}]}', "node 0"), (b"\xff\xfe", "not JSON")],
)  # fmt: skip
def test_a_graph_that_is_none(lab: Lab, graph: bytes, words: str) -> None:
    lab.release("4.17.1")
    before = lab.discover().locked
    lab.world.failures["/graph"] = httpx.Response(200, content=graph)
    found = lab.discover()
    assert words in found.problems[0]
    assert found.locked.releases == before.releases


@pytest.mark.parametrize("name", ["gone.json", "{", "}{", "no\0file"])
def test_a_name_of_a_graph_file_that_is_none(lab: Lab, name: str) -> None:
    lab.settings["graph"] = name
    with pytest.raises(SourceError, match="cannot be read"):
        lab.discover()


@pytest.mark.parametrize("location", ["https://[", "http://:99999999/", "https://quay.test:x/"])
def test_redirects_to_nowhere(lab: Lab, location: str) -> None:
    payload = lab.release("4.17.1")
    lab.world.failures[payload.rpartition("@")[2]] = httpx.Response(302, headers={"Location": location})
    found = lab.discover()
    assert _states(found)["4.17.1-x86_64"][0] in {"unreachable", "malformed"}


def test_a_graph_that_is_down_is_one_problem_and_is_not_asked_for_hours(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.settings["channels"] = tuple(f"fast-4.{minor}" for minor in range(10, 60))
    lab.release("4.17.1")
    lab.discover()
    slept: list[float] = []
    monkeypatch.setattr(
        "builder.sources.openshift.discover.with_retries", lambda read: with_retries(read, sleep=slept.append)
    )
    lab.world.failures["/graph"] = httpx.ConnectError("no route to host")
    found = lab.discover()
    assert found.problems == [
        "fast-4.10 x86_64 and 49 more: https://api.openshift.com/api/upgrades_info/v1/graph: no route to host"
    ]
    assert len(slept) <= 4 * 8, "only those that were asked at the same time find out for themselves"
    assert found.locked.stale == {"fast-4.17 x86_64": "2026-03-01T06:00:00Z"}


def test_two_payloads_for_one_version(lab: Lab) -> None:
    lab.release("4.17.1", _K1)
    lab.release("4.17.1", _K2)
    with pytest.raises(SourceError, match=r"two payloads for 4\.17\.1"):
        lab.discover()


def _bomb() -> bytes:
    return make_layer({"zeros": bytes(3_000_000)})


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([{"release-manifests/image-references": b"{"}], "not JSON"),
        ([{"release-manifests/image-references": b"\xff\xfe\x00"}], "not JSON"),
        ([{"release-manifests/image-references": b"[" * 100_000}], "not JSON"),
        ([{"release-manifests/image-references": b'{"metadata": {"name": "4.17.1"}, "spec": {"tags": []}}'}], "no operating system"),
        ([{"../../release-manifests/image-references": b"{}"}], "points out of the layer"),
        ([{"something": b""}], "no release image"),
        ([gzip.compress(b"no tar at all")], "cannot be read"),
        ([b"not gzip"], "cannot be read"),
        ([_bomb()], "unpacks to more"),
    ],
)  # fmt: skip
def test_malicious_payloads(lab: Lab, layers: list[Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.image.layer._MOST_UNPACKED", 1_000_000)
    payload = lab.world.image(layers, repository=RELEASES)
    lab.world.promote(payload, "4.17.1", "fast-4.17")
    lab.release("4.17.2", _K2)
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["malformed"], "4.17.2-x86_64": ["complete"]}
    assert words in found.problems[0]
    assert "4.17.1-x86_64" in found.problems[0]


def test_a_payload_of_another_version_than_the_graph_says(lab: Lab) -> None:
    payload = lab.release("4.17.1", channels=())
    lab.world.promote(payload, "4.17.9", "fast-4.17")
    found = lab.discover()
    assert "says that it is 4.17.1, not 4.17.9" in found.problems[0]


def test_a_corrupted_blob_is_not_believed(lab: Lab) -> None:
    lab.release("4.17.1")
    for digest, content in lab.world.blobs.items():
        lab.world.failures[digest] = httpx.Response(200, content=content[:-1] + bytes([content[-1] ^ 1]))
    found = lab.discover()
    assert "damaged" in found.problems[0] or "cannot be read" in found.problems[0]
    assert found.locked.kernels == {}


def test_a_toolkit_in_one_huge_layer(lab: Lab) -> None:
    """Squashed builds: refused with the way out, not read by the gigabyte."""
    world = lab.world
    content = json.dumps({"KERNEL_VERSION": _K1}).encode()
    noise = b"".join(digest_of(bytes([n])).encode() for n in range(256)) * 80
    big = world.image(
        [gzip.compress(gzip.decompress(make_layer({"etc/driver-toolkit-release.json": content, "noise": noise})), 0)]
    )
    tags = {"rhel-coreos": world.os_image(_K1), "rhel-coreos-extensions": world.extensions(), "driver-toolkit": big}
    world.promote(world.release("4.17.1", tags), "4.17.1", "fast-4.17")
    lab.settings["largest_layer"] = 1
    found = lab.discover()
    assert "no layer above the first of more than 1 MiB" in found.problems[0]
    lab.settings["largest_layer"] = 2
    assert _states(lab.discover()) == {"4.17.1-x86_64": ["complete"]}


# The lock over time.


def test_nothing_leaves_without_a_stated_reason(lab: Lab) -> None:
    for number in range(8):
        lab.release(f"4.17.{number}", _K1 if number else _K2)
    lab.discover()
    nodes = lab.world.channels["fast-4.17", "amd64"]
    withdrawn = nodes.pop(0)
    before = lab.locked
    found = lab.discover()
    assert found.lost == {"4.17.0-x86_64": "withdrawn from fast-4.17"}
    assert lab.kinds(before, found) == [("kernel gone", _K2), ("release gone", "4.17.0-x86_64")]
    nodes.insert(0, withdrawn)
    assert len(lab.discover().locked.releases) == 8


def test_many_releases_do_not_vanish_at_once(lab: Lab) -> None:
    for number in range(12):
        lab.release(f"4.17.{number}", _K1)
    lab.discover()
    del lab.world.channels["fast-4.17", "amd64"][2:]
    found = lab.discover()
    assert len(found.locked.releases) == 12
    assert "10 of the 12 releases that it had are not in its answer" in found.problems[0]
    assert len(lab.discover(accept_loss=True).locked.releases) == 2


def test_a_release_stays_while_any_channel_has_it_or_gives_no_answer(lab: Lab) -> None:
    lab.settings["channels"] = ("fast-4.17", "stable-4.17")
    for number in range(3):
        lab.release(f"4.17.{number}", _K1, channels=("fast-4.17", "stable-4.17"))
    lab.discover()
    lab.world.channels["fast-4.17", "amd64"].pop()
    lab.world.failures["channel=stable-4.17&arch=amd64"] = httpx.Response(500)
    found = lab.discover()
    assert len(found.locked.releases) == 3
    assert list(found.locked.releases["4.17.2-x86_64"].channels) == ["stable-4.17"]
    lab.world.failures.clear()
    found = lab.discover()
    assert found.lost == {}
    assert list(found.locked.releases["4.17.2-x86_64"].channels) == ["stable-4.17"]


def test_a_release_of_no_channel_stays_until_every_channel_was_read(lab: Lab) -> None:
    """4.18.0 and 4.16.22 were never in a channel; an offline run must not be what removes them."""
    lab.settings["channels"] = ("fast-4.17", "stable-4.17")
    for number in range(3):
        lab.release(f"4.17.{number}", _K1, channels=("fast-4.17", "stable-4.17"))
    locked = lab.discover().locked
    burned = locked.releases["4.17.1-x86_64"].model_copy(update={"channels": {}})
    lab.locked = locked.model_copy(update={"releases": {**locked.releases, "4.17.9-x86_64": burned}})
    lab.world.failures["channel=stable-4.17&arch=amd64"] = httpx.Response(500)
    found = lab.discover()
    assert (found.lost, "4.17.9-x86_64" in found.locked.releases) == ({}, True)
    lab.world.failures.clear()
    assert lab.discover().lost == {"4.17.9-x86_64": "no channel has it"}


def test_ends_of_life_drops_and_channels_that_are_no_longer_asked_for(lab: Lab) -> None:
    for version in ("4.16.1", "4.17.1", "4.17.2", "4.18.1"):
        minor = version.rpartition(".")[0]
        lab.release(version, _K1, channels=(f"fast-{minor}",))
    lab.settings["channels"] = ("fast-4.16", "fast-4.17", "fast-4.18")
    lab.discover()
    lab.settings |= {
        "channels": ("fast-4.16", "fast-4.17"),
        "end_of_life": {"4.16": date(2026, 3, 31)},
        "drop": ({"release": "4.17.2", "reason": "breaks NFS"},),
    }
    found = lab.discover()
    assert found.lost == {
        "4.17.2-x86_64": "dropped in versions.yaml: breaks NFS",
        "4.18.1-x86_64": "versions.yaml no longer asks for fast-4.18 on x86_64",
    }
    assert found.problems == []
    lab.later(days=40)
    found = lab.discover()
    assert found.lost == {"4.16.1-x86_64": "end of life since 2026-03-31"}
    assert found.problems == []


def test_dates_of_channels_are_those_of_the_first_look(lab: Lab) -> None:
    lab.settings["channels"] = ("candidate-4.17", "fast-4.17")
    lab.release("4.17.1", _K1, channels=("candidate-4.17", "fast-4.17"))
    lab.discover()
    lab.later(hours=3)
    payload = lab.release("4.17.2", _K2, channels=("candidate-4.17",))
    lab.discover()
    lab.later(days=5)
    lab.world.promote(payload, "4.17.2", "fast-4.17")
    before = lab.locked
    found = lab.discover()
    assert found.locked.releases["4.17.1-x86_64"].channels == {"candidate-4.17": "", "fast-4.17": ""}
    assert found.locked.releases["4.17.2-x86_64"].channels == {
        "candidate-4.17": "2026-03-01T09:00:00Z", "fast-4.17": "2026-03-06T09:00:00Z"
    }  # fmt: skip
    assert (found.locked.kernels[_K1].seen, found.locked.kernels[_K2].seen) == ("", "2026-03-01T09:00:00Z")
    assert lab.kinds(before, found) == [("promoted", "4.17.2-x86_64")]
    lab.later(hours=7)
    assert format_age("2026-03-06T09:00:00Z", lab.now) == "7 hours"


def test_a_kernel_keeps_the_toolkit_that_it_is_built_with(lab: Lab) -> None:
    """52 of 127 real kernels come with several toolkits: a new one must not make everything be built again."""
    lab.release("4.17.1", _K1)
    first = lab.discover().locked.kernels[_K1].toolkit
    tags = {
        "rhel-coreos": lab.world.os_image(_K1), "rhel-coreos-extensions": lab.world.extensions(),
        "driver-toolkit": lab.world.toolkit(_K1, base=b"newer"),
    }  # fmt: skip
    lab.world.promote(lab.world.release("4.17.2", tags), "4.17.2", "fast-4.17")
    kernel = lab.discover().locked.kernels[_K1]
    assert kernel.toolkits == (tags["driver-toolkit"], first)
    assert kernel.toolkit == first
    lab.world.channels["fast-4.17", "amd64"].pop(0)
    assert lab.discover().locked.kernels[_K1].toolkits == (tags["driver-toolkit"], first), "all are kept"
    before = lab.locked
    found = lab.discover(newest_toolkits=True)
    assert found.locked.kernels[_K1].toolkit == tags["driver-toolkit"]
    assert lab.kinds(before, found) == [("toolkit chosen", _K1)]


def test_a_second_source_of_truth_is_replaced_when_the_payload_is_read(lab: Lab) -> None:
    """The committed lock names kernels from public data sets; the first reading of a release takes their place."""
    lab.release("4.17.1", _K1)
    locked = lab.discover().locked
    release = locked.releases["4.17.1-x86_64"]
    stream = release.streams["rhel-coreos"]
    seeded = stream.model_copy(
        update={
            "kernels": {_K2: ("node:data/set@1234",)},
            "origin": ("data/set@1234",),
            "state": ReleaseState.UNCONFIRMED,
        }
    )
    row = release.model_copy(update={"payload": "", "streams": {"rhel-coreos": seeded}})
    lab.locked = locked.model_copy(update={"releases": {"4.17.1-x86_64": row}})
    found = lab.discover()
    assert found.locked.releases["4.17.1-x86_64"].streams["rhel-coreos"] == stream


def test_kernel_versions_of_the_lock_sort_naturally(lab: Lab) -> None:
    for number, kernel in enumerate([_K2, "5.14.0-427.9.1.el9_4.x86_64", _K1]):
        lab.release(f"4.17.{number}", kernel)
    lock = Lock(sources={"openshift": lab.discover().locked})
    assert [kernel.raw for kernel in lock.kernel_versions("openshift")] == [
        "5.14.0-427.9.1.el9_4.x86_64", _K1, _K2,
    ]  # fmt: skip
    assert parse_kernel_version(_K1).series == "5.14.0-el9_4"


def test_redirects_to_other_hosts_get_no_credentials(lab: Lab) -> None:
    lab.release("4.17.1")
    lab.auths = json.dumps({"auths": {"quay.test": {"auth": "dTpzZWNyZXQ="}}})
    real = lab.world._answer

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "quay.test" and "/v2/" in request.url.path and "authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        if request.url.host == "quay.test" and "/blobs/" in request.url.path:
            return httpx.Response(307, headers={"Location": f"https://cdn.test/{request.url.path.rpartition('/')[2]}"})
        return real(request)

    lab.world = _Redirecting(answer, lab.world)
    found = lab.discover()
    assert found.problems == []
    assert {request.url.host for request in lab.world.requests} >= {"cdn.test", "quay.test"}
    assert all("authorization" not in r.headers for r in lab.world.requests if r.url.host != "quay.test")


class _Redirecting(World):
    def __init__(self, answer: Any, world: World) -> None:
        super().__init__(**{name: getattr(world, name) for name in ("host", "blobs", "manifests", "channels")})
        self._own_answer = answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        found: httpx.Response = self._own_answer(request)
        return found


def test_a_mirror_instead_of_the_registry(lab: Lab) -> None:
    payload = lab.release("4.17.1")
    mirrored = replace(lab.world, requests=[])
    registry = pretend_registry(
        mirrored,
        lab.folder / "mirror",
        mirrors={"quay.test/openshift-release-dev": ["mirror.test:5000/ocp"]},
        never_contact=frozenset({"quay.test/openshift-release-dev"}),
    )
    mirrored.manifests = {
        (repository.replace("openshift-release-dev", "ocp"), reference): value
        for (repository, reference), value in lab.world.manifests.items()
    }
    settings = OpenShiftKernels.model_validate({"provider": "openshift", **lab.settings})
    client = httpx.Client(transport=httpx.MockTransport(lab.world))
    found = discover(settings, None, registry, root=lab.folder, now=_NOW, options=DiscoverOptions(), client=client)
    assert found.problems == []
    assert found.locked.releases["4.17.1-x86_64"].payload == payload, "the lock names the original"
    assert {request.url.host for request in mirrored.requests} == {"mirror.test"}
