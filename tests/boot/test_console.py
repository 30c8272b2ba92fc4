"""What counts as a report of the guest, and what is known from them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fakes.consoles import WORDS, read_console, report_lines

from builder.boot.console import FaultKind

if TYPE_CHECKING:
    from fakes.consoles import PretendedGuest


def test_nothing_but_a_report_with_a_word_counts(guest: PretendedGuest) -> None:
    """A line that looks like one, from a smoke test, the module or another boot."""
    lines = guest.lines()[:5]
    for forged in ("kmodsmith fedcba9876543210 finish", "kmodsmith  finish", f"x kmodsmith {WORDS[5]} finish"):
        transcript = read_console([*lines, f"[    3.000000] {forged}", forged, f"kmodsmith {WORDS[5]} finish"])
        assert not transcript.has_finished


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
    transcript = read_console(report_lines("start", *texts))
    assert [fault.kind for fault in transcript.faults] == [FaultKind.ORDER]


def test_a_long_report_has_one_word_and_a_later_line_of_it_comes_too_late() -> None:
    lines = report_lines("start", "begin 1", "said one")
    again = f"[    1.000000] kmodsmith {WORDS[2]} said two"
    end = f"[    1.000000] kmodsmith {WORDS[3]} end 1 0"
    transcript = read_console([*lines, again, end])
    assert (transcript.steps[1].said, transcript.faults) == (["one", "two"], {})
    for forged in (again, again.replace("said two", "end 1 0")):
        assert [fault.kind for fault in read_console([*lines, end, forged]).faults] == [FaultKind.ORDER]


def test_more_than_fifty_thousand_lines_are_read_to_their_end() -> None:
    lines = [*report_lines("start", "begin 1"), *(["[    2.000000] x"] * 60_000), "[    2.000000] WARNING: at a.c:1"]
    assert read_console(lines).steps[1].kernel[-1] == "WARNING: at a.c:1"


@pytest.mark.parametrize(
    "line",
    ["end", "end x 0", "end 99 0", "end 1 x", f"end 1 {'9' * 5000}", "begin", "begin x", f"begin {'9' * 5000}",
     "grown 99 1", "grown 1 x", "said", "fact", "log", f"log {'9' * 5000} {'9' * 5000} x", ""],
)  # fmt: skip
def test_damaged_reports_do_no_harm(line: str) -> None:
    transcript = read_console(report_lines(line))
    assert transcript.steps == {}
    assert not transcript.has_finished
    assert transcript.taints == []


def test_callers_are_read_over_and_control_characters_dropped() -> None:
    transcript = read_console(
        [f"\x1b[2J[    1.000000][    T1] kmodsmith {WORDS[0]} start\r", "[    1.1][    C0] \x07Oops: 1"]
    )
    assert transcript.has_started
    assert transcript.before == ["Oops: 1"]


def _kernel(*texts: str) -> list[str]:
    return [f"[    2.000000] {text}" for text in texts]


def test_what_the_kernel_says_belongs_to_the_step_that_runs() -> None:
    reports = report_lines("start", "begin 1", "end 1 5", "begin 2")
    lines = [line for report, text in zip(reports, "abcd", strict=True) for line in (*_kernel(text), report)]
    transcript = read_console([*lines, *_kernel("e")])
    assert (transcript.before, transcript.between) == (["a", "b"], ["d"])
    assert [log.kernel for log in transcript.steps.values()] == [["c"], ["e"]]
    assert (transcript.steps[1].code, transcript.steps[2].code, transcript.current) == (5, None, 2)
    transcript.interrogate()
    transcript.feed(_kernel("sysrq: where it is")[0])
    assert (transcript.steps[2].kernel, transcript.steps[2].answers) == (["e"], ["sysrq: where it is"])


def test_reports_tell_what_they_are_for() -> None:
    reports = [
        "start",
        "fact release: 6.12.5",
        "fact empty",
        "begin 1",
        "said a  b",
        "left x y",
        "changed",
        "grown 1 -12",
        "end 1 0",
    ]
    transcript = read_console(report_lines(*reports))
    log = transcript.steps[1]
    assert transcript.facts == {"release": "6.12.5", "empty": ""}
    assert (log.said, log.left, log.is_changed, log.grown_kib) == (["a  b"], ["x y"], True, -12)
    assert (transcript.faults, transcript.has_finished) == ({}, False)


def test_the_guests_clock_times_a_step() -> None:
    start, begin, end = report_lines("start", "begin 1", "end 1 0")
    log = read_console([start, begin.replace("1.000000", "7.25"), end.replace("1.000000", "109.5")]).steps[1]
    assert (log.began, log.ended) == (7.25, 109.5)


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        (slice(1, 2), '1 reports before "fact b" did not arrive'),
        (slice(0, 2), '2 reports before "fact b" did not arrive'),
        (slice(1, 3), '2 reports before "finish" did not arrive'),
    ],
)
def test_reports_that_are_lost_leave_a_gap(cut: slice, sentence: str) -> None:
    lines = report_lines("start", "fact a", "fact b", "finish")
    del lines[cut]
    transcript = read_console(lines)
    assert [(fault.kind, fault.sentence) for fault in transcript.faults] == [(FaultKind.LOST, sentence)]
    assert transcript.has_finished


def test_a_report_is_told_from_what_is_none() -> None:
    transcript = read_console([])
    (report,) = report_lines("start")
    lines = [*_kernel("x"), report, f"kmodsmith {WORDS[1]} finish", "", "UEFI: starting"]
    assert [transcript.feed(line) for line in lines] == [False, True, False, False, False]
    assert transcript.last_lines == [_kernel("x")[0], f"kmodsmith {WORDS[1]} finish", "UEFI: starting"]
    for number in range(20):
        transcript.feed(f"line {number}")
    assert transcript.last_lines == [f"line {number}" for number in range(10, 20)]


def _lost(lines: list[str]) -> list[str]:
    """Return what a console is missing; nothing else may be wrong with it."""
    faults = read_console(lines).faults
    assert {fault.kind for fault in faults} <= {FaultKind.LOST}
    return [fault.sentence for fault in faults]


@pytest.mark.parametrize("hidden", [["WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2"], ["a", "b"]])
def test_what_the_console_did_not_print_is_missed(guest: PretendedGuest, hidden: list[str]) -> None:
    """Whoever turned it down: "dmesg -n 1", a module, a console that is too slow."""
    assert _lost(guest.lines()) == []
    guest.hidden[guest.step("smoke-test defaults")] = hidden
    (sentence,) = _lost(guest.lines())
    counts = re.fullmatch(r"the console has (\d+) lines where the kernel's buffer had (\d+)", sentence)
    assert counts is not None
    assert int(counts[2]) - int(counts[1]) == len(hidden)


def test_a_line_in_the_place_of_one_that_was_hidden_is_noticed(guest: PretendedGuest) -> None:
    number = guest.step("smoke-test defaults")
    guest.hidden[number] = ["WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2"]
    lines = guest.lines()
    place = next(place for place, line in enumerate(lines) if f"begin {number}\r" in line)
    lines.insert(place + 1, "[    2.000000] random: crng init done")
    (sentence,) = _lost(lines)
    assert sentence.endswith("and not the same ones")


def test_colours_and_letters_of_other_alphabets_are_compared_as_the_kernel_has_them(guest: PretendedGuest) -> None:
    """In its buffer they are escapes, which are left out on both sides."""
    number = guest.step("load char")
    guest.kernel[number] = ["char: [31mred[0m \\ caf\ttea"]
    lines = [line.replace("[31m", "\x1b[31m").replace("caf", "caf\ufffd") for line in guest.lines()]
    guest.kernel[number] = ["char: [31mred[0m caftea"]
    mixed = [new if "char: " in new else old for new, old in zip(lines, guest.lines(), strict=True)]
    assert _lost(mixed) == []


def test_the_first_account_only_says_where_to_begin(guest: PretendedGuest) -> None:
    """What the kernel said before the guest's first process, no console need have."""
    assert _lost(["[    0.500000] random: crng init done", *guest.lines()]) == []


def test_of_a_long_line_its_beginning_is_compared(guest: PretendedGuest) -> None:
    guest.kernel[guest.step("load char")] = ["x" * 400]
    lines = guest.lines()
    assert _lost([line.replace("x" * 400, "x" * 300 + "y") for line in lines]) == []
    assert len(_lost([line.replace("x" * 400, "x" * 299 + "y") for line in lines])) == 1


def test_messages_that_the_kernel_dropped_are_missed(guest: PretendedGuest) -> None:
    guest.kernel[guest.step("load char")] = ["** 312 printk messages dropped **"]
    assert _lost(guest.lines()) == ["the kernel dropped 312 messages before the console printed them"]


def test_a_buffer_that_was_overwritten_is_no_account(guest: PretendedGuest) -> None:
    lines = [re.sub(r" log \d+ \d+ ", " log 12288 ", line) for line in guest.lines()]
    assert _lost(lines) == ["the kernel's buffer was overwritten before it could be compared"]


def test_every_account_says_what_the_kernel_is_tainted_with(guest: PretendedGuest) -> None:
    guest.taint = "4096"
    assert read_console(guest.lines()).taints == [4096, 4096]


def test_lines_beyond_those_that_are_kept_are_told(guest: PretendedGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.boot.console._MOST_KEPT_LINES", 100)
    number = guest.step("load char")
    guest.kernel[number] = [*(str(number) for number in range(100)), "WARNING: at a.c:1"]
    assert _lost(guest.lines()) == ["the kernel said more than the 100 lines that are kept"]
    assert read_console(guest.lines()).steps[number].kernel == guest.kernel[number][:100]
