"""docs/devices.md for partners: its class is run as it stands there."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kmod_operator.devices.source import load_source
from kmod_operator.settings import read_settings

if TYPE_CHECKING:
    import pytest
    from fakes.node import FakeNode

_PAGE = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()


def test_the_class_of_the_page_serves_its_devices(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"<!-- class -->\n```python\n(.*?)```\n<!-- end -->", _PAGE, re.DOTALL)
    assert found is not None
    (node.root / "mydriver.py").write_text(found[1])
    monkeypatch.syspath_prepend(str(node.root))
    monkeypatch.delitem(sys.modules, "mydriver", raising=False)
    source = load_source("mydriver:NullDevices", Path("/"))

    async def work() -> None:
        async with node.kubelet() as kubelet, node.agent(source=source, resource="drivers.example.com/null") as agent:
            await kubelet.until(lambda kubelet: bool(kubelet.lists) and len(kubelet.lists[-1]) == 4)
            assert set(kubelet.lists[-1].values()) == {"Healthy"}
            given = await kubelet.allocate("null-2")
            assert dict(given.envs) == {"NULL_DEVICES": "null-2"}
            assert agent.is_ready().well

    asyncio.run(asyncio.wait_for(work(), 30))


def test_every_variable_of_the_page_is_read_and_every_one_that_is_read_is_there() -> None:
    told = set(re.findall(r"`(KMOD_[A-Z_]+)`", _PAGE))
    settings = (Path(__file__).parents[2] / "operator" / "kmod_operator" / "settings.py").read_text()
    of_the_operator = {"KMOD_TEMPLATES", "KMOD_NAMESPACE", "KMOD_POD"}
    assert told == set(re.findall(r'"(KMOD_[A-Z_]+)"', settings)) - {"KMOD_"} - of_the_operator
    read_settings({"KMOD_RESOURCE": "drivers.example.com/null", "KMOD_SOURCE": "mydriver:NullDevices"})
