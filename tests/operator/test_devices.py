"""What is known of devices: names, health, what the runtime is told, which are near each other."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kmod_operator.deviceplugin.checkpoint import read_checkpoint
from kmod_operator.devices.cdi import cdi_spec
from kmod_operator.devices.inventory import Inventory, Seen, changes, fail, look
from kmod_operator.devices.looking import Looker, LookError
from kmod_operator.devices.model import Description, Device, DeviceNode, Health, Mount, is_device_id
from kmod_operator.devices.preferred import prefer
from kmod_operator.devices.ptemplate import PtemplateDevices
from kmod_operator.devices.replicas import device_of, shares, spread
from kmod_operator.devices.source import NoSourceError, load_source
from kmod_operator.node.cdi_folder import CdiFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_GOOD, _BAD = Health(well=True), Health(well=False, reason="no answer")


def _seen(**health: Health) -> list[Seen]:
    return [Seen(device=Device(id=name), description=Description(), health=one) for name, one in health.items()]


def _told(inventory: Inventory) -> dict[str, bool]:
    return {name: entry.health.well for name, entry in inventory.entries.items()}


@pytest.mark.parametrize("name", ["a", "ptemplate-0", "0000.3b.00.0", "GPU-1_a", "x" * 253])
def test_names_that_kubelet_and_runtime_take(name: str) -> None:
    assert is_device_id(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a/b", "a::0", "a\n", "é", "٣", "x" * 254, "a=b", "../a"])
def test_names_that_they_do_not(name: str) -> None:
    assert not is_device_id(name)


def test_a_new_device_is_well_at_once_and_a_sick_one_after_some_good_looks() -> None:
    inventory = look(Inventory(), _seen(a=_GOOD, b=_BAD), in_use=(), good_looks=3)
    assert _told(inventory) == {"a": True, "b": False}
    for is_well in (False, False, True, True):
        inventory = look(inventory, _seen(a=_GOOD, b=_GOOD), in_use=(), good_looks=3)
        assert _told(inventory) == {"a": True, "b": is_well}
    assert inventory.entries["b"].health.reason == ""
    inventory = look(inventory, _seen(a=_GOOD, b=_BAD), in_use=(), good_looks=3)
    inventory = look(inventory, _seen(a=_GOOD, b=_GOOD), in_use=(), good_looks=3)
    assert inventory.entries["b"].health.reason == "it answers again, 1 of 3 times in a row"


def test_one_that_flaps_is_never_well() -> None:
    inventory = Inventory()
    for number in range(100):
        inventory = look(inventory, _seen(a=_BAD if number % 3 == 0 else _GOOD), in_use=(), good_looks=3)
        assert _told(inventory) == {"a": False}


def test_what_nobody_could_look_at_is_unwell_and_begins_anew() -> None:
    inventory = look(Inventory(), _seen(a=_GOOD, b=_GOOD), in_use=(), good_looks=2)
    inventory = look(inventory, _seen(a=_GOOD), in_use=["b"], good_looks=2)
    assert inventory.entries["b"].health.reason == "it is gone, and a pod has it still"
    inventory = fail(inventory, "no bus")
    assert [(entry.health.reason, entry.present) for entry in inventory.entries.values()] == [
        ("no bus", True),
        ("it is gone, and a pod has it still", False),
    ]
    assert _told(look(inventory, _seen(a=_GOOD), in_use=(), good_looks=2)) == {"a": False}


def test_changes_are_named() -> None:
    before = look(Inventory(), _seen(a=_GOOD, b=_GOOD, c=_GOOD, d=_BAD), in_use=(), good_looks=1)
    after = look(before, _seen(a=_BAD, d=_GOOD, e=_GOOD), in_use=["b"], good_looks=1)
    assert [(change.id, change.what) for change in changes(before, after)] == [
        ("a", "unwell"), ("b", "gone"), ("c", "forgotten"), ("d", "well"), ("e", "found"),
    ]  # fmt: skip
    assert changes(after, after) == []


def test_what_a_look_did_not_learn_stays_as_it_was() -> None:
    known = Description(nodes=(DeviceNode(path="/dev/a"),), numa_node=1)
    before = look(Inventory(), [Seen(device=Device(id="a"), description=known, health=_GOOD)], in_use=(), good_looks=1)
    after = look(before, [Seen(device=Device(id="a"), description=None, health=_BAD)], in_use=(), good_looks=1)
    assert after.entries["a"].description == known


def test_the_runtimes_file_says_all_of_a_device() -> None:
    description = Description(
        nodes=(DeviceNode(path="/dev/a", permissions="r"),),
        mounts=(Mount(host_path="/usr/lib/liba.so", container_path="/lib/liba.so"),),
        environment={"B": "2", "A": "1"},
    )
    spec = json.loads(cdi_spec("x.example/a", [("b", Description()), ("a", description)]))
    edits = {
        "deviceNodes": [{"path": "/dev/a", "permissions": "r"}],
        "env": ["A=1", "B=2"],
        "mounts": [{"hostPath": "/usr/lib/liba.so", "containerPath": "/lib/liba.so", "options": ["ro", "bind"]}],
    }
    assert spec == {
        "cdiVersion": "0.6.0",
        "kind": "x.example/a",
        "devices": [{"name": "a", "containerEdits": edits}],
    }, "a device without edits would have the runtime leave out the whole file"


def _file(name: str) -> Description:
    return Description(nodes=(DeviceNode(path=f"/dev/{name}"),))


def test_the_runtimes_file_is_written_where_it_differs_and_over_no_link(tmp_path: Path) -> None:
    folder = CdiFolder(tmp_path, "x.example/a")
    file, other = tmp_path / "x.example-a.json", tmp_path / "other"
    other.write_text("precious")
    folder.write({"a": _file("a")})
    identity = file.stat()
    folder.write({"a": _file("a")})
    assert file.stat() == identity, "nothing to do"
    file.unlink()
    file.symlink_to(other)
    folder.write({"a": _file("a")})
    assert not file.is_symlink()
    devices = {"a": _file("a"), "b": _file("b"), "c": Description()}
    assert folder.unknown(devices) == ["b", "c"]
    assert folder.unknown({"a": _file("other")}) == ["a"]


def test_what_lies_where_the_runtimes_file_is_made_is_not_written_to_and_not_waited_for(tmp_path: Path) -> None:
    folder = CdiFolder(tmp_path, "x.example/a")
    other, fresh = tmp_path / "other", tmp_path / ".x.example-a.json.new"
    other.write_text("precious")
    traps: list[Callable[[], None]] = [
        lambda: fresh.symlink_to(other),
        lambda: fresh.hardlink_to(other),
        lambda: os.mkfifo(fresh),
    ]
    for number, put in enumerate(traps):
        put()
        folder.write({f"d{number}": _file("a")})
        assert folder.unknown({f"d{number}": _file("a")}) == []
    assert other.read_text() == "precious"
    fresh.mkdir()
    with pytest.raises(OSError, match="directory|permitted"):
        folder.write({"b": _file("b")})


def test_the_runtime_knows_nothing_of_a_file_that_is_gone_or_anothers(tmp_path: Path) -> None:
    folder = CdiFolder(tmp_path, "x.example/a")
    file = tmp_path / "x.example-a.json"
    assert folder.unknown({"a": _file("a")}) == ["a"]
    folder.write({"a": _file("a")})
    file.write_text("{}")
    assert folder.unknown({"a": _file("a")}) == ["a"]
    folder.write({"a": _file("a")})
    assert folder.unknown({"a": _file("a")}) == []
    file.unlink()
    assert folder.unknown({"a": _file("a")}) == ["a"]


_NAMES = st.lists(st.sampled_from([f"d{number}" for number in range(8)]), unique=True)


@settings(max_examples=50)
@given(
    available=_NAMES, must=_NAMES, size=st.integers(0, 9), nodes=st.lists(st.integers(-1, 2), min_size=8, max_size=8)
)
def test_what_is_preferred_is_what_was_asked_for(
    available: list[str], must: list[str], size: int, nodes: list[int]
) -> None:
    numa_of = {f"d{number}": None if node < 0 else node for number, node in enumerate(nodes)}
    is_possible = len(must) <= size <= len({*available, *must})
    if not is_possible:
        with pytest.raises(ValueError, match="are asked for"):
            prefer(available, must, size, numa_of)
        return
    found = prefer(available, must, size, numa_of)
    assert len(found) == len(set(found)) == size
    assert set(must) <= set(found) <= {*available, *must}
    assert prefer(sorted(available, reverse=True), must, size, numa_of) == found, "the order of questions is nothing"


def test_devices_are_packed_by_numa_node() -> None:
    numa_of = {"a": 0, "b": 0, "c": 0, "d": 1, "e": 1, "f": None}
    assert prefer("abcdef", [], 2, numa_of) == ["d", "e"], "the smallest that has room"
    assert prefer("abcdef", [], 3, numa_of) == ["a", "b", "c"]
    assert prefer("abcdef", [], 4, numa_of) == ["a", "b", "c", "f"]
    assert prefer("abcdef", ["a"], 2, numa_of) == ["a", "b"]
    assert prefer("abcdef", ["d", "a"], 4, numa_of) == ["d", "a", "b", "c"]
    assert prefer("", [], 0, numa_of) == []


def test_shares_are_spread_over_devices() -> None:
    assert shares("a", 1) == ["a"]
    assert shares("a", 2) == ["a::0", "a::1"]
    assert device_of("a::1") == device_of("a") == "a"
    assert spread(["a::1", "b::0", "b::1"], []) == ["b::0"]
    assert spread(["a::1", "b::0"], ["b::0"]) == ["b::0"]
    assert spread([], []) == []


@pytest.mark.parametrize("by_node", [True, False])
def test_who_has_what_is_read_of_kubelets_file(by_node: bool) -> None:
    def entry(resource: str, *names: str) -> dict[str, object]:
        return {
            "ResourceName": resource,
            "DeviceIDs": {"0": list(names[:1]), "1": list(names[1:])} if by_node else list(names),
        }

    data = {"PodDeviceEntries": [entry("x.example/a", "a", "b"), entry("x.example/c", "c")], "RegisteredDevices": {}}
    content = json.dumps({"Data": data, "Checksum": 1}).encode()
    assert read_checkpoint(content, "x.example/a") == frozenset("ab")
    assert read_checkpoint(content, "x.example/other") == frozenset()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b'{"Data": 1}', b'{"Data": {"PodDeviceEntries": 1}}', b'{"Data": {"PodDeviceEntries": ["a"]}}',
     b'{"Data": {"PodDeviceEntries": [{"ResourceName": "x.example/a", "DeviceIDs": [1]}]}}',
     b'{"Data": {"PodDeviceEntries": [{"ResourceName": "x.example/a", "DeviceIDs": {"0": null}}]}}',
     b"\xff", b"[" * 100_000],
)  # fmt: skip
def test_a_file_that_is_not_understood_says_nothing(content: bytes) -> None:
    assert read_checkpoint(content, "x.example/a") is None


def test_the_samples_devices(tmp_path: Path) -> None:
    source = PtemplateDevices(tmp_path)
    assert source.discover() == []
    folder = tmp_path / "sys" / "class" / "ptemplate"
    for name in ("ptemplate-1", "ptemplate-0", "ptemplate-x", "ptemplate-0 ", "other"):
        (folder / name / "device").mkdir(parents=True)
    devices = source.discover()
    assert [device.id for device in devices] == ["ptemplate-0", "ptemplate-1"]
    for answer, told in (
        ("241:0\n", ""),
        ("", "numbers are expected"),
        ("x" * 1000, "numbers are expected"),
        ("é", "does not answer"),
    ):
        (folder / "ptemplate-0" / "dev").write_text(answer)
        health = source.check(devices[0])
        assert (health.well, told in health.reason) == (not told, True)
    assert "No such file" in source.check(devices[1]).reason
    for text, node in (("1\n", 1), ("-1\n", None), ("x", None), ("", None)):
        (folder / "ptemplate-0" / "device" / "numa_node").write_text(text)
        assert source.describe(devices[0]).numa_node == node


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "not of the form"), ("a", "not of the form"), ("a:b c", "not of the form"), ("nowhere:Class", "No module named"), ("..a:B", "cannot be loaded"),
     ("json:Absent", "has no discover, check, describe"), ("json:JSONDecoder", "has no discover")],
)  # fmt: skip
def test_a_class_that_is_not_there_is_named(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(NoSourceError, match=told):
        load_source(name, tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [("class A(:", "cannot be loaded: SyntaxError"), ("raise RuntimeError('no bus')", "cannot be loaded: RuntimeError: no bus"),
     ("class A:\n def __init__(self, root): raise OSError('no')\n discover = check = describe = print", "cannot be made: OSError: no")],
    ids=["no Python", "raises when loaded", "raises when made"],
)  # fmt: skip
def test_a_class_that_raises_is_named_with_what_it_raised(
    content: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vendors_own.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "vendors_own", raising=False)
    with pytest.raises(NoSourceError, match=f"'vendors_own:A' {told}"):
        load_source("vendors_own:A", tmp_path)


def test_the_samples_class_is_found(tmp_path: Path) -> None:
    found = load_source("kmod_operator.devices.ptemplate:PtemplateDevices", tmp_path)
    assert isinstance(found, PtemplateDevices)


class _Hangs:
    """A driver that does not answer for one device, or for the list."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.asked = 0
        self.lists = True

    def discover(self) -> list[Device]:
        if not self.lists:
            self.goes_on.wait(10)
        return [Device(id="a"), Device(id="b")]

    def check(self, device: Device) -> Health:
        if device.id == "a":
            self.asked += 1
            self.goes_on.wait(10)
        return Health(well=True)

    def describe(self, device: Device) -> Description:
        return Description()


def test_a_driver_that_hangs_costs_one_thread_and_the_others_nothing() -> None:
    async def work() -> None:
        source = _Hangs()
        looker = Looker(source, limit_s=0.05)
        for _ in range(3):
            seen, refused = await looker.look()
            assert [(one.device.id, one.health.well) for one in seen] == [("a", False), ("b", True)]
            assert "no answer for" in seen[0].health.reason
            assert not refused
        assert source.asked == 1
        source.goes_on.set()
        for _ in range(200):
            if (await looker.look())[0][0].health.well:
                break
            await asyncio.sleep(0.01)
        assert (await looker.look())[0][0].health.well

    asyncio.run(work())


def test_a_list_that_never_comes_is_not_known() -> None:
    async def work() -> None:
        source = _Hangs()
        source.lists = False
        looker = Looker(source, limit_s=0.05)
        for _ in range(2):
            with pytest.raises(LookError, match="which devices there are is not known: no answer for"):
                await looker.look()
        source.goes_on.set()

    asyncio.run(work())


@pytest.mark.parametrize(
    "error",
    [ValueError("x\ny" * 1000), TimeoutError(), OSError(5, "Input/output error"), StopIteration(), SystemExit(3)],
)
def test_what_is_raised_becomes_a_sentence(error: Exception) -> None:
    class Raises(_Hangs):
        def discover(self) -> list[Device]:
            raise error

    async def work() -> None:
        looker = Looker(Raises(), limit_s=5)
        for _ in range(2):  # it is asked again, and not taken for one that has not answered yet
            with pytest.raises(
                LookError, match=f"which devices there are is not known: {type(error).__name__}"
            ) as caught:
                await looker.look()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400

    asyncio.run(work())


class _Says(_Hangs):
    """One that says at once what it is told to."""

    def __init__(self, devices: Iterable[Any], description: Any = None, health: Any = _GOOD) -> None:
        super().__init__()
        self._answers = devices, description or Description(), health

    def discover(self) -> Any:
        return self._answers[0]

    def describe(self, device: Device) -> Any:
        return self._answers[1] if device.id == "odd" else Description()

    def check(self, device: Device) -> Any:
        return self._answers[2] if device.id == "odd" else _GOOD


def _look_once(source: _Hangs) -> tuple[list[Seen], list[str]]:
    return asyncio.run(Looker(source, limit_s=5).look())


@pytest.mark.parametrize(
    ("description", "told"),
    [
        (3, "3, which is no Description"),
        (Description(nodes=(DeviceNode(path=Path("/dev/a")),)), "is no text, and cannot be a whole path"),  # type: ignore[arg-type]
        (Description(nodes=(DeviceNode(path="dev/a"),)), "cannot be a whole path"),
        (Description(nodes=(DeviceNode(path=""),)), "cannot be a whole path"),
        (Description(nodes=(DeviceNode(path="/dev/\udcff"),)), "cannot be a whole path"),
        (Description(nodes=(DeviceNode(path="/dev/a", permissions="rx"),)), "which are of 'r', 'w' and 'm'"),
        (Description(nodes=(DeviceNode(path="/dev/a", permissions=""),)), "which are of 'r', 'w' and 'm'"),
        (Description(nodes=("/dev/a",)), "is no DeviceNode"),  # type: ignore[arg-type]
        (Description(nodes="/dev/a"), "which is no tuple"),  # type: ignore[arg-type]
        (Description(mounts=(Mount(host_path="", container_path="/a"),)), "cannot be a whole path"),
        (Description(mounts=(Mount(host_path="/a", container_path="a"),)), "cannot be a whole path"),
        (Description(mounts=(("/a", "/a"),)), "is no Mount"),  # type: ignore[arg-type]
        (Description(environment={"": "x"}), "cannot be a variable's name"),
        (Description(environment={"A=B": "x"}), "cannot be a variable's name"),
        (Description(environment={"A": 1}), "is no text, and cannot be a variable's value"),  # type: ignore[dict-item]
        (Description(environment={"A": "\0"}), "cannot be a variable's value"),
        (Description(environment=None), "are dictionaries"),  # type: ignore[arg-type]
        (Description(properties=None), "are dictionaries"),  # type: ignore[arg-type]
        (Description(numa_node="1"), "no number, and cannot be a NUMA node"),  # type: ignore[arg-type]
        (Description(numa_node=True), "no number, and cannot be a NUMA node"),
        (Description(numa_node=-1), "a NUMA node is a number from 0 to 1023"),
        (Description(numa_node=10**30), "a NUMA node is a number from 0 to 1023"),
    ],
)
def test_what_kubelet_or_the_runtime_would_not_take_is_one_devices_fault(description: Any, told: str) -> None:
    seen, _ = _look_once(_Says([Device(id="odd"), Device(id="good")], description))
    assert [(one.device.id, one.health.well) for one in seen] == [("odd", False), ("good", True)]
    assert told in seen[0].health.reason
    assert seen[0].description is None


def test_lists_in_place_of_tuples_are_taken_as_they_are_now() -> None:
    nodes, environment = [DeviceNode(path="/dev/a")], {"A": "1\n2"}
    said = Description(nodes=nodes, environment=environment, numa_node=1023)  # type: ignore[arg-type]
    ((one,), _) = _look_once(_Says([Device(id="odd")], said))
    nodes.clear()
    environment.clear()
    assert one.description == Description(nodes=(DeviceNode(path="/dev/a"),), environment={"A": "1\n2"}, numa_node=1023)


@pytest.mark.parametrize(
    ("health", "told"),
    [
        (None, "None, which is no Health"),
        (True, "True, which is no Health"),
        (Health(well="no"), "well is True or False"),  # type: ignore[arg-type]
        (Health(well=True, reason=None), "the reason is text"),  # type: ignore[arg-type]
        (Health(well=False, reason="a \udcff\n b"), "a ? b"),
        (Health(well=False, reason="x" * 10_000), f"{'x' * 300}..."),
    ],
)
def test_a_reason_can_be_told_and_truth_is_no_text(health: Any, told: str) -> None:
    seen, _ = _look_once(_Says([Device(id="odd"), Device(id="good")], Description(), health))
    assert [(one.device.id, one.health.well) for one in seen] == [("odd", False), ("good", True)]
    assert told in seen[0].health.reason


def test_names_that_are_no_text_and_lists_without_an_end() -> None:
    seen, refused = _look_once(_Says([Device(id=3), Device(id=["a"]), Device(id="good")]))  # type: ignore[arg-type]
    assert [one.device.id for one in seen] == ["good"]
    assert [line.partition(" cannot")[0] for line in refused] == ["3", "['a']"]
    seen, refused = _look_once(_Says(itertools.repeat(Device(id="a"))))
    assert [one.device.id for one in seen] == ["a"]
    seen, refused = _look_once(_Says(Device(id=f"d{number}") for number in itertools.count()))
    assert (len(seen), refused) == (1024, ["more than 1024 devices: the others are left out"])


def test_a_pod_that_may_have_no_more_threads_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)

    async def work() -> None:
        with pytest.raises(LookError, match="is not known: it cannot be asked: can't start new thread"):
            await Looker(_Says([]), limit_s=5).look()

    asyncio.run(work())


def test_more_devices_than_can_be_are_left_out_and_asked_some_at_a_time() -> None:
    class Many(_Hangs):
        at_once = most = 0
        lock = threading.Lock()

        def discover(self) -> list[Device]:
            return [Device(id=f"d{number}") for number in range(1100)]

        def check(self, device: Device) -> Health:
            with self.lock:
                self.at_once += 1
                self.most = max(self.most, self.at_once)
            with self.lock:
                self.at_once -= 1
            return Health(well=True)

    async def work() -> None:
        source = Many()
        seen, refused = await Looker(source, limit_s=60).look()
        assert len(seen) == 1024
        assert refused == ["more than 1024 devices: the others are left out"]
        assert source.most <= 128

    asyncio.run(work())
