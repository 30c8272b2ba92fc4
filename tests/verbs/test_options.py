"""Options of many verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakes.hostile import adding, replacing

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench


def test_options_of_trust_come_from_the_command_line(bench: Bench, outside: Path) -> None:
    replacing("source: src", "source: ../outside")(bench.folder)
    code, _, err = bench.run("plan")
    assert (code, f"--allow-outside {outside}" in err) == (3, True)
    assert bench.run("plan", "--allow-outside", str(outside))[0] == 0
    assert bench.run("plan", "--untrusted", "--allow-outside", str(outside))[0] == 0
    adding("allow_outside: ['/']\n")(bench.folder)
    code, _, err = bench.run("plan")
    assert (code, "allow_outside is not a known key" in err) == (3, True)
