"""Making a component image: what reaches buildah, what is refused, and whose fault it is."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
from fakes.components import component_entries
from fakes.samples import make_program
from fakes.wheels import lock_line, make_wheel, pretend_index

from builder.image.layout import LayerEntry

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.components import Parts
    from fakes.tools import FakeTools


def _failure(parts: Parts) -> tuple[int, str, str, str]:
    """Build, and return exit code, class, code and detail of the one failure."""
    code, (result,) = parts.build()
    assert result["status"] == "failed", result
    failure = result["failure"]
    return code, failure["failure_class"], failure["code"], failure["detail"]


def test_labels_arguments_and_folders_reach_buildah(parts: Parts) -> None:
    parts.declare(target="image", build_args={"COLOUR": "red"}, labels={"io.x.y": "z"})
    parts.edit("Containerfile", "FROM a AS build\nRUN x\nFROM ${BASE_IMAGE} AS image\nCOPY --from=result / /\n")
    parts.offer()
    assert parts.build()[0] == 0
    compiled, put_together = parts.bench.calls("build")[:2]
    assert compiled[compiled.index("--target") + 1] == "build"
    assert put_together[put_together.index("--target") + 1] == "image"
    for call in (compiled, put_together):
        given = {call[at + 1] for at, word in enumerate(call) if word == "--build-arg"}
        assert {"COLOUR=red", "BASE_IMAGE=base:x86_64", "BUILD_IMAGE=base:x86_64", "TARGETARCH=amd64"} <= given
        names = [call[at + 1].partition("=")[0] for at, word in enumerate(call) if word == "--build-context"]
        assert names[:2] == ["wheels", "licenses"]
    assert names == ["wheels", "licenses", "result"]
    labels = {put_together[at + 1] for at, word in enumerate(put_together) if word == "--label"}
    assert {"io.x.y=z", "name=plugin", "release=0.1.0", "io.kmodsmith.component=plugin-0.1.0/x86_64"} <= labels


_SO = component_entries()
_PEM = b"-----BEGIN PRIVATE KEY-----\n" + b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n" * 3


@pytest.mark.parametrize(
    ("labels", "entries", "code"),
    [
        ({"io.kmodsmith.component": "other-1/x86_64"}, None, "wrong-label"),
        ({"summary": None}, None, "label-missing"),
        ({}, _SO[:-1], "licenses-folder-empty"),
        ({}, [_SO[0], *_SO[2:]], "tool-missing"),
        ({}, [*_SO, LayerEntry(path="opt/a.so.1", content=make_program(183))], "wrong-machine"),
        ({}, [*_SO, LayerEntry(path="etc/key.pem", content=_PEM)], "secret-in-layer"),
    ],
)
def test_an_image_that_is_not_right_gets_no_name(
    parts: Parts, labels: dict[str, str | None], entries: list[LayerEntry] | None, code: str
) -> None:
    parts.offer(labels=labels, entries=entries)
    exit_code, (result,) = parts.build()
    assert (exit_code, result["failure"]["failure_class"]) == (13, "fit")
    assert (
        code in (result["failure"]["code"], result["failure"]["detail"])
        or code in (parts.project().work_dir / result["log"]).read_text()
    )
    assert parts.names() == {}
    assert parts.reasons() == ["build: failed-before"]


def test_a_failing_self_test_is_told_with_its_last_words(parts: Parts) -> None:
    parts.offer()
    parts.hook("self-test", 'echo "STEP 2/2: RUN x"; echo "no module named grpc"; echo "Error: building" >&2; exit 1')
    code, kind, word, detail = _failure(parts)
    assert (code, kind, word) == (13, "fit", "self-test-failed")
    assert detail.endswith("no module named grpc")
    assert parts.names() == {}


@pytest.mark.parametrize(
    ("says", "failure"),
    [
        (
            "error running container: from /usr/bin/false creating container for [/x]: : exit status 1",
            (11, "compile", "last-stage-runs"),
        ),
        ('Error: building at STEP "COPY a /": stat: "/a": no such file or directory', (11, "compile", "containerfile")),
        ("Error: COPY --from=result: no stage or image found with that name", (11, "compile", "containerfile")),
        ('Error: The target "x" was not found in the provided Dockerfile', (11, "compile", "containerfile")),
        ('Error: Build error: Unknown instruction: "COPYY"', (11, "compile", "containerfile")),
        ("Error: the storage driver broke at its target", (17, "infrastructure", "assemble")),
        ("", (17, "infrastructure", "assemble")),
    ],
)
def test_a_containerfile_is_its_authors_and_a_store_is_not(
    parts: Parts, says: str, failure: tuple[int, str, str]
) -> None:
    parts.offer()
    parts.hook("assemble", f"printf '%s' {shlex.quote(says)} >&2; exit 3")
    assert _failure(parts)[:3] == failure
    assert parts.started() == (3 if failure[1] == "infrastructure" else 1), "only what may pass is tried again"


def test_what_a_build_lacks_is_a_package_of_the_component(parts: Parts) -> None:
    """What is said of kernels and toolkits there helps nobody here."""
    parts.edit("Containerfile", "FROM a AS build\nRUN make\nFROM b\n")
    parts.offer()
    parts.hook("compile", 'echo "tool.c:1:10: fatal error: zlib.h: No such file or directory" >&2; exit 2')
    assert _failure(parts)[2] == "missing-header"
    hint = parts.build()[1][0]["failure"]["hint"]
    assert "the component's 'build_packages'" in hint


def test_what_cannot_be_compiled_is_told_by_its_first_error(parts: Parts) -> None:
    parts.edit("Containerfile", "FROM a AS build\nRUN make\nFROM b\n")
    parts.offer()
    parts.hook("compile", 'echo "tool.c:3:1: error: unknown type name" >&2; exit 2')
    code, kind, _, detail = _failure(parts)
    assert (code, kind) == (11, "compile")
    assert "unknown type name" in detail
    assert parts.started() == 0


def test_what_a_compile_leaves_is_read_as_data(parts: Parts) -> None:
    parts.edit("Containerfile", "FROM a AS build\nRUN make\nFROM b\n")
    parts.offer()
    parts.hook("compile", 'mkdir -p "$out/x"; mkfifo "$out/x/fifo" 2>/dev/null || ln "$out" "$out/x/l"')
    parts.bench._tools.add("mkfifo", 'exec /usr/bin/mkfifo "$@"')
    code, kind, _, _ = _failure(parts)
    assert (code, kind) == (11, "compile")


@pytest.mark.parametrize(
    ("line", "compiles"),
    [
        ("FROM a AS build", True),
        ("  from --platform=x a as build  ", True),
        ("FROM a \\\n  AS build", True),
        ("# FROM a AS build", False),
        ("FROM a AS builder", False),
        ("FROM build", False),
    ],
)
def test_a_stage_named_build_is_compiled_first(parts: Parts, line: str, compiles: bool) -> None:
    parts.edit("Containerfile", f"{line}\nFROM b\n")
    parts.offer()
    _, (result,) = parts.build()
    assert ("compile" in result["timings"]) is compiles


@pytest.mark.parametrize("name", ["BUILD", "Build"])
def test_a_stage_named_build_in_capitals_is_told(parts: Parts, name: str) -> None:
    """Buildah would not find it, or not copy from it."""
    parts.edit("Containerfile", f"FROM a AS {name}\nFROM b\n")
    parts.offer()
    code, kind, _, detail = _failure(parts)
    assert (code, kind) == (11, "compile")
    assert f"calls a stage '{name}': write 'build'" in detail


def test_wheels_come_by_the_lock_and_are_recorded(
    parts: Parts, tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = pretend_index(tmp_path / "index", fake_tools, monkeypatch)
    parts.declare(wheels={"lock": "plugin/requirements.lock", "python": "3.11"})
    parts.edit("requirements.lock", lock_line(make_wheel(index.folder)))
    parts.offer()
    assert parts.build()[0] == 0
    journal = parts.project().journal
    (wheel,) = journal.components["plugin-0.1.0/x86_64"].wheels
    assert (wheel.name, wheel.version) == ("demo", "1.0")
    (parts.project().work_dir / "journal.jsonl").unlink()
    assert parts.build()[1][0]["status"] == "proven"
    (again,) = parts.project().journal.components["plugin-0.1.0/x86_64"].wheels
    assert again == wheel, "what is attested of a proven image names its Python packages, too"
    assert len(index.calls) == 1


@pytest.mark.parametrize(
    ("says", "failure", "calls"),
    [
        ("ERROR: Max retries exceeded", (17, "infrastructure", "source-unreachable"), 3),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", (10, "toolkit", "wheel-differs"), 1),
        ("ERROR: No matching distribution found", (10, "toolkit", "wheel-missing"), 1),
    ],
)
def test_an_index_that_does_not_answer_is_asked_again(
    parts: Parts, tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch,
    says: str, failure: tuple[int, str, str], calls: int,
) -> None:  # fmt: skip
    index = pretend_index(tmp_path / "index", fake_tools, monkeypatch)
    parts.declare(wheels={"lock": "plugin/requirements.lock", "python": "3.11"})
    parts.edit("requirements.lock", lock_line(make_wheel(index.folder)))
    parts.offer()
    index.fail(says)
    assert _failure(parts)[:3] == failure
    assert len(index.calls) == calls


def test_a_wheel_that_cannot_be_unpacked_is_no_fault_of_the_image(
    parts: Parts, tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = pretend_index(tmp_path / "index", fake_tools, monkeypatch)
    parts.declare(wheels={"lock": "plugin/requirements.lock", "python": "3.11"})
    wheel = make_wheel(index.folder)
    wheel.write_bytes(b"no zip")
    parts.edit("requirements.lock", lock_line(wheel))
    parts.offer()
    assert _failure(parts)[:3] == (10, "toolkit", "wheel-unreadable")
