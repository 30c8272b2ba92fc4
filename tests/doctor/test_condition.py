"""How a condition reads, and which are no obstacle."""

from __future__ import annotations

from builder.doctor.condition import Condition, State


def test_a_condition_in_one_line() -> None:
    found = Condition(name="buildah", status=State.BROKEN, message="is too old", remedy="install 1.28")
    assert str(found) == "broken   buildah: is too old -> install 1.28"
    assert str(Condition(name="jail", status=State.OK, message="a room")) == "ok       jail: a room"


def test_warnings_are_no_obstacle() -> None:
    fine = {state for state in State if Condition(name="n", status=state, message="m").is_fine}
    assert fine == {State.OK, State.WARN}
