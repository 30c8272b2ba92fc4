"""When KVM is used, when it is given up, and who remembers that."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.guests import NO_SMM

from builder.boot.acceleration import Acceleration, Choice, GuestKind, identify_machine
from builder.errors import HostError
from builder.kernel import Arch

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

_PLAIN = GuestKind(arch=Arch.X86_64, is_secure=False)
_SECURE = GuestKind(arch=Arch.X86_64, is_secure=True, needs_smm=True)
_ON_ARM = GuestKind(arch=Arch.AARCH64, is_secure=False)


@pytest.mark.parametrize(
    ("script", "chosen"),
    [("exit 43", "kvm"), ("exit 0", "tcg"), ("exit 134", "tcg"), ("sleep 30", "tcg")],
    ids=["answers", "answers-wrongly", "crashes", "hangs"],
)
@pytest.mark.usefixtures("kvm")
def test_kvm_must_answer_before_it_is_used(fake_tools: FakeTools, script: str, chosen: str) -> None:
    fake_tools.add("qemu-system-x86_64", script)
    acceleration = Acceleration(host="x86_64")
    assert acceleration.choose(_PLAIN).name == chosen
    if chosen == "kvm":
        acceleration.confirm(_PLAIN)
    assert acceleration.choose(_PLAIN) == Choice(name=chosen)
    assert len(fake_tools.calls("qemu-system-x86_64")) == 1
    assert acceleration.choose(_ON_ARM).name == "tcg"
    if chosen == "tcg":
        with pytest.raises(HostError, match="does not work here for guests of x86_64 without Secure Boot"):
            Acceleration("kvm", host="x86_64").choose(_PLAIN)


@pytest.mark.usefixtures("kvm")
def test_the_probe_asks_for_what_the_guest_needs(fake_tools: FakeTools) -> None:
    """A small guest without SMM says nothing about Secure Boot, and the other way round."""
    fake_tools.add("qemu-system-x86_64", NO_SMM)
    acceleration = Acceleration(host="x86_64")
    assert [acceleration.choose(kind).name for kind in (_SECURE, _PLAIN)] == ["tcg", "kvm"]
    with pytest.raises(HostError, match="with Secure Boot: System Management Mode not supported") as caught:
        Acceleration("kvm", host="x86_64").choose(_SECURE)
    assert "--accel auto" in (caught.value.hint or "")


@pytest.mark.parametrize(("script", "chosen"), [("exit 0", "kvm"), ("exit 43", "tcg")])
@pytest.mark.usefixtures("kvm")
def test_the_probe_of_another_architecture_answers_in_its_own_way(
    fake_tools: FakeTools, script: str, chosen: str
) -> None:
    fake_tools.add("qemu-system-aarch64", script)
    assert Acceleration(host="aarch64").choose(_ON_ARM).name == chosen
    (call,) = fake_tools.calls("qemu-system-aarch64")
    assert ("-kernel" in call, "isa-debug-exit" in " ".join(call)) == (True, False)


@pytest.mark.parametrize("wish", ["auto", "tcg"])
@pytest.mark.usefixtures("kvm")
def test_only_who_asked_for_kvm_is_told_beforehand_that_it_does_not_answer(fake_tools: FakeTools, wish: str) -> None:
    fake_tools.add("qemu-system-x86_64", "echo no way >&2; exit 1")
    Acceleration(wish, host="x86_64").check(_PLAIN)
    assert fake_tools.calls("qemu-system-x86_64") == []
    for kind, words in ((_PLAIN, "without Secure Boot: no way"), (_ON_ARM, "this machine is x86_64")):
        with pytest.raises(HostError, match=words):
            Acceleration("kvm", host="x86_64").check(kind)
    fake_tools.add("qemu-system-x86_64", "exit 43")
    Acceleration("kvm", host="x86_64").check(_PLAIN)


@pytest.mark.usefixtures("kvm")
def test_emulation_that_is_asked_for_never_touches_kvm(fake_tools: FakeTools) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    assert Acceleration("tcg", host="x86_64").choose(_PLAIN) == Choice(name="tcg")
    assert fake_tools.calls("qemu-system-x86_64") == []


@pytest.mark.usefixtures("kvm")
def test_a_guest_of_a_foreign_architecture_decides_nothing(fake_tools: FakeTools) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    acceleration = Acceleration(host="x86_64")
    assert acceleration.choose(_ON_ARM) == Choice(name="tcg")
    acceleration.forget(_ON_ARM)
    assert acceleration.choose(_PLAIN).name == "kvm"
    with pytest.raises(HostError, match="guests of aarch64 without Secure Boot: this machine is x86_64"):
        Acceleration("kvm", host="x86_64").choose(_ON_ARM)


def test_what_did_not_work_is_told_once_and_remembered_for_this_machine(
    fake_tools: FakeTools, tmp_path: Path, kvm: Path
) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    memory = tmp_path / "boot" / "acceleration.json"
    said: list[str] = []

    def open_run(wish: str = "auto") -> Acceleration:
        return Acceleration(wish, memory=memory, say=said.append, host="x86_64")

    first = open_run()
    assert first.choose(_PLAIN).name == "kvm"
    first.distrust(_PLAIN, "said nothing")
    first.distrust(_PLAIN, "said nothing")
    assert first.choose(_PLAIN).name == "tcg"
    assert (len(said), "x86_64 without Secure Boot (said nothing)" in said[0]) == (1, True)
    calls = len(fake_tools.calls("qemu-system-x86_64"))
    assert [open_run().choose(kind).name for kind in (_PLAIN, _SECURE)] == ["tcg", "kvm"]
    probes = [call for call in fake_tools.calls("qemu-system-x86_64")[calls:] if "--version" not in call]
    assert len(probes) == 1, "what is remembered is not probed again"
    assert "remembered in" in open_run().look(_PLAIN)
    kvm.write_text("processor: 0\nmodel name\t: Another\n")
    assert open_run().choose(_PLAIN).name == "kvm"
    fake_tools.add("qemu-system-x86_64", 'case "$*" in *--version*) echo 9 ;; esac; exit 43')
    kvm.write_text("processor: 0\nmodel name\t: Fast One\n")
    assert open_run().choose(_PLAIN).name == "kvm"
    fake_tools.add("qemu-system-x86_64", "exit 43")
    assert open_run().choose(_PLAIN).name == "tcg"
    asked = open_run("kvm")
    assert asked.choose(_PLAIN).name == "kvm"
    asked.confirm(_PLAIN)
    assert open_run().choose(_PLAIN).name == "kvm"
    assert len(said) == 1


@pytest.mark.usefixtures("kvm")
def test_a_machine_is_told_of_once_whatever_kinds_of_guests_and_runs_find_it_out(
    fake_tools: FakeTools, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    memory = tmp_path / "boot" / "acceleration.json"
    said: list[str] = []
    one, other = (Acceleration(memory=memory, say=said.append, host="x86_64") for _ in range(2))
    one.distrust(_PLAIN, "silent")
    with caplog.at_level("INFO", logger="builder"):
        one.distrust(_SECURE, "dark")
        other.distrust(replace(_SECURE, needs_smm=True), "dark")
        Acceleration(memory=memory, say=said.append, host="x86_64").distrust(_SECURE, "dark")
    assert len(said) == 1
    assert "x86_64 without Secure Boot (silent)" in said[0]
    assert "x86_64 with Secure Boot (dark)" in caplog.text, "--verbose tells the rest"
    forgetful = Acceleration(say=said.append, host="x86_64")
    forgetful.distrust(_PLAIN, "silent")
    forgetful.distrust(_SECURE, "silent")
    assert len(said) == 2, "what nothing remembers is told by each run, once"


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"machine": 1, "problems": []}', "\0", '{"a":' * 100_000], ids=range(6)
)
@pytest.mark.usefixtures("kvm")
def test_a_damaged_memory_is_none(fake_tools: FakeTools, tmp_path: Path, content: str) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    memory = tmp_path / "acceleration.json"
    memory.write_text(content)
    acceleration = Acceleration(memory=memory, host="x86_64")
    assert acceleration.choose(_PLAIN).name == "kvm"
    acceleration.distrust(_PLAIN, "silent")
    assert json.loads(memory.read_text())["problems"] == {_PLAIN.name: "silent"}


@pytest.mark.usefixtures("kvm")
def test_others_wait_for_the_first_guest_with_kvm(fake_tools: FakeTools) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    acceleration = Acceleration(host="x86_64")
    assert acceleration.choose(_PLAIN).silence_s is not None
    chosen: list[str] = []
    threads = [threading.Thread(target=lambda: chosen.append(acceleration.choose(_PLAIN).name)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert chosen == []
    acceleration.distrust(_PLAIN, "said nothing")
    for thread in threads:
        thread.join()
    assert chosen == ["tcg"] * 3


@pytest.mark.usefixtures("kvm")
def test_a_guest_that_was_not_run_leaves_the_trial_to_the_next(fake_tools: FakeTools) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    acceleration = Acceleration(host="x86_64")
    first = acceleration.choose(_PLAIN)
    assert acceleration.choose(_SECURE) == first, "a guest of another kind waits for nobody"
    acceleration.forget(_PLAIN)
    assert acceleration.choose(_PLAIN) == first
    acceleration.confirm(_PLAIN)
    acceleration.forget(_PLAIN)
    assert acceleration.choose(_PLAIN) == Choice(name="kvm"), "what is known is not forgotten"


@pytest.mark.usefixtures("kvm")
def test_what_two_runs_learn_is_remembered_of_both(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    memory = tmp_path / "acceleration.json"
    one, other = (Acceleration(memory=memory, host="x86_64") for _ in range(2))
    one.distrust(_PLAIN, "silent")
    other.distrust(_SECURE, "dark")
    assert json.loads(memory.read_text())["problems"] == {_PLAIN.name: "silent", _SECURE.name: "dark"}


@pytest.mark.parametrize(
    ("problems", "chosen"),
    [
        ({_PLAIN.name: "silent"}, "tcg"),
        ({_PLAIN.name: 5}, "kvm"),
        ({_PLAIN.name: ""}, "kvm"),
        ([_PLAIN.name], "kvm"),
        ("x", "kvm"),
    ],
    ids=["as it is written", "a number", "nothing", "a list", "text"],
)
@pytest.mark.usefixtures("kvm")
def test_a_memory_of_other_kinds_counts_for_nothing(
    fake_tools: FakeTools, tmp_path: Path, problems: object, chosen: str
) -> None:
    fake_tools.add("qemu-system-x86_64", "exit 43")
    memory = tmp_path / "acceleration.json"
    memory.write_text(json.dumps({"machine": identify_machine("x86_64"), "problems": problems}))
    assert Acceleration(memory=memory, host="x86_64").choose(_PLAIN).name == chosen


def test_without_kvm_nothing_is_started(fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.boot.acceleration._KVM", tmp_path / "none")
    fake_tools.add("qemu-system-x86_64")
    assert Acceleration(host="x86_64", memory=tmp_path / "memory").choose(_PLAIN).name == "tcg"
    assert fake_tools.calls("qemu-system-x86_64") == []
