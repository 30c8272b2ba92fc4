"""How a node is given back: what we wrote on it goes, and what others did stays. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_operator.rollout.decision import NodeChange
from kmod_operator.rollout.progress import read_progress

if TYPE_CHECKING:
    from kmod_operator.rollout.names import Names
    from kmod_operator.rollout.world import Node


def give_back(node: Node, names: Names, because: str, *, keeps_version: bool = False) -> NodeChange:
    """Return the change that takes our note and our cordon away, and the version label unless it is kept."""
    progress = read_progress(node.annotations.get(names.progress))
    cordoned = progress is not None and progress.cordoned and node.unschedulable
    has_label = names.wanted_version in node.labels and not keeps_version
    return NodeChange(
        name=node.name,
        labels={names.wanted_version: None} if has_label else {},
        annotations={names.progress: None},
        unschedulable=False if cordoned else None,
        version=node.version,
        because=because,
    )
