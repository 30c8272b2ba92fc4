"""The real API server alone, with the real etcd: seconds, and everything that needs no node can be tried on it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import yaml

from integration.kind.certificates import Authority, Pair
from integration.kind.client import Client
from integration.kind.make import make
from integration.kind.recipe import API_SERVER, ETCD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STARTS_WITHIN_S = 120.0
_LOCAL = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class ApiServer:
    """A running API server; ``kubeconfig`` is its administrator's."""

    folder: Path
    kubeconfig: Path
    authority: Authority
    client: Client
    kubectl: Path
    pids: tuple[int, ...]


@contextlib.contextmanager
def serve_api(folder: Path, *more: str) -> Iterator[ApiServer]:
    """Run etcd and kube-apiserver on free ports, with certificates made here, until the end of the block.

    Nothing outlives it: the kernel kills both when this process dies, however it dies.

    Args:
        folder: for certificates, data and logs.
        more: flags beside those that all tests need.
    """
    programs = make([ETCD, API_SERVER])
    authority = Authority(folder / "certificates")
    server = authority.issue("server", "localhost", _LOCAL, "kubernetes.default.svc")
    admin = authority.issue("admin", group="system:masters")
    etcd_port, peer_port, api_port = free_ports(3)
    with contextlib.ExitStack() as held:
        etcd = start(
            held, folder / "etcd.log", programs["etcd"], *_etcd_flags(folder, authority, server, etcd_port, peer_port)
        )
        flags = _api_flags(authority, server, etcd_port, api_port)
        api = start(held, folder / "kube-apiserver.log", programs["kube-apiserver"], *flags, *more)
        kubeconfig = write_kubeconfig(folder / "kubeconfig", f"https://{_LOCAL}:{api_port}", authority, admin)
        client = Client.of(kubeconfig)
        held.callback(client.http.close)
        _wait_for_ready(client, {"etcd": etcd, "kube-apiserver": api}, folder)
        yield ApiServer(
            folder=folder,
            kubeconfig=kubeconfig,
            authority=authority,
            client=client,
            kubectl=programs["kubectl"],
            pids=(etcd.pid, api.pid),
        )


def start(held: contextlib.ExitStack, log: Path, program: Path, *flags: str) -> subprocess.Popen[bytes]:
    """Start a program that ends with the block, or with this process, and logs into a file."""
    stream = held.enter_context(log.open("wb"))
    command = ["setpriv", "--pdeathsig", "KILL", "--", str(program), *flags]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    held.callback(stop, child)
    return child


def stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_LOCAL, 0))
        return [each.getsockname()[1] for each in sockets]


def write_kubeconfig(file: Path, address: str, authority: Authority, user: Pair) -> Path:
    data = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "tests",
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
        "clusters": [{"name": "tests", "cluster": {"server": address, "certificate-authority": str(authority.file)}}],
        "users": [
            {"name": "admin", "user": {"client-certificate": str(user.certificate), "client-key": str(user.key)}}
        ],
    }
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(data))
    return file


def _etcd_flags(folder: Path, authority: Authority, pair: Pair, port: int, peer_port: int) -> list[str]:
    address, peer = f"https://{_LOCAL}:{port}", f"https://{_LOCAL}:{peer_port}"
    flags = {
        "name": "tests",
        "data-dir": folder / "etcd",
        "listen-client-urls": address,
        "advertise-client-urls": address,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"tests={peer}",
        "unsafe-no-fsync": "true",  # what a test wrote is not for tomorrow
    }
    for prefix in ("", "peer-"):
        flags |= {
            f"{prefix}cert-file": pair.certificate,
            f"{prefix}key-file": pair.key,
            f"{prefix}trusted-ca-file": authority.file,
            f"{prefix}client-cert-auth": "true",
        }
    return [f"--{name}={value}" for name, value in flags.items()]


def _api_flags(authority: Authority, pair: Pair, etcd_port: int, port: int) -> list[str]:
    accounts = authority.issue("accounts")
    flags = {
        "etcd-servers": f"https://{_LOCAL}:{etcd_port}",
        "etcd-cafile": authority.file,
        "etcd-certfile": pair.certificate,
        "etcd-keyfile": pair.key,
        "bind-address": _LOCAL,
        "advertise-address": _LOCAL,
        "secure-port": port,
        "tls-cert-file": pair.certificate,
        "tls-private-key-file": pair.key,
        "client-ca-file": authority.file,
        "service-account-key-file": accounts.certificate,
        "service-account-signing-key-file": accounts.key,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-cluster-ip-range": "10.96.0.0/24",
        "endpoint-reconciler-type": "none",  # it would refuse a loopback address
        "authorization-mode": "RBAC",
        "allow-privileged": "true",
        "disable-admission-plugins": "ServiceAccount",  # nobody here makes the accounts of namespaces
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def _wait_for_ready(client: Client, children: dict[str, subprocess.Popen[bytes]], folder: Path) -> None:
    end = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < end:
        for name, child in children.items():
            if child.poll() is not None:
                raise AssertionError(f"{name} ended with {child.returncode}: {_tail(folder / f'{name}.log')}")
        with contextlib.suppress(httpx.TransportError):
            if client.http.get("/readyz").is_success:
                return
        time.sleep(0.1)
    raise AssertionError(f"no API server within {_STARTS_WITHIN_S:.0f} s: {_tail(folder / 'kube-apiserver.log')}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
