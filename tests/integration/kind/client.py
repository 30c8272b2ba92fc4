"""A small client of the Kubernetes API: what tests do with objects, and what the server says to it."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_OWNER = "kmodsmith-tests"


class Refused(Exception):  # noqa: N818 - what the server does, not what went wrong here
    """The server's answer to what it does not want: its status code, reason and message."""

    def __init__(self, answer: httpx.Response) -> None:
        try:
            status = answer.json()
        except ValueError:
            status = {}
        self.code = answer.status_code
        self.reason = str(status.get("reason", ""))
        self.message = str(status.get("message", answer.text))
        super().__init__(f"{self.code} {self.reason}: {self.message}")


@dataclass
class Client:
    """Speaks to one API server as one user."""

    http: httpx.Client
    _resources: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)

    @classmethod
    def of(cls, kubeconfig: Path, context: str = "") -> Client:
        """Return a client for a context of a kubeconfig: client certificate or token."""
        data = yaml.safe_load(kubeconfig.read_text())
        chosen = _named(data["contexts"], context or data["current-context"])["context"]
        cluster = _named(data["clusters"], chosen["cluster"])["cluster"]
        user = _named(data["users"], chosen["user"])["user"]
        trust = ssl.create_default_context(cadata=_read(cluster, "certificate-authority", kubeconfig).decode())
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if "client-certificate" in user or "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as both:  # the ssl module reads keys from files only
                pair = [_read(user, name, kubeconfig) for name in ("client-certificate", "client-key")]
                both.write(b"\n".join(pair))
                both.flush()
                trust.load_cert_chain(both.name)
        return cls(
            httpx.Client(base_url=cluster["server"], verify=trust, headers=headers, timeout=60.0, trust_env=False)
        )

    def apply(self, item: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Apply an object on the server's side, as ``kubectl apply --server-side`` does: unknown fields are refused."""
        query = {"fieldManager": _OWNER, "force": "true", "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if dry_run else {}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        path = self.path(item["apiVersion"], item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        return self._ask("PATCH", path, params=query, content=json.dumps(item), headers=headers)

    def create(self, item: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create an object as ``kubectl create`` does: unknown fields are refused."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        path = self.path(item["apiVersion"], item["kind"], item["metadata"].get("namespace") or "default")
        return self._ask("POST", path, params=query, json=item)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        return self._ask("GET", self.path(api_version, kind, namespace, name))

    def find(self, api_version: str, kind: str, namespace: str | None = None, **query: str) -> list[dict[str, Any]]:
        """Return the objects of a kind, in one namespace or in all."""
        items: list[dict[str, Any]] = self._ask("GET", self.path(api_version, kind, namespace), params=query)["items"]
        return items

    def patch(self, item: dict[str, Any], change: dict[str, Any], part: str = "") -> dict[str, Any]:
        """Merge a change into an object, or into its ``status``."""
        path = self.path(item["apiVersion"], item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._ask("PATCH", f"{path}/{part}".rstrip("/"), content=json.dumps(change), headers=headers)

    def delete(self, item: dict[str, Any]) -> None:
        path = self.path(item["apiVersion"], item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        self._ask("DELETE", path, json={"propagationPolicy": "Background"})

    def text(self, path: str, **query: str) -> str:
        """Return what a path answers, as it is: logs, health."""
        answer = self.http.get(path, params=query)
        if answer.is_error:
            raise Refused(answer)
        return answer.text

    def watch(
        self, api_version: str, kind: str, namespace: str | None = None, *, seconds: float = 30.0
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what happens to objects of a kind, beginning with those that are there."""
        query = {"watch": "true", "timeoutSeconds": str(int(seconds))}
        with self.http.stream(
            "GET", self.path(api_version, kind, namespace), params=query, timeout=seconds + 5
        ) as lines:
            for line in lines.iter_lines():
                event = json.loads(line)
                yield event["type"], event["object"]

    def path(self, api_version: str, kind: str, namespace: str | None = None, name: str = "") -> str:
        """Return the path of an object or of a kind, by what the server says of its kinds."""
        plural, namespaced = self._resource(api_version, kind)
        root = _root(api_version)
        place = f"/namespaces/{namespace or 'default'}" if namespaced and (namespace or name) else ""
        return f"{root}{place}/{plural}" + (f"/{name}" if name else "")

    def forget_kinds(self) -> None:
        """Ask the server anew which kinds it has."""
        self._resources.clear()

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._resources:
            for entry in self._ask("GET", _root(api_version))["resources"]:
                if "/" not in entry["name"]:
                    self._resources[api_version, entry["kind"]] = (entry["name"], entry["namespaced"])
        return self._resources[api_version, kind]

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        answer = self.http.request(method, path, **more)
        if answer.is_error:
            raise Refused(answer)
        data: dict[str, Any] = answer.json()
        return data


_T = TypeVar("_T")


def wait_until(ask: Callable[[], _T], *, seconds: float = 60.0, what: str = "") -> _T:
    """Return the first true answer; what goes wrong until then is told when the time is over."""
    end, last = time.monotonic() + seconds, "nothing yet"
    while time.monotonic() < end:
        try:
            if answer := ask():
                return answer
        except (Refused, httpx.TransportError, KeyError) as error:
            last = f"{type(error).__name__}: {error}"
        time.sleep(0.2)
    raise AssertionError(f"{what or 'it'} did not come within {seconds:.0f} s: {last}")


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _read(entry: dict[str, str], name: str, kubeconfig: Path) -> bytes:
    if text := entry.get(f"{name}-data"):
        return base64.b64decode(text)
    return (kubeconfig.parent / entry[name]).read_bytes()
