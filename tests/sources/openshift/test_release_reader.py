"""What payloads and images say of kernels, and every known trap in them."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.locks import by_text
from fakes.openshift_world import RELEASES, World, digest_of, make_layer
from fakes.registry import pretend_registry

from builder.config.model.openshift import OpenShiftKernels
from builder.errors import FormatError, SourceUnreachableError
from builder.sources.openshift.discover import OpenShiftAnswer, discover
from builder.sources.openshift.release_reader import Reading
from builder.sources.provider import DiscoverOptions
from builder.sources.release import ReleaseState

if TYPE_CHECKING:
    from fakes.openshift_lab import Lab


_K1 = "5.14.0-427.50.1.el9_4.x86_64"
_K2 = "5.14.0-427.51.1.el9_4.x86_64"
_ARM = "5.14.0-427.50.1.el9_4.aarch64"
_NOW = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


def _states(found: OpenShiftAnswer) -> dict[str, list[str]]:
    return {key: [str(state) for state in release.states] for key, release in found.locked.releases.items()}


def _bomb() -> bytes:
    return make_layer({"zeros": bytes(3_000_000)})


class _Redirecting(World):
    def __init__(self, answer: Any, world: World) -> None:
        super().__init__(**{name: getattr(world, name) for name in ("host", "blobs", "manifests", "channels")})
        self._own_answer = answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        found: httpx.Response = self._own_answer(request)
        return found


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
    assert by_text(stream.kernels) == {
        k9: ("toolkit", "node:meta.json"),
        f"{k9}+rt": ("toolkit", "node:extensions.json"),
    }


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
    assert by_text(found.locked.kernels)[f"{other}+rt"].toolkit == ""
    assert f"{k9}+rt" not in by_text(found.locked.kernels), "no node runs it"


def test_the_word_true_in_a_label_is_no_kernel(lab: Lab) -> None:
    lab.release("4.17.1", style="true")
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["unconfirmed"]}
    assert by_text(found.locked.kernels)[_K1].toolkit


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
    stream = found.locked.releases["4.9.0-x86_64"].streams["machine-os-content"]
    assert by_text(stream.kernels)[k8] == (
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
    toolkits = {raw: kernel.toolkit for raw, kernel in by_text(found.locked.kernels).items()}
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


def test_one_failing_source_of_a_release_does_not_hide_the_others(lab: Lab) -> None:
    lab.release("4.17.1", _K1)
    payload = lab.release("4.17.2", _K2)
    lab.world.failures[payload.rpartition("@")[2]] = httpx.ReadTimeout("the server is silent")
    found = lab.discover()
    assert _states(found) == {"4.17.1-x86_64": ["complete"], "4.17.2-x86_64": ["unreachable"]}
    assert "silent" in found.problems[0]


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


def test_each_problem_of_a_release_has_its_own_code() -> None:
    """Who acknowledged one of them is told of the other."""
    reading = Reading()
    assert (reading.kind, reading.doubts("4.17.1-x86_64")) == ("", [])
    reading.note(SourceUnreachableError("no answer"))
    reading.note(FormatError("no JSON"))
    assert reading.kind == "unreachable"
    assert [(doubt.code, doubt.sentence) for doubt in reading.doubts("4.17.1-x86_64")] == [
        ("unreachable", "no answer"),
        ("malformed", "no JSON"),
    ]
