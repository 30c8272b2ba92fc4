"""The one place where errors become sentences and exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.bench import Bench

if TYPE_CHECKING:
    from fakes.bench import Bench


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("build", "--group", "fwe"), 2, "did you mean 'few'?"),
        (("plan", "--arch", "i386"), 2, "x86_64"),
        (("discover", "--source", "x"), 2, "there is no source 'x'"),
        (("log", "nothing"), 2, "no build of 'nothing' is known"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_wrong_words_are_explained(bench: Bench, arguments: tuple[str, ...], code: int, words: str) -> None:
    found, _, err = bench.run(*arguments)
    assert found == code
    assert words in err
    assert "Traceback" not in err


def test_mistakes_in_the_configuration_have_their_exit_code(bench: Bench) -> None:
    (bench.folder / "versions.yaml").write_text("drivers: 3\n")
    code, _, err = bench.run("plan")
    assert code == 3
    assert "versions.yaml:1:10: at drivers must be a list" in err


def test_a_defect_is_one_line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("builder.verbs.plan.plan_project", explode)
    code, _, err = bench.run("plan")
    assert code == 1
    assert "defect in kmodsmith: ZeroDivisionError: oops" in err
    assert "Traceback" not in err
