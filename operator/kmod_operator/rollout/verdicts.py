"""What is told of a driver: conditions, counts, kernels, releases, numbers; bounded with any number of nodes. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.conditions import Verdict
from kmod_operator.rollout.names import POOL_KIND, VERSION_KIND
from kmod_operator.rollout.progress import stamp
from kmod_operator.rollout.reasons import REASONS, Condition
from kmod_operator.rollout.states import MOVING, State, kmm_kernel
from kmod_operator.rollout.steps import list_some
from kmod_operator.rollout.updates import Safety
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_operator.rollout.states import NodeState
    from kmod_operator.rollout.view import View

_MOST_LISTED = 64
_IN_STATUS = {
    State.READY: "ready", State.WAITING: "waiting", State.FAILED: "failed", State.UNCOVERED: "uncovered",
    State.NOT_READY: "notReady", **dict.fromkeys(MOVING, "upgrading"),
}  # fmt: skip
_SAFE = {Safety.SAFE: Known.YES, Safety.UNSAFE: Known.NO, Safety.UNKNOWN: Known.UNKNOWN}


def judge(view: View) -> list[Verdict]:
    """Return the conditions of a driver's object."""
    return [
        _judge_ready(view),
        _judge_progress(view),
        _judge_failures(view),
        _judge_prerequisites(view),
        _judge_kernels(view),
        _judge_index(view),
        _judge_updates(view),
    ]


def _by(view: View, *states: State) -> list[NodeState]:
    return [found for found in view.states if found.state in states]


def _names(found: list[NodeState]) -> str:
    return list_some([one.node.name for one in found])


def _judge_ready(view: View) -> Verdict:
    """Ready: each node that runs has the version loaded, and a device that can be had; and there is such a node."""

    def not_ready(reason: str, words: str = "") -> Verdict:
        return Verdict(type=Condition.READY, holds=Known.NO, reason=reason, words=words)

    if view.lacks.reason and not view.is_lack_known:
        return Verdict(type=Condition.READY, holds=Known.UNKNOWN, reason=view.lacks.reason, words=view.lacks.words)
    if view.lacks.reason:
        return not_ready(view.lacks.reason, view.lacks.words)
    if not view.states:
        return not_ready("NoNodes")
    if uncovered := _by(view, State.UNCOVERED):
        return not_ready("KernelNotCovered", f"{uncovered[0].words} ({_names(uncovered)})")
    if failed := _by(view, State.FAILED):
        return not_ready("StepFailed", f"{failed[0].node.name}: {failed[0].words}")
    if late := [found for found in view.states if found.state not in {State.READY, State.NOT_READY}]:
        return not_ready("NodesNotReady", f"{len(late)} of {len(view.states)} nodes: {_names(late)}")
    if not _by(view, State.READY):
        return not_ready("AllNodesDown")
    if view.version != view.spec.version:
        return not_ready("VersionNotInIndex", f"nodes have version {view.version}, and not {view.spec.version}")
    return Verdict(type=Condition.READY, holds=Known.YES, reason="AllReady")


def _judge_progress(view: View) -> Verdict:
    def told(holds: Known, reason: str, words: str = "") -> Verdict:
        return Verdict(type=Condition.PROGRESSING, holds=holds, reason=reason, words=words)

    moving = [found for found in view.states if found.state in MOVING]
    waiting = _by(view, State.WAITING)
    if view.lacks.reason:
        return told(Known.NO, view.lacks.reason, view.lacks.words)
    if moving:
        more = f"; {len(waiting)} wait: {view.steps.gate.words}" if waiting and view.steps.gate.words else ""
        return told(Known.YES, "Upgrading", f"{_names(moving)} on the way to version {view.version}{more}")
    if waiting and view.steps.gate.reason:
        is_by_itself = view.steps.gate.reason in {"CanarySoaks", "CanaryOnItsWay", "MachineUpdating"}
        words = f"{len(waiting)} nodes wait: {view.steps.gate.words}"
        return told(Known.YES if is_by_itself else Known.NO, view.steps.gate.reason, words)
    if waiting:
        return told(Known.YES, "Upgrading", f"{_names(waiting)} begin with version {view.version}")
    if view.kept_loader:
        return told(Known.NO, "LoaderKept")
    return told(Known.NO, "Arrived" if view.states else "NoNodes")


def _judge_failures(view: View) -> Verdict:
    failed = _by(view, State.FAILED)
    if failed:
        words = f"{len(failed)} nodes failed; {failed[0].node.name}: {failed[0].words}"
        return Verdict(type=Condition.DEGRADED, holds=Known.YES, reason="StepFailed", words=words)
    if view.lacks.reason == "ModuleIsAnothers":
        return Verdict(type=Condition.DEGRADED, holds=Known.YES, reason=view.lacks.reason, words=view.lacks.words)
    return Verdict(type=Condition.DEGRADED, holds=Known.NO, reason="NoFailure")


def _judge_prerequisites(view: View) -> Verdict:
    def told(holds: Known, reason: str, words: str = "") -> Verdict:
        return Verdict(type=Condition.PREREQUISITES_MET, holds=holds, reason=reason, words=words)

    apis, rights = view.world.apis, view.world.rights
    if view.lacks.reason:
        return told(Known.NO if view.is_lack_known else Known.UNKNOWN, view.lacks.reason, view.lacks.words)
    rule = next(iter(view.template.rules), None)
    has_nfd = apis.get(f"{rule['apiVersion']} {rule['kind']}", Known.UNKNOWN) if rule else Known.YES
    if has_nfd is not Known.YES:
        return told(has_nfd, "NfdAbsent" if has_nfd is Known.NO else "ApiUnknown")
    holds = view.spec.cluster_updates == "HoldPools"
    if holds and apis.get(POOL_KIND) is Known.NO:
        return told(Known.NO, "NotOpenShift", "clusterUpdate.policy is HoldPools, and the cluster has no pools")
    for wanted, right, reason in (
        (view.spec.drain, "drain", "MayNotDrain"),
        (holds, "hold-pools", "MayNotHoldPools"),
    ):
        may = rights.get(right, Known.UNKNOWN)
        if wanted and may is not Known.YES:
            return told(may, reason if may is Known.NO else "ApiUnknown")
    if view.template.smoke and view.spec.smoke and view.world.smokes is None:
        return told(Known.NO, "SmokeTestsUnseen")
    if holds and view.holds.shared:
        words = f"canaries are in pool {view.holds.shared} together with other nodes: {REASONS['CanarySharesPool']}"
        return told(Known.YES, "CanarySharesPool", words)
    return told(Known.YES, "AllThere")


def _judge_kernels(view: View) -> Verdict:
    def told(holds: Known, reason: str, words: str = "") -> Verdict:
        return Verdict(type=Condition.KERNELS_COVERED, holds=holds, reason=reason, words=words)

    index = view.world.index.index
    if index is None:
        return told(Known.UNKNOWN, view.world.index.trouble_reason or "NoIndex", view.world.index.trouble)
    indexed = {kmm_kernel(kernel) for kernel in index.images.get(view.spec.version, {})}
    if not indexed:
        return told(Known.NO, "VersionNotInIndex", f"the index has no image of version {view.spec.version}")
    if not view.states:
        return told(Known.UNKNOWN, "NoNodes")
    lacking = {node.kernel for node in view.nodes if kmm_kernel(node.kernel) not in indexed}
    if lacking:
        who = list_some([node.name for node in view.nodes if node.kernel in lacking])
        words = f"version {view.spec.version} has no image for {list_some(sorted(lacking))} ({who})"
        return told(Known.NO, "KernelNotCovered", words)
    if view.mappings.replaced:
        return told(Known.YES, "ImageReplaced", f"{REASONS['ImageReplaced']}: {list_some(view.mappings.replaced)}")
    return told(Known.YES, "AllCovered")


def _judge_index(view: View) -> Verdict:
    state = view.world.index
    reason = state.trouble_reason or ("Verified" if state.index else "NoIndex")
    if state.trouble:
        kept = f"; the index of {stamp(state.index.made)} is kept" if state.index else ""
        holds = Known.UNKNOWN if reason == "Unreadable" else Known.NO
        return Verdict(type=Condition.INDEX_TRUSTED, holds=holds, reason=reason, words=f"{state.trouble}{kept}")
    holds = Known.YES if state.index else Known.UNKNOWN
    return Verdict(type=Condition.INDEX_TRUSTED, holds=holds, reason=reason)


def _judge_updates(view: View) -> Verdict:
    def told(holds: Known, reason: str, words: str = "") -> Verdict:
        return Verdict(type=Condition.UPDATE_SAFE, holds=holds, reason=reason, words=words)

    if view.spec.cluster_updates == "Ignore":
        return told(Known.UNKNOWN, "NotChecked")
    if view.world.updates is None:
        absent = view.world.apis.get(VERSION_KIND, Known.UNKNOWN) is Known.NO
        return told(Known.UNKNOWN, "NotOpenShift" if absent else "ApiUnknown")
    for safety, reason in ((Safety.UNSAFE, "ReleaseNotCovered"), (Safety.UNKNOWN, "ReleaseUnknown")):
        if found := [item for item in view.releases if item.safety is safety]:
            words = f"{list_some([item.release for item in found])}: {found[0].words}"
            return told(_SAFE[safety], reason, words)
    return told(Known.YES, "AllSafe" if view.releases else "NothingOffered")


def make_counts(view: View) -> dict[str, int]:
    """Return how many nodes are where."""
    counted = Counter(_IN_STATUS[found.state] for found in view.states)
    return {"selected": len(view.states)} | {name: counted[name] for name in dict.fromkeys(_IN_STATUS.values())}


def list_kernels(view: View) -> list[dict[str, Any]]:
    """Return the kernels that nodes run: those without an image first, then those of most nodes."""
    nodes = Counter(node.kernel for node in view.nodes)
    ready = Counter(found.node.kernel for found in _by(view, State.READY))
    found = []
    for kernel, count in nodes.items():
        image = view.mappings.images.get(kmm_kernel(kernel), "")
        one = {"kernel": kernel, "nodes": count, "ready": ready[kernel], "state": "Covered" if image else "Uncovered"}
        found.append(one | ({"image": image} if image else {"reason": "KernelNotCovered"}))
    found.sort(key=lambda one: (one["state"] == "Covered", -int(str(one["nodes"])), str(one["kernel"])))
    return found[:_MOST_LISTED]


def list_releases(view: View) -> list[dict[str, str]]:
    """Return releases that are offered, or on their way: those that are not safe first."""
    order = [Safety.UNSAFE, Safety.UNKNOWN, Safety.SAFE]
    found = sorted(view.releases, key=lambda item: order.index(item.safety))
    return [
        {"release": item.release, "state": item.safety.value} | ({"reason": item.words} if item.words else {})
        for item in found[:_MOST_LISTED]
    ]


def describe_index(view: View) -> dict[str, str]:
    """Return which index is believed; empty where none is."""
    state = view.world.index
    if state.index is None:
        return {}
    return {"digest": state.digest, "made": stamp(state.index.made), "signer": state.signer}


def measure(view: View) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return numbers for /metrics; what is not known is not among them."""
    driver = ("driver", view.spec.name)
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for name, count in make_counts(view).items():
        if name != "selected":
            found["kmod_driver_nodes", (driver, ("state", name))] = count
    phases = Counter(one.state for one in view.states if one.state in MOVING)
    for state in sorted(MOVING):
        found["kmod_upgrade_nodes", (driver, ("phase", state.value))] = phases[state]
    if view.world.index.index is not None:
        for one in list_kernels(view):
            found["kmod_kernel_covered", (driver, ("kernel", one["kernel"]))] = float(one["state"] == "Covered")
        index = view.world.index
        found["kmod_index_info", (driver, ("digest", index.digest), ("signer", index.signer))] = 1
        found["kmod_index_made_seconds", (driver,)] = view.world.index.index.made.timestamp()
    if view.spec.cluster_updates != "Ignore":
        for item in view.releases[:_MOST_LISTED]:
            if item.safety is not Safety.UNKNOWN:
                key = ("kmod_update_target_covered", (driver, ("release", item.release)))
                found[key] = float(item.safety is Safety.SAFE)
    if view.spec.cluster_updates == "HoldPools":
        found["kmod_pools_held", (driver,)] = len(view.holds.because)
    stuck = [one.progress.seconds(view.world.now) for one in view.states if one.progress and one.is_begun]
    found["kmod_upgrade_stuck_seconds", (driver,)] = max(stuck, default=0.0)
    return found
