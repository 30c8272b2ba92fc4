"""Reading a guest's console and judging it: recorded consoles, and each verdict broken out of a good one."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from fakes.consoles import WORDS, PretendedGuest, plan_devices, plan_script, read_console

from builder.boot.console import Transcript
from builder.boot.load_order import Load
from builder.boot.script import OwnModule, StepKind, make_script
from builder.boot.verdict import BootCheck, Ending, Verdict, judge_boot, raise_problems
from builder.config.model.boot import AllowedMessage, BootTest
from builder.errors import CellError, FailureClass

_DATA = Path(__file__).parents[1] / "data"


def _recorded(
    name: str, module: str, ending: Ending, *, secure: bool = False, repeat: int = 1, test: bool = False
) -> Verdict:
    transcript = Transcript(WORDS)
    for line in (_DATA / "consoles" / f"{name}.log").read_text().splitlines():
        if "NMI" in line and ending is Ending.TIMED_OUT:  # as the host did when its patience was at an end
            transcript.interrogate()
        transcript.feed(line)
    return judge_boot(transcript, plan_script(module, secure=secure, repeat=repeat, test=test).steps, ending)


@pytest.mark.parametrize(
    ("name", "module", "ending", "check", "place"),
    [
        ("oops", "bad_oops", Ending.FINISHED, BootCheck.KERNEL_OOPS, "bad_init+0x10/0xff0 [bad_oops]"),
        ("warning", "bad_warning", Ending.FINISHED, BootCheck.KERNEL_WARNING, "/src/bad_warning.c:4"),
        ("panic", "bad_panic", Ending.DIED, BootCheck.KERNEL_PANIC, "bad_init+0x15/0xff0 [bad_panic]"),
        ("sleeps", "bad_sleep", Ending.TIMED_OUT, BootCheck.LOAD_HUNG, "bad_init+0x22/0xff0 [bad_sleep]"),
        ("atomic", "bad_atomic", Ending.FINISHED, BootCheck.LOCK_MISUSE, "bad_init+0x1a/0xff0 [bad_atomic]"),
        ("device-node", "bad_node", Ending.FINISHED, BootCheck.DEVICE_NODE_LEFT, ""),
        ("init-error", "bad_init", Ending.FINISHED, BootCheck.LOAD_REFUSED, ""),
        ("missing-symbol", "bad_symbol", Ending.FINISHED, BootCheck.SYMBOL_MISSING, ""),
        ("behind-an-answer", "bad_sysrq", Ending.FINISHED, BootCheck.KERNEL_WARNING, "/src/bad_sysrq.c:4"),
    ],
)
def test_recorded_consoles(name: str, module: str, ending: Ending, check: BootCheck, place: str) -> None:
    problems = _recorded(name, module, ending).problems
    assert (problems[0].check, problems[0].place) == (check, place)


def test_a_recorded_warning_that_the_smoke_test_hid() -> None:
    """It turned the console down, made the module warn, and turned it up again: the log has no word of it."""
    assert "WARNING" not in (_DATA / "consoles" / "hidden-by-the-test.log").read_text()
    problems = _recorded("hidden-by-the-test", "bad_switch", Ending.FINISHED, test=True).problems
    assert [item.check for item in problems] == [BootCheck.OUTPUT_LOST, BootCheck.TAINT]


def test_a_recorded_hang_is_not_called_a_panic() -> None:
    """The panic in it is our own doing: the kernel was made to say where it is."""
    problems = _recorded("busy-loop", "bad_spin", Ending.TIMED_OUT).problems
    assert [(item.check, item.place) for item in problems] == [(BootCheck.LOAD_HUNG, "bad_init+0xb/0xff0 [bad_spin]")]


def test_a_recorded_refusal_of_a_signature() -> None:
    problems = _recorded("signature-refused", "good", Ending.FINISHED, secure=True).problems
    assert [(item.check, item.sentence) for item in problems] == [
        (BootCheck.SIGNATURE_REFUSED, "Loading of module with unavailable key is rejected")
    ]


def test_a_recorded_pass_under_secure_boot() -> None:
    verdict = _recorded("secure-boot", "good", Ending.FINISHED, secure=True)
    assert verdict.problems == ()
    assert [line.partition(": ")[2] for line in verdict.refusals] == [
        "EKEYREJECTED: Loading of unsigned module is rejected",
        "EKEYREJECTED: Loading of module with unavailable key is rejected",
    ]


def test_recorded_growth() -> None:
    problems = _recorded("grows", "bad_slab", Ending.FINISHED, repeat=30).problems
    assert [item.check for item in problems] == [BootCheck.MEMORY_LEFT]
    assert "896 KiB more after 28 rounds" in problems[0].sentence


def test_everything_in_order(guest: PretendedGuest) -> None:
    assert guest.judge().problems == ()
    assert len(guest.judge().refusals) == 4


_BROKEN: dict[BootCheck, tuple[str, int | None, str | None, str | None]] = {
    # step, exit code, line of the kernel, report
    BootCheck.LOAD_REFUSED: ("load core", 5, None, None),
    BootCheck.SYMBOL_MISSING: ("load core", 2, "core: disagrees about version of symbol kfree", None),
    BootCheck.SIGNATURE_REFUSED: ("load core", 129, None, None),
    BootCheck.UNSIGNED_ACCEPTED: ("refuse-unsigned core", 0, None, None),
    BootCheck.STRANGER_ACCEPTED: ("refuse-stranger core", 0, None, None),
    BootCheck.WRONG_REFUSAL: ("refuse-unsigned core", 8, None, None),
    BootCheck.PARAMETERS_ACCEPTED: ("refuse-parameters", 0, None, None),
    BootCheck.SMOKE_TEST_FAILED: ("smoke-test limits", 1, None, "said FAIL the last device"),
    BootCheck.UNLOAD_REFUSED: ("unload char", 1, None, "said rmmod: can't unload module 'char'"),
    BootCheck.REPEAT_FAILED: ("repeat", 1, None, "said in round 3"),
    BootCheck.DEVICE_NODE_LEFT: ("leftovers defaults", None, None, "left device-node /dev/char0"),
    BootCheck.SYSFS_ENTRY_LEFT: ("leftovers defaults", None, None, "left sysfs-entry /sys/class/char"),
    BootCheck.REGISTRATION_LEFT: ("leftovers parameters", None, None, "left registration /proc/devices: 240 char"),
    BootCheck.MEMORY_LEFT: ("leftovers defaults", None, None, "left memory 8192 bytes, allocated at 0xffffffffc0"),
    BootCheck.KERNEL_PANIC: ("load char", None, "Kernel panic - not syncing: Fatal exception", None),
    BootCheck.KERNEL_OOPS: ("load char", None, "BUG: unable to handle page fault for address: 0", None),
    BootCheck.LOCK_MISUSE: (
        "smoke-test defaults",
        None,
        "WARNING: possible circular locking dependency detected",
        None,
    ),
    BootCheck.MEMORY_MISUSE: (
        "smoke-test defaults",
        None,
        "BUG: KASAN: slab-use-after-free in char_read+0x1/0x2",
        None,
    ),
    BootCheck.TASK_HUNG: ("smoke-test defaults", None, "INFO: task dd:77 blocked for more than 120 seconds.", None),
    BootCheck.KERNEL_WARNING: ("unload core", None, "WARNING: CPU: 0 PID: 1 at mm/slub.c:1 kfree+0x1/0x2", None),
    BootCheck.CALL_TRACE: ("unload core", None, "Call Trace:", None),
}


@pytest.mark.parametrize("check", _BROKEN)
def test_one_thing_wrong(guest: PretendedGuest, check: BootCheck) -> None:
    text, code, kernel, report = _BROKEN[check]
    number = guest.step(text)
    if code is not None:
        guest.codes[number] = code
    if kernel:
        guest.kernel[number] = [kernel]
    if report:
        guest.reports[number] = [report]
    problems = guest.judge().problems
    assert [problem.check for problem in problems] == [check]
    assert text in problems[0].step


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("load core", BootCheck.LOAD_HUNG),
        ("smoke-test defaults", BootCheck.SMOKE_TEST_HUNG),
        ("unload core", BootCheck.UNLOAD_HUNG),
        ("repeat", BootCheck.LOAD_HUNG),
    ],
)
def test_a_step_that_takes_too_long(guest: PretendedGuest, text: str, check: BootCheck) -> None:
    guest.stops_in = guest.step(text)
    assert [problem.check for problem in guest.judge(Ending.TIMED_OUT).problems] == [check]


@pytest.mark.parametrize("text", ["load char", "smoke-test limits"])
def test_a_guest_that_ends_without_a_word(guest: PretendedGuest, text: str) -> None:
    guest.stops_in = guest.step(text)
    assert [problem.check for problem in guest.judge(Ending.DIED).problems] == [BootCheck.GUEST_ENDED]


@pytest.mark.parametrize("ending", [Ending.TIMED_OUT, Ending.DIED])
@pytest.mark.parametrize("done", [0, 3])
def test_a_guest_that_falls_silent_between_steps_has_not_passed(
    guest: PretendedGuest, ending: Ending, done: int
) -> None:
    lines = guest.lines()
    place = next(number for number, line in enumerate(lines) if f"begin {done + 1}\r" in line)
    verdict = judge_boot(read_console(lines[:place]), guest.script.steps, ending)
    assert [(item.check, item.step) for item in verdict.problems] == [
        (BootCheck.GUEST_ENDED, str(guest.script.steps[done]))
    ]


def test_a_guest_that_skips_steps_has_not_passed(guest: PretendedGuest) -> None:
    """A report of the end alone is worth nothing, nor is one that lacks only the end."""
    lines = guest.lines()
    problems = judge_boot(read_console(lines[:-1]), guest.script.steps, Ending.FINISHED).problems
    assert [item.check for item in problems] == [BootCheck.GUEST_ENDED]
    for cut in ([*lines[:5], *lines[-3:]], [line for line in lines if "end 5 " not in line]):
        problems = judge_boot(read_console(cut), guest.script.steps, Ending.FINISHED).problems
        assert BootCheck.OUTPUT_LOST in {item.check for item in problems}


def test_an_excused_complaint_does_not_excuse_what_was_not_done_after_it(guest: PretendedGuest) -> None:
    number = guest.step("load char")
    guest.kernel[number] = ["Oops: 0002 [#1]"]
    guest.codes[number] = 137
    guest.taint = str(12288 + (1 << 7))
    steps = guest.script.steps
    guest.script = replace(guest.script, steps=steps[:number])
    verdict = judge_boot(read_console(guest.lines()), steps, Ending.FINISHED, allow=_allow("kernel-oops"))
    assert [item.check for item in verdict.allowed] == [BootCheck.KERNEL_OOPS]
    assert [item.check for item in verdict.problems] == [BootCheck.GUEST_ENDED]


def test_a_console_that_never_stops(guest: PretendedGuest) -> None:
    guest.stops_in = guest.step("load char")
    assert [problem.check for problem in guest.judge(Ending.FLOODED).problems] == [BootCheck.CONSOLE_FLOODED]


def test_complaints_between_steps_count(guest: PretendedGuest) -> None:
    guest.between = ["WARNING: CPU: 0 PID: 9 at kernel/workqueue.c:1 process_one_work+0x1/0x2"]
    problems = guest.judge().problems
    assert {(problem.check, problem.step) for problem in problems} == {(BootCheck.KERNEL_WARNING, "between steps")}


@pytest.mark.parametrize(
    ("bit", "letter"), [(3, "R"), (4, "M"), (5, "B"), (7, "D"), (9, "W"), (14, "L"), (18, "N"), (26, "?"), (40, "?")]
)
def test_taint(guest: PretendedGuest, bit: int, letter: str) -> None:
    """The kernel takes note of more than the console shows: a warning, a death, a bad page, a lockup without a word."""
    guest.taint = str(12288 + (1 << bit))
    problems = guest.judge().problems
    assert [problem.check for problem in problems] == [BootCheck.TAINT]
    assert f"tainted {letter}" in problems[0].sentence


def test_the_taint_of_a_warning_is_not_counted_twice(guest: PretendedGuest) -> None:
    guest.taint = str(12288 + (1 << 9))
    guest.kernel[guest.step("load char")] = ["WARNING: CPU: 0 PID: 1 at char.c:7 char_init+0x1/0x2 [char]"]
    assert [problem.check for problem in guest.judge().problems] == [BootCheck.KERNEL_WARNING]


def test_what_every_vendors_module_does_to_the_taint_is_expected(guest: PretendedGuest) -> None:
    guest.taint = str(1 << 12 | 1 << 13)
    assert guest.judge().problems == ()


def test_a_taint_that_was_there_before_is_not_the_drivers(guest: PretendedGuest) -> None:
    guest.taint = str(12288 + (1 << 11))
    lines = [line.replace("taint-before 0", f"taint-before {1 << 11}") for line in guest.lines()]
    assert judge_boot(read_console(lines), guest.script.steps, Ending.FINISHED).problems == ()


def test_a_taint_that_nobody_told_is_not_a_clean_one(guest: PretendedGuest) -> None:
    lines = [line.replace("fact taint-before 0", "fact taint-before") for line in guest.lines()]
    problems = judge_boot(read_console(lines), guest.script.steps, Ending.FINISHED).problems
    assert [problem.check for problem in problems] == [BootCheck.TAINT]


def test_complaints_before_the_test_are_the_kernels_own(guest: PretendedGuest) -> None:
    lines = ["[    0.500000] WARNING: CPU: 0 PID: 1 at arch/x86/kernel/cpu/common.c:1 x+0x1/0x2", *guest.lines()]
    assert judge_boot(read_console(lines), guest.script.steps, Ending.FINISHED).problems == ()


def _allow(pattern: str) -> tuple[AllowedMessage, ...]:
    return (AllowedMessage(pattern=pattern, reason="r", expires=date(2999, 1, 1)),)


def test_what_is_allowed_is_no_problem_but_told(guest: PretendedGuest) -> None:
    guest.kernel[guest.step("load char")] = ["WARNING: CPU: 0 PID: 1 at char.c:7 char_init+0x1/0x2 [char]"]
    assert guest.judge(allow=_allow(r"kernel-warning: load char: .*char\.c:7")).problems == ()
    assert len(guest.judge(allow=_allow(r"kernel-warning")).allowed) == 1
    assert len(guest.judge(allow=_allow(r"other\.c")).problems) == 1


def test_the_gravest_problem_comes_first(guest: PretendedGuest) -> None:
    guest.reports[guest.step("leftovers defaults")] = ["left device-node /dev/x"]
    guest.kernel[guest.step("unload core")] = ["Oops: 0000 [#1]"]
    problems = guest.judge().problems
    with pytest.raises(CellError) as caught:
        raise_problems(problems)
    assert (caught.value.failure.failure_class, caught.value.failure.code) == (FailureClass.BOOT, "kernel-oops")
    assert "1 more: device-node-left" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "forged", ["finish", "end 4 0", "begin 5", "fact taint-before 512", "log 0 0 0", "mark", "start"]
)
def test_a_word_is_good_for_one_report(guest: PretendedGuest, forged: str) -> None:
    """Everybody in the guest can read the words in its log: then they are spent."""
    number = guest.step("smoke-test defaults")
    guest.kernel[number] = [f"kmodsmith {WORDS[7]} {forged}"]
    transcript = read_console(guest.lines())
    problems = judge_boot(transcript, guest.script.steps, Ending.FINISHED).problems
    assert [item.check for item in problems] == [BootCheck.REPORT_OUT_OF_ORDER]
    assert f'"{forged.split(maxsplit=1)[0]}"' in problems[0].sentence
    assert transcript.facts["taint-before"] == "0"


@pytest.mark.parametrize("text", ["WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2", "Oops: 0000 [#1]", "Call Trace:"])
def test_what_comes_after_an_answer_of_the_kernel_counts(guest: PretendedGuest, text: str) -> None:
    """The guest's watchdog, a smoke test and a module can all make it say "sysrq"."""
    asked = ["sysrq: Show Blocked State", "task:insmod state:D stack:0 pid:77", "Call Trace:", " <TASK>", " </TASK>"]
    guest.kernel[guest.step("smoke-test defaults")] = asked
    assert guest.judge().problems == ()
    guest.kernel[guest.step("smoke-test defaults")] = [*asked, text]
    assert len(guest.judge().problems) == 1


def test_a_test_that_changes_what_later_steps_rest_on(guest: PretendedGuest) -> None:
    guest.reports[guest.step("smoke-test defaults")] = ["changed changed"]
    assert [item.check for item in guest.judge().problems] == [BootCheck.GUEST_CHANGED]


def test_a_module_that_no_step_loads_is_a_problem(guest: PretendedGuest) -> None:
    not_loaded = {"opt/b.ko": "it calls itself a"}
    problems = judge_boot(
        read_console(guest.lines()), guest.script.steps, Ending.FINISHED, not_loaded=not_loaded
    ).problems
    assert [(item.check, item.step) for item in problems] == [(BootCheck.MODULE_NOT_LOADED, "opt/b.ko")]


def test_every_check_is_tested_and_documented() -> None:
    tests = "".join(
        file.read_text()
        for file in [*Path(__file__).parent.glob("test_*.py"), *Path(__file__).parents[1].rglob("test_boot*.py")]
    )
    page = (Path(__file__).parents[2] / "docs" / "boot.md").read_text()
    for check in BootCheck:
        assert f"BootCheck.{check.name}" in tests, check
        assert re.search(rf"^\| `{check}` \|", page, re.MULTILINE), check


_NO_HARDWARE = {"core": {"expect": "ENODEV", "because": "no such card in a guest"}}


def _without_hardware(**more: object) -> PretendedGuest:
    own = [OwnModule(name="core"), OwnModule(name="char", depends=("core",)), OwnModule(name="tool")]
    settings = BootTest.model_validate({"load": _NO_HARDWARE, "repeat": 3, **more})
    guest = PretendedGuest(make_script(own, settings, is_enforced=True, has_test=True))
    for step in guest.script.steps:
        if step.kind is StepKind.LOAD_WITHOUT_HARDWARE:
            guest.codes[step.number] = 19
    return guest


def test_hardware_that_is_not_there_is_said_and_all_else_is_tested() -> None:
    guest = _without_hardware()
    verdict = guest.judge()
    assert (verdict.problems, len(verdict.refusals)) == ((), 6), "copies of all three are refused"
    assert guest.script.not_exercised == (
        "core: not exercised: no hardware: its init must answer ENODEV: no such card in a guest",
        "char: not exercised: it needs core, which is not loaded",
    )
    assert [str(step) for step in guest.script.steps[6:]] == [
        "load-without-hardware core", "load tool", "smoke-test defaults", "unload tool", "repeat 3 times",
        "leftovers defaults",
    ]  # fmt: skip
    assert "load 7 14 refused /kmodsmith/modules/core.ko\n" in guest.script.body


@pytest.mark.parametrize(
    ("code", "line", "check", "words"),
    [
        (0, "", BootCheck.LOAD_ACCEPTED, "was loaded, and versions.yaml says that it answers ENODEV here"),
        (5, "", BootCheck.LOAD_REFUSED, "answers EIO; versions.yaml says that it answers ENODEV here"),
        (19, "core: Unknown symbol kfree (err -2)", BootCheck.SYMBOL_MISSING, "Unknown symbol kfree"),
        (129, "", BootCheck.SIGNATURE_REFUSED, "EKEYREJECTED"),
        (19, "WARNING: CPU: 0 PID: 1 at core.c:4 init+0x1/0x2", BootCheck.KERNEL_WARNING, "core.c:4"),
    ],
)
def test_another_answer_than_the_expected_one_is_a_fault(code: int, line: str, check: BootCheck, words: str) -> None:
    guest = _without_hardware()
    number = guest.step("load-without-hardware")
    guest.codes[number] = code
    guest.kernel[number] = [line] if line else []
    problems = guest.judge().problems
    assert [item.check for item in problems] == [check]
    assert words in str(problems[0])


@pytest.mark.parametrize(
    ("text", "code", "check"),
    [
        ("refuse-unsigned core", 0, BootCheck.UNSIGNED_ACCEPTED),
        ("refuse-stranger core", 19, BootCheck.WRONG_REFUSAL),
        ("refuse-unsigned char", 0, BootCheck.UNSIGNED_ACCEPTED),
    ],
)
def test_missing_hardware_excuses_no_refusal_of_the_kernel(text: str, code: int, check: BootCheck) -> None:
    guest = _without_hardware()
    guest.codes[guest.step(text)] = code
    assert [item.check for item in guest.judge().problems] == [check]


def test_parameters_that_name_a_module_without_hardware_must_make_it_load() -> None:
    guest = _without_hardware(parameters=({"name": "forced", "modules": {"core": "force=1"}},))
    steps = [str(step) for step in guest.script.steps]
    assert "load core force=1" in steps
    assert steps.count("load char") == 1, "what needs it is loaded with it"


def test_what_is_left_behind_by_a_refusal_counts() -> None:
    guest = _without_hardware()
    guest.reports[guest.step("leftovers")] = ["left sysfs-entry /sys/class/core"]
    assert [item.check for item in guest.judge().problems] == [BootCheck.SYSFS_ENTRY_LEFT]


def test_a_soft_dependency_that_fails_stops_nothing_and_is_said() -> None:
    loads = [Load(name="crc32c_intel", is_required=False, because_of="libcrc32c"), Load(name="libcrc32c")]
    guest = PretendedGuest(
        make_script([OwnModule(name="a")], BootTest(), in_tree=loads, is_enforced=False, has_test=False)
    )
    assert guest.script.prepare.startswith("load 1 14 either /kmodsmith/in-tree/crc32c_intel.ko\nload 2 14 taken ")
    guest.codes[1] = 19
    verdict = guest.judge()
    assert verdict.problems == ()
    assert "load-soft-dependency crc32c_intel: ENODEV, which stops nothing: it is a soft dependency" in verdict.notes
    guest.codes[2] = 2
    assert [item.check for item in guest.judge().problems] == [BootCheck.LOAD_REFUSED]


@pytest.mark.parametrize(("cache", "counts"), [("scsi_sense_cache", False), ("scsi_sense_cache_of_mine", True)])
def test_a_cache_that_the_kernel_keeps_is_nobodys(guest: PretendedGuest, cache: str, *, counts: bool) -> None:
    guest.reports[guest.step("leftovers defaults")] = [f"left sysfs-entry /sys/kernel/slab/{cache}"]
    assert [item.check for item in guest.judge().problems] == [BootCheck.SYSFS_ENTRY_LEFT] * counts


def test_a_cache_that_was_merged_and_not_given_back_is_named(guest: PretendedGuest) -> None:
    guest.reports[guest.step("leftovers defaults")] = ["left slab-alias :0000128 12 13 my_cache"]
    problem = guest.judge().problems[0]
    assert problem.check is BootCheck.MEMORY_LEFT
    assert "a cache is not given back: my_cache (with :0000128: 12 other names before, 13 after)" in problem.sentence


@pytest.mark.parametrize(
    ("taint", "notes"),
    [
        ("0", []),
        ("12288", ["O: an out-of-tree module was loaded", "E: an unsigned module was loaded"]),
    ],
)
def test_taints_that_follow_from_what_a_driver_is_are_said(guest: PretendedGuest, taint: str, notes: list[str]) -> None:
    guest.taint = taint
    verdict = guest.judge()
    assert verdict.problems == ()
    assert list(verdict.notes) == [f"the kernel is tainted {note}" for note in notes]


def test_a_proprietary_licence_is_no_fault_where_it_is_declared(guest: PretendedGuest) -> None:
    guest.taint = "4097"
    transcript = read_console(guest.lines())
    licences = {"afs": "openafs.org/license10"}
    verdict = judge_boot(transcript, guest.script.steps, Ending.FINISHED, proprietary=licences)
    assert verdict.problems == ()
    assert verdict.notes[0] == (
        "the kernel is tainted P: a proprietary module was loaded (the licence of afs is 'openafs.org/license10')"
    )
    undeclared = judge_boot(transcript, guest.script.steps, Ending.FINISHED)
    assert [item.check for item in undeclared.problems] == [BootCheck.TAINT]


_DEVICE = "0000:01:00.0 1234:11e8"


def _with_device() -> PretendedGuest:
    guest = PretendedGuest(plan_devices("core", "nic", parameters=({"name": "few", "modules": {"nic": "q=1"}},)))
    assert guest.judge().problems == ()
    return guest


def test_what_was_bound_is_told() -> None:
    assert _with_device().judge().notes == (
        "bound edu 1234:11e8 at 0000:01:00.0: driver nic of nic",
        "plugged in again and bound edu 1234:11e8 at 0000:01:00.0: driver nic of nic",
        *PretendedGuest(plan_script("core")).judge().notes,
    )


@pytest.mark.parametrize("step", ["devices-bound defaults", "devices-bound few", "plug-device edu"])
@pytest.mark.parametrize(
    ("report", "words"),
    [
        ([f"device {_DEVICE} - -"], "edu 1234:11e8 is bound to no driver, and the table of nic names it"),
        ([], "edu 1234:11e8 is not there any more, so nic cannot bind to it"),
        ([f"device {_DEVICE} other some driver"], "is bound to some driver, which is not of nic"),
        ([f"device {_DEVICE} - builtin"], "is bound to builtin, which is not of nic"),
        ([f"device {_DEVICE} core core"], "is bound to core, which is not of nic"),
        (["device 0000:01:00.0 1234:11e9 nic nic"], "is not there any more"),
        (["device nonsense", "device", f"device {_DEVICE} nic"], "is not there any more"),
    ],
)
def test_a_module_must_bind_to_the_device_of_its_table(step: str, report: list[str], words: str) -> None:
    guest = _with_device()
    guest.reports[next(item.number for item in guest.script.steps if str(item) == step)] = report
    guest.kernel[guest.step("load nic")] = ["pci 0000:01:00.0: BAR 0 assigned"]
    problems = guest.judge().problems
    assert [(item.check, item.step) for item in problems] == [(BootCheck.DEVICE_NOT_BOUND, step)]
    assert words in problems[0].sentence
    assert "last words" not in problems[0].sentence


def test_what_the_kernel_said_of_a_probe_is_told() -> None:
    guest = _with_device()
    guest.reports[guest.step("devices-bound")] = [f"device {_DEVICE} - -"]
    guest.kernel[guest.step("load nic")] = [
        "nic 0000:01:00.0: probe with driver nic failed with error -5",
        "pci 0000:01:00.0: x",
    ]
    assert (
        guest.judge()
        .problems[0]
        .sentence.endswith("last words about it: nic 0000:01:00.0: probe with driver nic failed with error -5")
    )
    guest.codes[guest.step("smoke-test")] = 1
    assert [item.check for item in guest.judge().problems] == [BootCheck.DEVICE_NOT_BOUND, BootCheck.SMOKE_TEST_FAILED]


@pytest.mark.parametrize(
    ("rest", "is_fault"), [("nic nic", True), ("- nic", True), ("other taken", False), ("- -", False)]
)
def test_after_unloading_nothing_is_bound_to_what_is_gone(rest: str, *, is_fault: bool) -> None:
    guest = _with_device()
    guest.reports[guest.step("devices-unbound")] = [f"device {_DEVICE} {rest}"]
    found = [(item.check, item.sentence) for item in guest.judge().problems]
    sentence = "edu 1234:11e8 is still bound to nic, whose module is gone"
    assert found == ([(BootCheck.DEVICE_STILL_BOUND, sentence)] if is_fault else [])
    guest.reports[guest.step("devices-unbound")] = []
    assert guest.judge().problems == (), "a test may take it away"


@pytest.mark.parametrize(
    ("step", "check"),
    [
        ("unplug-device", BootCheck.DEVICE_NOT_REMOVED), ("plug-device", BootCheck.LOAD_HUNG),
        ("devices-unbound", BootCheck.UNLOAD_HUNG), ("devices-bound", BootCheck.LOAD_HUNG),
    ],
)  # fmt: skip
def test_a_device_that_is_never_let_go_or_taken(step: str, check: BootCheck) -> None:
    guest = _with_device()
    guest.stops_in = next(item.number for item in guest.script.steps if str(item).startswith(step))
    guest.kernel[guest.stops_in] = []
    assert [item.check for item in guest.judge(Ending.TIMED_OUT).problems] == [check]
    guest.kernel[guest.stops_in] = [
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        " nic_remove+0x1/0x2 [nic]",
    ]
    problems = guest.judge(Ending.TIMED_OUT).problems
    assert [item.check for item in problems] == [BootCheck.KERNEL_OOPS, check]
    assert problems[0].place == "nic_remove+0x1/0x2 [nic]"
