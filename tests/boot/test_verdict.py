"""Reading a guest's console and judging it: recorded consoles, and each verdict broken out of a good one."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from builder.boot.console import FaultKind, Transcript
from builder.boot.load_order import Load
from builder.boot.script import OwnModule, Script, StepKind, make_script
from builder.boot.splats import SplatKind, find_splats
from builder.boot.verdict import BootCheck, Ending, Verdict, judge_boot, raise_problems
from builder.config.model import AllowedMessage, BootTest
from builder.errors import CellError, FailureClass

_DATA = Path(__file__).parents[1] / "data"
_WORDS = [f"{number:016x}" for number in range(1000)]


def _script(
    *modules: str, secure: bool = False, test: bool = False, in_tree: tuple[str, ...] = (), **more: object
) -> Script:
    settings = BootTest.model_validate({"timeouts": {"load": 6, "unload": 6, "smoke_test": 6}, **more})
    own = [OwnModule(name=name) for name in modules]
    loads = [Load(name=name) for name in in_tree]
    return make_script(own, settings, in_tree=loads, is_enforced=secure, has_test=test)


def _read(lines: list[str]) -> Transcript:
    transcript = Transcript(_WORDS)
    for line in lines:
        transcript.feed(line)
    return transcript


def _recorded(
    name: str, module: str, ending: Ending, *, secure: bool = False, repeat: int = 1, test: bool = False
) -> Verdict:
    transcript = Transcript(_WORDS)
    for line in (_DATA / "consoles" / f"{name}.log").read_text().splitlines():
        if "NMI" in line and ending is Ending.TIMED_OUT:  # as the host did when its patience was at an end
            transcript.interrogate()
        transcript.feed(line)
    return judge_boot(transcript, _script(module, secure=secure, repeat=repeat, test=test).steps, ending)


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


class _Guest:
    """A console to be, with everything in order; a test changes one thing."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.codes = {
            step.number: 129 if step.kind.startswith("refuse-un") or step.kind.startswith("refuse-st") else 0
            for step in script.steps
        }
        for step in script.steps:
            if step.kind == "refuse-parameters":
                self.codes[step.number] = 22
        self.kernel: dict[int, list[str]] = {}
        self.hidden: dict[int, list[str]] = {}
        """What the kernel's buffer has and the console does not."""
        self.reports: dict[int, list[str]] = {}
        self.between: list[str] = []
        self.taint = "12288"
        self.stops_in: int | None = None

    def step(self, text: str) -> int:
        return next(step.number for step in self.script.steps if text in str(step))

    def lines(self) -> list[str]:
        self._words = iter(_WORDS)
        self._buffer: list[str] = []
        said = ["start", "fact release 6.12.5+deb12-amd64", "fact taint-before 0"]
        lines = [self._report(text) for text in said]
        lines += self._account()
        for step in self.script.steps:
            lines.append(self._report(f"begin {step.number}"))
            lines += [self._record(line) for line in self.kernel.get(step.number, [])]
            self._buffer += self.hidden.get(step.number, [])
            if step.number == self.stops_in:
                return lines
            lines += [self._report(line) for line in self.reports.get(step.number, [])]
            lines.append(self._report(f"end {step.number} {self.codes[step.number]}"))
            lines += [self._record(line) for line in self.between]
        return [*lines, *self._account(), self._report("finish")]

    def judge(self, ending: Ending = Ending.FINISHED, allow: tuple[AllowedMessage, ...] = ()) -> Verdict:
        return judge_boot(_read(self.lines()), self.script.steps, ending, allow=allow)

    def _account(self) -> list[str]:
        mark = self._report("mark")
        squeezed = (re.sub(r"\s", "", text) for text in self._buffer[:-1])
        sum_ = hashlib.sha256("".join(f"2000000 {text[:300]}\n" for text in squeezed if text).encode())
        counted = len(self._buffer) - 1
        self._buffer = []
        return [mark, self._report(f"log {self.taint} {counted} {sum_.hexdigest()} -")]

    def _report(self, text: str) -> str:
        return self._record(f"kmodsmith {next(self._words)} {text}") + "\r"

    def _record(self, text: str) -> str:
        self._buffer.append(text)
        return f"[    2.000000] {text}"


@pytest.fixture
def guest() -> _Guest:
    sets = (
        {"name": "limits", "modules": {"char": "max=9"}},
        {"name": "nonsense", "modules": {"char": "max=-1"}, "refused": True},
    )
    return _Guest(_script("core", "char", secure=True, test=True, in_tree=("crc_itu_t",), repeat=20, parameters=sets))


def test_everything_in_order(guest: _Guest) -> None:
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
def test_one_thing_wrong(guest: _Guest, check: BootCheck) -> None:
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
def test_a_step_that_takes_too_long(guest: _Guest, text: str, check: BootCheck) -> None:
    guest.stops_in = guest.step(text)
    assert [problem.check for problem in guest.judge(Ending.TIMED_OUT).problems] == [check]


@pytest.mark.parametrize("text", ["load char", "smoke-test limits"])
def test_a_guest_that_ends_without_a_word(guest: _Guest, text: str) -> None:
    guest.stops_in = guest.step(text)
    assert [problem.check for problem in guest.judge(Ending.DIED).problems] == [BootCheck.GUEST_ENDED]


@pytest.mark.parametrize("ending", [Ending.TIMED_OUT, Ending.DIED])
@pytest.mark.parametrize("done", [0, 3])
def test_a_guest_that_falls_silent_between_steps_has_not_passed(guest: _Guest, ending: Ending, done: int) -> None:
    lines = guest.lines()
    place = next(number for number, line in enumerate(lines) if f"begin {done + 1}\r" in line)
    verdict = judge_boot(_read(lines[:place]), guest.script.steps, ending)
    assert [(item.check, item.step) for item in verdict.problems] == [
        (BootCheck.GUEST_ENDED, str(guest.script.steps[done]))
    ]


def test_a_guest_that_skips_steps_has_not_passed(guest: _Guest) -> None:
    """A report of the end alone is worth nothing, nor is one that lacks only the end."""
    lines = guest.lines()
    problems = judge_boot(_read(lines[:-1]), guest.script.steps, Ending.FINISHED).problems
    assert [item.check for item in problems] == [BootCheck.GUEST_ENDED]
    for cut in ([*lines[:5], *lines[-3:]], [line for line in lines if "end 5 " not in line]):
        problems = judge_boot(_read(cut), guest.script.steps, Ending.FINISHED).problems
        assert BootCheck.OUTPUT_LOST in {item.check for item in problems}


def test_an_excused_complaint_does_not_excuse_what_was_not_done_after_it(guest: _Guest) -> None:
    number = guest.step("load char")
    guest.kernel[number] = ["Oops: 0002 [#1]"]
    guest.codes[number] = 137
    guest.taint = str(12288 + (1 << 7))
    steps = guest.script.steps
    guest.script = replace(guest.script, steps=steps[:number])
    verdict = judge_boot(_read(guest.lines()), steps, Ending.FINISHED, allow=_allow("kernel-oops"))
    assert [item.check for item in verdict.allowed] == [BootCheck.KERNEL_OOPS]
    assert [item.check for item in verdict.problems] == [BootCheck.GUEST_ENDED]


def test_a_console_that_never_stops(guest: _Guest) -> None:
    guest.stops_in = guest.step("load char")
    assert [problem.check for problem in guest.judge(Ending.FLOODED).problems] == [BootCheck.CONSOLE_FLOODED]


def test_complaints_between_steps_count(guest: _Guest) -> None:
    guest.between = ["WARNING: CPU: 0 PID: 9 at kernel/workqueue.c:1 process_one_work+0x1/0x2"]
    problems = guest.judge().problems
    assert {(problem.check, problem.step) for problem in problems} == {(BootCheck.KERNEL_WARNING, "between steps")}


@pytest.mark.parametrize(
    ("bit", "letter"), [(3, "R"), (4, "M"), (5, "B"), (7, "D"), (9, "W"), (14, "L"), (18, "N"), (26, "?"), (40, "?")]
)
def test_taint(guest: _Guest, bit: int, letter: str) -> None:
    """The kernel takes note of more than the console shows: a warning, a death, a bad page, a lockup without a word."""
    guest.taint = str(12288 + (1 << bit))
    problems = guest.judge().problems
    assert [problem.check for problem in problems] == [BootCheck.TAINT]
    assert f"tainted {letter}" in problems[0].sentence


def test_the_taint_of_a_warning_is_not_counted_twice(guest: _Guest) -> None:
    guest.taint = str(12288 + (1 << 9))
    guest.kernel[guest.step("load char")] = ["WARNING: CPU: 0 PID: 1 at char.c:7 char_init+0x1/0x2 [char]"]
    assert [problem.check for problem in guest.judge().problems] == [BootCheck.KERNEL_WARNING]


def test_what_every_vendors_module_does_to_the_taint_is_expected(guest: _Guest) -> None:
    guest.taint = str(1 << 12 | 1 << 13)
    assert guest.judge().problems == ()


def test_a_taint_that_was_there_before_is_not_the_drivers(guest: _Guest) -> None:
    guest.taint = str(12288 + (1 << 11))
    lines = [line.replace("taint-before 0", f"taint-before {1 << 11}") for line in guest.lines()]
    assert judge_boot(_read(lines), guest.script.steps, Ending.FINISHED).problems == ()


def test_a_taint_that_nobody_told_is_not_a_clean_one(guest: _Guest) -> None:
    lines = [line.replace("fact taint-before 0", "fact taint-before") for line in guest.lines()]
    problems = judge_boot(_read(lines), guest.script.steps, Ending.FINISHED).problems
    assert [problem.check for problem in problems] == [BootCheck.TAINT]


def test_complaints_before_the_test_are_the_kernels_own(guest: _Guest) -> None:
    lines = ["[    0.500000] WARNING: CPU: 0 PID: 1 at arch/x86/kernel/cpu/common.c:1 x+0x1/0x2", *guest.lines()]
    assert judge_boot(_read(lines), guest.script.steps, Ending.FINISHED).problems == ()


def _allow(pattern: str) -> tuple[AllowedMessage, ...]:
    return (AllowedMessage(pattern=pattern, reason="r", expires=date(2999, 1, 1)),)


def test_what_is_allowed_is_no_problem_but_told(guest: _Guest) -> None:
    guest.kernel[guest.step("load char")] = ["WARNING: CPU: 0 PID: 1 at char.c:7 char_init+0x1/0x2 [char]"]
    assert guest.judge(allow=_allow(r"kernel-warning: load char: .*char\.c:7")).problems == ()
    assert len(guest.judge(allow=_allow(r"kernel-warning")).allowed) == 1
    assert len(guest.judge(allow=_allow(r"other\.c")).problems) == 1


def test_the_gravest_problem_comes_first(guest: _Guest) -> None:
    guest.reports[guest.step("leftovers defaults")] = ["left device-node /dev/x"]
    guest.kernel[guest.step("unload core")] = ["Oops: 0000 [#1]"]
    problems = guest.judge().problems
    with pytest.raises(CellError) as caught:
        raise_problems(problems)
    assert (caught.value.failure.failure_class, caught.value.failure.code) == (FailureClass.BOOT, "kernel-oops")
    assert "1 more: device-node-left" in (caught.value.hint or "")


def test_nothing_but_a_report_with_a_word_counts(guest: _Guest) -> None:
    """A line that looks like one, from a smoke test, the module or another boot."""
    lines = guest.lines()[:5]
    for forged in ("kmodsmith fedcba9876543210 finish", "kmodsmith  finish", f"x kmodsmith {_WORDS[5]} finish"):
        transcript = _read([*lines, f"[    3.000000] {forged}", forged, f"kmodsmith {_WORDS[5]} finish"])
        assert not transcript.has_finished


@pytest.mark.parametrize(
    "forged", ["finish", "end 4 0", "begin 5", "fact taint-before 512", "log 0 0 0", "mark", "start"]
)
def test_a_word_is_good_for_one_report(guest: _Guest, forged: str) -> None:
    """Everybody in the guest can read the words in its log: then they are spent."""
    number = guest.step("smoke-test defaults")
    guest.kernel[number] = [f"kmodsmith {_WORDS[7]} {forged}"]
    transcript = _read(guest.lines())
    problems = judge_boot(transcript, guest.script.steps, Ending.FINISHED).problems
    assert [item.check for item in problems] == [BootCheck.REPORT_OUT_OF_ORDER]
    assert f'"{forged.split(maxsplit=1)[0]}"' in problems[0].sentence
    assert transcript.facts["taint-before"] == "0"


def _reports(*texts: str) -> list[str]:
    return [f"[    1.000000] kmodsmith {word} {text}" for word, text in zip(_WORDS, texts, strict=False)]


@pytest.mark.parametrize(
    "texts",
    [
        ("begin 1", "end 1 0", "begin 1"),
        ("begin 1", "begin 2"),
        ("begin 2",),
        ("begin 0",),
        ("begin 1", "end 1 0", "end 1 0"),
        ("begin 1", "end 2 0"),
        ("begin 1", "finish"),
        ("end 1 0",),
    ],
)
def test_steps_come_in_their_order_and_once(texts: tuple[str, ...]) -> None:
    transcript = _read(_reports("start", *texts))
    assert [fault.kind for fault in transcript.faults] == [FaultKind.ORDER]


def test_a_long_report_has_one_word_and_a_later_line_of_it_comes_too_late() -> None:
    lines = _reports("start", "begin 1", "said one")
    again = f"[    1.000000] kmodsmith {_WORDS[2]} said two"
    end = f"[    1.000000] kmodsmith {_WORDS[3]} end 1 0"
    transcript = _read([*lines, again, end])
    assert (transcript.steps[1].said, transcript.faults) == (["one", "two"], {})
    for forged in (again, again.replace("said two", "end 1 0")):
        assert [fault.kind for fault in _read([*lines, end, forged]).faults] == [FaultKind.ORDER]


@pytest.mark.parametrize("hidden", [["WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2"], ["a", "b"]])
def test_what_the_console_did_not_print_is_missed(guest: _Guest, hidden: list[str]) -> None:
    """Whoever turned it down: "dmesg -n 1", a module, a console that is too slow."""
    guest.hidden[guest.step("smoke-test defaults")] = hidden
    problems = guest.judge().problems
    assert [item.check for item in problems] == [BootCheck.OUTPUT_LOST]
    assert re.search(r"the console has (\d+) lines where the kernel's buffer had (\d+)", problems[0].sentence)


def test_a_line_in_the_place_of_one_that_was_hidden_is_noticed(guest: _Guest) -> None:
    number = guest.step("smoke-test defaults")
    guest.hidden[number] = ["WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2"]
    lines = guest.lines()
    place = next(place for place, line in enumerate(lines) if f"begin {number}\r" in line)
    lines.insert(place + 1, "[    2.000000] random: crng init done")
    problems = judge_boot(_read(lines), guest.script.steps, Ending.FINISHED).problems
    assert [item.check for item in problems] == [BootCheck.OUTPUT_LOST]
    assert problems[0].sentence.endswith("and not the same ones")


def test_colours_and_letters_of_other_alphabets_are_compared_as_the_kernel_has_them(guest: _Guest) -> None:
    """In its buffer they are escapes, which are left out on both sides."""
    number = guest.step("load char")
    guest.kernel[number] = ["char: [31mred[0m \\ caf\ttea"]
    lines = [line.replace("[31m", "\x1b[31m").replace("caf", "caf\ufffd") for line in guest.lines()]
    guest.kernel[number] = ["char: [31mred[0m caftea"]
    expected = guest.lines()
    mixed = [new if "char: " in new else old for new, old in zip(lines, expected, strict=True)]
    assert judge_boot(_read(mixed), guest.script.steps, Ending.FINISHED).problems == ()


def test_messages_that_the_kernel_dropped_are_missed(guest: _Guest) -> None:
    guest.kernel[guest.step("load char")] = ["** 312 printk messages dropped **"]
    problems = guest.judge().problems
    assert [(item.check, "312" in item.sentence) for item in problems] == [(BootCheck.OUTPUT_LOST, True)]


def test_a_buffer_that_was_overwritten_is_no_account(guest: _Guest) -> None:
    lines = [re.sub(r" log \d+ \d+ ", " log 12288 ", line) for line in guest.lines()]
    problems = judge_boot(_read(lines), guest.script.steps, Ending.FINISHED).problems
    assert [item.check for item in problems] == [BootCheck.OUTPUT_LOST]


def test_lines_that_are_not_kept_are_a_failure_of_their_own(guest: _Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.boot.console._MOST_KEPT_LINES", 100)
    guest.kernel[guest.step("load char")] = [*(str(number) for number in range(100)), "WARNING: at a.c:1"]
    problems = guest.judge().problems
    assert [item.check for item in problems] == [BootCheck.OUTPUT_LOST]


def test_more_than_fifty_thousand_lines_are_read_to_their_end() -> None:
    lines = [*_reports("start", "begin 1"), *(["[    2.000000] x"] * 60_000), "[    2.000000] WARNING: at a.c:1"]
    assert _read(lines).steps[1].kernel[-1] == "WARNING: at a.c:1"


@pytest.mark.parametrize("text", ["WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2", "Oops: 0000 [#1]", "Call Trace:"])
def test_what_comes_after_an_answer_of_the_kernel_counts(guest: _Guest, text: str) -> None:
    """The guest's watchdog, a smoke test and a module can all make it say "sysrq"."""
    asked = ["sysrq: Show Blocked State", "task:insmod state:D stack:0 pid:77", "Call Trace:", " <TASK>", " </TASK>"]
    guest.kernel[guest.step("smoke-test defaults")] = asked
    assert guest.judge().problems == ()
    guest.kernel[guest.step("smoke-test defaults")] = [*asked, text]
    assert len(guest.judge().problems) == 1


def test_a_test_that_changes_what_later_steps_rest_on(guest: _Guest) -> None:
    guest.reports[guest.step("smoke-test defaults")] = ["changed changed"]
    assert [item.check for item in guest.judge().problems] == [BootCheck.GUEST_CHANGED]


def test_a_module_that_no_step_loads_is_a_problem(guest: _Guest) -> None:
    not_loaded = {"opt/b.ko": "it calls itself a"}
    problems = judge_boot(_read(guest.lines()), guest.script.steps, Ending.FINISHED, not_loaded=not_loaded).problems
    assert [(item.check, item.step) for item in problems] == [(BootCheck.MODULE_NOT_LOADED, "opt/b.ko")]


@pytest.mark.parametrize(
    "line",
    ["end", "end x 0", "end 99 0", "end 1 x", f"end 1 {'9' * 5000}", "begin", "begin x", f"begin {'9' * 5000}",
     "grown 99 1", "grown 1 x", "said", "fact", "log", f"log {'9' * 5000} {'9' * 5000} x", ""],
)  # fmt: skip
def test_damaged_reports_do_no_harm(line: str) -> None:
    transcript = _read(_reports(line))
    assert transcript.steps == {}
    assert not transcript.has_finished
    assert transcript.taints == []


def test_callers_are_read_over_and_control_characters_dropped() -> None:
    transcript = _read(
        [f"\x1b[2J[    1.000000][    T1] kmodsmith {_WORDS[0]} start\r", "[    1.1][    C0] \x07Oops: 1"]
    )
    assert transcript.has_started
    assert transcript.before == ["Oops: 1"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000", SplatKind.OOPS),
        ("Internal error: Oops: 0000000096000045 [#1] SMP", SplatKind.OOPS),
        ("kernel BUG at mm/slub.c:448!", SplatKind.OOPS),
        ("general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP", SplatKind.OOPS),
        ("UBSAN: array-index-out-of-bounds in x.c:1:2", SplatKind.MEMORY),
        ("refcount_t: underflow; use-after-free.", SplatKind.MEMORY),
        ("list_del corruption. prev->next should be x, but was y", SplatKind.MEMORY),
        ("BUG kmalloc-64 (Tainted: G OE): Redzone overwritten", SplatKind.MEMORY),
        ("BUG: sleeping function called from invalid context at x.c:1", SplatKind.LOCKS),
        ("WARNING: suspicious RCU usage", SplatKind.LOCKS),
        ("rcu: INFO: rcu_preempt self-detected stall on CPU", SplatKind.HUNG),
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:77]", SplatKind.HUNG),
        ("sysfs: cannot create duplicate filename '/class/x'", SplatKind.WARNING),
        ("Call trace:", SplatKind.TRACE),
    ],
)
def test_kinds_of_complaints(line: str, kind: SplatKind) -> None:
    assert [splat.kind for splat in find_splats([line])] == [kind]


@pytest.mark.parametrize(
    "line",
    [
        "x86/mm: Checked W+X mappings: passed, no W+X pages found.",
        "ptemplate_char: 5 devices of 100 bytes",
        "bad: loading out-of-tree module taints kernel.",
        "random: crng init done",
        "ACPI: no BUG here",
    ],
)
def test_ordinary_messages_are_no_complaints(line: str) -> None:
    assert find_splats([line]) == []


def test_a_trace_belongs_to_the_complaint_above_it_and_the_next_one_counts() -> None:
    splats = find_splats(
        [
            "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2", "Call Trace:", " g+0x3/0x4 [mine]",
            "---[ end trace 0000000000000000 ]---", "Call Trace:",
        ]
    )  # fmt: skip
    assert [(splat.kind, splat.place) for splat in splats] == [
        (SplatKind.WARNING, "g+0x3/0x4 [mine]"),
        (SplatKind.TRACE, ""),
    ]


def test_the_script_is_what_the_guest_reads() -> None:
    script = _script("core", "char", secure=True, test=True, in_tree=("crc_itu_t",), repeat=2,
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


def _without_hardware(**more: object) -> _Guest:
    own = [OwnModule(name="core"), OwnModule(name="char", depends=("core",)), OwnModule(name="tool")]
    settings = BootTest.model_validate({"load": _NO_HARDWARE, "repeat": 3, **more})
    guest = _Guest(make_script(own, settings, is_enforced=True, has_test=True))
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


def test_a_driver_of_which_nothing_can_be_loaded_has_no_smoke_test_and_says_so() -> None:
    settings = BootTest.model_validate({"load": _NO_HARDWARE, "repeat": 3})
    script = make_script([OwnModule(name="core")], settings, is_enforced=False, has_test=True)
    assert [str(step) for step in script.steps] == ["load-without-hardware core", "leftovers defaults"]
    assert script.not_exercised[1:] == ("the smoke test: not exercised: no module is loaded",)


def test_parameters_that_name_a_module_without_hardware_must_make_it_load() -> None:
    guest = _without_hardware(parameters=({"name": "forced", "modules": {"core": "force=1"}},))
    steps = [str(step) for step in guest.script.steps]
    assert "load core force=1" in steps
    assert steps.count("load char") == 1, "what needs it is loaded with it"


def test_what_is_left_behind_by_a_refusal_counts() -> None:
    guest = _without_hardware()
    guest.reports[guest.step("leftovers")] = ["left sysfs-entry /sys/class/core"]
    assert [item.check for item in guest.judge().problems] == [BootCheck.SYSFS_ENTRY_LEFT]


def test_parameters_that_are_the_default_are_taken_everywhere() -> None:
    sets = (
        {"name": "more", "modules": {"lime": "size=2"}},
        {"name": "needed", "modules": {"lime": "path=/dev/null"}, "default": True},
    )
    settings = BootTest.model_validate({"parameters": sets, "repeat": 2})
    own = [OwnModule(name="lime", options="quiet=1")]
    script = make_script(own, settings, is_enforced=False, has_test=True)
    assert [str(step) for step in script.steps] == [
        "load lime quiet=1 path=/dev/null", "smoke-test needed", "unload lime", "repeat 2 times", "leftovers defaults",
        "load lime quiet=1 size=2", "smoke-test more", "unload lime", "leftovers parameters",
    ]  # fmt: skip
    assert "insmod /kmodsmith/modules/lime.ko 'quiet=1 path=/dev/null'" in script.body


def test_a_name_in_a_script_is_a_word_whatever_is_in_it() -> None:
    settings = BootTest.model_validate({"repeat": 2})
    own = [OwnModule(name="x }; reboot; f() { true", options="a=1; reboot")]
    body = make_script(own, settings, is_enforced=True, has_test=False).body
    words = [shlex.split(line) for line in body.splitlines()]
    assert not any("reboot" in word.rstrip(";").split() for line in words for word in line if " " not in word)
    assert "rmmod 'x }; reboot; f() { true'" in body


def test_a_soft_dependency_that_fails_stops_nothing_and_is_said() -> None:
    loads = [Load(name="crc32c_intel", is_required=False, because_of="libcrc32c"), Load(name="libcrc32c")]
    guest = _Guest(make_script([OwnModule(name="a")], BootTest(), in_tree=loads, is_enforced=False, has_test=False))
    assert guest.script.prepare.startswith("load 1 14 either /kmodsmith/in-tree/crc32c_intel.ko\nload 2 14 taken ")
    guest.codes[1] = 19
    verdict = guest.judge()
    assert verdict.problems == ()
    assert "load-soft-dependency crc32c_intel: ENODEV, which stops nothing: it is a soft dependency" in verdict.notes
    guest.codes[2] = 2
    assert [item.check for item in guest.judge().problems] == [BootCheck.LOAD_REFUSED]


def test_a_cache_that_was_merged_and_not_given_back_is_named(guest: _Guest) -> None:
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
def test_taints_that_follow_from_what_a_driver_is_are_said(guest: _Guest, taint: str, notes: list[str]) -> None:
    guest.taint = taint
    verdict = guest.judge()
    assert verdict.problems == ()
    assert list(verdict.notes) == [f"the kernel is tainted {note}" for note in notes]


def test_a_proprietary_licence_is_no_fault_where_it_is_declared(guest: _Guest) -> None:
    guest.taint = "4097"
    transcript = _read(guest.lines())
    licences = {"afs": "openafs.org/license10"}
    verdict = judge_boot(transcript, guest.script.steps, Ending.FINISHED, proprietary=licences)
    assert verdict.problems == ()
    assert verdict.notes[0] == (
        "the kernel is tainted P: a proprietary module was loaded (the licence of afs is 'openafs.org/license10')"
    )
    undeclared = judge_boot(transcript, guest.script.steps, Ending.FINISHED)
    assert [item.check for item in undeclared.problems] == [BootCheck.TAINT]
