"""The index that is believed for each of the vendor's objects: looked for again, and not forgotten by a restart."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import gzip
import logging
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kmod_operator.cluster.cache import State
from kmod_operator.cluster.following import Followed
from kmod_operator.cluster.kinds import CONFIG_MAP, SECRET
from kmod_operator.index.choosing import choose, restore
from kmod_operator.index.registry import fetch_index
from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.rollout.names import MANAGED_BY, MANAGER
from kmod_operator.rollout.world import IndexState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from kmod_operator.cluster.client import Client
    from kmod_operator.cluster.looking import Cluster
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import Object

_LOG = logging.getLogger(__name__)
# A registry that is well answers in this time, and one that is not holds up others no longer.
_FIRST_ANSWER_S = 2.0
_LISTED_WITHIN_S = 10.0
_MOST_BYTES = 8 << 20
_PLAIN, _PACKED = "index.json", "index.json.gz"
_MOST_KEPT = 1 << 20  # what a ConfigMap takes, of bytes before they are written in base64


@dataclass(kw_only=True)
class _Kept:
    """What is known for one object of the vendor's kind.

    Attributes:
        uid: which object of its name.
        config_map: the one that is followed; empty: none.
        place: image and pull secret that are followed.
    """

    uid: str
    state: IndexState = field(default_factory=IndexState)
    is_read: bool = False
    config_map: str = ""
    place: tuple[str, str] = ("", "")
    followed: Followed | None = None

    def end(self) -> None:
        if self.followed is not None:
            self.followed.end()
        self.place, self.followed = ("", ""), None


class Indexes:
    """Looks where the vendor's objects say that their index is.

    Args:
        client: the API server.
        cluster: what is kept of it.
        templates: whose keys are believed.
        changed: called with the name of an object whose index in a registry is another one now.
        fetch: gets an index from a registry: image, and the bytes of a pull secret or None; raises with a sentence.
        guard: stands before what is believed is kept, and raises LostError.
        waits_s: how long the first answer of a registry is waited for.
        asks_registries: False: what was kept of an index of a registry is all that is known of it.
    """

    def __init__(
        self,
        client: Client,
        cluster: Cluster,
        templates: Templates,
        *,
        changed: Callable[[str], None] = lambda _: None,
        fetch: Callable[[str, bytes | None], Awaitable[bytes]] = fetch_index,
        guard: Callable[[], None] = lambda: None,
        waits_s: float = _FIRST_ANSWER_S,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        asks_registries: bool = True,
    ) -> None:
        self._client, self._cluster, self._templates = client, cluster, templates
        self._asks_registries = asks_registries
        self._changed, self._fetch, self._waits_s, self._sleep = changed, fetch, waits_s, sleep
        self._guard = guard
        self._kept: dict[str, _Kept] = {}

    async def look(self, item: Object, *, keeps: bool = True) -> IndexState:
        """Return what is believed now.

        Args:
            item: one of the vendor's objects.
            keeps: whether it is kept for a restart; who only looks writes nothing.

        Raises:
            ApiError: what was believed before a restart cannot be read, or what is believed now cannot be kept: who
                goes on without would take an older index for a newer one.
            LostError: another program may work by now, and know a newer index.
        """
        name, uid = item["metadata"]["name"], str(item["metadata"].get("uid", ""))
        spec = _map(item.get("spec"))
        driver = str(_map(spec.get("driver")).get("name") or "")
        kept = self._kept.get(name)
        if kept is None or kept.uid != uid:
            self.forget(name)
            kept = self._kept[name] = _Kept(uid=uid)
        if not kept.is_read:
            last = await self._read_last(name, uid)
            if last is not None:
                kept.state = restore(last, self._templates.keys, driver)
                if kept.state.trouble:
                    _LOG.warning("%s", kept.state.trouble, extra={"fields": {"driver": name}})
            kept.is_read = True
        offered, why_not = await self._offered(name, _map(spec.get("index")), kept)
        state = choose(kept.state, offered, why_not, self._templates.keys, driver)
        if offered is None and not why_not:  # that the registry has not answered yet is no trouble
            state = replace(state, trouble="", trouble_reason="")
        if keeps and state.digest != kept.state.digest and state.index is not None and offered is not None:
            await self._keep(item, name, offered)
        kept.state = state
        return state

    def forget(self, name: str) -> None:
        if kept := self._kept.pop(name, None):
            kept.end()

    def end(self) -> None:
        """Ask no registry any more."""
        for kept in self._kept.values():
            kept.end()

    async def _offered(self, name: str, place: Mapping[str, Any], kept: _Kept) -> tuple[bytes | None, str]:
        """Return the bytes that lie there, or why there are none; neither where that is not known yet."""
        kept.config_map = str(place.get("configMap") or "")
        self._cluster.follow_no_others({one.config_map for one in self._kept.values()})
        if kept.config_map:
            kept.end()
            return await self._of_map(kept.config_map)
        if image := str(place.get("image") or ""):
            if not self._asks_registries:
                return None, "" if kept.state.index else f"the operator keeps no index (ConfigMap {name_of_last(name)})"
            return await self._of_registry(name, image, str(place.get("pullSecret") or ""), kept)
        kept.end()
        return None, "spec.index names neither a ConfigMap nor an image"

    async def _of_map(self, name: str) -> tuple[bytes | None, str]:
        cache = self._cluster.index_map(name)
        try:
            async with asyncio.timeout(_LISTED_WITHIN_S):
                await cache.listed.wait()
        except TimeoutError:
            return None, f"the ConfigMap {self._templates.namespace}/{name} cannot be read: {cache.trouble}"
        if cache.state != State.LISTED:
            return None, f"the ConfigMap {self._templates.namespace}/{name} cannot be read: {cache.trouble}"
        found = cache.get(name, self._templates.namespace)
        if found is None:
            return None, f"there is no ConfigMap {self._templates.namespace}/{name}"
        try:
            return read_data(found), ""
        except ValueError as error:
            return None, f"the ConfigMap {self._templates.namespace}/{name} holds no index: {error}"

    async def _of_registry(self, name: str, image: str, secret: str, kept: _Kept) -> tuple[bytes | None, str]:
        if kept.followed is None or kept.place != (image, secret):
            kept.end()
            kept.place = image, secret
            kept.followed = Followed(lambda: self._get(image, secret), lambda: self._changed(name), sleep=self._sleep)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._waits_s):
                    await kept.followed.answered.wait()
        return kept.followed.content, kept.followed.trouble

    async def _get(self, image: str, secret: str) -> bytes:
        return await self._fetch(image, await self._login(secret) if secret else None)

    async def _login(self, secret: str) -> bytes:
        found = await self._client.get(SECRET, secret, self._templates.namespace)
        try:
            return base64.b64decode(found["data"][".dockerconfigjson"], validate=True)
        except (KeyError, TypeError, ValueError) as error:
            words = f"the Secret {self._templates.namespace}/{secret} has no .dockerconfigjson"
            raise ApiError(words) from error

    async def _read_last(self, name: str, uid: str) -> bytes | None:
        found = await self._client.get_if_there(CONFIG_MAP, name_of_last(name), self._templates.namespace)
        if found is None:
            return None
        if all(owner.get("uid") != uid for owner in found["metadata"].get("ownerReferences") or ()):
            return None  # of an object that had the name before: it is removed soon, as that object was
        try:
            return read_data(found)
        except ValueError as error:
            _LOG.warning("what was kept of the last index cannot be read: %s", error)
            return None

    async def _keep(self, item: Object, name: str, content: bytes) -> None:
        packed = gzip.compress(content, mtime=0)
        if len(packed) > _MOST_KEPT:
            _LOG.warning("the index is too large to be kept for a restart", extra={"fields": {"driver": name}})
            return
        metadata = item["metadata"]
        owner = {
            "apiVersion": item["apiVersion"], "kind": item["kind"], "name": name, "uid": metadata.get("uid", "")
        }  # fmt: skip
        wanted = {
            "apiVersion": CONFIG_MAP.api,
            "kind": CONFIG_MAP.kind,
            "metadata": {
                "name": name_of_last(name),
                "namespace": self._templates.namespace,
                # Not the label of the driver's own objects: it is no part of what is decided.
                "labels": {MANAGED_BY: MANAGER},
                "ownerReferences": [owner],
            },
            "binaryData": {_PACKED: base64.b64encode(packed).decode()},
        }
        self._guard()
        await self._client.apply(CONFIG_MAP, wanted)


def name_of_last(name: str) -> str:
    return f"{name}-last-index"


def read_data(found: Mapping[str, Any]) -> bytes:
    """Return the bytes of an index in a ConfigMap, packed or plain.

    Raises:
        ValueError: there are none; the message is a sentence.
    """
    plain, binary = _map(found.get("data")).get(_PLAIN), _map(found.get("binaryData"))
    if isinstance(plain, str):
        return plain.encode()
    for name in (_PLAIN, _PACKED):
        if name not in binary:
            continue
        try:
            content = base64.b64decode(str(binary[name]), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{name} is not base64") from error
        return _unpack(content) if name == _PACKED else content
    raise ValueError(f"it has neither {_PLAIN} nor {_PACKED}")


def _unpack(content: bytes) -> bytes:
    """Return what was packed; a small file that would fill the memory is refused."""
    packed = zlib.decompressobj(wbits=31)
    try:
        found = packed.decompress(content, _MOST_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"{_PACKED} is not packed by gzip") from error
    if len(found) > _MOST_BYTES or packed.unconsumed_tail:
        raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB")
    if not packed.eof:
        raise ValueError(f"{_PACKED} is cut off")
    return found


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
