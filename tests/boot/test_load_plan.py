"""What a driver takes of its kernel, and in which order all of it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.consoles import read_console, report_lines
from fakes.samples import Sample

from builder.boot.load_order import ModuleFacts, ModuleIndex
from builder.boot.load_plan import LoadPlan, collect_requests, plan_loads
from builder.boot.script import OwnModule, make_script
from builder.config.model.boot import BootTest
from builder.kernel import parse_kernel_version
from builder.kmod.fit import place_modules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.boot.kernel_image import BootKernel
    from builder.kernel import KernelVersion

_KERNEL = parse_kernel_version("6.12.5+deb12-amd64")
_CRC = (
    ModuleFacts(name="libcrc32c", softdeps=("pre: crc32c",)),
    ModuleFacts(name="crc32c_generic", aliases=("crc32c", "crypto-crc32c")),
    ModuleFacts(name="crc32c_intel", aliases=("crc32c",)),
)


class _Images:
    """A kernel with what crc32c needs; ``asked`` are the names that were fetched."""

    def __init__(self, built_in: str = "") -> None:
        self._built_in = built_in
        self.asked: list[str] = []

    def identity_of(self, kernel: KernelVersion) -> str:
        return kernel.raw

    def missing_bytes(self, kernel: KernelVersion) -> int:
        return 0

    def of(self, kernel: KernelVersion) -> BootKernel:
        raise NotImplementedError

    def in_tree(self, kernel: KernelVersion, names: Iterable[str]) -> list[tuple[str, bytes]]:
        self.asked = sorted(names)
        return [(name, b"ko") for name in self.asked if name != self._built_in]

    def index(self, kernel: KernelVersion) -> ModuleIndex:
        self.asked = ["index"]
        return ModuleIndex(_CRC)


def _plan(
    samples: list[Sample],
    files: dict[str, bytes] | None = None,
    images: _Images | None = None,
    requests: dict[str, list[str]] | None = None,
    **settings: object,
) -> tuple[LoadPlan, _Images]:
    placed, _ = place_modules((f"opt/lib/modules/k/extra/{item.name}.ko", item.write()) for item in samples)
    images = images or _Images()
    modules = {module.object.name: module for module in placed}
    test = BootTest.model_validate(settings)
    return plan_loads(modules, test, images, _KERNEL, files or {}, requests=requests), images


def test_a_driver_brings_the_soft_dependencies_of_what_it_needs() -> None:
    plan, images = _plan([Sample(name="user", depends="boost"), Sample(name="boost", depends="libcrc32c")])
    assert [(load.name, load.is_required) for load in plan.in_tree] == [
        ("crc32c_generic", False), ("crc32c_intel", False), ("libcrc32c", True),
    ]  # fmt: skip
    assert images.asked == ["crc32c_generic", "crc32c_intel", "libcrc32c"]
    assert list(plan.own) == [OwnModule(name="boost"), OwnModule(name="user", depends=("boost",))]
    assert plan.notes == []


def test_what_a_module_asks_the_kernel_for_is_there_before_it() -> None:
    samples = [Sample(name="asks"), Sample(name="cipher", modinfo=["license=GPL", "alias=crypto-magma"])]
    plan, images = _plan(samples, requests={"asks": ["crypto-magma", "crypto-crc32c", "fs-nothing"]})
    assert [(load.name, load.is_required) for load in plan.in_tree] == [("crc32c_generic", False)]
    assert [module.name for module in plan.own] == ["cipher", "asks"]
    assert plan.order == ["crc32c_generic", "cipher", "asks"]
    assert images.asked == ["crc32c_generic"]
    assert plan.notes == ["loaded before asks, which asks the kernel for it: crypto-magma, crypto-crc32c"]


def test_what_is_blacklisted_answers_no_request() -> None:
    files = {"etc/modprobe.d/no.conf": b"blacklist crc32c_generic\n"}
    plan, _ = _plan([Sample(name="asks")], files, requests={"asks": ["crypto-crc32c"]})
    assert (plan.order, plan.notes) == (["asks"], [])


def test_a_request_belongs_to_what_was_being_loaded() -> None:
    """What a smoke test made the kernel ask for has to be there before the driver."""
    script = make_script([OwnModule(name="a"), OwnModule(name="b")], BootTest(), is_enforced=False, has_test=True)
    kinds = {str(step): step.number for step in script.steps}
    reports = [f"begin {n}\nend {n} 0" for n in range(1, len(script.steps) + 1)]
    for step, asked in (("load b", "asked crypto-x\nasked crypto-y"), ("smoke-test defaults", "asked fs-z")):
        number = kinds[step]
        reports[number - 1] = f"begin {number}\n{asked}\nend {number} 0"
    transcript = read_console(report_lines("start", *"\n".join(reports).split("\n")))
    found = collect_requests({"b": ["known", "crypto-y"]}, script.steps, transcript)
    assert found == {"b": ["known", "crypto-y", "crypto-x"], "a": ["fs-z"]}
    assert collect_requests({}, script.steps, read_console(report_lines("start"))) == {}


def test_a_driver_that_needs_nothing_costs_nothing() -> None:
    plan, images = _plan([Sample(name="b", depends="a"), Sample(name="a")])
    assert ([module.name for module in plan.own], images.asked, plan.in_tree) == (["a", "b"], [], [])


def test_soft_dependencies_among_own_modules_and_files_of_the_image() -> None:
    soft = Sample(name="front", modinfo=["license=GPL", "softdep=pre: back post: tail none"])
    files = {"etc/modprobe.d/x.conf": b"options back size=3\nremove a b\n"}
    plan, _ = _plan([soft, Sample(name="tail"), Sample(name="back")], files, in_tree=("crc32c", "absent"))
    assert [(module.name, module.options) for module in plan.own] == [("back", "size=3"), ("front", ""), ("tail", "")]
    assert [load.name for load in plan.in_tree] == ["crc32c_generic", "crc32c_intel"]
    assert plan.notes == [
        f"{_KERNEL} has no module and no alias 'absent', which boot.in_tree names",
        f"{_KERNEL} has nothing for the soft dependency none (of front)",
        "not followed: etc/modprobe.d/x.conf: remove a b",
    ]


def test_notes_are_as_many_as_somebody_reads() -> None:
    words = " ".join(f"no{n}" for n in range(5000))
    plan, _ = _plan(
        [Sample(name="evil", modinfo=["license=GPL", f"softdep=pre: {words}"])],
        {"etc/modprobe.d/x.conf": b"bad\n" * 5000},
    )
    assert len(plan.notes) == 21
    assert plan.notes[-1].startswith("and ")
    assert plan.notes[-1].endswith(" more notes")


def test_names_that_no_module_has_are_said() -> None:
    plan, _ = _plan(
        [Sample(name="a")],
        load={"b": {"expect": "ENODEV", "because": "r"}},
        parameters=({"name": "x", "modules": {"c": "y=1", "a": "z=1"}},),
    )
    assert plan.notes == [
        f"the image has no module '{name}', which versions.yaml names for its boot test" for name in ("b", "c")
    ]


def test_what_a_module_wants_after_itself_is_loaded_before_all_of_the_drivers() -> None:
    """So that what is registered then can be compared with what is left in the end."""
    plan, _ = _plan([Sample(name="front", modinfo=["license=GPL", "softdep=post: crc32c_intel"])])
    assert [load.name for load in plan.in_tree] == ["crc32c_intel"]
    assert [module.name for module in plan.own] == ["front"]
    assert plan.files == {"crc32c_intel": b"ko"}


def test_what_the_kernel_has_no_file_for_is_built_in() -> None:
    plan, _ = _plan([Sample(name="user", depends="libcrc32c")], images=_Images(built_in="libcrc32c"))
    assert [load.name for load in plan.in_tree] == ["crc32c_generic", "crc32c_intel"]
    assert list(plan.files) == ["crc32c_generic", "crc32c_intel"]


def test_a_module_goes_by_the_name_of_its_file_too() -> None:
    placed, _ = place_modules([("opt/lib/modules/k/extra/vendor-net.ko", Sample(name="net_core").write())])
    settings = BootTest.model_validate(
        {"parameters": ({"name": "x", "modules": {"vendor-net": "a=1", "net-core": "b=1"}},)}
    )
    assert plan_loads({"net_core": placed[0]}, settings, _Images(), _KERNEL, {}).notes == []


@pytest.mark.parametrize("word", ["crc32c", "no"])
def test_that_a_strangers_soft_dependencies_were_cut_short_is_said(word: str) -> None:
    """Also behind hundreds of notes about those that were looked for and not found."""
    words = " ".join(f"{word}{n if word == 'no' else ''}" for n in range(400))
    plan, _ = _plan([Sample(name="evil", modinfo=["license=GPL", f"softdep=pre: {words}"])])
    assert plan.notes[0] == "soft dependencies after the first hundreds: they are not looked for"
