"""The verb boot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from builder.boot.stage import Booter
from builder.errors import FailureClass

if TYPE_CHECKING:
    import pytest
    from fakes.bench import Bench


def test_boot_alone_builds_nothing(bench: Bench, booting: dict[str, Any]) -> None:
    code, out, _ = bench.run("boot", "--json")
    assert (code, json.loads(out)["counts"]) == (FailureClass.TOOLKIT.exit_code, {"refused": 4})
    assert {cell["reason"] for cell in json.loads(out)["cells"]} == {"not-built"}
    assert bench.started_builds() == 0


def test_guests_start_from_reset_where_that_is_asked_for(
    bench: Bench, booting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.build("--boot", "never")
    asked: list[bool] = []
    real = Booter.__init__

    def init(self: Booter, *arguments: Any, **options: Any) -> None:
        asked.append(options["from_reset"])
        real(self, *arguments, **options)

    monkeypatch.setattr(Booter, "__init__", init)
    assert bench.run("boot", "--from-reset")[0] == 0
    assert bench.run("boot", "--mode", "plain")[0] == 0
    assert asked == [True, False]


def test_a_kernel_of_an_os_image_is_another_test(bench: Bench, booting: dict[str, Any]) -> None:
    bench.build("--kernel", "6.12*")
    with (bench.store / "names").open("a") as names:
        names.write("localhost/os:1 6.1.0-9-amd64\n")
    code, out, _ = bench.run("boot", "--kernel", "6.12*", "--os-image", "localhost/os:1", "--json")
    assert (code, json.loads(out)["cells"][0]["reason"]) == (0, "boot-changed")
    assert bench.build("--kernel", "6.12*")[1]["cells"][0]["reason"] == "boot-changed"
    code, _, err = bench.run("boot", "--os-image", "localhost/none:1")
    assert (code, "no image localhost/none:1" in err) == (2, True)


def test_kernels_that_cannot_be_booted_are_refused_where_boots_are_wanted(bench: Bench) -> None:
    code, out, _ = bench.run("build", "--boot", "changed", "--json")
    assert (code, json.loads(out)["counts"]) == (FailureClass.TOOLKIT.exit_code, {"refused": 4})
    assert {cell["reason"] for cell in json.loads(out)["cells"]} == {"no-bootable-kernel"}
