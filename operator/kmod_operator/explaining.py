"""Explains a node: in the operator's pod, from elsewhere by somebody's kubeconfig, or by what somebody saved.

Who is not the operator's pod knows what the cluster knows: what the operator was made for is in a ConfigMap, which
index it believes in another one, and what it may do in the conditions of its objects. No registry is asked from
elsewhere, because another machine may reach another one, and no Secret is read.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kmod_operator.cluster.client import open_client
from kmod_operator.cluster.kinds import CONFIG_MAP
from kmod_operator.cluster.looker import Looker
from kmod_operator.cluster.looking import kinds_asked
from kmod_operator.rollout.explain import explain
from kmod_operator.rollout.names import MANAGER
from kmod_operator.rollout.template import CONFIG_MAP as TEMPLATES_NAME
from kmod_operator.rollout.template import KEY as TEMPLATES_KEY
from kmod_operator.rollout.template import TemplateError, read_templates
from kmod_operator.saved.answers import SavedCluster
from kmod_operator.saved.api import open_saved
from kmod_operator.saved.folder import read_saved
from kmod_operator.settings import SettingError
from kmod_operator.template_file import read_template_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from kmod_operator.cluster.client import Client
    from kmod_operator.rollout.explain import Explanation
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import Object
    from kmod_operator.settings import ExplainSettings

FORMAT = 1
_KNOWS_WITHIN_S = 30.0
# What was saved is there at once, or not at all.
_READS_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What is known of a node.

    Attributes:
        node: its name.
        kind: the vendor's kind.
        at: as of when, where that is not now.
        found: by the name of the vendor's object; none where no object asks for a driver.
    """

    node: str
    kind: str
    at: datetime | None
    found: Mapping[str, Explanation]

    def lines(self) -> list[str]:
        """Return it for people."""
        begun = [f"As of {_written(self.at)}:"] if self.at else []
        if not self.found:
            return [*begun, f"The cluster has no such {self.kind}: nothing asks for a driver."]
        many = len(self.found) > 1
        told = [([f"{name}:"] if many else []) + list(one.sentences) for name, one in self.found.items()]
        return [*begun, *(line for lines in told for line in lines)]

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "format": FORMAT,
            "node": self.node,
            "kind": self.kind,
            "at": _written(self.at) if self.at else None,
            "drivers": [
                {"name": name, "state": one.state, "sentences": list(one.sentences)} for name, one in self.found.items()
            ],
        }


async def explain_node(settings: ExplainSettings, node: str, driver: str = "", saved: Path | None = None) -> Explained:
    """Return why a node has its driver, or has it not. Nothing is written.

    Args:
        settings: where the operator is.
        node: name of a node.
        driver: name of one of the vendor's objects; empty: all of them.
        saved: file or folder of a cluster that was saved; None: the API server that this process is told of.

    Raises:
        SettingError: the file of templates cannot be used.
        SavedError: what was saved cannot be read, or is not enough.
        NoApiError: nothing says where the API server is.
        ApiError: it does not answer what must be known.
    """
    async with _opened(settings, saved) as (client, templates, at):
        outside = settings.templates is None or saved is not None
        looker = Looker(client, templates, outside=outside, now=at)
        async with looker.looking(_KNOWS_WITHIN_S if saved is None else _READS_WITHIN_S):
            found = {
                name: explain(node, item, templates, await looker.world(item, node))
                for name, item in looker.items().items()
                if driver in {"", name}
            }
    return Explained(node=node, kind=templates.kind, at=at, found=found)


@contextlib.asynccontextmanager
async def _opened(
    settings: ExplainSettings, saved: Path | None
) -> AsyncIterator[tuple[Client, Templates, datetime | None]]:
    # Before anything is asked: a file that cannot be used is said to be so.
    own = read_template_file(settings.templates) if settings.templates is not None else None
    if saved is not None:
        objects = read_saved(saved)
        there = SavedCluster(objects, ()).find(CONFIG_MAP.name, settings.namespace, TEMPLATES_NAME)
        templates = own or _read_templates(settings, there)
        cluster = SavedCluster(objects, kinds_asked(templates))
        async with open_saved(cluster) as client:
            yield client, replace(templates, namespace=settings.namespace), cluster.saved_at
        return
    async with open_client(MANAGER) as client:
        there = await client.get_if_there(CONFIG_MAP, TEMPLATES_NAME, settings.namespace) if own is None else None
        yield client, replace(own or _read_templates(settings, there), namespace=settings.namespace), None


def _read_templates(settings: ExplainSettings, there: Object | None) -> Templates:
    """Return what the operator was made for, by the ConfigMap that has the same as the file in its pod."""
    what = f"KMOD_NAMESPACE is {settings.namespace!r}, and its ConfigMap {TEMPLATES_NAME}"
    if there is None:
        raise SettingError(f"{what}, which says what the operator was made for, is not there")
    data = there.get("data")
    text = data.get(TEMPLATES_KEY) if isinstance(data, dict) else None
    if not isinstance(text, str):
        raise SettingError(f"{what} has no {TEMPLATES_KEY}")
    try:
        return read_templates(text.encode(errors="replace"))
    except TemplateError as error:
        raise SettingError(f"{what} cannot be used: {error}") from error


def _written(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
