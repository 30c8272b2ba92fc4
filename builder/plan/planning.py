"""Reads everything and decides: the plan of a project, with the state of the store that it was made from."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from builder.config.yamlfile import read_yaml
from builder.errors import ConfigError, LockFileError, UsageError
from builder.host.memory import available_memory
from builder.plan.decide import WANTING, Action, Elsewhere, Plan, make_plan
from builder.plan.known import OF_KERNELS, KnownProblems, describe_known, find_idle_known_bad
from builder.plan.matrix import Selector, find_name_takers, make_matrix
from builder.plan.prediction import predict_cells, wall_seconds
from builder.plan.project import BootWish
from builder.store.images import (
    Image,
    list_images,
    read_digest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from builder.config.model.group import Group
    from builder.kernel import KernelVersion
    from builder.plan.decide import Candidate, Decision
    from builder.plan.project import Project
    from builder.signing.certificates import SignerIdentity


_log = logging.getLogger(__name__)

FindElsewhere = Callable[["Project", Selector, Sequence["Decision"]], dict[str, Elsewhere]]
"""Asks registries for cells that are not built here: ``builder.publish.elsewhere.find_elsewhere``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan with the state of the store that it was made from, and what it will probably cost.

    ``seconds`` are those of each cell that there is work for; empty where nothing is recorded.
    """

    plan: Plan
    signers: Sequence[SignerIdentity]
    images: dict[str, Image]
    workers: int
    predicted_s: float | None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOptions:
    """What the command line says of boot tests; ``when`` is a policy, or None for that of versions.yaml."""

    when: str | None = None
    mode: str = "auto"
    acceleration: str = "auto"
    from_reset: bool = False
    os_image: str | None = None

    def policy(self, project: Project) -> str:
        return self.when or project.config.build.boot

    def wish(self, policy: str) -> BootWish | None:
        if policy == "never":
            return None
        if self.os_image is None:
            return BootWish(mode=self.mode)
        if self.os_image not in list_images():
            raise UsageError(
                f"the container store has no image {self.os_image}",
                hint="'buildah images' lists full names; pull it first",
            )
        return BootWish(mode=self.mode, os_image_digest=read_digest(self.os_image))


NO_OPTIONS = BootOptions()


NO_BOOTS = BootOptions(when="never")


def plan_project(
    project: Project,
    selector: Selector,
    *,
    force: bool = False,
    retry_failed: bool = False,
    jobs: int | None = None,
    boot: BootOptions = NO_OPTIONS,
    elsewhere: FindElsewhere | None = None,
) -> Planned:
    """Read everything and decide; starts no process but one listing of the container store.

    With ``elsewhere``, what is not built here is asked for in registries, and what they have is left alone.
    """
    policy = boot.policy(project)
    matrix = make_matrix(project.config, project.lock, selector)
    check_names_apart(project, selector.group or project.config.default_group)
    signers = read_signers(project, selector)
    known = KnownProblems(entries=project.config.known_problems, today=datetime.now(UTC).date())
    tell_once(project, find_complaints_of_plans(project, known))
    images = project.list_images()
    ids = {name: image.id for name, image in images.items()}
    decide = partial(
        make_plan,
        acknowledge(project.candidates(matrix.cells, signers, boot=boot.wish(policy)), known),
        matrix.left_out,
        evidence=project.journal.cells,
        images=ids,
        digests={name: image.digest for name, image in images.items()},
        compiled=project.compiled.keys(),
        boots=project.journal.boots,
        force=force,
        retry_failed=retry_failed,
        boot_always=policy == "always",
    )
    plan = decide()
    if elsewhere and not force and (missing := plan.of(*WANTING)):
        plan = decide(elsewhere=elsewhere(project, selector, missing))
    workers = choose_workers(project, plan, jobs)
    seconds = predict_cells(
        plan,
        project.journal.cells.values(),
        missing_toolkits=len(_toolkit_names(project, plan) - images.keys()),
        boots=project.journal.boots.values(),
    )
    predicted_s = None if seconds is None else wall_seconds(sorted(seconds.values(), reverse=True), workers)
    return Planned(
        plan=plan, signers=signers, images=images, workers=workers, predicted_s=predicted_s, seconds=seconds or {}
    )


def check_names_apart(project: Project, group: str) -> None:
    """Check that no group takes the names of another's images, which others signed.

    Raises:
        ConfigError: one does, and each run would undo what the other did, or publish what nobody signed.
    """
    if project.untrusted:  # nothing of it is signed
        return
    takers = find_name_takers(project.config, project.lock, group)
    if not takers:
        return
    document = read_yaml(project.file)
    own = _describe_signers(project.config.groups[group])
    mistakes = []
    for other, cells in takers.items():
        theirs = f"{_describe_signers(project.config.groups[other])} in group {other!r}"
        more = f" and {len(cells) - 1} more of its cells" if len(cells) > 1 else ""
        name = project.image_names(cells[:1])[cells[0].id][0]
        sentence = (
            f"{own}, and {theirs}, which takes {cells[0].kernel}{more}, too: each would take {name} from the other"
        )
        mistakes.append(document.mistake(("groups", group, "signers"), sentence))
    raise ConfigError(
        mistakes,
        hint="give these groups the same signers, or kernels that the others do not take, or a 'tag_suffix', such as "
        "-dev, that the tags of their images end with",
    )


def _describe_signers(group: Group) -> str:
    return (
        f"{' and '.join(group.signers)} sign{'s' if len(group.signers) == 1 else ''}"
        if group.signers
        else "nobody signs"
    )


def acknowledge(candidates: Iterable[Candidate], known: KnownProblems) -> list[Candidate]:
    """Return candidates with what versions.yaml says of their refusals."""
    found = []
    for candidate in candidates:
        entry = known.find(candidate.refusal[0], candidate.cell.kernel.raw) if candidate.refusal else None
        found.append(replace(candidate, known=describe_known(entry)) if entry else candidate)
    return found


def find_complaints_of_plans(project: Project, known: KnownProblems) -> list[str]:
    """Return what is to be said of entries for kernels: all groups are looked at, whatever is asked for.

    Nothing while the lock lacks a source: what an entry fits may be where nobody looked.
    """
    if not project.config.sources.keys() <= project.lock.sources.keys():
        return []
    wish = NO_OPTIONS.wish(project.config.build.boot)
    globs = tuple({entry.about for entry in known.entries if entry.code in OF_KERNELS})
    for name in project.config.groups if globs else ():
        with contextlib.suppress(UsageError, LockFileError):  # none of its kernels is meant, or the lock has none
            matrix = make_matrix(project.config, project.lock, Selector(group=name, kernels=globs))
            acknowledge(project.candidates(matrix.cells, boot=wish), known)
    return [*known.complaints(OF_KERNELS), *find_idle_known_bad(project.config, project.lock)]


def tell_once(project: Project, sentences: Iterable[str]) -> None:
    """Warn of what was not told yet in this run."""
    for sentence in sentences:
        if sentence not in project.told:
            project.told.add(sentence)
            _log.warning("%s", sentence)


def read_signers(project: Project, selector: Selector) -> tuple[SignerIdentity, ...]:
    """Return the signers of the selected group; reads no certificate where there are none, or none may sign.

    A certificate that may not sign now is told once, and stops only what signs (``_open_signers``).

    Raises:
        SignerError: the group demands something else, or a certificate cannot be read.
    """
    group = selector.group or project.config.default_group
    settings = project.config.groups.get(group)
    if settings is None or project.untrusted or (not settings.signers and settings.signing == "optional"):
        return ()
    from builder.signing.certificates import check_policy, find_complaints, read_identities  # noqa: PLC0415 - slow to import

    identities = read_identities(project.config, group)
    check_policy(project.config, group, identities)
    complaints = find_complaints(identities, now=datetime.now(UTC))
    tell_once(project, (f"{complaint}: nothing new can be signed by it" for complaint in complaints))
    return identities


def choose_workers(project: Project, plan: Plan, jobs: int | None) -> int:
    """Return how many cells to build at once: as asked, else by cores, available memory and work."""
    return max(1, min(jobs or count_workers(project), len(plan.work)))


def count_workers(project: Project) -> int:
    """Return how many cells this machine would build at once, if there were enough of them."""
    settings = project.config.build
    if isinstance(settings.jobs, int):
        return settings.jobs
    by_memory = available_memory() // (settings.memory_per_job * 1024**2)
    # One more than there are cores: a cell waits for the disk for a tenth of its time.
    return max(1, min(len(os.sched_getaffinity(0)) + 1, by_memory))


def kernels_by_source(plan: Plan) -> dict[str, list[KernelVersion]]:
    """Return the kernels that are built for, in the order in which their cells come up."""
    kernels: dict[str, dict[KernelVersion, None]] = {}
    for decision in plan.of(Action.BUILD):
        kernels.setdefault(decision.cell.source, {})[decision.cell.kernel] = None
    return {source: list(ordered) for source, ordered in kernels.items()}


def _toolkit_names(project: Project, plan: Plan) -> set[str]:
    return {
        project.kernel_source(source).toolkit_image(kernel)
        for source, kernels in kernels_by_source(plan).items()
        for kernel in kernels
    }
