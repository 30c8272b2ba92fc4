"""Makes one picture of a cluster for one of the vendor's objects: of what is kept, and of what has to be asked for."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kmod_operator.cluster.at_once import side_by_side
from kmod_operator.cluster.cache import State
from kmod_operator.cluster.kinds import POD, Scope
from kmod_operator.cluster.trimming import trim_pod
from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.rollout.names import POOL_KIND
from kmod_operator.rollout.world import Known, World, reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kmod_operator.cluster.client import Client
    from kmod_operator.cluster.indexes import Indexes
    from kmod_operator.cluster.looking import Cluster
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import Object, Pod, SmokePod

_LOG = logging.getLogger(__name__)
_RIGHTS_S = 300.0


class Worlds:
    """Makes pictures.

    Args:
        client: the API server, for what is not kept.
        cluster: what is kept.
        indexes: which index is believed.
        now: the time of day.
        rights: says of one of the vendor's objects what may be done; None: the API server is asked about ourselves.
    """

    def __init__(
        self,
        client: Client,
        cluster: Cluster,
        templates: Templates,
        indexes: Indexes,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        rights: Callable[[Object], Mapping[str, Known]] | None = None,
    ) -> None:
        self._client, self._cluster, self._templates, self._indexes = client, cluster, templates, indexes
        self._told_rights = rights
        self._now, self._clock = now, clock
        self._rights: dict[str, Known] = {}
        self._rights_at = float("-inf")
        self._trouble = ""

    async def make(self, item: Object, pods_of: Iterable[str], *, keeps: bool = True) -> World:
        """Return what there is.

        Args:
            item: one of the vendor's objects.
            pods_of: nodes whose pods have to be known.
            keeps: whether the index that is believed is kept for a restart.

        Raises:
            ApiError: something that must be known is not.
        """
        cluster = self._cluster
        index = await self._indexes.look(item, keeps=keeps)
        pods = await self._pods_of(pods_of)
        rights = self._told_rights(item) if self._told_rights else await self._asked_rights()
        objects = {**cluster.of_item(item["metadata"]["name"]), **await self._unlisted(item)}
        return World(
            now=self._now(),
            nodes={node.name: node for node in cluster.nodes},
            pods=pods,
            objects=objects,
            module=await self._module(item),
            apis=cluster.apis(),
            index=index,
            updates=cluster.updates.get("version"),
            pools={pool.name: pool for pool in cluster.pools},
            smokes=self._smokes(item),
            rights=rights,
        )

    async def _pods_of(self, nodes: Iterable[str]) -> dict[str, tuple[Pod, ...]]:
        """Return pods by node; a node that cannot be asked is left out, and said to be so."""
        found: dict[str, tuple[Pod, ...]] = {}

        async def ask(node: str) -> None:
            pods: list[Pod] = []
            try:
                async for page in self._client.pages(POD, Scope(fields=f"spec.nodeName={node}")):
                    pods.extend(map(trim_pod, page.items))
            except ApiError as error:
                self._say(str(error))
                return
            found[node] = tuple(pods)

        await side_by_side(ask(node) for node in nodes if self._cluster.nodes.get(node) is not None)
        return found

    async def _module(self, item: Object) -> Object | None:
        template = self._template(item)
        if template is None:
            return None
        name = str(template.module["metadata"]["name"])
        cache = self._cluster.modules[template.namespace]
        if cache.state == State.FORBIDDEN and cache.kind is not None:
            return await self._client.get_if_there(cache.kind, name, template.namespace)
        return cache.get(name, template.namespace)

    def _smokes(self, item: Object) -> list[SmokePod] | None:
        template = self._template(item)
        return self._cluster.smokes_of(item["metadata"]["name"], template.namespace) if template else None

    async def _unlisted(self, item: Object) -> dict[str, Object]:
        """Return our objects of kinds that this account may read by name alone.

        Who only looks may not read them at all: what is decided of nodes does not hang on them.
        """
        if self._told_rights is not None:
            return {}
        template = self._template(item)
        found: dict[str, Object] = {}
        for one in (*template.plugin, *template.rules) if template else ():
            name, namespace = str(one["metadata"]["name"]), str(one["metadata"].get("namespace") or "")
            cache = self._cluster.ours[f"{one['apiVersion']} {one['kind']}", namespace]
            if cache.state != State.FORBIDDEN or cache.kind is None:
                continue
            there = await self._client.get_if_there(cache.kind, name, namespace)
            labels = (there or {}).get("metadata", {}).get("labels") or {}
            if there is not None and labels.get(f"{self._templates.group}/driver") == item["metadata"]["name"]:
                found[reference(there)] = there
        return found

    async def _asked_rights(self) -> Mapping[str, Known]:
        """Return whether we may do what is optional; asked now and then, as administrators give and take it."""
        if self._clock() - self._rights_at < _RIGHTS_S and Known.UNKNOWN not in self._rights.values():
            return self._rights
        pool_api = POOL_KIND.partition(" ")[0]
        drain = [await self._may("list", "v1", "pods"), await self._may("create", "v1", "pods", "eviction")]
        self._rights = {
            "drain": next((one for one in (Known.NO, Known.UNKNOWN) if one in drain), Known.YES),
            "hold-pools": await self._may("patch", pool_api, "machineconfigpools"),
        }
        self._rights_at = self._clock()
        return self._rights

    async def _may(self, verb: str, api: str, resource: str, part: str = "") -> Known:
        try:
            return Known.YES if await self._client.may(verb, api, resource, part=part) else Known.NO
        except ApiError as error:
            self._say(str(error))
            return Known.UNKNOWN

    def _template(self, item: Object) -> Any:
        spec = item.get("spec") or {}
        return self._templates.drivers.get(str((spec.get("driver") or {}).get("name")))

    def _say(self, words: str) -> None:
        if words != self._trouble:
            _LOG.warning("%s", words)
        self._trouble = words
