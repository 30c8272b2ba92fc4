"""Conditions, their reasons, and those of events: the tables of the code, of docs/operator.md and of people. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Condition(StrEnum):
    """Types of conditions of the vendor's kind."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    PREREQUISITES_MET = "PrerequisitesMet"
    KERNELS_COVERED = "KernelsCovered"
    INDEX_TRUSTED = "IndexTrusted"
    UPDATE_SAFE = "UpdateSafe"


REASONS: Mapping[str, str] = {
    # What the object or the cluster lacks.
    "AllThere": "everything that the driver needs of the cluster is there",
    "InvalidSpec": "the object says what cannot be done: the message names the field; nothing is changed",
    "UnknownDriver": "the operator was made for other drivers: correct spec.driver.name",
    "KmmAbsent": "the cluster has no Kernel Module Management: install that operator",
    "NfdAbsent": "the cluster has no Node Feature Discovery: install it, or label nodes by hand",
    "ApiUnknown": "the API server did not say which APIs it has: it is asked again",
    "SmokeTestsUnseen": "pods of smoke tests cannot be listed: apply 30-drivers.yaml of this release",
    "CanarySharesPool": "kernels reach a pool's nodes in no order that is ours: give canaries a pool of their own",
    "ModuleIsAnothers": "a Module of this name was made by somebody else, or for another object: delete one of the two",
    "MayNotDrain": "the operator is to drain nodes, and has no right to: apply the role 'drain'",
    "MayNotHoldPools": "pools are to be held, and the operator has no right to: apply the role 'hold-pools'",
    # The index.
    "Verified": "the index is signed by the vendor, and it is the newest that was seen",
    "NoIndex": "no index has been read yet",
    "Unreadable": "the index cannot be read: what is known of it is kept",
    "NotTrusted": "what lies there as the index is not to be believed: the last good one is kept",
    "OlderIndex": "an older index lies there than the one that is known: the newer one is kept",
    "VersionNotInIndex": "the index has no image of this version: correct spec.driver.version, or wait for the vendor",
    # Kernels.
    "AllCovered": "each kernel that nodes run has an image",
    "KernelNotCovered": "nodes run a kernel that has no image yet: they keep what they have; ask the vendor for it",
    "ImageReplaced": "the index has another image of this version; nodes keep the one they have: ask for a new version",
    # Nodes.
    "NoNodes": "no node has the labels of the selector",
    "AllReady": "on every node the driver is loaded, and its devices can be had",
    "NodesNotReady": "some nodes do not have the driver yet, or not any more",
    "AllNodesDown": "no selected node is Ready itself",
    "Arrived": "no node is on its way",
    "LoaderKept": "the operator would load the driver otherwise now (parameters, order): another version brings that",
    "Upgrading": "nodes are on their way, within spec.rollout.maxUnavailable",
    "Paused": "spec.rollout.paused is true: nothing new is begun",
    "BudgetUsed": "as many nodes are on their way, or not well, as may be: mend those that failed",
    "WaitsForCordon": "nodes are not drained by the operator: cordon (and drain) one, and it is upgraded",
    "MachineUpdating": "the cluster brings another configuration to the node, and reboots it: that comes first",
    "NoCanary": "no selected node has the labels of the canary: label one",
    "CanaryOnItsWay": "the canary comes first",
    "CanaryNotWell": "the canary has no driver, or is down: nothing goes on until it is well",
    "CanarySoaks": "the canary has the version, and some time to show that it is well",
    "CanaryFailed": "the canary failed: another version, or removing the node's annotation, tries again",
    "StepFailed": "a node did not get through a step: removing its annotation tries again",
    "NoFailure": "nothing failed",
    "BeingRemoved": "the object is being deleted: pods, plugin and driver go in this order",
    # Updates of the cluster.
    "NotOpenShift": "the cluster has no ClusterVersion: what comes next is not known",
    "NotChecked": "clusterUpdate.policy is Ignore",
    "NothingOffered": "no release is offered",
    "AllSafe": "each release that is offered has an image for each kernel",
    "ReleaseNotCovered": "a release that is offered has a kernel without an image: do not update to it yet",
    "ReleaseUnknown": "a release that is offered is not in the index: it is never taken for safe",
}
"""What each reason means, and what to do."""

EVENTS: Mapping[str, str] = {
    "ApplyFailed": "the API server does not take an object; the message has its words",
    "EvictionRefused": "a pod disruption budget forbids an eviction now: it is tried again every 5 s, until "
    "`drain.timeoutSeconds`",
    "NodeStep": "a node takes a step, or failed at one; the message says which, and why",
    "PoolHeld": "a MachineConfigPool is paused; the message says for which release",
    "PoolLetGo": "a MachineConfigPool that we paused is let go",
}
"""What events mean that tell no reason of a condition."""
