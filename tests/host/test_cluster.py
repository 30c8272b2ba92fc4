"""One object is created by the API server of this pod's cluster: what it answers, and what is no answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from builder.errors import FormatError, HostError, SourceError, SourceRefusedError, SourceUnreachableError
from builder.host.cluster import ApiServer, find_api_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_RUN = {
    "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"generateName": "a-", "namespace": "drivers"},
}  # fmt: skip
_MADE = {"metadata": {"name": "a-x7", "namespace": "drivers"}}


@pytest.fixture
def server(tmp_path: Path) -> ApiServer:
    return ApiServer(address="https://10.0.0.1:443", token="t0ken", authority=tmp_path / "ca.crt")


def _carry(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(answer)


def test_a_run_is_created_strictly_and_with_the_token(server: ApiServer) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(201, json=_MADE)

    assert server.create(_RUN, carrier=_carry(answer)) == "drivers/a-x7"
    (request,) = asked
    assert str(request.url) == (
        "https://10.0.0.1/apis/tekton.dev/v1/namespaces/drivers/pipelineruns?fieldValidation=Strict"
    )
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert json.loads(request.content) == _RUN


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (400, SourceError, "unknown field"),
        (422, SourceError, "unknown field"),
        (409, SourceError, "unknown field"),
        (403, SourceRefusedError, "refuses access"),
        (401, SourceRefusedError, "refuses access"),
        (404, SourceError, "does not exist"),
        (500, SourceUnreachableError, "HTTP 500"),
        (302, SourceError, "HTTP 302"),
    ],
)
def test_what_the_server_says_is_told(server: ApiServer, status: int, kind: type[Exception], sentence: str) -> None:
    answer = httpx.Response(status, json={"message": 'unknown field "spec.pipelineref"'})
    with pytest.raises(kind, match=sentence):
        server.create(_RUN, carrier=_carry(lambda _: answer))


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"metadata":{}}', b'{"metadata":{"name":7}}', b'{"metadata":[]}']
)
def test_an_answer_that_is_none_is_no_success(server: ApiServer, body: bytes) -> None:
    with pytest.raises((SourceError, FormatError)):
        server.create(_RUN, carrier=_carry(lambda _: httpx.Response(201, content=body)))


def test_a_run_is_not_started_twice_where_the_answer_is_lost(server: ApiServer) -> None:
    asked = []

    def lose(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ReadTimeout("silence", request=request)

    with pytest.raises(SourceError, match="did not answer to the end") as caught:
        server.create(_RUN, carrier=_carry(lose))
    assert len(asked) == 1
    assert not isinstance(caught.value, SourceUnreachableError)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Secret", "apiVersion": "v1"},
        {"kind": ["PipelineRun"]},
        {"metadata": None},
        {"metadata": {"namespace": "../../x"}},
        {"metadata": {"namespace": 3}},
        {"metadata": {}},
    ],
)
def test_nothing_else_is_created(server: ApiServer, change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        server.create(_RUN | change, carrier=_carry(lambda _: pytest.fail("it was asked")))


def test_a_pod_knows_its_cluster(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    known = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    found = find_api_server(environment=known, folder=tmp_path)
    assert (found.address, found.token) == ("https://10.0.0.1:443", "t0ken")
    six = find_api_server(environment=known | {"KUBERNETES_SERVICE_HOST": "fd00::1"}, folder=tmp_path)
    assert six.address == "https://[fd00::1]:443"


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        {"KUBERNETES_SERVICE_HOST": "evil.test/x?", "KUBERNETES_SERVICE_PORT": "443"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443/x"},
    ],
)
def test_elsewhere_there_is_none(known: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no pod of a cluster"):
        find_api_server(environment=known, folder=tmp_path)


def test_an_account_without_a_token_is_told(tmp_path: Path) -> None:
    known = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(HostError, match="token cannot be read") as caught:
        find_api_server(environment=known, folder=tmp_path)
    assert caught.value.hint
    (tmp_path / "token").mkdir()
    with pytest.raises(HostError, match="no regular file|is a directory|cannot be read"):
        find_api_server(environment=known, folder=tmp_path)
