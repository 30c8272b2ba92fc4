from __future__ import annotations

from pathlib import Path

from builder import errors
from builder.errors import ConfigError, Failure, FailureClass, FormatError, KmodsmithError, Mistake


def _all_classes(base: type[KmodsmithError]) -> list[type[KmodsmithError]]:
    return [base, *(found for child in base.__subclasses__() for found in _all_classes(child))]


def test_every_kind_of_error_has_its_own_exit_code() -> None:
    direct = [kind for kind in KmodsmithError.__subclasses__() if kind is not errors.CellError]
    codes = [kind.exit_code for kind in direct] + [
        item.exit_code for item in FailureClass if item.value != "infrastructure"
    ]
    assert len(codes) == len(set(codes))
    assert not set(codes) & {
        errors.EXIT_OK,
        errors.EXIT_DEFECT,
        errors.EXIT_SEVERAL_CLASSES,
        errors.EXIT_INTERRUPTED,
    }


def test_the_tree_in_the_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    for kind in _all_classes(KmodsmithError):
        assert kind.__name__ in errors.__doc__


def test_config_error_lists_all_mistakes_in_order_of_place() -> None:
    late = Mistake(file=Path("v.yaml"), line=9, column=1, path="b", message="is wrong")
    early = Mistake(file=Path("v.yaml"), line=2, column=3, path="", message="is odd")
    assert ConfigError([late, early]).message.splitlines() == [
        "2 mistakes in the configuration:",
        "  v.yaml:2:3: is odd",
        "  v.yaml:9:1: at b is wrong",
    ]


def test_what_others_wrote_steers_no_terminal_and_fills_no_screen() -> None:
    error = FormatError("a\x1b[2Jb \ud800 \u202e\x00\r \n\t" + "x" * 5000, hint="h\x07")
    assert error.message == "a\\x1b[2Jb \\ud800 \\u202e\\x00\\r \n\t" + "x" * 200 + "..."
    assert (str(error), error.hint) == (error.message, "h\\x07")


def test_no_failure_steers_a_terminal() -> None:
    said = "\x1b]0;x\x07"
    failure = Failure(failure_class=FailureClass.COMPILE, code=said, detail=said, hint=said, location=said)
    assert {failure.code, failure.detail, failure.hint, failure.location} == {"\\x1b]0;x\\x07"}
    assert Failure(failure_class=FailureClass.COMPILE, code="c", detail="two\nlines").hint is None
