"""The steps of a boot test, and the shell lines that stand for them."""

from __future__ import annotations

import re
import shlex
from importlib.resources import files

import pytest
from fakes.consoles import plan_devices, plan_script

from builder.boot.load_order import Load
from builder.boot.script import OwnModule, Script, StepKind, make_script
from builder.config.model.boot import BootTest


def _make(*modules: OwnModule, enforced: bool = False, test: bool = False, **settings: object) -> Script:
    return make_script(modules, BootTest.model_validate(settings), is_enforced=enforced, has_test=test)


def _steps(script: Script) -> list[str]:
    return [str(step) for step in script.steps]


def test_the_script_is_what_the_guest_reads() -> None:
    script = plan_script("core", "char", secure=True, test=True, in_tree=("crc_itu_t",), repeat=2,
        parameters=({"name": "x; rm -rf /", "modules": {"char": "msg='a b' $(reboot)"}},))  # fmt: skip
    assert script.prepare == "load 1 4 taken /kmodsmith/in-tree/crc_itu_t.ko\n"
    lines = script.body.splitlines()
    assert lines[0] == "refuse 2 4 /kmodsmith/unsigned/core.ko"
    assert "load_all() { insmod /kmodsmith/modules/core.ko && insmod /kmodsmith/modules/char.ko; }" in lines
    assert "unload_all() { rmmod char && rmmod core; }" in lines
    quoted = """taken /kmodsmith/modules/char.ko 'msg='"'"'a b'"'"' $(reboot)'"""
    assert any(line.endswith(quoted) for line in lines)
    assert [step.number for step in script.steps] == list(range(1, len(script.steps) + 1))
    kinds = [step.kind.value for step in script.steps]
    assert kinds[1:5] == ["refuse-unsigned", "refuse-stranger"] * 2
    assert kinds[-1] == "leftovers"


def test_a_driver_of_which_nothing_can_be_loaded_has_no_smoke_test_and_says_so() -> None:
    no_hardware = {"core": {"expect": "ENODEV", "because": "no such card in a guest"}}
    script = _make(OwnModule(name="core"), test=True, load=no_hardware, repeat=3)
    assert _steps(script) == ["load-without-hardware core", "leftovers defaults"]
    assert script.not_exercised[1:] == ("the smoke test: not exercised: no module is loaded",)


def test_parameters_that_are_the_default_are_taken_everywhere() -> None:
    sets = (
        {"name": "more", "modules": {"lime": "size=2"}},
        {"name": "needed", "modules": {"lime": "path=/dev/null"}, "default": True},
    )
    script = _make(OwnModule(name="lime", options="quiet=1"), test=True, parameters=sets, repeat=2)
    assert _steps(script) == [
        "load lime quiet=1 path=/dev/null", "smoke-test needed", "unload lime", "repeat 2 times", "leftovers defaults",
        "load lime quiet=1 size=2", "smoke-test more", "unload lime", "leftovers parameters",
    ]  # fmt: skip
    assert "insmod /kmodsmith/modules/lime.ko 'quiet=1 path=/dev/null'" in script.body


def test_a_name_in_a_script_is_a_word_whatever_is_in_it() -> None:
    body = _make(OwnModule(name="x }; reboot; f() { true", options="a=1; reboot"), enforced=True, repeat=2).body
    words = [shlex.split(line) for line in body.splitlines()]
    assert not any("reboot" in word.rstrip(";").split() for line in words for word in line if " " not in word)
    assert "rmmod 'x }; reboot; f() { true'" in body


_TWO = (OwnModule(name="core"), OwnModule(name="char", depends=("core",)))
_EVERYTHING = ["load core", "load char", "smoke-test defaults", "unload char", "unload core"]


@pytest.mark.parametrize(
    ("wish", "steps"),
    [
        ({}, ["load core", "load char", "unload char", "unload core", "leftovers defaults"]),
        ({"test": True}, [*_EVERYTHING, "leftovers defaults"]),
        ({"test": True, "repeat": 20}, [*_EVERYTHING, "repeat 20 times", "leftovers defaults"]),
        (
            {"enforced": True},
            ["refuse-unsigned core", "refuse-stranger core", "refuse-unsigned char", "refuse-stranger char", "load core",
             "load char", "unload char", "unload core", "leftovers defaults"],
        ),
        (
            {"test": True, "parameters": ({"name": "bad", "modules": {"char": "max=-1"}, "refused": True},)},
            [*_EVERYTHING, "leftovers defaults", "load core", "refuse-parameters char max=-1", "unload core",
             "leftovers parameters"],
        ),
        (
            {"test": True, "parameters": ({"name": "bad", "modules": {"core": "max=-1"}, "refused": True},)},
            [*_EVERYTHING, "leftovers defaults", "refuse-parameters core max=-1", "leftovers parameters"],
        ),
    ],
    ids=["plain", "test", "repeat", "enforced", "refused last", "refused first"],
)  # fmt: skip
def test_what_was_loaded_is_unloaded_in_the_opposite_order(wish: dict[str, object], steps: list[str]) -> None:
    assert _steps(_make(*_TWO, **wish)) == steps  # type: ignore[arg-type]


def test_a_module_without_its_hardware_takes_along_only_those_that_need_it() -> None:
    no_hardware = {"core": {"expect": "ENODEV", "because": "no such card in a guest"}}
    script = _make(*_TWO, OwnModule(name="tool"), load=no_hardware)
    assert _steps(script) == ["load-without-hardware core", "load tool", "unload tool", "leftovers defaults"]
    assert [step.expected for step in script.steps] == ["ENODEV", "", "", ""]
    forced = _make(*_TWO, load=no_hardware, parameters=({"name": "forced", "modules": {"core": "force=1"}},))
    assert _steps(forced)[2:] == [
        "load core force=1",
        "load char",
        "unload char",
        "unload core",
        "leftovers parameters",
    ]
    assert script.not_exercised == (
        "core: not exercised: no hardware: its init must answer ENODEV: no such card in a guest",
        "char: not exercised: it needs core, which is not loaded",
    )


def test_every_step_has_the_time_that_versions_yaml_gives_it_and_asks_before_that_is_over() -> None:
    loads = [Load(name="soft", is_required=False), Load(name="crc")]
    settings = BootTest.model_validate({"timeouts": {"load": 1, "unload": 60, "smoke_test": 100}, "repeat": 10})
    script = make_script(_TWO, settings, in_tree=loads, is_enforced=False, has_test=True)
    assert {(step.kind, step.timeout_s) for step in script.steps} == {
        (StepKind.LOAD_SOFT, 1), (StepKind.LOAD_IN_TREE, 1), (StepKind.LOAD, 1), (StepKind.SMOKE_TEST, 100),
        (StepKind.UNLOAD, 60), (StepKind.REPEAT, 2 * (1 + 60) + 10 * 2), (StepKind.LEFTOVERS, 60),
    }  # fmt: skip
    lines = [line.split() for line in (script.prepare + script.body).splitlines() if "()" not in line]
    patience = {int(line[1]): int(line[2]) for line in lines}
    assert all(0 < patience[step.number] <= max(1, step.timeout_s * 0.7) for step in script.steps)
    assert _make(*_TWO, timeouts={"unload": 1}).steps[-1].timeout_s == 30, "looking around takes its own time"


def test_every_line_calls_a_function_of_the_guests_first_process() -> None:
    script = plan_script("core", "char", secure=True, test=True, in_tree=("crc_itu_t",), repeat=2)
    defined = re.findall(r"^(\w+)\(\)", files("builder.boot").joinpath("init.sh").read_text(), re.MULTILINE)
    called = {line.partition(" ")[0] for line in (script.prepare + script.body).splitlines()}
    assert called - {"load_all()", "unload_all()"} <= set(defined)
    assert called == {"load", "refuse", "smoke", "unload", "repeat", "leftovers", "load_all()", "unload_all()"}


@pytest.mark.parametrize("repeat", [1, 99, 10_000])
def test_there_are_words_for_all_reports_of_a_guest(repeat: int) -> None:
    """Beginning, end and five kinds in between for each step; after every hundred rounds an account, which is two."""
    script = plan_script("core", "char", secure=True, test=True, repeat=repeat)
    assert script.most_reports >= 2 + 7 * len(script.steps) + 2 * (repeat // 100)


def test_a_device_is_taken_away_and_given_back_before_and_after_the_driver_has_it() -> None:
    script = plan_devices("core", "nic", repeat=2, parameters=(
        {"name": "few", "modules": {"nic": "queues=1"}},
        {"name": "none", "modules": {"nic": "queues=0"}, "refused": True},
        {"name": "bad core", "modules": {"core": "x=0"}, "refused": True},
    ))  # fmt: skip
    assert _steps(script) == [
        "find-device edu", "try-unplug-device edu", "try-plug-device edu",
        "load core", "load nic", "devices-bound defaults", "smoke-test defaults",
        "unplug-device edu", "plug-device edu", "smoke-test defaults after hot-plug",
        "unload nic", "unload core", "devices-unbound defaults", "repeat 2 times", "leftovers defaults",
        "load core", "load nic queues=1", "devices-bound few", "smoke-test few",
        "unload nic", "unload core", "devices-unbound few",
        "load core", "refuse-parameters nic queues=0", "unload core", "refuse-parameters core x=0",
        "leftovers parameters",
    ]  # fmt: skip
    assert script.prepare.splitlines() == [
        "devices 1 21 there 1234:11e8", "devices 2 21 gone 1234:11e8", "devices 3 21 there 1234:11e8",
    ]  # fmt: skip
    lines = [line for line in script.body.splitlines() if line.startswith("devices ")]
    assert [line.split()[3:] for line in lines] == [
        [word, "1234:11e8"] for word in ("bound", "gone", "bound", "unbound", "bound", "unbound")
    ]
    assert {step.timeout_s for step in script.steps if step.claims} == {30}
    defined = re.findall(r"^(\w+)\(\)", files("builder.boot").joinpath("init.sh").read_text(), re.MULTILINE)
    assert "devices" in defined


def test_devices_can_be_left_where_they_are() -> None:
    steps = _steps(plan_devices("nic", hot_plug=False))
    assert steps[:1] == ["find-device edu"]
    assert not any("plug" in step for step in steps)
    assert "devices-bound defaults" in steps


@pytest.mark.parametrize(
    "script",
    [
        plan_devices("nic", table="other"),
        plan_devices("nic", load={"nic": {"expect": "ENODEV", "because": "it wants another one"}}),
    ],
    ids=["in no table", "never loaded"],
)
def test_a_device_that_no_loaded_module_is_for_is_not_bound(script: Script) -> None:
    assert not any(step.kind in {StepKind.BOUND, StepKind.UNPLUG, StepKind.UNBOUND} for step in script.steps)


def test_a_device_that_is_in_no_table_is_told() -> None:
    script = plan_devices("nic", devices=("edu", "pci-testdev"))
    assert script.not_exercised == (
        "pci-testdev 1b36:0005: not exercised: no module of the driver names it in a table (MODULE_DEVICE_TABLE)",
    )
    assert plan_devices("nic", table="other").not_exercised[0].startswith("edu 1234:11e8: not exercised")
    assert not any("testdev" in str(step) for step in script.steps)
