"""The parts of the Containerfile's contract that can be read; the rest is built for real in tests/integration."""

from __future__ import annotations

import re
from pathlib import Path

from builder.config.model.driver import RESERVED_BUILD_ARGS
from builder.store.build import BUILD_STAGE, RESULT_STAGE
from builder.store.cached_compiler import SCRIPTS

_FOLDER = Path(__file__).parent.parent / "driver-container"
_TEXT = (_FOLDER / "Containerfile").read_text()


def test_has_the_stages_that_kmodsmith_builds() -> None:
    assert re.findall(r"^FROM \S+ AS (\w+)$", _TEXT, re.MULTILINE) == [BUILD_STAGE, RESULT_STAGE]


def test_reserved_arguments_are_those_of_the_containerfile() -> None:
    assert set(re.findall(r"^ARG (\w+)", _TEXT, re.MULTILINE)) == RESERVED_BUILD_ARGS


def test_every_argument_is_explained() -> None:
    readme = (_FOLDER / "README.md").read_text()
    assert [name for name in RESERVED_BUILD_ARGS if f"`{name}`" not in readme] == []


def test_seven_labels_for_certification() -> None:
    label = _TEXT[_TEXT.index("LABEL ") :].split("COPY")[0]
    assert set(re.findall(r"(\w+)=", label)) == {
        "name",
        "vendor",
        "version",
        "release",
        "summary",
        "description",
        "maintainer",
    }


def test_the_final_stage_runs_nothing_so_that_it_can_be_of_another_architecture() -> None:
    assert "RUN" not in _TEXT[_TEXT.index("FROM ${BASE_IMAGE}") :]


def test_where_headers_lie_is_no_part_of_what_compiles_make_and_so_the_cache_may_name_them_otherwise() -> None:
    """docs/compile-cache.md; without it a compile does without the cache, which only real tests would see."""
    run = _TEXT[_TEXT.index("\nRUN ") : _TEXT.index("sh -euc")]
    for name in ("build", "source"):
        assert name in run.partition("for name in ")[2].partition(";")[0].split()
    assert "-fdebug-prefix-map=$place=/usr/src/this-kernel/$name" in run
    assert 'export KCFLAGS KAFLAGS="$KCFLAGS"' in run
    assert '"-fdebug-prefix-map=$build=/usr/src/this-kernel/build") debugs_nothing=yes' in SCRIPTS["compiler"]
