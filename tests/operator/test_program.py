"""The program around it: settings, log lines, what a cluster asks."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_socket
from fakes.logs import logging_as_it_was
from kmod_operator.__main__ import main
from kmod_operator.deviceplugin.metrics import Metrics
from kmod_operator.log import JsonLines
from kmod_operator.settings import SettingError, Settings, read_settings
from kmod_operator.status_server import Answer, make_application, serve_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_RESOURCE = {"KMOD_RESOURCE": "drivers.example.com/ptemplate"}


def test_settings_have_defaults() -> None:
    settings = read_settings({**_RESOURCE, "KMOD_REPLICAS": " ", "OTHER": "x"})
    assert settings == Settings(resource="drivers.example.com/ptemplate")
    assert settings.told_resource == "drivers.example.com/ptemplate"
    assert settings.socket_name == "drivers.example.com_ptemplate.sock"
    assert read_settings({**_RESOURCE, "KMOD_REPLICAS": "4"}).told_resource == "drivers.example.com/ptemplate.shared"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("KMOD_RESOURCE", "", "like 'drivers.example.com/ptemplate'"),
        ("KMOD_RESOURCE", "ptemplate", "like 'drivers.example.com/ptemplate'"),
        ("KMOD_RESOURCE", "Drivers.example.com/a", "like"),
        ("KMOD_RESOURCE", "a/b/c", "like"),
        ("KMOD_RESOURCE", "../a", "like"),
        ("KMOD_RESOURCE", f"{'a' * 60}.example.com/{'b' * 30}", "too long: the kernel takes no socket"),
        ("KMOD_INJECTION", "both", "one of cdi, nodes"),
        ("KMOD_REPLICAS", "0", "a number from 1 to 1024"),
        ("KMOD_REPLICAS", "1e3", "a number from"),
        ("KMOD_REPLICAS", "٣", "a number from"),
        ("KMOD_REPLICAS", "9" * 5000, "a number from"),
        ("KMOD_SCAN_SECONDS", "-1", "a number from 1 to 3600"),
        ("KMOD_GOOD_LOOKS", "0", "a number from 1 to 1000"),
        ("KMOD_LISTEN", "65536", "a number from 0 to 65535"),
        ("KMOD_ROOT", "here", "a folder's whole path"),
        ("KMOD_PLUGIN_DIR", "./x", "a folder's whole path"),
        ("KMOD_REGISTRY_DIR", "./x", "a folder's whole path"),
        ("KMOD_MODE", "dra", "one of Auto, DevicePlugin, DRA"),
        ("KMOD_NODE", "../x", "this node's name in the cluster"),
        ("KMOD_NODE", "n" * 254, "this node's name in the cluster"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingError, match=rf"{name} is .*{told}"):
        read_settings(_RESOURCE | {name: value})


@pytest.mark.parametrize("mode", ["Auto", "DRA"])
def test_what_only_a_device_plugin_can_is_refused_elsewhere(mode: str) -> None:
    good = _RESOURCE | {"KMOD_MODE": mode, "KMOD_NODE": "worker"}
    settings = read_settings(good)
    assert (settings.driver, settings.registry_socket.name) == (
        "ptemplate.drivers.example.com", "ptemplate.drivers.example.com.sock",
    )  # fmt: skip
    assert read_settings(good | {"KMOD_RESOURCE": "x.example/My_dev"}).driver == "my-dev.x.example"
    for wrong, told in (
        ({"KMOD_NODE": ""}, f"KMOD_NODE is absent; KMOD_MODE={mode} needs"),
        ({"KMOD_REPLICAS": "2"}, "only a device plugin shares devices: set KMOD_MODE=DevicePlugin"),
        ({"KMOD_INJECTION": "nodes"}, "only a device plugin gives devices without CDI"),
        ({"KMOD_RESOURCE": f"{'a' * 60}.example/b"}, "a driver's name, b.a+.example, has 63 characters at most"),
        ({"KMOD_REGISTRY_DIR": f"/{'x' * 90}"}, "the kernel takes no socket"),
    ):
        with pytest.raises(SettingError, match=told):
            read_settings(good | wrong)
        read_settings(_RESOURCE | wrong)


def test_a_mode_without_an_api_server_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kmod_operator", "device-plugin"])
    environment = {"KMOD_MODE": "DRA", "KMOD_NODE": "worker", "KMOD_LISTEN": "0", "KUBECONFIG": "/nowhere"}
    monkeypatch.setattr("os.environ", _RESOURCE | environment)
    pytest_socket.enable_socket()
    with logging_as_it_was():
        assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"].startswith("where the API server is, is not known; the file of KUBECONFIG")


def test_log_lines_are_json() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "is %s", ("wrong\n",), None)
    record.fields = {"device": "a", "place": Path("/x")}
    line = JsonLines().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {"level": "warning", "message": "is wrong\n", "device": "a", "place": "/x"}


def _ask(path: str, *, well: bool = True) -> tuple[str, bytes]:
    answer = Answer(well=well, words="it is so")
    application = make_application(Metrics().registry, is_alive=lambda: answer, is_ready=lambda: answer)
    found: list[str] = []

    def start(status: str, _headers: Any, _info: Any = None) -> Any:
        found.append(status)

    environment = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "QUERY_STRING": ""}
    body: Iterable[bytes] = application(environment, start)
    return found[0], b"".join(body)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_cluster_is_answered(path: str) -> None:
    assert _ask(path) == ("200 OK", b'{"well": true, "message": "it is so"}\n')
    assert _ask(path, well=False) == ("503 Service Unavailable", b'{"well": false, "message": "it is so"}\n')


def test_metrics_are_there_before_anything_happens() -> None:
    status, body = _ask("/metrics")
    assert status == "200 OK"
    for name in (
        'devices{health="healthy"} 0.0', 'devices{health="unhealthy"} 0.0', 'allocations_total{result="refused"} 0.0',
        'registrations_total{result="failed"} 0.0', "scan_seconds_count 0.0",
    ):  # fmt: skip
        assert f"kmod_device_plugin_{name}" in body.decode()
    assert _ask("/")[0] == "404 Not Found"


def test_a_wrong_setting_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["kmod_operator", "device-plugin"])
    monkeypatch.setattr("os.environ", _RESOURCE | {"KMOD_SOURCE": "nowhere:Class"})
    with logging_as_it_was():
        assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        json.loads(line)["message"]
        == "'nowhere:Class' cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"
    )


def test_answers_are_whole_also_beside_many_who_say_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kmod_operator.status_server._Handler.timeout", 0.2)
    words = iter(["short", "a much longer one", "x"])
    pytest_socket.enable_socket()
    with (
        serve_status(
            0,
            Metrics().registry,
            is_alive=lambda: Answer(well=True, words=next(words)),
            is_ready=lambda: Answer(well=True, words=""),
        ) as port,
        contextlib.ExitStack() as held,
    ):
        silent = [held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(20)]
        for expected in ("short", "a much longer one", "x"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/healthz")
            assert json.loads(connection.getresponse().read()) == {"well": True, "message": expected}
            connection.close()
        assert [one.recv(1) for one in silent] == [b""] * 20, "they are let go"
    assert capsys.readouterr().err == ""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's: pytest's own are named for the run, the worker and the test."""
    with tempfile.TemporaryDirectory(prefix="ks-", dir="/tmp") as folder:
        yield Path(folder)


def _run(folder: Path, *words: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program; ``without``: a package that its image does not have."""
    hidden = f"sys.modules[{without!r}] = None" if without else ""
    code = f"import sys; {hidden}\nfrom kmod_operator.__main__ import main; sys.exit(main())"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "operator"), "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code, *words], check=False, capture_output=True, text=True, env=os.environ | environment
    )


@pytest.mark.buildah  # it starts a process; nothing of buildah
@pytest.mark.parametrize("words", [("self-test",), ("self-test", "operator")])
def test_it_tests_itself(short_folder: Path, words: tuple[str, ...]) -> None:
    done = _run(short_folder, *words)
    assert (done.returncode, "self-test passed" in done.stderr) == (0, True), done.stderr


@pytest.mark.buildah
def test_a_device_plugins_image_has_nothing_that_verifies_signatures(short_folder: Path) -> None:
    done = _run(short_folder, "self-test", without="cryptography")
    assert (done.returncode, "self-test passed" in done.stderr) == (0, True), done.stderr
    done = _run(short_folder, "self-test", "operator", without="cryptography")
    told = json.loads(done.stderr)["message"]
    assert (done.returncode, told.startswith("this image is not for self-test: it has no cryptography")) == (2, True)
