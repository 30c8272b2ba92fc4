"""The only place that starts processes: a command is a value, and so is its end.

Quiet when it works, everything when it fails, and the failed command ready to paste. Children get a short
allow-list of the environment, no stdin, a time-out, and are stopped in three timed steps. They die with us:
``setpriv --pdeathsig`` makes the kernel kill them when this process is killed, so that no orphan goes on
writing into a store that the next run uses. A thread that obeys a run's stop starts nothing once that is given.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CommandError, HostError
from builder.host.masking import mask_secrets
from builder.host.processor import note_process, time_of_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

_log = logging.getLogger(__name__)

# What children may see. Proxies and certificates are needed to download; the storage and container variables
# let a user (and our tests) choose another container store.
_PASSED_ENVIRONMENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TERM|XDG_[A-Z_]+|SSL_CERT_(FILE|DIR)|[A-Za-z]+_proxy|[A-Z]+_PROXY"
    r"|CONTAINERS_[A-Z_]+|STORAGE_(DRIVER|OPTS)|BUILDAH_[A-Z_]+|REGISTRY_AUTH_FILE|_CONTAINERS_[A-Z_]+"
)
# How often a child that prints nothing is looked at, and how long what it printed is waited for after its end: a daemon
# that it left behind may hold the pipe for ever.
_SLICE_S = 0.5
_LAST_WORDS_S = 1.0
_STOP_STEPS = ((signal.SIGINT, 3.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 10.0))
# The first error of a large parallel build stands far from the end of its log.
_TAIL_BYTES = 4 * 1024**2
_CHUNK = 64 * 1024
DEFAULT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run. ``environment`` is added to the allow-listed variables; ``log_file`` gets all output.

    ``watch`` is asked twice a second; when it returns a reason, the command is stopped. ``shown`` is what people see
    of a command that stands behind many words of ours. ``ends_alone``: it may outlive us for the moment that it takes.
    ``inherits`` are descriptors that it gets under their numbers.
    """

    argv: tuple[str, ...]
    cwd: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    input: bytes | None = None
    log_file: Path | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    watch: Callable[[], str] | None = None
    shown: tuple[str, ...] = ()
    ends_alone: bool = False
    inherits: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Copy-and-paste form, secrets masked."""
        return shlex.join(mask_secrets(self.shown or self.argv))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended. With a log file ``stdout`` is empty and ``stderr`` holds the log's last 4 MiB."""

    command: Command
    exit_code: int
    stdout: str
    stderr: str
    duration_s: float
    timed_out: bool = False
    stopped: str = ""

    def __bool__(self) -> bool:
        return self.exit_code == 0 and not self.timed_out and not self.stopped

    def explain(self) -> str:
        """Say in one sentence how the command failed."""
        if self.stopped:
            return f"was stopped: {self.stopped}"
        if self.timed_out:
            return f"took longer than {self.command.timeout_s:g} s and was stopped"
        if self.exit_code < 0:
            return f"was killed by {signal.Signals(-self.exit_code).name}"
        return f"ended with exit code {self.exit_code}"

    def check(self) -> Outcome:
        """Return self.

        Raises:
            CommandError: the command failed; the message holds all that it printed.
        """
        if self:
            return self
        output = "\n".join(part for part in (self.stdout.strip(), self.stderr.strip()) if part)
        raise CommandError(f"{self.command.argv[0]} {self.explain()}:\n{output}", hint=f"to repeat it: {self.command}")


def find_tool(name: str) -> str | None:
    """Return the path of a host tool, also looking in the sbin folders that a plain user's PATH lacks."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")


def run(command: Command) -> Outcome:
    """Run a command to its end; the caller looks at the outcome or calls ``check()``.

    Raises:
        HostError: the program is not installed or may not be executed.
    """
    _log.debug("+ %s", command)
    started = time.monotonic()
    with _open_log(command) as log:
        process = _start(command, log)
        with _registered(process):
            try:
                out, err, timed_out, stopped = _communicate(process, command, started + command.timeout_s)
            except BaseException:
                _stop(process)
                raise
    note_process(process.cpu_s)
    stderr = _tail(command.log_file) if command.log_file else err.decode(errors="replace")
    outcome = Outcome(
        command=command,
        exit_code=process.returncode,
        stdout=out.decode(errors="replace"),
        stderr=stderr,
        duration_s=time.monotonic() - started,
        timed_out=timed_out,
        stopped=stopped,
    )
    _log.debug("  %s %s after %.2f s", command.argv[0], outcome.explain(), outcome.duration_s)
    return outcome


def _communicate(process: _Child, command: Command, deadline: float) -> tuple[bytes, bytes, bool, str]:
    """Feed a child and read what it prints; returns stdout, stderr, if it was too slow, and why else it was stopped.

    It is over when the child has ended, not when its pipes are closed: who else holds them may never close them.
    """
    data = command.input
    while process.poll() is None:
        try:
            out, err = process.communicate(data, timeout=max(0.0, min(_SLICE_S, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            data = None  # it has got it, or goes on getting it
        else:
            return out or b"", err or b"", False, ""
        if process.poll() is not None:
            break
        stopped = command.watch() if command.watch else ""
        if stopped or time.monotonic() >= deadline:
            _stop_family(process)
            return *_hear_last_words(process), not stopped, stopped
    return *_hear_last_words(process, data), False, ""


def _hear_last_words(process: _Child, data: bytes | None = None) -> tuple[bytes, bytes]:
    """Return what a child that has ended had printed, as far as it comes at once."""
    out: bytes | None
    err: bytes | None
    try:
        out, err = process.communicate(data, timeout=_LAST_WORDS_S)
    except subprocess.TimeoutExpired as late:
        _close_pipes(process)
        out, err = late.output, late.stderr
    return out or b"", err or b""


class Service:
    """A child that answers every line with a line, until it is closed; one question at a time.

    Raises:
        CommandError: ``ask`` got no answer within the command's time-out, or the child ended without one. It may
            answer yet, so it must not be asked again: ``kill`` it.
    """

    def __init__(self, command: Command, name: str) -> None:
        self._command = command
        self._name = name
        self._guard = threading.Lock()
        self._process = _start(command, None, is_service=True)
        self._held = contextlib.ExitStack()
        self._held.enter_context(_registered(self._process))

    def ask(self, question: str) -> str:
        with self._guard:
            assert self._process.stdin is not None  # noqa: S101 - a service is started with pipes
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(question.encode() + b"\n")
                self._process.stdin.flush()
            answer = self._read_line(time.monotonic() + self._command.timeout_s)
        if not answer.endswith(b"\n"):
            raise CommandError(f"{self._name} ended without an answer")
        return answer.decode(errors="replace")

    def _read_line(self, deadline: float) -> bytes:
        """Return what the child prints up to the end of a line, or of its output; half a line is no answer."""
        assert self._process.stdout is not None  # noqa: S101 - as above
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise CommandError(f"{self._name} gave no answer for {self._command.timeout_s:g} s")
            data = os.read(self._process.stdout.fileno(), _CHUNK)
            if not data:
                break
            line += data
        return line

    def kill(self) -> None:
        """End the child at once: it hangs, or answers questions that are not asked any more."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        _close_pipes(self._process)
        self._held.close()

    def close(self) -> None:
        """End the child by closing its stdin; one that stays is stopped."""
        assert self._process.stdin is not None  # noqa: S101 - as above
        assert self._process.stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_STEPS[0][1])
        _stop(self._process)
        self._process.stdout.close()
        self._held.close()


class Followed:
    """A running child whose output is read while it comes."""

    def __init__(self, process: _Child, errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors
        self.pid = process.pid

    def read(self, timeout_s: float) -> bytes | None:
        """Return what the child printed next, empty when it ended, None when nothing came in time."""
        assert self._process.stdout is not None  # noqa: S101 - started with a pipe
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, timeout_s))
        return os.read(self._process.stdout.fileno(), _CHUNK) if ready else None

    def write(self, data: bytes) -> None:
        """Send something to the child's stdin; one that has ended does not mind."""
        assert self._process.stdin is not None  # noqa: S101 - started with a pipe
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def explain_end(self) -> str:
        """Say how the child ended, and what it printed to stderr; call it after ``read`` returned nothing more."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_STEPS[0][1])
        code = self._process.returncode
        ending = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        self._errors.seek(0)
        printed = self._errors.read(_TAIL_BYTES).decode(errors="replace").strip()
        return f"{ending}: {printed}" if printed else ending


@contextlib.contextmanager
def follow(command: Command) -> Iterator[Followed]:
    """Start a child that ends with the block, at the latest; its time-out is the caller's business.

    Raises:
        HostError: the program is not installed or may not be executed.
    """
    _log.debug("+ %s", command)
    with tempfile.TemporaryFile() as errors:
        process = _start(command, None, errors=errors)
        with _registered(process):
            try:
                yield Followed(process, errors)
            finally:
                # It has nothing to put in order, and its patience would be ours.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                note_process(process.cpu_s)
                _close_pipes(process)


def stop_all() -> None:
    """Stop every running child; called once, when the run is interrupted."""
    with _live_guard:
        processes = tuple(_live)
    for process in processes:
        _stop(process)


class _Child(subprocess.Popen[bytes]):
    """A child that says how much processor time it took, with all below it that it waited for, once it has ended."""

    cpu_s = 0.0

    def poll(self) -> int | None:
        self._has_ended(0.0)
        return super().poll()

    def wait(self, timeout: float | None = None) -> int:
        return super().wait(timeout if self._has_ended(timeout) else 0.0)

    def _has_ended(self, timeout_s: float | None) -> bool:
        """Tell whether the child ended in time; its time is read before it is waited for, which makes it vanish."""
        if self.returncode is not None:
            return True
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:  # another thread waited for it just now
            return True
        try:
            asked = select.poll()
            asked.register(descriptor, select.POLLIN)
            if not asked.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)):
                return False
            self.cpu_s = time_of_process(self.pid)
        finally:
            os.close(descriptor)
        return True


_orders = threading.local()


def obey(is_stopping: threading.Event) -> None:
    """Have the calling thread start nothing more once the event is set: ``run`` and the others raise CancelledError."""
    _orders.is_stopping = is_stopping


def check_stop() -> None:
    """Return, unless the calling thread obeys a stop that was given.

    Raises:
        CancelledError: it was.
    """
    if _is_told_to_stop():
        raise CancelledError


def _is_told_to_stop() -> bool:
    is_stopping: threading.Event | None = getattr(_orders, "is_stopping", None)
    return is_stopping is not None and is_stopping.is_set()


_live: set[_Child] = set()
_live_guard = threading.Lock()


@contextlib.contextmanager
def _registered(process: _Child) -> Iterator[None]:
    """Keep a child where ``stop_all`` finds it, also from another thread."""
    with _live_guard:
        _live.add(process)
    try:
        if _is_told_to_stop():  # stop_all may have looked a moment before this child was there
            _stop(process)
            _close_pipes(process)
            raise CancelledError
        yield
    finally:
        with _live_guard:
            _live.discard(process)


@contextlib.contextmanager
def _open_log(command: Command) -> Iterator[IO[bytes] | None]:
    if command.log_file is None:
        yield None
        return
    command.log_file.parent.mkdir(parents=True, exist_ok=True)
    with command.log_file.open("ab", buffering=0) as log:
        log.write(f"+ {command}\n".encode())
        yield log


def _start(
    command: Command, log: IO[bytes] | None, *, is_service: bool = False, errors: IO[bytes] | None = None
) -> _Child:
    check_stop()
    environment = {k: v for k, v in os.environ.items() if _PASSED_ENVIRONMENT.fullmatch(k)}
    if not Path(environment.get("REGISTRY_AUTH_FILE", "/")).exists():
        # The first login would write it; until then buildah refuses every command, also those that ask no registry.
        del environment["REGISTRY_AUTH_FILE"]
    environment |= {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **command.environment}
    program = find_tool(command.argv[0])
    if program is None:
        raise HostError(
            f"{command.argv[0]} is not installed", hint="'nox -s doctor' names and installs what is missing"
        )
    guard = None if command.ends_alone else find_tool("setpriv")
    argv = [program, *command.argv[1:]]
    if guard is not None:
        argv = [guard, "--pdeathsig", "KILL", "--", *argv]
    try:
        return _Child(
            argv,
            cwd=command.cwd,
            env=environment,
            stdin=subprocess.PIPE if command.input is not None or is_service or errors else subprocess.DEVNULL,
            stdout=log if log is not None else subprocess.PIPE,
            stderr=errors or _stderr_of(log, is_service=is_service),
            start_new_session=True,
            pass_fds=command.inherits,
        )
    except OSError as error:
        raise HostError(f"{command.argv[0]} cannot be started: {error.strerror}") from error


def _stderr_of(log: IO[bytes] | None, *, is_service: bool) -> int:
    if is_service:
        return subprocess.DEVNULL
    return subprocess.STDOUT if log is not None else subprocess.PIPE


def _stop(process: _Child) -> None:
    for number, patience_s in _STOP_STEPS:
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, number)
            process.wait(patience_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _stop_family(process: _Child) -> None:
    """Stop a child, and then kill what it started: also what left its process group, or its session."""
    with contextlib.ExitStack() as held:
        # A descriptor stands for the very process, whoever gets its number afterwards.
        family = []
        for pid in _find_family(process.pid):
            with contextlib.suppress(OSError):
                family.append(os.pidfd_open(pid))
                held.callback(os.close, family[-1])
        _stop(process)
        for descriptor in family:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def kill_processes(is_meant: Callable[[Path], bool]) -> None:
    """Kill every process of which a question is answered with yes; it gets the process's folder in /proc (proc(5)).

    A process that ends meanwhile, or that may not be looked at, is passed over.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            # Opened before it is looked at: it stands for the very process, whoever gets its number afterwards.
            descriptor = os.pidfd_open(int(process.name))
            held.callback(os.close, descriptor)
            if is_meant(process):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _find_family(leader: int) -> set[int]:
    """Return the processes of a session, and all that descend from its leader (proc(5), stat: fields 4 and 6)."""
    parents: dict[int, int] = {}
    family = {leader}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = file.read_text(errors="replace").rpartition(")")[2].split()
            pid = int(file.parent.name)
            parents[pid] = int(fields[1])
            if int(fields[3]) == leader:
                family.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {leader}


def _close_pipes(process: _Child) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _tail(file: Path) -> str:
    with file.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        return stream.read().decode(errors="replace")
