"""Every dkms package of the Debian archive on the newest kernel of each series and variant: kmodsmith beside dkms.

    nox -s vendors                                    all packages of both suites, on six kernels (hours)
    nox -s vendors -- --package 'jool*'               some
    nox -s vendors -- --only judge                    what is on record already, against truth.yaml

Interrupted, the same command goes on where it was; on another machine, where the newest results end. Results go to tests/vendors/results/ as JSON and Markdown. The exit
code is 0 only where all that was asked is known, and each difference from dkms, and each red boot, was looked into by
hand and found right.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from bench.bench import describe_machine

from builder.sources.download import Downloads
from vendors.dkms_room import UNFINISHED, DkmsRoom
from vendors.judge import Judgement, Row, judge_rows, read_earlier, read_truth, write_table
from vendors.sources import VendorSource, fetch_sources, read_vendors_words

_ROOT = Path(__file__).parents[2]
_HERE = Path(__file__).parent
_BATCH = 6  # sources that are built at once; what was done of them is on record then


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", action="append", help="glob over packages; repeatable")
    parser.add_argument("--kernel", action="append", help="glob over kernels; repeatable")
    parser.add_argument(
        "--only", choices=("dkms", "kmodsmith", "judge"), help="one part; judge reads what is on record"
    )
    parser.add_argument("--again", action="store_true", help="ask also what the newest results tell already")
    options = parser.parse_args()
    earlier = {} if options.again else read_earlier(_HERE / "results")
    survey = Survey(options.package or ["*"], options.kernel or ["*"], earlier)
    if options.only in {None, "dkms"}:
        survey.ask_dkms()
    if options.only in {None, "kmodsmith"}:
        survey.ask_kmodsmith()
    sys.exit(survey.judge())


def work_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kmodsmith" / "vendors"


class Survey:
    """The chosen sources and kernels, and what is on record of them."""

    def __init__(self, globs: list[str], kernel_globs: list[str], earlier: dict[tuple[str, str, str], Row]) -> None:
        self._earlier = earlier
        self._folder = work_dir()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._downloads = Downloads(self._folder.parent / "packages")
        self.sources = fetch_sources(self._folder, globs, self._downloads)
        self._words = read_vendors_words(_HERE / "drivers.yaml")
        self.project = self._make_project()
        # A copy: another survey may be building what versions.yaml of the project says.
        planned = self._builder(self._copy_project("kernels", []), "plan", "--json", "--driver", "ptemplate")
        kernels = [cell["kernel"] for cell in json.loads(planned.stdout)["cells"]]
        kernels = [kernel for kernel in kernels if any(fnmatchcase(kernel, glob) for glob in kernel_globs)]
        # What decides most is known first: all sources on one kernel, the plain kernels before their variants.
        self.kernels = sorted(kernels, key=lambda kernel: kernel.count("-cloud-") + 2 * kernel.count("-rt-"))
        print(f"{len(self.sources)} sources, {len(self.kernels)} kernels, {len(earlier)} rows known", flush=True)

    def _is_known(self, source: VendorSource, kernel: str) -> bool:
        return (source.id, source.version, kernel) in self._earlier

    # dkms

    def ask_dkms(self) -> None:
        room = DkmsRoom(self._folder, self.kernels, self._downloads)
        known = self._read("dkms.json")
        wanted = [(source, kernel) for kernel in self.kernels for source in self.sources]
        missing = [pair for pair in wanted if _record_key(*pair) not in known and not self._is_known(*pair)]

        def ask(pair: tuple[VendorSource, str]) -> tuple[str, dict[str, Any]]:
            return _record_key(*pair), asdict(room.build(*pair))

        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            for number, (key, outcome) in enumerate(pool.map(ask, missing), 1):
                if (
                    outcome["verdict"] != UNFINISHED
                ):  # a machine that was stopped, or too slow, says nothing: it is asked again
                    known[key] = outcome
                    self._write("dkms.json", known)
                print(f"dkms {number}/{len(missing)}: {key} {outcome['verdict']}", flush=True)

    # kmodsmith

    def ask_kmodsmith(self) -> None:
        asked = [source for source in self.sources if any(not self._is_known(source, item) for item in self.kernels)]
        refused = {source.name: said for source in asked if (said := self._refusal(source))}
        self._write("refused.json", self._read("refused.json") | {source.name: "" for source in asked} | refused)
        drivers = [source for source in asked if source.name not in refused]
        _write_config(self.project, [self._entry(source) for source in drivers])
        known = self._read("kmodsmith.json")
        chosen = {source.name: source for source in drivers}
        batches = [
            (kernel, part)
            for kernel in self.kernels
            for part in batched([source for source in drivers if not self._is_known(source, kernel)], _BATCH)
        ]
        for number, (kernel, part) in enumerate(batches, 1):
            which = [word for source in part for word in ("--driver", source.name)]
            done = self._builder(self.project, "build", "--json", "--kernel", kernel, *which)
            if not done.stdout:
                raise SystemExit(done.stderr)
            report = json.loads(done.stdout)
            for cell in report["cells"]:
                if (key := _record_key(chosen[cell["driver"]], kernel)) not in known or cell["status"] != "skipped":
                    known[key] = cell
            self._write("kmodsmith.json", known)
            told = ", ".join(f"{cell['driver']} {_outcome(cell)}" for cell in report["cells"])
            print(f"kmodsmith {number}/{len(batches)}: {kernel}: {told}; {report['wall_s']:.0f} s", flush=True)

    def _refusal(self, source: VendorSource) -> str:
        """Return what kmodsmith says of a driver that it does not even plan."""
        alone = self._copy_project("alone", [source])
        done = self._builder(alone, "plan", "--json", "--driver", source.name)
        return "" if done.returncode == 0 else done.stderr.strip()

    def _make_project(self) -> Path:
        project = self._folder / "project"
        project.mkdir(exist_ok=True)
        for name in ("kernel-module", "driver-container"):
            shutil.copytree(_ROOT / name, project / name, dirs_exist_ok=True)
        wanted = json.dumps([words.get("build_packages") for words in self._words.values()])
        if self._read("wanted.json").get("build_packages") != wanted:
            # Once: kernels that appear in the middle of a survey would have it begin again.
            shutil.copy(_ROOT / "versions.lock.yaml", project)
            sample = _read_template()["drivers"][0]
            wishes = [words["build_packages"] for words in self._words.values() if "build_packages" in words]
            # For all, chosen this time or not: what the lock holds then is for all.
            _write_config(
                project, [sample | {"name": f"wants-{n}", "build_packages": wish} for n, wish in enumerate(wishes)]
            )
            done = self._builder(project, "discover", "--source", "debian")
            if done.returncode:
                raise SystemExit(done.stderr)
            self._write("wanted.json", {"build_packages": wanted})
        return project

    def _copy_project(self, name: str, drivers: list[VendorSource]) -> Path:
        copy = self._folder / f"{name}-{os.getpid()}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.project, copy, ignore=shutil.ignore_patterns(".kmodsmith"))
        _write_config(copy, [self._entry(source) for source in drivers])
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        return copy

    def _entry(self, source: VendorSource) -> dict[str, Any]:
        return {
            "name": source.name, "version": source.version, "source": str(source.folder), "dkms": "dkms.conf",
            "vendor": "Debian", "summary": source.package, "description": f"{source.package} of {source.suite}",
            "maintainer": "the package's", **self._words.get(source.package, {}), **self._words.get(source.id, {}),
        }  # fmt: skip

    def _builder(self, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        storage = self._folder / "storage.conf"
        graph = f'graphroot = "{self._folder}/graph"\nrunroot = "{self._folder}/run"\n'
        storage.write_text(f'[storage]\ndriver = "overlay"\n{graph}')
        return subprocess.run(
            [sys.executable, "-m", "builder", "--project", str(project), *arguments, "--allow-outside", str(self._folder)],
            check=False, capture_output=True, text=True, env=os.environ | {"CONTAINERS_STORAGE_CONF": str(storage)},
        )  # fmt: skip

    # The record

    def judge(self) -> int:
        ours, dkms, refused = self._read("kmodsmith.json"), self._read("dkms.json"), self._read("refused.json")
        wanted = [(source, kernel, _record_key(source, kernel)) for source in self.sources for kernel in self.kernels]
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        rows = []
        for source, kernel, key in wanted:
            if key in dkms and (refused.get(source.name) or key in ours):
                rows.append(Row.of(source, kernel, dkms[key], ours.get(key), refused.get(source.name, ""), today))
            elif (row := self._earlier.get((source.id, source.version, kernel))) is not None:
                rows.append(row)
        judgement = Judgement(rows=judge_rows(rows, read_truth(_HERE / "truth.yaml")), wanted=len(wanted))
        write_table(judgement, self.kernels, describe_machine(), _HERE / "results" / today)
        for row in judgement.open_rows:
            print(row.sentence)
        print(f"{judgement.sentence}; written to tests/vendors/results/{today}.md")
        return 0 if judgement.is_settled else 1

    def _read(self, name: str) -> dict[str, Any]:
        file = self._folder / name
        return json.loads(file.read_text()) if file.exists() else {}

    def _write(self, name: str, data: dict[str, Any]) -> None:
        fresh = self._folder / f".{name}"
        fresh.write_text(json.dumps(data, indent=1))
        fresh.replace(self._folder / name)


def _read_template() -> dict[str, Any]:
    return dict(yaml.safe_load((_ROOT / "versions.yaml").read_text()))


def _write_config(project: Path, entries: list[dict[str, Any]]) -> None:
    """Write versions.yaml: the repository's own with further drivers."""
    config = _read_template()
    for key in ("components", "operator"):  # their sources are not there
        config.pop(key, None)
    config["drivers"] += entries
    config["build"] = {"boot": "changed"}
    (project / "versions.yaml").write_text(yaml.dump(config, Dumper=_NoAliases, sort_keys=False))


class _NoAliases(yaml.SafeDumper):
    """versions.yaml knows no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def batched(items: list[VendorSource], size: int) -> list[list[VendorSource]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _outcome(cell: dict[str, Any]) -> str:
    failure = cell["failure"]
    return failure["code"] if failure else str(cell["status"])


def _record_key(source: VendorSource, kernel: str) -> str:
    return f"{source.id} {source.edition} {kernel}"


if __name__ == "__main__":
    main()
