"""Answers of OpenShift, real and broken: the traps that others fell into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import FormatError
from builder.kernel import Arch
from builder.sources.openshift.payload import (
    kernel_of_labels,
    minor_of,
    parse_extensions,
    parse_graph,
    parse_labels,
    parse_package_list,
    parse_payload,
    parse_toolkit_release,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_DATA = Path(__file__).parents[2] / "data" / "openshift"
_PIN = "quay.io/a/b@sha256:" + "1" * 64


def _read(name: str) -> bytes:
    return (_DATA / name).read_bytes()


def test_a_real_graph_holds_releases_of_other_minors_too() -> None:
    nodes = parse_graph(_read("cincinnati_stable-4.13_amd64.json"))
    assert {node.minor for node in nodes} == {(4, 12), (4, 13)}
    assert nodes[0].version == "4.12.20"
    assert nodes[0].payload.reference.startswith("sha256:5c504578")
    assert "stable-4.13" in nodes[0].channels


def test_an_unknown_channel_has_no_nodes_and_that_is_an_answer() -> None:
    assert parse_graph(b'{"version":1,"nodes":[],"edges":[],"conditionalEdges":[]}') == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"version": 2, "nodes": []}', b'{"version": 1, "nodes": {}}', b'{"version": 1, "nodes": [1]}',
     b'{"version": 1, "nodes": [{"version": "4.1.0"}]}', b'{"version": 1, "nodes": [{"version": 4, "payload": "x"}]}',
     b'{"version": 1, "nodes": [{"version": "4.1.0", "payload": "quay.io/a/b:tag"}]}',
     f'{{"version": 1, "nodes": [{{"version": "../../x", "payload": "{_PIN}"}}]}}'.encode(), b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_graph(content: bytes) -> None:
    with pytest.raises(FormatError):
        parse_graph(content)


def test_real_payloads() -> None:
    new = parse_payload(_read("image-references_4.12.0_x86_64.json"))
    assert [(stream.tag, stream.build) for stream in new.streams] == [("rhel-coreos-8", "412.86.202301061548-0")]
    assert new.streams[0].image.reference.startswith("sha256:6db66551")
    assert new.streams[0].toolkit is not None
    assert new.streams[0].toolkit.reference.startswith("sha256:b53883ca")
    old = parse_payload(_read("image-references_4.10.0-0.nightly-2021-11-14_x86_64.json"))
    assert [stream.tag for stream in old.streams] == ["machine-os-content"]
    assert old.streams[0].build.startswith("410.84.")
    without = parse_payload(_read("image-references_4.8.0-0.ci-2021-05-03_x86_64.json"))
    assert [stream.toolkit for stream in without.streams] == [None]


def _payload(*names: str, **builds: str) -> bytes:
    tags = [
        {"name": name, "from": {"name": _PIN},
         "annotations": {"io.openshift.build.versions": builds.get(name.replace("-", "_"), "")}}
        for name in names
    ]  # fmt: skip
    return json.dumps({"metadata": {"name": "4.22.1"}, "spec": {"tags": tags}}).encode()


def test_two_operating_systems_in_one_release_keep_their_own_builds() -> None:
    names = ("rhel-coreos", "rhel-coreos-extensions", "rhel-coreos-10", "rhel-coreos-10-extensions", "driver-toolkit")
    builds = {"rhel_coreos": "machine-os=9.6.20260504-0", "rhel_coreos_10": "machine-os=10.2.20260521-0"}
    streams = {item.tag: item for item in parse_payload(_payload(*names, **builds)).streams}
    assert {tag: item.build for tag, item in streams.items()} == {
        "rhel-coreos": "9.6.20260504-0",
        "rhel-coreos-10": "10.2.20260521-0",
    }
    assert streams["rhel-coreos"].toolkit is not None
    assert streams["rhel-coreos-10"].toolkit is None, "a stream without a toolkit is legal, another one's is wrong"
    both = parse_payload(_payload(*names, "driver-toolkit-10", **builds)).streams
    assert all(item.toolkit for item in both)


@pytest.mark.parametrize(
    "content",
    [b"{}", b'{"metadata": {"name": "4.1.0"}, "spec": {"tags": []}}', b'{"metadata": {"name": "4.1.0"}, "spec": {"tags": [1]}}',
     b'{"metadata": {"name": "x"}, "spec": {"tags": []}}', _payload("machine-os-images", "ironic-machine-os-downloader"),
     _payload("machine-os-content").replace(b"@sha256:" + b"1" * 64, b":tag")],
)  # fmt: skip
def test_what_is_no_payload(content: bytes) -> None:
    with pytest.raises(FormatError):
        parse_payload(content)


_X86 = "5.14.0-427.68.1.el9_4.x86_64"
_ARM = "5.14.0-427.68.1.el9_4.aarch64"


@pytest.mark.parametrize(
    ("data", "arch", "release", "kernels"),
    [
        ({"KERNEL_VERSION": _X86, "RT_KERNEL_VERSION": f"{_X86}+rt", "RHEL_VERSION": "9.4"}, Arch.X86_64, "4.16.1", [_X86, f"{_X86}+rt"]),
        ({"KERNEL_VERSION": "5.14.0-284.45.1.el9_2.x86_64", "RT_KERNEL_VERSION": "5.14.0-284.45.1.rt14.330.el9_2.x86_64"},
         Arch.X86_64, "4.14.1", ["5.14.0-284.45.1.el9_2.x86_64", "5.14.0-284.45.1.rt14.330.el9_2.x86_64"]),
        ({"KERNEL_VERSION": _X86}, Arch.X86_64, "4.12.80", [_X86]),
        ({"KERNEL_VERSION": _ARM, "RT_KERNEL_VERSION": "package kernel-rt-core is not installed"}, Arch.AARCH64, "4.16.1", [_ARM, f"{_ARM}+64k"]),
        ({"KERNEL_VERSION": _ARM, "RT_KERNEL_VERSION": ""}, Arch.AARCH64, "4.14.1", [_ARM]),
        ({"KERNEL_VERSION": "4.18.0-305.el8.s390x"}, Arch.S390X, "4.16.1", ["4.18.0-305.el8.s390x"]),
        ({"KERNEL_VERSION": "4.18.0-305.3.1.el8_4"}, Arch.X86_64, "4.8.1", ["4.18.0-305.3.1.el8_4.x86_64"]),
        ({"KERNEL_VERSION": "4.18.0-193.24.1.el8_2.dt1.x86_64"}, Arch.X86_64, "4.6.1", ["4.18.0-193.24.1.el8_2.dt1.x86_64"]),
        ({"KERNEL_VERSION": "6.12.0-219.el10.x86_64"}, Arch.X86_64, "4.22.0-okd-scos.0", ["6.12.0-219.el10.x86_64"]),
        ({"KERNEL_VERSION": _X86, "RT_KERNEL_VERSION": _X86}, Arch.X86_64, "4.16.1", [_X86, f"{_X86}+rt"]),
        ({"KERNEL_VERSION": _X86, "RT_KERNEL_VERSION": "package kernel-rt-core is not installed+rt"}, Arch.X86_64, "4.16.1", [_X86]),
        ({"KERNEL_VERSION": "6.1.0-56-amd64", "RT_KERNEL_VERSION": "6.1.0-56-rt-amd64"}, Arch.X86_64, "4.16.1", ["6.1.0-56-amd64", "6.1.0-56-rt-amd64"]),
    ],
)  # fmt: skip
def test_kernels_of_a_toolkit(data: dict[str, str], arch: Arch, release: str, kernels: list[str]) -> None:
    found = parse_toolkit_release(json.dumps(data).encode(), arch=arch, release=release)
    assert [kernel.raw for kernel in found.kernels] == kernels
    assert found.rhel == data.get("RHEL_VERSION", "")


@pytest.mark.parametrize(
    ("data", "arch"),
    [({}, Arch.X86_64), ({"KERNEL_VERSION": ""}, Arch.X86_64), ({"KERNEL_VERSION": "true"}, Arch.X86_64),
     ({"KERNEL_VERSION": "package kernel-core is not installed"}, Arch.X86_64), ({"KERNEL_VERSION": _X86}, Arch.AARCH64),
     ({"KERNEL_VERSION": f"{_X86}+rt"}, Arch.X86_64), ({"KERNEL_VERSION": 5}, Arch.X86_64)],
)  # fmt: skip
def test_a_toolkit_that_names_no_kernel(data: dict[str, Any], arch: Arch) -> None:
    with pytest.raises(FormatError, match="names"):
        parse_toolkit_release(json.dumps(data).encode(), arch=arch, release="4.16.1")


@pytest.mark.parametrize(
    ("labels", "arch", "expected"),
    [
        ({"ostree.linux": _X86}, Arch.X86_64, (_X86, "ostree.linux")),
        ({"ostree.linux": "true"}, Arch.X86_64, None),
        ({"ostree.linux": ""}, Arch.X86_64, None),
        ({"ostree.linux": _X86}, Arch.AARCH64, None),
        ({"ostree.linux": f"{_X86}+rt"}, Arch.X86_64, None),
        ({"com.coreos.rpm.kernel": "4.18.0-305.17.1.el8_4.x86_64", "ostree.linux": "true"}, Arch.X86_64,
         ("4.18.0-305.17.1.el8_4.x86_64", "com.coreos.rpm.kernel")),
        ({}, Arch.X86_64, None),
    ],
)  # fmt: skip
def test_labels_are_believed_only_in_a_kernels_form(
    labels: dict[str, str], arch: Arch, expected: tuple[str, str] | None
) -> None:
    found = kernel_of_labels(labels, arch)
    assert (found and (found[0].raw, found[1])) == expected


def _package_list(*packages: Sequence[str | None]) -> bytes:
    return json.dumps({"rpmdb.pkglist": packages}).encode()


def test_the_kernel_of_a_package_list() -> None:
    other = ["kernel-tools", "0", "5.14.0", "999.el9_6", "x86_64"]
    core = ["kernel-core", "0", "5.14.0", "570.1.1.el9_6", "x86_64"]
    assert parse_package_list(_package_list(other, core), Arch.X86_64).raw == "5.14.0-570.1.1.el9_6.x86_64"


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[]", b"\xff\xfe", _package_list(), _package_list(["kernel-core", "0", "5.14.0", "570.1.1.el9_6", "aarch64"]),
     _package_list(["kernel-core"]), _package_list(["kernel-core", None, None, None, None]), b'{"rpmdb.pkglist": 5}',
     _package_list(*[["kernel-core", "0", "5.14.0", "570.1.1.el9_6", "x86_64"]] * 2)],
)  # fmt: skip
def test_what_is_no_package_list(content: bytes) -> None:
    with pytest.raises(FormatError, match=r"meta\.json"):
        parse_package_list(content, Arch.X86_64)


@pytest.mark.parametrize(
    ("data", "arch", "kernels"),
    [
        ({"kernel-rt-core": "5.14.0-570.1.1.el9_6.x86_64"}, Arch.X86_64, ["5.14.0-570.1.1.el9_6.x86_64+rt"]),
        ({"kernel-rt-core": "0:5.14.0-570.1.1.el9_6.x86_64"}, Arch.X86_64, ["5.14.0-570.1.1.el9_6.x86_64+rt"]),
        ({"kernel-64k-core": "5.14.0-570.1.1.el9_6.aarch64"}, Arch.AARCH64, ["5.14.0-570.1.1.el9_6.aarch64+64k"]),
        ({"kernel-rt-core": "5.14.0-570.1.1.el9_6.x86_64"}, Arch.AARCH64, []),
        ({"kernel-rt-core": None, "kernel-64k-core": 5}, Arch.X86_64, []),
        ({}, Arch.X86_64, []),
    ],
)
def test_kernels_of_extensions(data: dict[str, Any], arch: Arch, kernels: list[str]) -> None:
    assert [kernel.raw for kernel in parse_extensions(json.dumps(data).encode(), arch)] == kernels


def test_labels_of_a_configuration() -> None:
    assert parse_labels(b'{"architecture": "amd64", "config": {"Labels": {"a": "1"}}}') == ({"a": "1"}, "amd64")
    assert parse_labels(b'{"config": {"Labels": null}}') == ({}, "")
    assert parse_labels(b'{"config": null}') == ({}, "")


@pytest.mark.parametrize("labels", [[], ["a"], "x", 5, True, {"a": 5}, {"a": None}, {"a": ["b"]}])
def test_labels_that_are_none(labels: Any) -> None:
    with pytest.raises(FormatError, match="no configuration of an image"):
        parse_labels(json.dumps({"config": {"Labels": labels}}).encode())
    assert parse_labels(b'{"config": {"Labels": null}}') == parse_labels(b'{"config": null}') == ({}, "")


def test_minors_beyond_four() -> None:
    assert minor_of("5.0.0-ec.2") == (5, 0)
    assert minor_of("4.9.1") < minor_of("4.10.1") < minor_of("5.0.0")


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([_PIN, "4.1.0", "machine-os-content"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["version", "nodes", "payload", "metadata", "spec", "tags", "name", "from", "annotations"]), inner, max_size=5),
)  # fmt: skip


@given(_JSON)
def test_no_answer_escapes_as_another_error(data: Any) -> None:
    for parse in (parse_graph, parse_payload, parse_labels):
        try:
            parse(json.dumps(data).encode())
        except FormatError:
            continue
