from __future__ import annotations

import os
import signal
import subprocess
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builder.errors import CommandError, HostError
from builder.host import run as run_module
from builder.host.processor import measure
from builder.host.run import Command, Service, kill_processes, obey, run, stop_all

if TYPE_CHECKING:
    from fakes.tools import FakeTools


def test_returns_output_and_exit_code(fake_tools: FakeTools) -> None:
    fake_tools.add("tool", "echo out; echo err >&2; exit 3")
    outcome = run(Command(argv=("tool", "a b")))
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (3, "out\n", "err\n")
    assert not outcome
    assert fake_tools.calls("tool") == [["a b"]]


def test_check_tells_everything_and_how_to_repeat_it(fake_tools: FakeTools) -> None:
    fake_tools.add("tool", "echo broken >&2; exit 3")
    with pytest.raises(CommandError, match=r"ended with exit code 3:\nbroken") as caught:
        run(Command(argv=("tool", "a b"))).check()
    assert caught.value.hint == "to repeat it: tool 'a b'"


def test_a_child_gets_the_descriptors_that_it_is_to_inherit_and_no_others(fake_tools: FakeTools) -> None:
    reading, writing = os.pipe()
    try:
        fake_tools.add("tool", f"[ -e /proc/self/fd/{writing} ] && echo inherited || echo closed")
        assert run(Command(argv=("tool",), inherits=(writing,))).stdout == "inherited\n"
        assert run(Command(argv=("tool",))).stdout == "closed\n"
    finally:
        os.close(reading)
        os.close(writing)


def test_missing_program_is_a_clear_error(fake_tools: FakeTools) -> None:
    with pytest.raises(HostError, match="no-such-tool is not installed"):
        run(Command(argv=("no-such-tool",)))


def test_environment_is_an_allow_list(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET", "canary")
    monkeypatch.setenv("https_proxy", "http://proxy.test")
    fake_tools.add("tool", "env")
    printed = run(Command(argv=("tool",), environment={"EXTRA": "1"})).stdout
    assert "canary" not in printed
    assert "https_proxy=http://proxy.test" in printed
    assert "EXTRA=1" in printed


def test_log_file_gets_command_and_output(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("tool", "echo out; echo err >&2; exit 1")
    log = tmp_path / "deep" / "build.log"
    outcome = run(Command(argv=("tool", "x"), log_file=log))
    assert log.read_text() == "+ tool x\nout\nerr\n"
    assert outcome.stderr == log.read_text()


def test_time_out_stops_the_whole_group(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_STOP_STEPS", ((signal.SIGKILL, 5.0),))
    fake_tools.add("tool", "sleep 60")
    outcome = run(Command(argv=("tool",), timeout_s=0.2))
    assert outcome.timed_out
    assert "longer than 0.2 s" in outcome.explain()


def test_a_stubborn_child_is_killed_in_the_end(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_STOP_STEPS", ((signal.SIGTERM, 0.1), (signal.SIGKILL, 5.0)))
    fake_tools.add("tool", "trap '' TERM INT; while :; do sleep 0.05; done")
    outcome = run(Command(argv=("tool",), timeout_s=0.2))
    assert outcome.timed_out
    assert outcome.exit_code == -signal.SIGKILL


@pytest.mark.parametrize("leaves", ["sleep 60 &", "setsid sleep 60 &"])
@pytest.mark.parametrize("ends", ["sleep 60", "exit 3"])
def test_who_holds_the_pipe_of_a_child_is_not_waited_for(
    fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch, leaves: str, ends: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_module, "_STOP_STEPS", ((signal.SIGKILL, 5.0),))
    monkeypatch.setattr(run_module, "_SLICE_S", 0.05)
    monkeypatch.setattr(run_module, "_LAST_WORDS_S", 0.05)
    (fake_tools.folder / "setsid").symlink_to("/usr/bin/setsid")
    fake_tools.add("tool", f"echo out; echo err >&2; {leaves} echo $! >{tmp_path}/left; {ends}")
    # One that ends has all the time that a busy machine takes to start it.
    outcome = run(Command(argv=("tool",), timeout_s=30 if ends == "exit 3" else 0.6))
    assert outcome.duration_s < 20
    assert (outcome.stdout, outcome.stderr, outcome.timed_out) == ("out\n", "err\n", ends != "exit 3")
    left = int((tmp_path / "left").read_text() or 0)
    if outcome.timed_out and left:  # what a child that had its time leaves on purpose is its own affair
        assert not Path(f"/proc/{left}/cmdline").exists() or not Path(f"/proc/{left}/cmdline").read_bytes()
    elif left:
        os.kill(left, signal.SIGKILL)


def test_a_thread_that_is_told_to_stop_starts_nothing_more(fake_tools: FakeTools) -> None:
    fake_tools.add("tool")
    is_stopping = threading.Event()
    ended: list[BaseException | None] = []

    def work() -> None:
        obey(is_stopping)
        run(Command(argv=("tool",)))
        is_stopping.set()
        for start in (lambda: run(Command(argv=("tool",))), lambda: Service(Command(argv=("tool",)), "x")):
            try:
                start()
            except CancelledError as error:
                ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert (len(ended), len(fake_tools.calls("tool"))) == (2, 1)
    assert run(Command(argv=("tool",))), "who cleans up may"


def test_stop_all_reaches_children_of_other_threads(fake_tools: FakeTools, tmp_path: Path) -> None:
    started = tmp_path / "started"
    fake_tools.add("tool", f"touch {started}; sleep 60")
    results = []
    thread = threading.Thread(target=lambda: results.append(run(Command(argv=("tool",)))))
    thread.start()
    while not (started.exists() and run_module._live):  # the child is quicker than who writes it down
        thread.join(0.01)
    stop_all()
    thread.join(10)
    assert results
    assert not results[0]


def test_only_processes_that_are_meant_are_killed(fake_tools: FakeTools, tmp_path: Path) -> None:
    words = [f"{tmp_path}/one", f"{tmp_path}/other"]
    children = [
        subprocess.Popen(["sh", "-c", "echo; read -r _", word], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for word in words
    ]
    for child in children:  # before it runs, its command line may not be there yet
        assert child.stdout is not None
        child.stdout.readline()

    def is_meant(process: Path) -> bool:
        command = (process / "cmdline").read_bytes()
        if process.name == str(os.getpid()):
            raise PermissionError
        return words[0].encode() in command

    kill_processes(is_meant)
    assert children[0].wait(10) == -signal.SIGKILL
    assert children[1].poll() is None
    for child in children:
        child.communicate(timeout=10)


def test_a_command_is_shown_without_its_secrets() -> None:
    """Masked before it is quoted: a value ends where its word ends."""
    command = Command(argv=("tool", "--build-arg=DB_PASSWORD=a b", "--password", "it's", "http://u:it's@host", "x y"))
    assert str(command) == "tool '--build-arg=DB_PASSWORD=***' --password '***' 'http://***@host' 'x y'"
    assert str(Command(argv=("env",), shown=("tool", '{"password":"x\\"y z"}'))) == """tool '{"password":***'"""


def test_a_log_begins_with_a_command_without_its_secrets(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("tool")
    run(Command(argv=("tool", "--env=DB_PASSWORD=a b"), log_file=tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "+ tool '--env=DB_PASSWORD=***'\n"


def test_a_service_answers_line_by_line(fake_tools: FakeTools) -> None:
    fake_tools.add("parrot", 'while read -r line; do echo "$line!"; done')
    service = Service(Command(argv=("parrot",)), "the parrot")
    assert [service.ask("one"), service.ask("two")] == ["one!\n", "two!\n"]
    service.close()


@pytest.mark.parametrize(
    ("script", "words"),
    [("read -r line", "the parrot ended without an answer"), ("sleep 20", "gave no answer for 0.2 s")],
)
def test_a_service_that_does_not_answer(
    fake_tools: FakeTools, script: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.host.run._STOP_STEPS", ((signal.SIGTERM, 0.2), (signal.SIGKILL, 5.0)))
    fake_tools.add("parrot", script)
    service = Service(Command(argv=("parrot",), timeout_s=0.2), "the parrot")
    with pytest.raises(CommandError, match=words):
        service.ask("one")
    service.close()


@pytest.mark.parametrize("exists", [True, False])
def test_a_file_of_passwords_that_no_login_wrote_yet_is_not_named(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, exists: bool
) -> None:
    """Buildah refuses to do anything where the variable names a file that is not there."""
    file = tmp_path / "auth.json"
    if exists:
        file.touch()
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(file))
    fake_tools.add("tool", 'echo "${REGISTRY_AUTH_FILE-nothing}"')
    assert run(Command(argv=("tool",))).stdout.strip() == (str(file) if exists else "nothing")


def test_what_a_child_and_all_below_it_took_of_processors_is_measured(fake_tools: FakeTools) -> None:
    fake_tools.add("tool", "(i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done)")
    with measure() as meter:
        assert run(Command(argv=("tool",)))
        assert 0.02 < meter.read() < 30
