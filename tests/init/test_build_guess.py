"""Which command builds a source, and what comes out."""

from __future__ import annotations

import pytest

from builder.drivers.dkms import DkmsModule, DkmsRecipe
from builder.init.guess import draft_driver
from builder.init.known import DriverDraft, Wish
from builder.init.look import SourceLook

_C = 'MODULE_LICENSE("GPL");\n'
_KBUILD = "make -C $KERNEL_SRC_DIR M=$PWD"


def _draft(files: dict[str, str], **more: object) -> DriverDraft:
    look = SourceLook(
        folder_name="drv-1.0",
        names=tuple(sorted(files)),
        makefiles={path: text for path, text in files.items() if path.rpartition("/")[2] in {"Makefile", "Kbuild"}},
        c_files={path: text for path, text in files.items() if path.endswith(".c")},
        words={},
        built={},
    )
    return draft_driver(look, Wish(vendor="V"), **more)  # type: ignore[arg-type]


def _keys(draft: DriverDraft) -> set[str]:
    return {question.key for question in draft.questions}


_CALL = "modules:\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\n"


@pytest.mark.parametrize(
    ("files", "make"),
    [
        ({"Kbuild": "obj-m := a.o", "a.c": _C}, f"{_KBUILD} modules"),
        ({"Makefile": "obj-m := a.o\nall:\n\tmake -C /lib/modules/`uname -r`/build M=.", "a.c": _C}, f"{_KBUILD} modules"),
        ({"Makefile": f"obj-m := a.o\n{_CALL}", "a.c": _C}, f"{_KBUILD} modules"),
        ({"Makefile": f"export X=1\nobj-m := a.o\n{_CALL}", "a.c": _C}, "make KDIR=$KERNEL_SRC_DIR"),
        ({"Makefile": f"obj-m := a.o\nx:\n\ty\nexport X\n{_CALL}", "a.c": _C}, "make KDIR=$KERNEL_SRC_DIR modules"),
        ({"Makefile": "obj-m := a.o\nall:\n\tmake CONFIG_A=m -C /l/$(V)/build M=. modules", "a.c": _C}, "make V=$KERNEL_FULL_VERSION"),
        ({"Makefile": f"{_CALL}", "src/Makefile": "obj-m := a.o", "src/a.c": _C}, f"{_KBUILD}/src modules"),
        ({"Makefile": f"export A\n{_CALL}", "src/Kbuild": "obj-m := a.o", "src/a.c": _C}, "make KDIR=$KERNEL_SRC_DIR"),
        ({"src/Kbuild": "obj-m := a.o sub/", "src/a.c": _C, "src/sub/Kbuild": "obj-m := b.o", "src/sub/b.c": _C}, f"{_KBUILD}/src modules"),
    ],
)  # fmt: skip
def test_commands(files: dict[str, str], make: str) -> None:
    draft = _draft(files)
    assert draft.make == make
    assert "make" not in _keys(draft)
    assert not draft.dkms


def test_a_call_that_takes_no_kernel_is_no_command() -> None:
    """KERNELRELEASE= would make the Makefile believe that the kernel's build reads it; clean builds nothing."""
    for text in ("all:\n\tmake -C /l/$(KERNELRELEASE)/b M=.", "clean:\n\tmake -C $(KDIR) M=. clean"):
        draft = _draft({"Makefile": f"export X\nobj-m := a.o\n{text}", "a.c": _C})
        assert draft.make == f"{_KBUILD} modules"


def test_several_folders_are_asked_about() -> None:
    draft = _draft({"a/Kbuild": "obj-m := a.o", "a/a.c": _C, "b/Kbuild": "obj-m := b.o", "b/b.c": _C})
    assert draft.make == f"{_KBUILD}/a modules && {_KBUILD}/b modules"
    assert "make" in _keys(draft)


@pytest.mark.parametrize("folder", ["a b", "a;b", "$(x)", "a'b", "ü"])
def test_no_shell_gets_a_name_of_a_strangers_folder(folder: str) -> None:
    draft = _draft({f"{folder}/Kbuild": "obj-m := a.o", f"{folder}/a.c": _C})
    assert draft.make == f"{_KBUILD} modules"
    assert "make" in _keys(draft)


def test_modules_that_are_there_or_put_together() -> None:
    draft = _draft({"Kbuild": "obj-m := a.o b.o gone.o\nb-y := c.o", "a.c": _C, "c.c": _C})
    assert draft.modules == ("a", "b")


def test_conditions_are_asked_about() -> None:
    draft = _draft({"Kbuild": "obj-m := a.o\nobj-$(CONFIG_B) += b.o", "a.c": _C, "b.c": _C})
    assert draft.modules == ("a", "?b")
    (question,) = [item for item in draft.questions if item.key == "modules"]
    assert "b: CONFIG_B" in question.text
    assert "may be missing" in question.text
    only = _draft({"Kbuild": "obj-$(CONFIG_B) += b.o", "b.c": _C})
    assert "would pass" in next(item.text for item in only.questions if item.key == "modules")


def test_without_a_makefile_files_with_a_licence_are_modules() -> None:
    draft = _draft({"a.c": _C, "helper.c": "int x;"})
    assert draft.modules == ("a",)
    assert {"modules", "make"} <= _keys(draft)
    assert _draft({"x.txt": ""}).modules == ("driver",)


def test_dkms_conf_says_it_where_it_can() -> None:
    recipe = DkmsRecipe(
        name="drv",
        version="1",
        make=("make",),
        modules=(DkmsModule(built_file="a.ko", name="a"),),
        notes=("line 3: x",),
    )
    draft = _draft({"a.c": _C, "Kbuild": "obj-m := other.o"}, recipe=recipe)
    assert (draft.dkms, draft.make, draft.modules) == ("dkms.conf", "", ())
    assert draft.notes == ("line 3: x",)
    unread = DkmsRecipe(name="", version="", make=("bash x",), modules=())
    assert "modules" in _keys(_draft({"a.c": _C}, recipe=unread))


def test_a_dkms_conf_that_cannot_be_used_is_asked_about() -> None:
    draft = _draft({"a.c": _C, "Kbuild": "obj-m := a.o"}, dkms_problem="cannot be used: line 2: patches")
    assert draft.make == f"{_KBUILD} modules"
    assert "line 2: patches" in next(item.text for item in draft.questions if item.key == "dkms")
