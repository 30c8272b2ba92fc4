"""The operator as a process: begun, told to end, killed, looked at."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from integration.kind.api_server import free_ports
from integration.kind.client import wait_until
from integration.kind.fleet import OPERATOR_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[3]


@dataclass
class OperatorProcess:
    """A running operator."""

    child: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def peak_kib(self) -> int:
        """How much memory it had at most."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        raise AssertionError("VmHWM")

    @property
    def cpu_s(self) -> float:
        """How much processor time it has taken."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def ask(self, path: str) -> tuple[int, str]:
        answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5, trust_env=False)
        return answer.status_code, answer.text

    def wait_for(self, words: str, seconds: float = 30.0) -> dict[str, Any]:
        """Wait for a line of the log."""

        def find() -> dict[str, Any] | None:
            return next((line for line in self.lines() if words in str(line.get("message"))), None)

        found = wait_until(find, seconds=seconds, what=f"{words!r} in {self.log.read_text()[-3000:]}")
        assert found is not None
        return found

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def end(self, seconds: float = 5.0) -> tuple[int, float]:
        """Tell it to end, as kubelet does; return its exit code, and how long that took."""
        began = time.monotonic()
        self.child.terminate()
        code = self.child.wait(seconds)
        return code, time.monotonic() - began


@contextlib.contextmanager
def run_operator(
    folder: Path, kubeconfig: Path, templates: dict[str, Any], *, pod: str = "operator-0", **more: str
) -> Iterator[OperatorProcess]:
    """Have an operator until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "templates.json"
    file.write_text(json.dumps(templates))
    (port,) = free_ports(1)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{_ROOT / 'operator'}:{_ROOT / 'tests'}",
        "KUBECONFIG": str(kubeconfig),
        "KMOD_TEMPLATES": str(file),
        "KMOD_NAMESPACE": OPERATOR_NAMESPACE,
        "KMOD_POD": pod,
        "KMOD_LISTEN": str(port),
        **more,
    }
    log = folder / f"{pod}.{time.monotonic_ns()}.log"
    command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "integration.kind.operator_program"]
    with log.open("wb") as stream:
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=folder
        )
        process = OperatorProcess(child=child, log=log, port=port)
        try:
            yield process
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
