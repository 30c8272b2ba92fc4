"""All that is kept of a cluster, and what is told to whom when some of it changes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from kmod_operator.cluster import trimming
from kmod_operator.cluster.cache import Cache, Limits, State
from kmod_operator.cluster.kinds import Scope
from kmod_operator.cluster.trimming import Trimmer
from kmod_operator.rollout.names import MANAGED_BY, MANAGER, MODULE_API, POOL_KIND, VERSION_KIND, smoke_key
from kmod_operator.rollout.objects import POD_MONITOR_KIND, kind_of
from kmod_operator.rollout.world import Known, reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kmod_operator.cluster.client import Client
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import ClusterUpdates, Node, Object, Pool, SmokePod

_LOG = logging.getLogger(__name__)
# For how long what is kept may be old before nothing is decided by it.
_STALE_S = 60.0
_POD_KIND = "v1 Pod"
_OURS = f"{MANAGED_BY}={MANAGER}"


class Cluster:
    """What is kept.

    Args:
        client: the API server.
        templates: what the operator was made for: its kinds and namespaces are watched.
        changed: called with the name of the vendor's object that a change is about; empty: all of them.
        restarted: called with a kind when its watch begins anew.

    Attributes:
        items: the vendor's objects.
        nodes: all nodes.
        modules: KMM's, by namespace of a driver, whoever made them.
        ours: what has our label, by kind and namespace (empty where the kind has none).
        smokes: pods that try devices, by namespace of a driver that has such a test.
        index_maps: ConfigMaps that hold an index, by name; only those that are asked for.
    """

    def __init__(
        self,
        client: Client,
        templates: Templates,
        *,
        changed: Callable[[str], None],
        restarted: Callable[[str], None] = lambda _: None,
        limits: Limits | None = None,
    ) -> None:
        self._client = client
        self._templates = templates
        self._changed = changed
        self._restarted = restarted
        self._limits = limits
        self._owner = f"{templates.group}/driver"
        rules = {kind_of(rule) for driver in templates.drivers.values() for rule in driver.rules}
        self._optional = {POOL_KIND, VERSION_KIND, POD_MONITOR_KIND, _POD_KIND, *rules}
        trimmer = Trimmer(templates.group, MANAGER)
        self.items: Cache[dict[str, Any]] = self._cache(
            f"{templates.group}/{templates.version} {templates.kind}", self._tell_item,
            trimming.without_managers,
            same=trimming.is_same_object,
        )  # fmt: skip
        self.nodes: Cache[Node] = self._cache("v1 Node", self._tell_all, trimmer.node, same=trimming.is_same_node)
        self.pools: Cache[Pool] = self._cache(POOL_KIND, self._tell_all, trimming.trim_pool, same=trimming.is_same_pool)
        self.updates: Cache[ClusterUpdates] = self._cache(VERSION_KIND, self._tell_all, trimming.trim_updates)
        self.modules: dict[str, Cache[dict[str, Any]]] = {}
        self.ours: dict[tuple[str, str], Cache[dict[str, Any]]] = {}
        for driver in templates.drivers.values():
            if driver.namespace not in self.modules:
                self.modules[driver.namespace] = self._cache(
                    f"{MODULE_API} Module", self._tell_all, trimmer.ours, Scope(namespace=driver.namespace),
                    same=trimming.is_same_object,
                )  # fmt: skip
        for name, namespace in sorted(_kinds_of(templates)):
            self.ours[name, namespace] = self._cache(
                name, self._tell_owner, trimmer.ours, Scope(namespace=namespace, labels=_OURS),
                same=trimming.is_same_object,
            )  # fmt: skip
        self.smokes: dict[str, Cache[SmokePod]] = {}
        for driver in templates.drivers.values():
            if driver.smoke is not None:
                scope = Scope(namespace=driver.namespace, labels=f"{_OURS},{smoke_key(templates.group)}")
                self.smokes[driver.namespace] = self._cache(_POD_KIND, self._tell_smoke, trimmer.smoke_pod, scope)
        self.index_maps: dict[str, Cache[dict[str, Any]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._following: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow all kinds until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for cache in self._all():
                tasks.create_task(cache.run())
            for name, cache in self.index_maps.items():
                self._following[name] = tasks.create_task(cache.run())

    def index_map(self, name: str) -> Cache[dict[str, Any]]:
        """Return what is kept of a ConfigMap of the operator's namespace; it is followed from now on."""
        if name not in self.index_maps:
            scope = Scope(namespace=self._templates.namespace, fields=f"metadata.name={name}")
            cache = self._cache("v1 ConfigMap", self._tell_all, trimming.trim_data, scope)
            self.index_maps[name] = cache
            if self._tasks is not None:
                self._following[name] = self._tasks.create_task(cache.run())
        return self.index_maps[name]

    def follow_no_others(self, names: set[str]) -> None:
        """Follow no ConfigMap but these: each holds a connection."""
        for name in set(self.index_maps) - names:
            del self.index_maps[name]
            if task := self._following.pop(name, None):
                task.cancel()

    def lacks(self) -> str:
        """Return why nothing can be decided yet, or now, as a sentence; empty where all is known."""
        for cache in self._all():
            is_needed = cache.name not in self._optional
            # Of what is optional, unknown is an answer: it is waited for until it is known why it is not known.
            if cache.state == State.UNKNOWN and (is_needed or not cache.trouble):
                return f"{cache.name} was not listed yet" + (f": {cache.trouble}" if cache.trouble else "")
            if is_needed and cache.broken_for() > _STALE_S:
                return f"{cache.name} was not heard of for {cache.broken_for():.0f} s: {cache.trouble}"
        for needed in (self.items, self.nodes):
            if needed.state != State.LISTED:
                return f"{needed.name} cannot be listed: {needed.trouble or needed.state}"
        return ""

    def apis(self) -> dict[str, Known]:
        """Return whether the cluster has the kinds that are asked for; what may not be listed is there all the same."""
        known = {State.UNKNOWN: Known.UNKNOWN, State.ABSENT: Known.NO}
        found: dict[str, Known] = {}
        for cache in self._all():
            found[cache.name] = known.get(cache.state, Known.YES)
        return found

    def of_item(self, name: str) -> dict[str, Object]:
        """Return our objects for one of the vendor's objects, by ``kind namespace/name``."""
        found: dict[str, Object] = {}
        for cache in (*self.ours.values(), *self.modules.values()):
            for item in cache:
                if (item["metadata"].get("labels") or {}).get(self._owner) == name:
                    found[reference(item)] = item
        return found

    def holding(self, kind: str, namespace: str) -> Cache[dict[str, Any]] | None:
        """Return what is kept of a kind, with all objects of ours; None where that is not known."""
        candidates = [self.ours.get((kind, namespace)), self.ours.get((kind, ""))]
        if kind == f"{MODULE_API} Module":
            candidates.append(self.modules.get(namespace))
        return next((one for one in candidates if one is not None and one.state == State.LISTED), None)

    def _all(self) -> Iterator[Cache[Any]]:
        yield from (self.items, self.nodes, self.pools, self.updates)
        yield from self.modules.values()
        yield from self.ours.values()
        yield from self.smokes.values()

    def smokes_of(self, name: str, namespace: str) -> list[SmokePod] | None:
        """Return pods that try devices for one of the vendor's objects; None where that is not known."""
        cache = self.smokes.get(namespace)
        if cache is None or cache.state != State.LISTED:
            return None
        return [pod for pod in cache if pod.owner == name]

    def _cache(
        self,
        name: str,
        told: Callable[[tuple[str, str], Any, Any], None],
        trim: Callable[[dict[str, Any]], Any],
        scope: Scope | None = None,
        same: Callable[[Any, Any], bool] = lambda one, other: one == other,
    ) -> Cache[Any]:
        api, _, kind = name.rpartition(" ")
        return Cache(
            self._client, api, kind, trim=trim, told=told, scope=scope, same=same, restarted=self._restarted,
            limits=self._limits,
        )  # fmt: skip

    def _tell_item(self, key: tuple[str, str], _before: Any, _now: Any) -> None:
        self._changed(key[1])

    def _tell_all(self, *_: Any) -> None:
        self._changed("")

    def _tell_smoke(self, _key: tuple[str, str], before: SmokePod | None, now: SmokePod | None) -> None:
        pod = now or before
        self._changed(pod.owner if pod else "")

    def _tell_owner(
        self, _key: tuple[str, str], before: Mapping[str, Any] | None, now: Mapping[str, Any] | None
    ) -> None:
        for item in (before, now):
            labels = (item or {}).get("metadata", {}).get("labels") or {}
            if owner := labels.get(self._owner):
                self._changed(owner)
                return
        self._changed("")


def kinds_asked(templates: Templates) -> set[str]:
    """Return which kinds are asked for, ``group/version Kind``."""
    own = {f"{templates.group}/{templates.version} {templates.kind}", f"{MODULE_API} Module", POOL_KIND, VERSION_KIND}
    return own | {name for name, _ in _kinds_of(templates)} | {POD_MONITOR_KIND}  # pods are everywhere


def _kinds_of(templates: Templates) -> set[tuple[str, str]]:
    """Return kinds of objects that are made, with the namespace they are in."""
    found: set[tuple[str, str]] = set()
    for driver in templates.drivers.values():
        for item in (*driver.plugin, *driver.rules):
            found.add((kind_of(item), str(item["metadata"].get("namespace") or "")))
        if driver.plugin:
            found.add((POD_MONITOR_KIND, driver.namespace))
    return found
