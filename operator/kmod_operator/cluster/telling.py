"""Tells a cluster what happens, once: as events, which ``kubectl describe`` and ``kubectl get events`` show."""

from __future__ import annotations

import logging
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kmod_operator.cluster.at_once import side_by_side
from kmod_operator.cluster.kinds import EVENT, Scope
from kmod_operator.kubernetes.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kmod_operator.cluster.client import Client
    from kmod_operator.rollout.decision import Event
    from kmod_operator.rollout.world import Object

_LOG = logging.getLogger(__name__)
# Events of objects that are in no namespace are kept there, by the rule of the API.
_NAMESPACE = "default"
# The server keeps events for an hour: what was not said for so long is news again.
_FORGET_S = 3600.0
_MOST_TOLD = 5000
_LONGEST_NOTE = 1024
_Told = tuple[str, str, str, str]


class Teller:
    """Tells events of the vendor's objects.

    Args:
        client: the API server.
        instance: which of several programs of ours says it.
    """

    def __init__(
        self, client: Client, *, manager: str, instance: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._manager, self._instance = manager, instance
        self._clock = clock
        self._told: dict[_Told, float] = {}
        self._has_read = False
        self._trouble = ""

    async def tell(self, item: Object, events: Iterable[Event]) -> int:
        """Tell what was not told yet, and return how much that was; what cannot be told is told by the log."""
        news = []
        for event in events:
            await self._read()
            key = (item["metadata"]["name"], event.reason, event.about, _shortened(event.message))
            if key not in self._told:
                news.append(event)
            self._note(key)
        await side_by_side(self._tell(item, event) for event in news)
        return len(news)

    async def _tell(self, item: Object, event: Event) -> None:
        level = logging.WARNING if event.is_warning else logging.INFO
        fields = {"driver": item["metadata"]["name"], "reason": event.reason, "about": event.about}
        _LOG.log(level, "%s", event.message, extra={"fields": fields})
        try:
            await self._client.create(EVENT, self._event(item, event))
        except ApiError as error:
            self._say(str(error))

    async def _read(self) -> None:
        """Learn what the program before us told; what it told is not told again."""
        if self._has_read:
            return
        self._has_read = True
        scope = Scope(namespace=_NAMESPACE, fields=f"reportingController={self._manager}")
        try:
            async for page in self._client.pages(EVENT, scope):
                for found in page.items:
                    self._note(_told_by(found))
        except ApiError as error:
            self._say(f"{error}; what was told before may be told once more")

    def _note(self, key: _Told) -> None:
        now = self._clock()
        self._told.pop(key, None)
        self._told[key] = now  # the one that was said last is at the end
        while self._told:
            oldest = next(iter(self._told))
            if now - self._told[oldest] < _FORGET_S and len(self._told) <= _MOST_TOLD:
                return
            del self._told[oldest]

    def _say(self, words: str) -> None:
        if words != self._trouble:
            _LOG.warning("%s", words)
        self._trouble = words

    def _event(self, item: Object, event: Event) -> dict[str, Any]:
        metadata = item["metadata"]
        about: dict[str, Any] = {
            "apiVersion": item["apiVersion"], "kind": item["kind"], "name": metadata["name"],
            "uid": metadata.get("uid", ""), "resourceVersion": metadata.get("resourceVersion", ""),
        }  # fmt: skip
        found = {
            "apiVersion": EVENT.api,
            "kind": EVENT.kind,
            "metadata": {"name": f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}", "namespace": _NAMESPACE},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": "Warning" if event.is_warning else "Normal",
            "reason": event.reason,
            "action": event.reason,
            "note": _shortened(event.message),
            "regarding": about,
            "reportingController": self._manager,
            "reportingInstance": self._instance,
        }
        if event.about:
            # kubelet and kubectl know events of a node by its name in the place of the UID.
            node = {"apiVersion": "v1", "kind": "Node", "name": event.about, "uid": event.about}
            found |= {"regarding": node, "related": about}
        return found


def _told_by(found: dict[str, Any]) -> _Told:
    regarding, related = found.get("regarding") or {}, found.get("related") or {}
    item, about = (related, regarding.get("name", "")) if regarding.get("kind") == "Node" else (regarding, "")
    return str(item.get("name", "")), str(found.get("reason", "")), str(about), str(found.get("note", ""))


def _shortened(message: str) -> str:
    text = message.encode()
    if len(text) <= _LONGEST_NOTE:
        return message
    return text[: _LONGEST_NOTE - 3].decode(errors="ignore") + "..."
