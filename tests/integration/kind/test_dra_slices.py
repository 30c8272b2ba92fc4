"""Resource slices and the objects beside them, before the real API server, by the rights that the role gives."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kmod_operator.devices.inventory import Entry, Inventory
from kmod_operator.devices.model import Description, Device, Health, Version
from kmod_operator.dra.api import open_api
from kmod_operator.dra.metrics import DriverMetrics
from kmod_operator.dra.offers import offer
from kmod_operator.dra.pool import Pool
from kmod_operator.dra.publisher import Publisher
from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.modes import has_slices
from kmod_operator.node.troubles import Troubles

from builder.emit.deviceplugin.dra import device_class
from integration.kind.api_server import serve_api
from integration.kind.client import Client, Refused
from integration.kind.dra_manager import devices_of, make_driver, make_node, slices_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kmod_operator.dra.api import KubernetesApi

    from integration.kind.api_server import ApiServer

pytestmark = pytest.mark.kind
_DRIVER = "ptemplate.drivers.example.com"


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 300))


def _inventory(count: int, *sick: int, **properties: Any) -> Inventory:
    return Inventory(
        entries={
            f"ptemplate-{number}": Entry(
                device=Device(id=f"ptemplate-{number}"),
                description=Description(numa_node=number % 2, properties=properties),
                health=Health(well=number not in sick, reason="it does not answer"),
                good_looks=1,
            )
            for number in range(count)
        }
    )


@pytest.fixture
def opened(api_server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Open the API server as the driver of a node does."""

    def of(node: str) -> Any:
        monkeypatch.setenv("KUBECONFIG", str(make_driver(api_server, node, tmp_path / node)))
        return open_api(node=node, driver=_DRIVER)

    return of


def _publisher(api: KubernetesApi, node: str) -> tuple[Publisher, DriverMetrics]:
    metrics = DriverMetrics()
    return Publisher(api, Pool(driver=_DRIVER, node=node), metrics, Troubles()), metrics


async def _publish(publisher: Publisher, inventory: Inventory) -> None:
    offers, refused = offer(inventory)
    assert refused == []
    publisher.tell(offers)
    await publisher.publish()


def _versions(client: Client, node: str) -> list[str]:
    return [one["metadata"]["resourceVersion"] for one in slices_of(client, node)]


def _generations(client: Client, node: str) -> set[int]:
    return {one["spec"]["pool"]["generation"] for one in slices_of(client, node)}


def test_slices_are_what_the_api_takes(api_server: ApiServer, opened: Callable[[str], Any]) -> None:
    """All of 1024 devices with all kinds of attributes; nothing is written when nothing changed; they go, and come."""
    client = api_server.client

    async def work() -> None:
        async with opened("schema") as api:
            publisher, _ = _publisher(api, "schema")
            everything = _inventory(
                1024, model="x" * 64, lanes=-(2**63), fast=True, firmware=Version("1.2.3-rc.1+b"), **{"n" * 32: "y"}
            )
            await _publish(publisher, everything)
            assert len(devices_of(client, "schema")) == 1024
            assert len(slices_of(client, "schema")) == 16
            (one,) = [one for one in slices_of(client, "schema") if one["metadata"]["name"].endswith("-0")]
            assert one["spec"]["devices"][1]["attributes"] == {
                "fast": {"bool": True}, "firmware": {"version": "1.2.3-rc.1+b"}, "lanes": {"int": -(2**63)},
                "model": {"string": "x" * 64}, "n" * 32: {"string": "y"}, "resource.kubernetes.io/numaNode": {"int": 1},
            }  # fmt: skip
            versions = _versions(client, "schema")
            await _publish(publisher, everything)
            again, metrics = _publisher(api, "schema")
            await _publish(again, everything)
            assert _versions(client, "schema") == versions
            assert metrics.registry.get_sample_value("kmod_dra_slice_writes_total", {"verb": "replace"}) == 0
            await _publish(again, _inventory(65))
            assert len(devices_of(client, "schema")) == 65
            assert _generations(client, "schema") == {2}
            await _publish(again, _inventory(0))
            assert slices_of(client, "schema") == []
            await _publish(again, _inventory(1))
            assert _generations(client, "schema") == {4}

    _run(work())


def test_a_sick_device_is_left_out_where_taints_are_not_kept(
    api_server: ApiServer, opened: Callable[[str], Any]
) -> None:
    """This version keeps none unless told to: the driver sees it by the answer, and writes nothing when asked again."""
    client = api_server.client

    async def work() -> None:
        async with opened("sick") as api:
            publisher, _ = _publisher(api, "sick")
            await _publish(publisher, _inventory(2))
            await _publish(publisher, _inventory(2, 1))
            assert devices_of(client, "sick") == {"ptemplate-0"}
            versions = _versions(client, "sick")
            await _publish(publisher, _inventory(2, 1))
            assert _versions(client, "sick") == versions
            await _publish(publisher, _inventory(2))
            assert devices_of(client, "sick") == {"ptemplate-0", "ptemplate-1"}

    _run(work())


def test_a_sick_device_stays_listed_where_taints_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from the version on that has them; since when a device is sick stays as it is when another one gets sick."""

    def taints(client: Client) -> dict[str, str]:
        (one,) = slices_of(client, "tainted")
        found = {device["name"]: device.get("taints", []) for device in one["spec"]["devices"]}
        assert all(taint["effect"] == "NoSchedule" for of_device in found.values() for taint in of_device)
        return {name: of_device[0]["timeAdded"] for name, of_device in found.items() if of_device}

    async def work(server: ApiServer) -> None:
        client = server.client
        monkeypatch.setenv("KUBECONFIG", str(make_driver(server, "tainted", tmp_path / "tainted")))
        async with open_api(node="tainted", driver=_DRIVER) as api:
            publisher, _ = _publisher(api, "tainted")
            await _publish(publisher, _inventory(3, 1))
            assert devices_of(client, "tainted") == {"ptemplate-0", "ptemplate-1", "ptemplate-2"}
            first = taints(client)
            assert first.keys() == {"ptemplate-1"}
            versions = _versions(client, "tainted")
            await _publish(publisher, _inventory(3, 1))
            assert _versions(client, "tainted") == versions
            await asyncio.sleep(1.1)  # the server's clock has seconds
            await _publish(publisher, _inventory(3, 1, 2))
            second = taints(client)
            assert second["ptemplate-1"] == first["ptemplate-1"] < second["ptemplate-2"]
            await _publish(publisher, _inventory(3))
            assert taints(client) == {}

    with serve_api(tmp_path / "api", "--feature-gates=DRADeviceTaints=true") as server:
        _run(work(server))


def test_two_nodes_leave_each_other_alone(api_server: ApiServer, opened: Callable[[str], Any]) -> None:
    client = api_server.client

    async def work() -> None:
        async with opened("left") as left, opened("right") as right:
            first, second = _publisher(left, "left")[0], _publisher(right, "right")[0]
            await asyncio.gather(_publish(first, _inventory(3)), _publish(second, _inventory(2)))
            await _publish(second, _inventory(0))
            assert devices_of(client, "left") == {"ptemplate-0", "ptemplate-1", "ptemplate-2"}
            assert devices_of(client, "right") == set()
            (name,) = [one["metadata"]["name"] for one in slices_of(client, "left")]
            with pytest.raises(ApiError, match="a driver writes resource slices of the node that it runs on") as no:
                await right.delete(name)
            assert no.value.status == 422
            with pytest.raises(ApiError, match="writes resource slices of the node that it runs on"):
                await _publish(_publisher(right, "left")[0], _inventory(1))

    _run(work())


def test_what_somebody_did_to_a_slice_is_set_right(api_server: ApiServer, opened: Callable[[str], Any]) -> None:
    client = api_server.client

    async def work() -> None:
        async with opened("mended") as api:
            publisher, _ = _publisher(api, "mended")
            await _publish(publisher, _inventory(2))
            (one,) = slices_of(client, "mended")
            stale = json.loads(json.dumps(one))
            client.patch(one, {"spec": {"devices": [{"name": "of-somebody-else"}]}})
            with pytest.raises(ApiError, match="cannot be changed: the API server answers 409") as conflict:
                await api.replace(stale)
            assert conflict.value.status == 409
            await _publish(publisher, _inventory(2))
            assert devices_of(client, "mended") == {"ptemplate-0", "ptemplate-1"}
            client.delete(slices_of(client, "mended")[0])
            await _publish(publisher, _inventory(2))
            assert devices_of(client, "mended") == {"ptemplate-0", "ptemplate-1"}
            stranger = {
                "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "of-an-older-version"},
                "spec": {"driver": _DRIVER, "nodeName": "mended", "devices": [],
                         "pool": {"name": "old", "generation": 9, "resourceSliceCount": 1}},
            }  # fmt: skip
            client.create(stranger)
            await _publish(publisher, _inventory(2))
            assert [one["spec"]["pool"]["generation"] for one in slices_of(client, "mended")] == [10]

    _run(work())


def test_the_role_gives_what_is_needed_and_no_more(api_server: ApiServer, opened: Callable[[str], Any]) -> None:
    async def work() -> None:
        async with opened("rights") as api:
            make_node(api_server.client, "rights")
            with pytest.raises(ApiError, match="claim default/none cannot be read: the API server answers 404"):
                await api.claim("default", "none")
            assert await api.node_uid()
            driver = Client.of(Path(os.environ["KUBECONFIG"]))
            for kind, name in (("Secret", "x"), ("ConfigMap", "x")):
                with pytest.raises(Refused, match="403"):
                    driver.get("v1", kind, name, "default")
            with pytest.raises(Refused, match="403"):
                driver.find("v1", "Node")
            with pytest.raises(Refused, match="403"):
                driver.find("resource.k8s.io/v1", "ResourceClaim")
            driver.http.close()

    _run(work())


def test_who_may_nothing_is_told_so(api_server: ApiServer, opened: Callable[[str], Any]) -> None:
    async def work() -> None:
        async with opened("poor") as api:
            role = api_server.client.get("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "driver")
            api_server.client.delete(role)
            publisher, _ = _publisher(api, "poor")
            for _ in range(50):
                try:
                    await _publish(publisher, _inventory(1))
                except ApiError as error:
                    assert error.status == 403
                    assert "resource slices cannot be listed: the API server answers 403: resourceslices" in str(error)
                    return
                await asyncio.sleep(0.1)  # the server hears of its own roles a moment later
            pytest.fail("it may still")

    _run(work())


def test_a_cluster_has_dynamic_resources_or_has_not(
    api_server: ApiServer, opened: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(node: str) -> bool:
        async with open_api(node=node, driver=_DRIVER) as api:
            return await has_slices(api)

    opened("asks")
    assert asyncio.run(ask("asks"))
    with pytest.raises(ApiError, match="the node stranger cannot be read"):
        asyncio.run(ask("stranger"))
    with serve_api(tmp_path / "api", "--runtime-config=resource.k8s.io/v1=false") as server:
        monkeypatch.setenv("KUBECONFIG", str(make_driver(server, "asks", tmp_path / "without")))
        assert not asyncio.run(ask("asks"))


def test_the_class_of_devices_is_what_the_api_takes(api_server: ApiServer) -> None:
    made = device_class("drivers.example.com/ptemplate", _DRIVER)
    applied = api_server.client.apply(made)
    assert applied["metadata"]["name"] == _DRIVER
    expression = applied["spec"]["selectors"][0]["cel"]["expression"]
    assert expression == f'device.driver == "{_DRIVER}"'
    wrong = json.loads(json.dumps(made).replace("device.driver ==", "device.drivers =="))
    with pytest.raises(Refused, match="undefined field 'drivers'"):
        api_server.client.apply(wrong)
