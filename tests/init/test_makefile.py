"""What a Makefile says without being run."""

from __future__ import annotations

import time

import pytest

from builder.init.makefile import read_makefile


def _modules(text: str) -> dict[str, str]:
    return {module.name: module.condition for module in read_makefile(text, "Makefile").modules}


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("obj-m := a.o b.o", {"a": "", "b": ""}),
        ("obj-m += a.o \\\n  hid-b.o # c.o", {"a": "", "hid-b": ""}),
        ("NAME = drv\nobj-m := $(NAME).o", {"drv": ""}),
        ("OBJS := a.o\nOBJS += b.o\nobj-m = ${OBJS}", {"a": "", "b": ""}),
        ("obj-$(CONFIG_A) += a.o", {"a": "CONFIG_A, which the source does not set"}),
        ("CONFIG_A = m\nobj-$(CONFIG_A) += a.o", {"a": ""}),
        ("CONFIG_A = y\nobj-$(CONFIG_A) += a.o", {}),
        ("obj-y += a.o", {}),
        ("ifneq ($(KERNELRELEASE),)\nobj-m := a.o\nelse\nall:\n\tx\nendif", {"a": ""}),
        ("ifeq ($(KERNELRELEASE),)\nall:\n\tx\nelse\nobj-m := a.o\nendif", {"a": ""}),
        ("ifdef DEBUG\nobj-m := a.o\nendif", {"a": "ifdef DEBUG"}),
        ("ifdef X\nobj-m := a.o\nelse\nobj-m := a.o\nendif", {"a": ""}),
        ("ifdef DEBUG\nobj-m := a.o\nendif\nobj-m += a.o", {"a": ""}),
        ("ifndef MODS\nMODS := a.o\nexport MODS\nelse\nobj-m := $(MODS)\nendif", {"a": ""}),
        ("obj-m := sub/ $(shell ls) $(X).o ../x/a.o", {"a": ""}),
        ("endif\nelse\nobj-m := a.o", {"a": ""}),
        ("obj-m := a.o\nobj-m := $(obj-m)", {"a": ""}),
        ("", {}),
    ],
)
def test_modules_and_their_conditions(text: str, modules: dict[str, str]) -> None:
    assert _modules(text) == modules


def test_folders_and_what_modules_are_put_together_of() -> None:
    found = read_makefile("obj-m := a.o sub/\na-objs := x.o\na-$(CONFIG_Y) += y.o", "dir/Kbuild")
    assert (found.folders, found.composites, found.folder) == (("sub",), frozenset({"a"}), "dir")


@pytest.mark.parametrize(
    ("text", "target", "variable", "is_version", "is_first", "words"),
    [
        ("all:\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules", "all", "KDIR", False, True, ()),
        ('x:\n\ty\nmodules:\n\tmake -C "$(KDIR)" M=. $@', "modules", "KDIR", False, False, ()),
        ("all:\n\t+${MAKE} -C /lib/modules/$(KVER)/build SUBDIRS=.", "all", "KVER", True, True, ()),
        ("all:\n\tmake -C /lib/modules/`uname -r`/build M=.", "all", "", False, True, ()),
        ("all:\n\tmake CONFIG_A=m W=1 -C $(K) M=. modules", "all", "K", False, True, ("CONFIG_A",)),
    ],
)
def test_calls_of_the_kernels_build(
    text: str, target: str, variable: str, is_version: bool, is_first: bool, words: tuple[str, ...]
) -> None:
    (call,) = read_makefile(text, "Makefile").calls
    assert (call.target, call.variable, call.is_version, call.is_first) == (target, variable, is_version, is_first)
    assert call.words == words


@pytest.mark.parametrize(
    "text", ["all:\n\tmake -C sub", "all:\n\tls -C M=.", "x = make -C $(K) M=.", "\tmake -C $(K) M=."]
)
def test_other_calls_do_not_count(text: str) -> None:
    assert read_makefile(text, "Makefile").calls == ()


@pytest.mark.parametrize(
    "text",
    [
        "a = $(b)$(b)\nb = $(a)$(a)\nobj-m := $(a).o",
        "".join(f"v{n} = $(v{n + 1})$(v{n + 1})\n" for n in range(40)) + "obj-m = $(v0)",
        "x = " + "y" * 60_000 + "\nobj-m = " + "$(x)" * 15_000,
        "obj-m := " + "a.o " * 300_000,
        "all:\n\t" + "make " * 200_000 + "-C M=",
        "\n".join(f"obj-m += a{n}.o" for n in range(90_000)),
        "ifdef A\n" * 90_000 + "obj-m := a.o",
        "\\\n" * 200_000,
        "(" * 900_000 + ":",
    ],
)
def test_hostile_text_costs_no_more_than_its_size(text: str) -> None:
    started = time.process_time()
    assert len(read_makefile(text, "Makefile").modules) <= 1000
    assert time.process_time() - started < 10
