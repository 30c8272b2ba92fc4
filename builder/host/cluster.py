"""The API server of the cluster that this process is a pod of: one object is created there, with the pod's account.

Whoever needs more of a cluster is an operator (``operator/``).
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import FormatError, HostError, SourceError, SourceUnreachableError
from builder.foreign import read_value
from builder.host.http import check_status, with_retries
from builder.host.places import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LARGEST_TOKEN = 64 * 1024
_LARGEST_ANSWER = 4 * 1024**2
_GROUP, _KIND = "tekton.dev/v1", "PipelineRun"
# What admission finds wrong with an object, and a name that is taken.
_MISTAKES = frozenset({400, 409, 422})
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NO_POD = "run it in a pod whose service account has a token"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """Where the API server is, and by what it and we are known."""

    address: str
    token: str
    authority: Path

    def create(self, document: Mapping[str, Any], *, carrier: httpx.BaseTransport | None = None) -> str:
        """Create an object; returns its namespace and name. Unknown fields are mistakes, not passed over.

        It is not tried twice once the server may have it: a run that is started twice is paid for twice.

        Raises:
            FormatError: the object is of no kind that can be created, or has no namespace.
            SourceError: the server does not answer, refuses, or finds a mistake; the message is the server's.
        """
        kind, metadata = document.get("kind"), document.get("metadata")
        group = document.get("apiVersion")
        namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
        if (group, kind) != (_GROUP, _KIND):
            raise FormatError(f"{group} {kind} is not what can be started: a {_KIND} of {_GROUP} is")
        if not isinstance(namespace, str) or not _NAME.fullmatch(namespace):
            raise FormatError(f"the {_KIND} has no namespace that there can be")
        path = f"/apis/{_GROUP}/namespaces/{namespace}/pipelineruns"
        answer = with_retries(lambda: self._post(path, document, carrier))
        what = f"creating a {_KIND} in namespace {namespace}"
        if answer.status_code in _MISTAKES:
            raise SourceError(f"{what}: the cluster refuses it: {_read(answer, what).get('message')}")
        check_status(answer, what, refusal="its account may not: 'access.yaml' has its rights", accepted={200, 201})
        made = _read(answer, what).get("metadata")
        name = made.get("name") if isinstance(made, dict) else None
        if not isinstance(name, str):
            raise SourceError(f"{what}: the cluster answers with no name", hint="look whether the run was started")
        return f"{namespace}/{name}"

    def _post(self, path: str, document: Mapping[str, Any], carrier: httpx.BaseTransport | None) -> httpx.Response:
        import httpx  # noqa: PLC0415 - see host/http.py

        # Of its own authority only: what else this machine trusts is no cluster's.
        trust = ssl.create_default_context(cafile=str(self.authority)) if carrier is None else False
        with httpx.Client(verify=trust, timeout=30.0, transport=carrier, trust_env=False) as client:
            try:
                return client.post(
                    f"{self.address}{path}",
                    params={"fieldValidation": "Strict"},
                    headers={"Authorization": f"Bearer {self.token}"},
                    json=dict(document),
                )
            except httpx.ConnectError as error:
                raise SourceUnreachableError(f"{self.address} does not answer: {error}") from None
            except httpx.HTTPError as error:
                raise SourceError(
                    f"{self.address} did not answer to the end: {error}", hint="look whether the run was started"
                ) from None


def _read(answer: httpx.Response, what: str) -> dict[str, Any]:
    said = read_value(answer.content, f"the answer to {what}", largest=_LARGEST_ANSWER)
    if not isinstance(said, dict):
        raise FormatError(f"the answer to {what} is no object")
    return said


def find_api_server(*, environment: Mapping[str, str] | None = None, folder: Path = ACCOUNT_DIR) -> ApiServer:
    """Return the cluster that this is a pod of.

    Raises:
        HostError: it is a pod of none, or its account has no token.
    """
    known = os.environ if environment is None else environment
    host, port = known.get("KUBERNETES_SERVICE_HOST", ""), known.get("KUBERNETES_SERVICE_PORT", "")
    if not re.fullmatch(r"[0-9a-zA-Z.:-]+", host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise HostError(
            "this is no pod of a cluster: KUBERNETES_SERVICE_HOST and _PORT do not say where it is", hint=_NO_POD
        )
    try:
        with open_regular(folder / "token", most=_LARGEST_TOKEN) as stream:
            token = stream.read(_LARGEST_TOKEN).decode("ascii").strip()
    except (OSError, FormatError, UnicodeDecodeError) as error:
        raise HostError(f"{folder / 'token'} cannot be read: {error}", hint=_NO_POD) from None
    address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return ApiServer(address=address, token=token, authority=folder / "ca.crt")
