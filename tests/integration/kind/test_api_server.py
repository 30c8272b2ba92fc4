"""The API server that tests get: the real one, alone, and gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from integration.kind.api_server import ApiServer, serve_api
from integration.kind.client import Refused
from integration.kind.recipe import KUBERNETES

pytestmark = pytest.mark.kind
_ROOT = Path(__file__).parents[3]


def _config_map(name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, **more}


def test_it_is_the_real_one(api_server: ApiServer) -> None:
    assert api_server.client.http.get("/version").json()["gitVersion"] == KUBERNETES
    done = subprocess.run(
        [api_server.kubectl, "--kubeconfig", api_server.kubeconfig, "get", "namespaces", "-o", "name"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "namespace/kube-system" in done.stdout


def test_only_its_administrator_may_do_something(api_server: ApiServer) -> None:
    client = api_server.client.http
    stranger = httpx.Client(base_url=client.base_url, verify=False, trust_env=False)
    with stranger:
        assert stranger.get("/api/v1/namespaces").status_code in {401, 403}
    assert api_server.kubeconfig.stat().st_mode & 0o077 == 0


def test_it_applies_and_refuses(api_server: ApiServer) -> None:
    client = api_server.client
    applied = client.apply(_config_map("applied", data={"a": "1"}))
    assert (
        client.apply(_config_map("applied", data={"a": "1"}))["metadata"]["resourceVersion"]
        == applied["metadata"]["resourceVersion"]
    )
    with pytest.raises(Refused, match="field not declared in schema"):
        client.apply(_config_map("applied", dada={"a": "1"}))
    with pytest.raises(Refused, match="unknown field"):
        client.create(_config_map("other", dada={}))
    client.create(_config_map("dry"), dry_run=True)
    with pytest.raises(Refused) as caught:
        client.get("v1", "ConfigMap", "dry", "default")
    assert caught.value.code == 404
    client.delete(applied)


def test_it_is_watched(api_server: ApiServer) -> None:
    client = api_server.client
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "watched"}}
    client.apply(namespace)
    item = _config_map("seen")
    item["metadata"]["namespace"] = "watched"
    client.apply(item)
    seen: list[str] = []
    for kind, _ in client.watch("v1", "ConfigMap", "watched"):
        seen.append(kind)
        if kind == "ADDED":
            client.patch(item, {"data": {"b": "2"}})
        elif kind == "MODIFIED":
            client.delete(item)
        else:
            break
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    for number in range(3):
        with serve_api(tmp_path / str(number)) as api:
            assert api.client.text("/readyz") == "ok"
        assert not [pid for pid in api.pids if _is_alive(pid)]
        with pytest.raises(httpx.ConnectError):
            httpx.get(str(api.client.http.base_url))


def test_nothing_is_left_of_it_where_its_user_is_killed(tmp_path: Path) -> None:
    script = f"""
        import sys, time, pathlib
        from integration.kind.api_server import serve_api
        with serve_api(pathlib.Path({str(tmp_path)!r})) as api:
            print(*api.pids, flush=True)
            time.sleep(600)
    """
    environment = os.environ | {"PYTHONPATH": f"{_ROOT}:{_ROOT / 'tests'}"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        pids = [int(word) for word in user.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(_is_alive, pids))
        user.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not any(map(_is_alive, pids)):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {pids}")


def test_one_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "etcd"
    broken.write_text("#!/bin/sh\necho no disk for me >&2\nexit 3\n")
    broken.chmod(0o755)
    made = {"etcd": broken, "kube-apiserver": broken, "kubectl": broken}
    monkeypatch.setattr("integration.kind.api_server.make", lambda _parts: made)
    with pytest.raises(AssertionError, match="ended with 3: no disk for me"), serve_api(tmp_path / "x"):
        pass


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
