"""What is written in buildah's place, and when buildah has to do it; with the real one: tests/integration/buildah/."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from builder.image.labels import CELL_LABEL, KERNEL_LABEL, KEY_LABEL
from builder.store.last_stage import StoredBase, Wanted, describe, find_change, find_obstacle, write_layer
from builder.store.result import CompileResult, File, Folder, Link, make_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.store.result import ResultEntry

_CONTAINERFILE = (Path(__file__).parents[2] / "driver-container" / "Containerfile").read_text()
_PLAIN = "application/vnd.oci.image.layer.v1.tar"
_LAYER = f"sha256:{'1' * 64}"
_MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{'2' * 64}", "size": 2},
    "layers": [{"mediaType": _PLAIN, "digest": _LAYER, "size": 3}],
}
_CONFIG: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Labels": {"name": "base", "zone": "b"}},
    "history": [{"created_by": "kmodsmith"}],
    "rootfs": {"type": "layers", "diff_ids": [_LAYER]},
}
_BASE = StoredBase(
    name="localhost/base:1",
    digest=f"sha256:{'3' * 64}",
    manifest=_MANIFEST,
    config=_CONFIG,
    layers=[(_LAYER, 3)],
    odd=frozenset({"bin"}),
)
_ARGUMENTS = {
    "KERNEL_VERSION": "6.1.0-9-amd64", "KERNEL_FULL_VERSION": "6.1.0-9-amd64", "DRIVER_NAME": "demo",
    "DRIVER_VERSION": "1.0", "VENDOR": "Me & <Co>", "SUMMARY": "s", "DESCRIPTION": "d", "MAINTAINER": "m",
    "MODULES": "$anything",
}  # fmt: skip
_LABELS = {CELL_LABEL: "demo/6.1", KEY_LABEL: "ab", KERNEL_LABEL: "6.1.0-9-amd64", "io.kmodsmith.signed": "no"}
_WANTED = Wanted(arguments=_ARGUMENTS, labels=_LABELS, arch="amd64")
_ENTRIES: dict[str, ResultEntry] = {
    "opt/lib/modules/6.1.0-9-amd64/extra/demo.ko": File(b"module"),
    "opt/lib/modules/6.1.0-9-amd64/host": Link("/lib/modules/6.1.0-9-amd64"),
    "opt/tool": File(b"", is_program=True),
}
_RESULT = make_result(_ENTRIES.items())


def _write(result: CompileResult = _RESULT) -> tuple[bytes, str]:
    stream = io.BytesIO()
    written = write_layer(result, stream.write)
    assert written.digest == f"sha256:{hashlib.sha256(stream.getvalue()).hexdigest()}"
    assert written.size == len(stream.getvalue())
    return stream.getvalue(), written.copied


def test_the_shipped_last_stage_is_the_known_one() -> None:
    assert find_change(_CONTAINERFILE) == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: f"{text}RUN true\n", "not the known one"),
        (lambda text: f"{text}USER 5\n", "not the known one"),
        (lambda text: text.replace("COPY --from=modules / /", "COPY --from=modules /opt /opt"), "not the known one"),
        (lambda text: text.replace('vendor="${VENDOR}"', 'vendor="me"'), "not the known one"),
        (lambda text: text.replace("FROM ${BASE_IMAGE}\n", "FROM ${BASE_IMAGE} AS last\n"), "not the known one"),
        (lambda text: text.replace("FROM ${BASE_IMAGE}\n", "FROM quay.test/base\n"), "not the known one"),
        (lambda text: text.replace("\n", "\r\n"), "not the known one"),
        (lambda text: f"# escape=`\n{text}", "more than is read here"),
        (lambda text: f"#syntax = docker/dockerfile:1\n{text}", "more than is read here"),
        (lambda text: text.replace("FROM scratch AS modules\n", "RUN <<END\n"), "more than is read here"),
        (lambda text: text.replace("COPY --from=build /out /\n", "RUN true \\\n"), "a part of something else"),
        (lambda text: text.replace("COPY --from=build /out /\n", "RUN true \\\n# more\n\n"), "a part of something"),
        (lambda text: text[text.index("FROM ${BASE_IMAGE}\n") :], "a part of something else"),
        (lambda text: text.replace("ARG BASE_IMAGE", "ARG BASE"), "no argument BASE_IMAGE"),
        (lambda text: text.replace("ARG BASE_IMAGE", "FROM x\nARG BASE_IMAGE"), "no argument BASE_IMAGE"),
        (lambda _: "", "not the known one"),
    ],
)  # fmt: skip
def test_another_last_stage_is_buildahs(change: Callable[[str], str], sentence: str) -> None:
    assert sentence in find_change(change(_CONTAINERFILE))


def test_other_stages_and_comments_may_be_anything() -> None:
    text = _CONTAINERFILE.replace("sh -euc", "sh -xeuc").replace("LABEL name=", "# said of the image\n\nLABEL name=")
    assert text != _CONTAINERFILE
    assert find_change(text) == ""


def test_nothing_is_in_the_way_of_what_was_compared() -> None:
    assert find_obstacle(_BASE, _WANTED, _RESULT) == ""
    full = {"User": "5", "Entrypoint": ["/bin/sh"], "WorkingDir": "/", "StopSignal": "2", "Cmd": None}
    config = _CONFIG | {"created": "2026-01-01T00:00:00.5Z", "config": _CONFIG["config"] | full}
    manifest = _MANIFEST | {"annotations": {"a": "b"}, "mediaType": "x"}
    assert find_obstacle(replace(_BASE, config=config, manifest=manifest), _WANTED, _RESULT) == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"author": "me"}, "more of itself"),
        ({"variant": "v8"}, "more of itself"),
        ({"config": {**_CONFIG["config"], "Volumes": {"/opt": {}}}}, "more of itself"),
        ({"config": {**_CONFIG["config"], "OnBuild": ["RUN true"]}}, "more of itself"),
        ({"config": {**_CONFIG["config"], "Env": ["A=b"]}}, "no PATH"),
        ({"config": {**_CONFIG["config"], "Env": None}}, "no PATH"),
        ({"config": {**_CONFIG["config"], "Env": ["PATH=/bin", "VENDOR=me"]}}, "an argument of the last stage"),
        ({"config": {**_CONFIG["config"], "Env": ["PATH=/bin", "A=\n"]}}, "cannot be printed"),
        ({"config": {**_CONFIG["config"], "Env": [5]}}, "not read here"),
        ({"config": {**_CONFIG["config"], "Env": ["PATH=/bin", "PATH=/usr/bin"]}}, "its variables in a way"),
        ({"config": {**_CONFIG["config"], "Env": ["PATH=/bin", "A"]}}, "its variables in a way"),
        ({"config": {**_CONFIG["config"], "Env": ["PATH=/bin", "=A"]}}, "its variables in a way"),
        ({"config": {**_CONFIG["config"], "Labels": {"a": None}}}, "not read here"),
        ({"config": {**_CONFIG["config"], "User": 5}}, "not read here"),
        ({"config": []}, "no PATH"),
        ({"config": [1]}, "not read here"),
        ({"config": "PATH"}, "not read here"),
        ({"architecture": "arm64"}, "another platform"),
        ({"os": "windows"}, "another platform"),
        ({"created": "2026-01-01T00:00:00.50Z"}, "cannot be printed"),
        ({"created": 5}, "not read here"),
        ({"history": []}, "history of its layers"),
        ({"history": None}, "not read here"),
        ({"history": [{"created_by": "x", "empty_layer": True}]}, "history of its layers"),
        ({"history": [{"created_by": "x", "more": 1}]}, "more than was compared"),
        ({"history": [{"created_by": "x", "created": "2026-01-01T00:00:00+01:00"}]}, "more than was compared"),
        ({"history": [{"created_by": "\x07"}]}, "more than was compared"),
        ({"history": [{"comment": ["x"]}]}, "not read here"),
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "history of its layers"),
        ({"rootfs": None}, "not read here"),
        ({"rootfs": {"type": "other", "diff_ids": [_LAYER]}}, "of its layers than was compared"),
        ({"rootfs": {"type": "layers", "diff_ids": [_LAYER], "more": 1}}, "of its layers than was compared"),
    ],
)
def test_a_base_that_was_never_compared_is_buildahs(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in find_obstacle(replace(_BASE, config=_CONFIG | changes), _WANTED, _RESULT)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"config": {**_MANIFEST["config"], "mediaType": "application/vnd.docker.container.image.v1+json"}}, "OCI's"),
        ({"subject": {}}, "another form"),
        ({"annotations": {"a": 5}}, "not read here"),
        ({"config": None}, "not read here"),
    ],
)
def test_a_base_in_another_form_is_buildahs(changes: dict[str, Any], sentence: str) -> None:
    assert sentence in find_obstacle(replace(_BASE, manifest=_MANIFEST | changes), _WANTED, _RESULT)


@pytest.mark.parametrize("name", ["scratch", "quay.test/base:1", f"localhost/base@sha256:{'3' * 64}", "localhost/base"])
def test_a_base_without_a_name_of_the_store_is_buildahs(name: str) -> None:
    assert "no plain name" in find_obstacle(replace(_BASE, name=name), _WANTED, _RESULT)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("VENDOR", 'a "b"'), ("SUMMARY", "a\\b"), ("SUMMARY", "$HOME"), ("DESCRIPTION", "a\nb"), ("DRIVER_NAME", "`a`")],
)
def test_words_that_a_containerfile_reads_otherwise_are_buildahs(argument: str, value: str) -> None:
    wanted = replace(_WANTED, arguments=_ARGUMENTS | {argument: value})
    assert argument in find_obstacle(_BASE, wanted, _RESULT)


def test_missing_arguments_and_odd_labels_are_buildahs() -> None:
    fewer = {name: value for name, value in _ARGUMENTS.items() if name != "MAINTAINER"}
    assert "MAINTAINER" in find_obstacle(_BASE, replace(_WANTED, arguments=fewer), _RESULT)
    for labels, sentence in (({"a": 'x"'}, "label a"), ({"a b\n": "x"}, "label a b"), ({}, "no labels")):
        assert sentence in find_obstacle(_BASE, replace(_WANTED, labels=labels), _RESULT)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"bin/sh": File(b"")}, "bin is something else"),
        ({".dockerignore": File(b"")}, "buildah reads .dockerignore"),
        ({".containerignore": File(b"")}, "buildah reads .containerignore"),
        ({"firmware/ü": File(b"")}, "extended header"),
        ({"f" * 101: File(b"")}, "extended header"),
        ({f"{'f' * 99}/{'g' * 99}/x": File(b"")}, "extended header"),
        ({f"{'f' * 10}/{'g' * 100}": Folder()}, "extended header"),
        ({f"a/{'f' * 100}/x": File(b""), f"a/{'f' * 100}/y": Link("x")}, "extended header"),
    ],
)
def test_what_no_plain_header_holds_is_buildahs(entries: dict[str, ResultEntry], sentence: str) -> None:
    assert sentence in find_obstacle(_BASE, _WANTED, make_result(entries.items()))


def test_a_long_link_is_buildahs() -> None:
    entries: dict[str, ResultEntry] = {"a/b/c": File(b""), "a/l": Link("b/./../" * 20 + "b/c")}
    long = CompileResult(entries)
    assert "extended header" in find_obstacle(_BASE, _WANTED, long)


def test_the_layer_is_an_archive_without_clocks_and_names() -> None:
    data, copied = _write()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [*_RESULT.entries]
        assert {(member.uid, member.gid, member.uname, member.gname, member.mtime) for member in members} == {
            (0, 0, "", "", 0)
        }
        modes = {member.name: member.mode & 0o7777 for member in members if member.name.startswith("opt/tool")}
        assert modes == {"opt/tool": 0o755}
        (link,) = (member for member in members if member.issym())
        assert link.linkname == "/lib/modules/6.1.0-9-amd64"
        module = archive.extractfile("opt/lib/modules/6.1.0-9-amd64/extra/demo.ko")
        assert module is not None
        assert module.read() == b"module"
    # Both were made by buildah 1.28.2 of the same files.
    assert hashlib.sha256(data).hexdigest() == "411ce1712b9985247f8045f64998da30a30eac7cdd54a3bc18521c473832dc27"
    assert copied == "8dd4eb4773bd32d8dc4710f7a08634d30d474180fac5c4228200c4f61c83c32f"


def test_configuration_and_manifest_say_what_was_done() -> None:
    data, copied = _write()
    written = write_layer(_RESULT, io.BytesIO().write)
    raw_config, raw_manifest = describe(_BASE, _WANTED, written)
    config, manifest = json.loads(raw_config), json.loads(raw_manifest)
    assert config["rootfs"]["diff_ids"] == [_LAYER, written.digest]
    assert config["config"]["Labels"] == _LABELS | {
        "name": "demo", "zone": "b", "vendor": "Me & <Co>", "version": "1.0", "release": "6.1.0-9-amd64",
        "summary": "s", "description": "d", "maintainer": "m",
    }  # fmt: skip
    assert list(config["config"]["Labels"]) == sorted(config["config"]["Labels"])
    assert b'"vendor":"Me \\u0026 \\u003cCo\\u003e"' in raw_config
    steps = [step["created_by"].removeprefix("/bin/sh -c #(nop) ") for step in config["history"]]
    assert steps[:3] == ["kmodsmith", "ARG KERNEL_VERSION", "ARG KERNEL_FULL_VERSION KERNEL_VERSION"]
    assert f"COPY dir:{copied} in / " in steps
    assert steps[-1] == 'LABEL "io.kmodsmith.signed"="no"'
    assert config["history"][-1]["comment"] == "FROM localhost/base:1"
    assert sum(not step.get("empty_layer") for step in config["history"]) == 2
    assert manifest["layers"][1] == {"mediaType": _PLAIN, "digest": written.digest, "size": len(data)}
    assert manifest["config"]["digest"] == f"sha256:{hashlib.sha256(raw_config).hexdigest()}"
    assert manifest["annotations"] == {
        CELL_LABEL: "demo/6.1", KEY_LABEL: "ab", KERNEL_LABEL: "6.1.0-9-amd64",
        "org.opencontainers.image.base.digest": _BASE.digest, "org.opencontainers.image.base.name": _BASE.name,
    }  # fmt: skip
