"""The campaign: hostile inputs for every parser of what others wrote, each with bounds for time and memory.

    nox -s fuzz                                        # everything, the same inputs each time
    nox -s fuzz -- --seed 7 --inputs 100000            # other inputs, more of them
    nox -s fuzz -- --only layer --only bundle          # some parsers

See README.md beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import multiprocessing
import os
import random
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import ConfigError, KmodsmithError
from fuzz.parsers import PARSERS, Parser

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_FOUND = Path(__file__).parent / "found"
_INPUTS = 60_000
_MOST_S = 5.0
_MOST_BYTES = 512 * 1024**2
_MOST_DISK = 512 * 1024**2
_LONGEST_SENTENCE = 6000
# A worker that says nothing for this long hangs, also where others keep the machine busy.
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Report:
    """How one input ended: ``sentence`` of the error or empty, ``fault`` if it should not have ended so."""

    number: int
    sentence: str
    fault: str
    seconds: float
    peak: int


@dataclass(slots=True)
class Row:
    """A parser's line of the table."""

    name: str
    inputs: int = 0
    sentences: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: int = 0

    def add(self, report: Report) -> None:
        self.inputs += 1
        if report.sentence:
            self.sentences[_kind_of(report.sentence)] += 1
        if report.fault:
            self.faults.append(f"{self.name} input {report.number}: {report.fault}")
        self.slowest = max(self.slowest, report.seconds)
        self.peak = max(self.peak, report.peak)


def _kind_of(sentence: str) -> str:
    """Return a sentence without what is different in each input."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"|[0-9a-f]{32,}|/\S+|\d+", "~", sentence)
    return plain[:110]


def make_input(parser: Parser, seed: int, number: int) -> bytes:
    return parser.make(random.Random(f"{seed}/{parser.name}/{number}"), parser.samples())


def try_input(parser: Parser, data: bytes, folder: Path) -> tuple[str, str]:
    """Return the sentence of the error that an input led to, and what was wrong with its end; both may be empty."""
    try:
        parser.run(data, folder)
    except WroteOutsideError as error:
        return "", f"was about to write to {error}"
    except KmodsmithError as error:
        return error.message, _why_no_sentence(error)
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "", f"uncaught {type(error).__name__}: {str(error)[:200]} at {Path(place.filename).name}:{place.lineno}"
    return "", ""


def _why_no_sentence(error: KmodsmithError) -> str:
    try:
        error.message.encode()
    except UnicodeEncodeError:
        return f"an error that cannot be printed: {error.message[:200]!a}"
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", error.message):
        return f"an error that would steer a terminal: {error.message[:200]!r}"
    if len(error.message) > _LONGEST_SENTENCE and not isinstance(error, ConfigError):  # which lists all mistakes
        return f"an error of {len(error.message)} characters: {error.message[:100]!r}"
    return ""


class WroteOutsideError(BaseException):
    """A parser was about to write somewhere else than it was told to; no ``except Exception`` of it gets this."""


# Audit events of what changes files (docs.python.org, "Audit events table"), and which of their arguments are paths.
_CHANGES = {
    "os.rename": (0, 1), "os.link": (1,), "os.symlink": (1,), "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,),
    "os.chmod": (0,), "os.chown": (0,), "os.truncate": (0,), "os.utime": (0,), "shutil.rmtree": (0,),
}  # fmt: skip
_HARMLESS = ("/dev/null", "/proc/self/clear_refs")
_kept_in: list[str] = []
_is_watched: list[bool] = []


def keep_in(folder: Path) -> None:
    """Have whatever this process writes outside of a folder end in WroteOutsideError, until the next folder is named.

    Run as root, a campaign once replaced the machine's own /etc/passwd through an archive's member of that name.
    """
    if not _is_watched:
        _is_watched.append(True)
        sys.addaudithook(_watch)  # for as long as the process lives
    _kept_in[:] = [os.path.realpath(folder)]


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        places = [path] if writes or (isinstance(mode, str) and set(mode) & set("wax+")) else []
    else:
        places = [arguments[number] for number in _CHANGES.get(event, ())]
    for place in places:
        _check_place(place)


def _check_place(place: object) -> None:
    if not _kept_in or isinstance(place, int):  # a descriptor: it was looked at when it was opened
        return
    path = os.fsdecode(place)  # type: ignore[arg-type]  # str, bytes or PathLike
    # A name below an open folder is relative; it leaves that only upwards.
    inside = path if path.startswith("/") else os.path.normpath(f"{_kept_in[0]}/{path}")
    where = os.path.join(os.path.realpath(os.path.dirname(inside)), os.path.basename(inside))  # noqa: PTH118, PTH119, PTH120
    if path not in _HARMLESS and not f"{where}/".startswith(f"{_kept_in[0]}/"):
        raise WroteOutsideError(path)


def _work(parser: Parser, seed: int, numbers: range, pipe: Connection) -> None:
    """Try inputs in a process of its own, and report each."""
    warnings.simplefilter("error")  # as in the tests
    os.setsid()
    sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for as long as the process lives
    parser.samples()
    _, used = _memory()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * _MOST_BYTES, used + 2 * _MOST_BYTES))
    for number in numbers:
        pipe.send(_try_one(parser, seed, number))
    pipe.close()


def _try_one(parser: Parser, seed: int, number: int) -> Report:
    data = make_input(parser, seed, number)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
        before, _ = _memory()
        started = time.process_time()
        keep_in(folder)
        sentence, fault = try_input(parser, data, folder)
        _kept_in.clear()
        seconds = time.process_time() - started
        peak = max(0, _peak() - before)
        disk = sum(file.lstat().st_blocks * 512 for file in folder.rglob("*"))
    if seconds > _MOST_S:
        fault = fault or f"took {seconds:.1f} s"
    if peak > _MOST_BYTES:
        fault = fault or f"took {peak >> 20} MiB of memory"
    if disk > _MOST_DISK:
        fault = fault or f"took {disk >> 20} MiB of disk"
    return Report(number, sentence, fault, seconds, peak)


def _memory() -> tuple[int, int]:
    """Return the bytes that this process has in memory, and those of its address space."""
    pages = Path("/proc/self/statm").read_text().split()
    return int(pages[1]) * resource.getpagesize(), int(pages[0]) * resource.getpagesize()


def _peak() -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) * 1024 if match else 0


def run_parser(parser: Parser, seed: int, inputs: int) -> Row:
    """Try all inputs of a parser; a worker that dies or hangs is a fault of the input that it was at."""
    row = Row(parser.name)
    while row.inputs < inputs:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("fork")
        worker = context.Process(target=_work, args=(parser, seed, range(row.inputs, inputs), sender))
        worker.start()
        sender.close()
        ending = _follow(row, receiver)
        worker.kill()
        worker.join()
        if ending and row.inputs < inputs:
            code = "" if ending == "hung" else f" with code {worker.exitcode}"
            row.add(Report(row.inputs, "", f"the process {ending}{code}", 0.0, 0))
    return row


def _follow(row: Row, receiver: Connection) -> str:
    """Take reports until the worker ends; returns how, if not well."""
    with contextlib.closing(receiver):
        while receiver.poll(_PATIENCE_S):
            try:
                row.add(receiver.recv())
            except EOFError:
                return "died"
    return "hung"


def save_faults(parser: Parser, seed: int, row: Row) -> None:
    """Keep the first inputs of each kind of fault where the fast suite tries them again."""
    kept: Counter[str] = Counter()
    for fault in row.faults:
        match = re.search(r"input (\d+): (.*)", fault, re.DOTALL)
        assert match is not None
        kind = _kind_of(match[2])
        kept[kind] += 1
        if kept[kind] > 1:
            continue
        data = make_input(parser, seed, int(match[1]))
        target = _FOUND / parser.name / f"seed-{seed}-{match[1]}-{hashlib.sha256(data).hexdigest()[:8]}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(data, 9, mtime=0))
        print(f"  saved {target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target}")


def _print(row: Row, *, verbose: bool) -> None:
    errors = sum(row.sentences.values())
    print(
        f"{row.name:<22}{row.inputs:>8}{errors:>9}{len(row.sentences):>11}{len(row.faults):>8}{row.slowest:>9.2f} s"
        f"{row.peak >> 20:>7} MiB",
        flush=True,
    )
    for fault in row.faults[: 200 if verbose else 8]:
        print(f"  FAULT {fault}"[:400])
    if verbose:
        for sentence, count in row.sentences.most_common(15):
            print(f"  {count:>6} {sentence}".replace("\n", " "))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=13, help="which inputs; the same seed makes the same ones")
    options.add_argument("--inputs", type=int, default=_INPUTS, help="inputs in all, at least")
    options.add_argument("--only", action="append", default=[], metavar="PARSER", help="may be given more than once")
    options.add_argument("--verbose", action="store_true", help="list the errors by sentence")
    arguments = options.parse_args()
    chosen = [parser for parser in PARSERS if not arguments.only or parser.name in arguments.only]
    if unknown := set(arguments.only) - {parser.name for parser in PARSERS}:
        options.error(f"no parser {', '.join(sorted(unknown))}; known: {', '.join(item.name for item in PARSERS)}")
    each = -(-arguments.inputs // len(chosen))
    print(f"seed {arguments.seed}, {len(chosen)} parsers, {each} inputs each")
    print(f"{'parser':<22}{'inputs':>8}{'errors':>9}{'sentences':>11}{'faults':>8}{'slowest':>11}{'peak':>11}")
    total = Row("all")
    for parser in chosen:
        row = run_parser(parser, arguments.seed, each)
        _print(row, verbose=arguments.verbose)
        save_faults(parser, arguments.seed, row)
        total.inputs += row.inputs
        total.sentences += row.sentences
        total.faults += row.faults
        total.slowest, total.peak = max(total.slowest, row.slowest), max(total.peak, row.peak)
    _print(total, verbose=False)
    return 1 if total.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
