"""What published images say of devices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.kmm_facts import kmm_facts
from fakes.published_image import KERNEL, REPOSITORY, make_published_image
from fakes.registry import FakeRegistry

from builder.emit.nfd import facts
from builder.emit.nfd.facts import parse_modules_alias, read_aliases, read_nfd_facts
from builder.errors import FormatError, SourceError
from builder.kernel import parse_kernel_version
from builder.plan.matrix import Selector
from builder.publish.published import LeftOutCell, Published
from builder.publish.result import PublishedCell

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.published_image import PublishedImage

_PCI = "pci:v00001AF4d0000FFF0sv*sd*bc*sc*i*"
_ALIASES = f"# Aliases extracted from modules themselves.\nalias {_PCI} drv\nalias char-major-10-130 drv_core\n"


def _publish(folder: Path, files: dict[str, str]) -> tuple[PublishedImage, PublishedCell]:
    server = FakeRegistry()
    made = make_published_image(server, folder, {name: content.encode() for name, content in files.items()})
    cell = PublishedCell(
        kernel=parse_kernel_version(KERNEL),
        repository=f"quay.test/{REPOSITORY}",
        digest=made.facts.digest,
        tags=(),
    )
    return made, cell


def test_aliases_are_those_that_depmod_listed(tmp_path: Path) -> None:
    made, cell = _publish(tmp_path, {f"opt/lib/modules/{KERNEL}/modules.alias": _ALIASES})
    assert read_aliases(made.registry, cell) == {_PCI, "char-major-10-130"}


@pytest.mark.parametrize("path", ["opt/lib/modules/other/modules.alias", f"lib/modules/{KERNEL}/modules.alias"])
def test_an_image_without_a_list_is_unknown_and_not_without_devices(tmp_path: Path, path: str) -> None:
    made, cell = _publish(tmp_path, {path: _ALIASES})
    with pytest.raises(FormatError, match=rf"has no /opt/lib/modules/{KERNEL}/modules.alias"):
        read_aliases(made.registry, cell)


def test_a_registry_that_does_not_answer_ends_it(tmp_path: Path) -> None:
    made, cell = _publish(tmp_path, {f"opt/lib/modules/{KERNEL}/modules.alias": _ALIASES})
    made.server.blobs.clear()
    with pytest.raises(SourceError):
        read_aliases(made.registry, cell)


@pytest.mark.parametrize(
    ("content", "aliases"),
    [
        (b"", []),
        (b"alias", []),
        (b"alias a", []),
        (b"alias  drv", []),
        (b"alias a b c", ["a b"]),
        (b"symbol:x y\nALIAS a b\n alias a b\n#alias a b\n", []),
        (b"alias a\xff\x00 drv\r\nalias b drv", ["a\\xff\x00", "b"]),
    ],
)
def test_lines_of_a_list(content: bytes, aliases: list[str]) -> None:
    assert list(parse_modules_alias(content)) == aliases


def test_devices_of_all_kernels_and_what_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, cell = _publish(tmp_path, {f"opt/lib/modules/{KERNEL}/modules.alias": _ALIASES})
    missing = (LeftOutCell(cell="drv-1.4.0/6.1.0-8-amd64", why="it is not published"),)
    drivers = {name: kmm_facts({}, name=name).driver for name in ("drv", "other")}
    published: Any = Published(cells=((_cell("drv"), cell), (_cell("drv"), cell)), images=(), left_out=missing)

    class Opened:
        def __enter__(self) -> Any:
            return SimpleNamespace(registry=made.registry)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(facts, "read_published", lambda *_, **__: published)
    monkeypatch.setattr(facts, "open_reader", lambda _: Opened())
    project: Any = SimpleNamespace(config=SimpleNamespace(drivers=tuple(drivers.values())))
    (found,), left_out = read_nfd_facts(project, Selector())
    assert (found.driver, left_out) == (drivers["drv"], missing)
    assert found.aliases == ["char-major-10-130", _PCI]
    assert {kernel.raw for kernel in found.kernels} == {KERNEL}


def _cell(driver: str) -> Any:
    return SimpleNamespace(driver=driver, kernel=parse_kernel_version(KERNEL))
