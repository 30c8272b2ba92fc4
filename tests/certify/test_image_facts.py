from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.samples import LABELS, Sample, image_entries, read_sample_image

from builder.certify.image_facts import component_of, find_answer
from builder.certify.questions import ImageFact

if TYPE_CHECKING:
    from pathlib import Path

_OURS = {"io.kmodsmith.cell": "demo-1.2.0/k", "io.kmodsmith.kernel": "k"}
_CORE = ["license=GPL", "name=core", "firmware=demo/a.bin", "alias=pci:v00001234d*", "alias=platform:x"]
_NET = ["license=GPL", "name=net", "depends=core,crc32-generic", "softdep=pre: other", "alias=usb:v1*"]


def _answers(folder: Path, *modules: list[str]) -> dict[ImageFact, str | None]:
    named = [(next(word for word in info if word.startswith("name="))[5:], info) for info in modules]
    entries = image_entries({f"extra/{name}.ko": Sample(modinfo=info).write() for name, info in named})
    image = read_sample_image(folder, [entries], LABELS | _OURS)
    return {fact: find_answer(fact, image, set()) for fact in ImageFact}


def test_modules_say_what_they_are(tmp_path: Path) -> None:
    assert _answers(tmp_path, _CORE, _NET) == {
        ImageFact.MODULES: "2 modules: core, net",
        ImageFact.IN_TREE_DEPENDENCIES: "crc32_generic",
        ImageFact.OWN_DEPENDENCIES: "net uses core",
        ImageFact.ORDER: "net asks for pre: other",
        ImageFact.FIRMWARE: "demo/a.bin",
        ImageFact.ORIGIN: "outside of the cluster, once for each kernel: demo-1.2.0/k, for k",
        ImageFact.PLUGIN: None,
        ImageFact.DEVICES: "pci:v00001234d*, platform:x, usb:v1*",
        ImageFact.LABELS: "yes, by pci and usb",
    }


def test_what_they_do_not_say_is_an_answer_too(tmp_path: Path) -> None:
    found = _answers(tmp_path, ["license=GPL", "name=core"])
    assert {
        found[fact] for fact in (ImageFact.IN_TREE_DEPENDENCIES, ImageFact.OWN_DEPENDENCIES, ImageFact.FIRMWARE)
    } == {"none"}
    assert found[ImageFact.ORDER] == "none but that of the symbols"
    assert found[ImageFact.LABELS] == "no: no module names a device of PCI or USB"


def test_an_image_without_modules_says_nothing(tmp_path: Path) -> None:
    image = read_sample_image(tmp_path, [[]], LABELS)
    assert {find_answer(fact, image, {"demo"}) for fact in ImageFact} == {None}


def test_a_module_that_cannot_be_read_hides_what_all_of_them_say(tmp_path: Path) -> None:
    image = read_sample_image(tmp_path, [image_entries({"extra/a.ko": b"nonsense", "extra/b.ko": Sample().write()})])
    assert find_answer(ImageFact.FIRMWARE, image, set()) is None


@pytest.mark.parametrize(
    ("plugins", "answer"), [({"my-plugin"}, "yes: my-plugin-0.1.0/x86_64"), ({"my"}, None), (set(), None)]
)
def test_only_what_is_declared_is_a_device_plugin(plugins: set[str], answer: str | None, tmp_path: Path) -> None:
    image = read_sample_image(tmp_path, [[]], {"io.kmodsmith.component": "my-plugin-0.1.0/x86_64"})
    assert find_answer(ImageFact.PLUGIN, image, plugins) == answer
    assert component_of(image) == "my-plugin"
    assert component_of(replace(image, config={})) == ""
