from __future__ import annotations

from pathlib import Path

import pytest

from builder import image_build
from builder.image_build import ImageBuild
from builder.kernel import parse_kernel_version

_BUILD = ImageBuild(
    context=Path("/src"),
    containerfile=Path("/Containerfile"),
    arguments={"BUILD_COMMAND": "make modules", "DTK_AUTO": "toolkit"},
    log_file=Path("/log"),
)


@pytest.fixture(autouse=True)
def _as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_compile_has_no_network_and_no_clock() -> None:
    words = _BUILD.compile(Path("/out-here"), name="stage").argv
    assert words[:2] == ("unshare", "--net")
    assert "--timestamp" in words
    assert "--identity-label=false" in words
    assert words[words.index("--target") + 1] == "build"
    assert words[words.index("--volume") + 1] == "/out-here:/out"


def test_assemble_replaces_the_stage_and_names_the_platform() -> None:
    words = _BUILD.assemble(
        Path("/mods"), names=("one", "two"), kernel=parse_kernel_version("6.1.0-1-arm64"), labels={"a": "b"},
        id_file=Path("/id"),
    ).argv  # fmt: skip
    assert words[words.index("--iidfile") + 1] == "/id"
    assert words[words.index("--build-context") + 1] == "modules=/mods"
    assert words[words.index("--platform") + 1] == "linux/arm64"
    assert [words[number + 1] for number, word in enumerate(words) if word == "--tag"] == ["one", "two"]
    assert words[-3:] == ("--file", "/Containerfile", "/src")


def test_make_jobs_do_not_reach_the_final_image() -> None:
    assert "BUILD_COMMAND=export MAKEFLAGS=-j8; make modules" in _BUILD.compile(Path("/o"), name="n", make_jobs=8).argv
    assert "BUILD_COMMAND=make modules" in _BUILD.compile(Path("/o"), name="n").argv


def test_a_plain_user_enters_a_user_namespace_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert image_build.confined_prefix()[:3] == ("buildah", "unshare", "--")
