"""The verb follow: a run of a pipeline as one table; the work is done in ``builder/shards/following.py``."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import click
from rich.live import Live

from builder.emit.tekton.facts import make_tekton_facts
from builder.emit.tekton.pipelines import make_pipelines
from builder.emit.tekton.runs import make_run
from builder.errors import EXIT_OK, ConfigError, FailureClass, SourceError, UsageError, printable
from builder.host.kubectl import check_name, find_kubectl
from builder.shards.artefact import open_plan_registry, parse_plan_name
from builder.shards.following import RUNS, Seen, download, follow_run, look_at_run
from builder.shards.judging import retell
from builder.shards.running import open_planned
from builder.show.pipeline_run import emit_run, tell_changes
from builder.verbs.results import tell_results
from builder.verbs.session import Session
from builder.writing import emit_json

if TYPE_CHECKING:
    from builder.emit.tekton.material import TektonFacts
    from builder.host.kubectl import Kubectl
    from builder.shards.artefact import FetchedPlan, PlanRegistry
    from builder.shards.evidence import ShardEvidence
    from builder.shards.pipeline_run import RunState

_WORDS = ("build", "nightly", "release", "pull-request")
# Of a nightly, when all else is done: a kernel source did not answer.
_SOURCES = "sources"
_LOG_LINES = 30
# What a process can end with: more is a cluster's word, and its lowest eight bits might be those of success.
_EXIT_CODES = range(1, 256)


@click.command()
@click.argument("run", required=False)
@click.option(
    "--start", "word", type=click.Choice(_WORDS), help="Start this pipeline first, as 'emit tekton' writes its run."
)
@click.option("--revision", metavar="REVISION", help="With --start: branch, tag or commit; default: tekton.revision.")
@click.option("--namespace", metavar="NAMESPACE", help="Where it runs; default: that of 'tekton' of versions.yaml.")
@click.option("--context", default="", metavar="NAME", help="Context of your kubeconfig; default: the current one.")
@click.option("--plain-http", is_flag=True, help="Speak to the plan's registry without TLS.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_obj
def follow(
    session: Session, /, *, run: str | None, word: str | None, revision: str | None, namespace: str | None,
    context: str, plain_http: bool, as_json: bool,
) -> int:  # fmt: skip
    """Follow a run of a pipeline on a cluster as one table, and end as a build here would: same report, same exit code.

    The cluster is that of your kubeconfig, by kubectl or oc; evidence is read from the registry of plans. Nothing is
    written to either, but the run that --start creates. Interrupted, the run goes on, and the way back is told.
    Evidence of all shards, results.json and junit.xml come into the work folder.

    \b
    follow kmodsmith-build-x7k2p
    follow --start build
    follow --start build --revision v1.2.0 --context production

    Exit codes: as build, by what the run's gate decided; where it decided nothing, that of the step that failed, 17 if
    no step tells; 7 a kernel source did not answer in a nightly; 6 neither kubectl nor oc is there.
    """
    if (run is None) == (word is None):
        raise UsageError("name a run, or a pipeline to --start", hint="kubectl get pipelineruns lists runs")
    if revision and not word:
        raise UsageError("--revision is for --start: what runs has one already")
    facts = _find_facts(session) if word or not namespace else None
    place = namespace or (facts.settings.namespace_name if facts else "")
    cluster = find_kubectl(place, context, os.environ)
    name = _start(session, cluster, facts, word, revision) if word and facts else run or ""
    check_name(name)
    with contextlib.ExitStack() as held:
        return _Follower(session, cluster, name, held, plain_http=plain_http, as_json=as_json).follow()


def _find_facts(session: Session) -> TektonFacts:
    try:
        return make_tekton_facts(session.project.config)
    except (UsageError, ConfigError) as error:
        raise UsageError(f"in which namespace? {error.message}", hint="--namespace says it") from None


def _start(session: Session, cluster: Kubectl, facts: TektonFacts, word: str, revision: str | None) -> str:
    if word not in make_pipelines(facts):
        raise UsageError(f"there is no pipeline {word!r}")
    document = make_run(facts, word, params={"revision": revision} if revision else {})
    document["metadata"]["namespace"] = cluster.namespace
    made = cluster.create(document).get("metadata")
    name = made.get("name") if isinstance(made, dict) else None
    if not isinstance(name, str):
        raise SourceError("the cluster answers with no name", hint="kubectl get pipelineruns: look whether it runs")
    session.err.print(f"started  {name}", markup=False, highlight=False, soft_wrap=True)
    return name


class _Follower:
    """One call of the verb: where it looks, and what it opened."""

    def __init__(
        self, session: Session, cluster: Kubectl, name: str, held: contextlib.ExitStack, *, plain_http: bool,
        as_json: bool,
    ) -> None:  # fmt: skip
        self._session, self._cluster, self._name, self._held = session, cluster, name, held
        self._plain_http, self._as_json = plain_http, as_json
        self._opened: tuple[PlanRegistry, FetchedPlan] | None = None

    def follow(self) -> int:
        """Show the run until it ended, then tell what came of it; returns the exit code."""
        try:
            seen = self._watch()
        except KeyboardInterrupt:
            place = f"--namespace {self._cluster.namespace}"
            place += f" --context {self._cluster.context}" if self._cluster.context else ""
            self._say(f"the run goes on; look again: python -m builder follow {self._name} {place}")
            raise
        return self._tell(seen)

    def _watch(self) -> Seen:
        err = self._session.err
        if not err.is_terminal:
            told: dict[str, str] = {}

            def say(seen: Seen) -> None:
                for line in tell_changes(seen, told):
                    self._say(line)

            return follow_run(self._look, self._open, say)
        with Live(console=err, auto_refresh=False) as live:

            def show(seen: Seen) -> None:
                document = self._opened[1].document if self._opened else None
                live.update(emit_run(seen, document), refresh=True)

            return follow_run(self._look, self._open, show)

    def _look(self) -> RunState:
        return look_at_run(self._cluster, self._name)

    def _open(self, plan_name: str) -> tuple[PlanRegistry, FetchedPlan]:
        if self._opened is None:
            place = parse_plan_name(plan_name)
            opening = open_plan_registry(self._session.project, place, plain_http=self._plain_http)
            registry = self._held.enter_context(opening)
            self._opened = registry, registry.fetch_plan(place)
        return self._opened

    def _tell(self, seen: Seen) -> int:
        gate: ShardEvidence | None = None
        if self._opened:
            registry, plan = self._opened
            work_dir = self._session.project.work_dir
            work_dir.mkdir(parents=True, exist_ok=True)
            found = download(registry, plan, seen.collected, work_dir, self._name)
            self._say(f"evidence  {work_dir / RUNS / self._name}")
            if found:
                gate = found.evidence
                project = open_planned(self._session.project, plan, registry)
                judgement = retell(project, plan, gate, seen.collected)
                local = Session(project=self._session.project, out=self._session.out, err=self._session.err)
                tell_results(local, judgement.build, as_json=self._as_json, images=judgement.images, is_kept=True)
                if gate.error:
                    self._say(gate.error)
        code = _exit_code(seen.state, gate)
        if gate is None and self._as_json:
            self._session.out.file.write(emit_json({"format": 1, "run": self._name, "cells": [], "components": []}))
        if code != EXIT_OK:
            self._tell_failures(seen.state)
        self._say(f"{self._name}  {seen.state.reason}: {seen.state.message}")
        return code

    def _tell_failures(self, state: RunState) -> None:
        """Say which tasks failed, with the end of the log of those whose step tells."""
        for task in state.failed:
            self._say(f"{task.task} failed: {task.message}")
            if task.failed_step and task.pod:
                log = self._cluster.log(task.pod, task.failed_step[0])
                for line in log.splitlines()[-_LOG_LINES:]:
                    self._say(f"  {line}")

    def _say(self, sentence: str) -> None:
        """Tell it: names, messages and logs are of pods, and steer no terminal."""
        self._session.err.print(printable(sentence), markup=False, highlight=False, soft_wrap=True)


def _exit_code(state: RunState, gate: ShardEvidence | None) -> int:
    """Return how a build here would have ended."""
    if gate is not None and gate.exit_code != EXIT_OK:
        return gate.exit_code
    if gate is not None and state.ended:
        return EXIT_OK
    if gate is None and state.ended and state.plans_nothing:
        return EXIT_OK
    failed = {task.task: task.failed_step for task in state.failed}
    if gate is not None and _SOURCES in failed:
        return SourceError.exit_code
    codes = [step[1] for step in failed.values() if step and step[1] in _EXIT_CODES]
    return codes[0] if codes and gate is None else FailureClass.INFRASTRUCTURE.exit_code
