"""Carries out what was decided, in its order, and writes nothing that is so already."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kmod_operator.cluster.at_once import side_by_side
from kmod_operator.cluster.compare import content_digest, digest, is_as_applied, marked
from kmod_operator.cluster.kinds import NODE, POD, Kind, name_of, namespace_of
from kmod_operator.kubernetes.errors import CONFLICT, NOT_FOUND, TOO_MANY, ApiError
from kmod_operator.rollout.decision import Event
from kmod_operator.rollout.names import MANAGED_BY, MANAGER
from kmod_operator.rollout.spec import FINALIZER
from kmod_operator.rollout.world import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kmod_operator.cluster.client import Client
    from kmod_operator.cluster.looking import Cluster
    from kmod_operator.cluster.telling import Teller
    from kmod_operator.rollout.decision import Decision, NodeChange, PoolChange
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import Object, Pod, SmokePod, World

_LOG = logging.getLogger(__name__)
# Objects whose pods have to be gone before they count as gone: what comes after them waits for that.
_FOREGROUND = frozenset({"DaemonSet", "Deployment"})
_SOON_S = 1.0
_REFUSED_EVICTION_S = 5.0
_SERVERS_OWN = 500


@dataclass(kw_only=True)
class Outcome:
    """What came of a decision.

    Attributes:
        writes: how many requests changed something.
        again_s: when to look again because of what happened here; None: no reason.
        troubles: what could not be done, as sentences.
        wait_s: how long the server wants to be left alone.
    """

    writes: int = 0
    again_s: float | None = None
    troubles: list[str] = field(default_factory=list)
    wait_s: float = 0.0
    told: list[Event] = field(default_factory=list)

    def look_again(self, seconds: float) -> None:
        self.again_s = seconds if self.again_s is None else min(self.again_s, seconds)

    def failed(self, error: ApiError) -> None:
        """Note what could not be done.

        Raises:
            ApiError: it is the server that is not well: it is left alone, and not asked the same for each node.
        """
        if error.status in {0, TOO_MANY} or error.status >= _SERVERS_OWN:
            raise error
        self.troubles.append(str(error))
        self.wait_s = max(self.wait_s, error.wait_s)


class Actor:
    """Acts.

    Args:
        client: the API server.
        cluster: what is kept of it; what is written is put there at once.
        guard: stands before each write, and raises LostError.
    """

    def __init__(
        self,
        client: Client,
        cluster: Cluster,
        templates: Templates,
        teller: Teller,
        *,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self._client, self._cluster, self._teller = client, cluster, teller
        self._guard = guard
        self._digest = f"{templates.group}/applied"
        self._finalizer = f"{templates.group}/{FINALIZER}"
        self._kinds: dict[str, Kind] = {}
        # What the server made of what we applied where that looks different: 0.5 becomes 500m.
        self._taken: dict[str, tuple[str, str]] = {}

    async def carry_out(self, item: Object, decision: Decision, world: World, done: Outcome) -> None:
        """Do what was decided; what came of it is noted in ``done`` also where it ends with an error.

        What stands before something is done before it: after an object that could not be applied no node is touched,
        and nothing is deleted. One node that refuses does not hold up the others.

        Raises:
            LostError: another program may work by now.
            ApiError: the vendor's object itself cannot be written.
        """
        if decision.finalizer:
            await self._add_finalizer(item, done)
        if await self._apply_all(decision, world, done):
            await side_by_side(self._change_node(change, done) for change in decision.nodes)
            await side_by_side(self._evict(pod, done) for pod in decision.evict)
            await side_by_side(self._end_smoke(pod, done) for pod in decision.end)
            await side_by_side(self._start_smoke(pod, done) for pod in decision.start)
            for pool in decision.pools:
                await self._change_pool(pool, done)
            await self._delete_all(decision, world, done)
        await self._write_status(item, decision, done)
        self._guard()
        await self._teller.tell(item, [*decision.events, *done.told])
        if not decision.finalizer and not done.troubles:
            await self._remove_finalizer(item, done)

    async def _apply_all(self, decision: Decision, world: World, done: Outcome) -> bool:
        """Apply objects in their order, up to the first that cannot be."""
        for wanted in decision.apply:
            try:
                await self._apply(wanted, world, done)
            except ApiError as error:
                done.failed(error)
                done.told.append(Event(reason="ApplyFailed", message=str(error), is_warning=True))
                return False
        return True

    async def _apply(self, wanted: Object, world: World, done: Outcome) -> None:
        name = reference(wanted)
        item = marked(wanted, self._digest)
        mark = item["metadata"]["annotations"][self._digest]
        kind = await self._kind(wanted["apiVersion"], wanted["kind"])
        there = await self._there(name, kind, wanted, world)
        if there is not None and self._is_so(name, item, there, mark):
            return
        self._guard()
        found = await self._client.apply(kind, item)
        done.writes += 1
        self._note(kind, found)
        self._taken[name] = (mark, content_digest(found))
        _LOG.info("an object is applied", extra={"fields": {"object": name}})

    async def _there(self, name: str, kind: Kind, wanted: Object, world: World) -> Object | None:
        """Return an object as it is; one that is neither kept nor seen is asked for, where it may be there."""
        if name in world.objects:
            return world.objects[name]
        if world.module is not None and name == reference(world.module):
            return world.module
        if self._cluster.holding(kind.name, namespace_of(wanted)) is not None:
            return None
        return await self._client.get_if_there(kind, name_of(wanted), namespace_of(wanted))

    def _is_so(self, name: str, item: dict[str, Any], there: Object, mark: str) -> bool:
        if is_as_applied(item, there, manager=MANAGER, annotation=self._digest):
            return True
        return self._taken.get(name) == (mark, content_digest(there))

    async def _change_node(self, change: NodeChange, done: Outcome) -> None:
        node = self._cluster.nodes.get(change.name)
        if node is None:
            return  # it is gone: there is nothing to change
        metadata: dict[str, Any] = {"resourceVersion": change.version} if change.version else {}
        labels = _differing(change.labels, node.labels)
        annotations = _differing(change.annotations, node.annotations)
        metadata |= ({"labels": labels} if labels else {}) | ({"annotations": annotations} if annotations else {})
        body: dict[str, Any] = {"metadata": metadata}
        if change.unschedulable is not None and change.unschedulable != node.unschedulable:
            body["spec"] = {"unschedulable": change.unschedulable}
        if not labels and not annotations and "spec" not in body:
            return
        if await self._merge(NODE, change.name, body, done):
            _LOG.info("%s", change.because or "a node is changed", extra={"fields": {"node": change.name}})

    async def _change_pool(self, change: PoolChange, done: Outcome) -> None:
        pool, kind = self._cluster.pools.get(change.name), self._cluster.pools.kind
        if pool is None or kind is None:
            return
        annotations = _differing(change.annotations, pool.annotations)
        if not annotations and change.paused == pool.paused:
            return
        metadata = {"resourceVersion": change.version} if change.version else {}
        body = {"metadata": {**metadata, "annotations": annotations}, "spec": {"paused": change.paused}}
        if await self._merge(kind, change.name, body, done):
            _LOG.info("%s", change.because or "a pool is changed", extra={"fields": {"pool": change.name}})

    async def _merge(self, kind: Kind, name: str, body: dict[str, Any], done: Outcome) -> bool:
        """Change one object that is not ours, as it was seen; tell whether it was done."""
        self._guard()
        try:
            found = await self._client.merge(kind, name, body)
        except ApiError as error:
            if error.status == CONFLICT:  # somebody else wrote: the next pass sees what
                done.look_again(_SOON_S)
            else:
                done.failed(error)
            return False
        done.writes += 1
        self._note(kind, found)
        return True

    async def _evict(self, pod: Pod, done: Outcome) -> None:
        self._guard()
        try:
            await self._client.evict(pod.namespace, pod.name, pod.uid)
            done.writes += 1
        except ApiError as error:
            if error.status == TOO_MANY:  # a budget of its owner forbids it for now
                done.look_again(max(_REFUSED_EVICTION_S, error.wait_s))
                words = f"{pod.node} is not drained yet: {error}"
                done.told.append(Event(reason="EvictionRefused", message=words, about=pod.node, is_warning=True))
            elif error.status == CONFLICT:  # another pod has its name by now
                done.look_again(_SOON_S)
            elif error.status == _SERVERS_OWN:  # two budgets for one pod: that pod's trouble, and not the server's
                done.troubles.append(str(error))
            else:
                done.failed(error)

    async def _end_smoke(self, pod: SmokePod, done: Outcome) -> None:
        self._guard()
        try:
            await self._client.delete(POD, pod.name, pod.namespace, uid=pod.uid)
        except ApiError as error:
            if error.status == CONFLICT:  # another pod has its name by now
                done.look_again(_SOON_S)
            else:
                done.failed(error)
            return
        done.writes += 1

    async def _start_smoke(self, pod: Object, done: Outcome) -> None:
        self._guard()
        try:
            found = await self._client.create(POD, pod)
        except ApiError as error:
            if error.status == CONFLICT:  # the program before us began it, and its watch has not said so yet
                done.look_again(_SOON_S)
            else:
                done.failed(error)
                done.told.append(Event(reason="ApplyFailed", message=str(error), is_warning=True))
            return
        done.writes += 1
        if (cache := self._cluster.smokes.get(namespace_of(pod))) is not None:
            cache.written(found)
        _LOG.info("a smoke test begins", extra={"fields": {"pod": f"{namespace_of(pod)}/{name_of(pod)}"}})

    async def _delete_all(self, decision: Decision, world: World, done: Outcome) -> None:
        for name in decision.delete:
            there = world.objects.get(name)
            if there is None and world.module is not None and name == reference(world.module):
                there = world.module
            if there is None or there["metadata"].get("deletionTimestamp"):
                continue
            if (there["metadata"].get("labels") or {}).get(MANAGED_BY) != MANAGER:
                done.troubles.append(f"{name} is not deleted: it is not ours")
                continue
            self._guard()
            try:
                await self._delete(there)
            except ApiError as error:
                done.failed(error)
                return  # what stands after it waits for it
            done.writes += 1
            _LOG.info("an object is deleted", extra={"fields": {"object": name}})

    async def _delete(self, there: Object) -> None:
        kind = await self._kind(there["apiVersion"], there["kind"])
        uid = str(there["metadata"].get("uid") or "")
        is_waited_for = there["kind"] in _FOREGROUND
        await self._client.delete(kind, name_of(there), namespace_of(there), uid=uid, foreground=is_waited_for)

    async def _write_status(self, item: Object, decision: Decision, done: Outcome) -> None:
        wanted = _without_none(decision.status)
        there = _without_none(item.get("status") or {})
        name = f"{reference(item)} status"
        # Others may have conditions of their own in it: then it looks as the server made it of what we applied.
        if not wanted or wanted == there or self._taken.get(name) == (digest(wanted), digest(there)):
            return
        kind = self._cluster.items.kind
        if kind is None:
            return
        self._guard()
        body = {
            "apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": {"name": name_of(item)},
            "status": wanted,
        }  # fmt: skip
        try:
            found = await self._client.apply(kind, body, "status")
        except ApiError as error:
            done.failed(error)
        else:
            done.writes += 1
            self._note(kind, found)
            self._taken[name] = digest(wanted), digest(_without_none(found.get("status") or {}))

    async def _add_finalizer(self, item: Object, done: Outcome) -> None:
        known = list(item["metadata"].get("finalizers") or ())
        if self._finalizer not in known and not item["metadata"].get("deletionTimestamp"):
            await self._write_finalizers(item, [*known, self._finalizer], done)

    async def _remove_finalizer(self, item: Object, done: Outcome) -> None:
        known = self._cluster.items.get(name_of(item)) or item
        left = list(known["metadata"].get("finalizers") or ())
        if self._finalizer in left:
            await self._write_finalizers(known, [one for one in left if one != self._finalizer], done)

    async def _write_finalizers(self, item: Object, finalizers: list[str], done: Outcome) -> None:
        kind = self._cluster.items.kind
        if kind is None:
            return
        self._guard()
        # With the version that was seen: a list is replaced as a whole, and others have finalizers in it.
        metadata = {"resourceVersion": item["metadata"].get("resourceVersion"), "finalizers": finalizers}
        self._note(kind, await self._client.merge(kind, name_of(item), {"metadata": metadata}))
        done.writes += 1

    def _note(self, kind: Kind, found: dict[str, Any]) -> None:
        """Keep what the server answered to a write, so that the next pass does not see what was before it."""
        cluster = self._cluster
        if kind is NODE:
            cluster.nodes.written(found)
        elif kind is cluster.pools.kind:
            cluster.pools.written(found)
        elif kind is cluster.items.kind:
            # An object that only waited for our finalizer is gone with this write.
            if found["metadata"].get("finalizers") or not found["metadata"].get("deletionTimestamp"):
                cluster.items.written(found)
        elif (cache := cluster.holding(kind.name, namespace_of(found))) is not None:
            cache.written(found)

    async def _kind(self, api: str, name: str) -> Kind:
        """Return a kind.

        Raises:
            ApiError: the cluster does not have it.
        """
        called = f"{api} {name}"
        if called not in self._kinds:
            found = await self._client.find(api, name)
            if found is None:
                raise ApiError(f"the cluster has no {name} of {api}", status=NOT_FOUND)
            self._kinds[called] = found
        return self._kinds[called]


def _differing(wanted: Mapping[str, str | None], there: Mapping[str, str]) -> dict[str, str | None]:
    return {key: value for key, value in wanted.items() if there.get(key) != value}


def _without_none(value: Any) -> Any:
    """Return JSON as the server keeps it: lists, and no fields without a value."""
    if hasattr(value, "items"):
        return {name: _without_none(one) for name, one in value.items() if one is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(one) for one in value]
    return value
