"""How a source is built, and what comes out: by its dkms.conf, the kernel's own build, or its own Makefile. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builder.init.known import list_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.drivers.dkms import DkmsRecipe
    from builder.init.known import Known
    from builder.init.makefile import KernelCall, Makefile, NamedModule

_MODULE = re.compile(r"[A-Za-z0-9_-]{1,55}")
_PATH = re.compile(r"[A-Za-z0-9_.+,@%=/-]*")
_TARGET = re.compile(r"[\w.-]+")
_NO_BUILD = re.compile(r"install|clean|uninstall")
_BY_KBUILD = "make -C $KERNEL_SRC_DIR M=$PWD"
_TOP = ("GNUmakefile", "makefile", "Makefile")  # GNU make takes the first that there is
_SHOWN = 5
_MOST_FOLDERS = 8


def guess_build(known: Known) -> tuple[tuple[str, ...], str, str]:
    """Return the driver's ``modules``, ``make`` and ``dkms``; what is left to another of them is empty."""
    if known.recipe is not None:
        _tell_dkms(known, known.recipe)
        return (), "", "dkms.conf"
    if known.dkms_problem:
        text = f"dkms.conf {known.dkms_problem}. Is the command that stands in its place the right one?"
        known.ask("dkms", text, "make")
    return _guess_modules(known), _guess_command(known), ""


def _tell_dkms(known: Known, recipe: DkmsRecipe) -> None:
    known.guess("dkms", "dkms.conf", "the source has one; it says how modules are built, and is read, not run")
    if recipe.modules:
        names = list_words(module.name for module in recipe.modules)
        known.guess("modules", names, "BUILT_MODULE_NAME of dkms.conf")
        return
    text = "dkms.conf has to be run for each kernel to tell its modules. Which must come out, whatever it says?"
    known.ask("modules", text, "those that it names")


# Modules


def _guess_modules(known: Known) -> tuple[str, ...]:
    if named := _find_named(known):
        return _tell_named(known, named)
    if built := tuple(sorted(name for name in known.look.built if _MODULE.fullmatch(name))):
        known.guess("modules", list_words(built), "the .ko files that lie in the source")
        return built
    paths = (path for path, facts in known.facts.items() if facts.is_module)
    stems = sorted({path.rpartition("/")[2].removesuffix(".c") for path in paths})
    if stems := [stem for stem in stems if _MODULE.fullmatch(stem)]:
        text = "No obj-m was found. Are the modules called as the files that have MODULE_LICENSE?"
        known.ask("modules", text, list_words(stems))
        return tuple(stems)
    name = (known.wish.name or "driver").replace("-", "_")
    known.ask("modules", "Nothing in the source tells which modules it builds. Which?", f"[{name}]")
    return (name,)


def _tell_named(known: Known, named: list[tuple[NamedModule, Makefile]]) -> tuple[str, ...]:
    words = tuple(f"{'?' if module.condition else ''}{module.name}" for module, _ in named)
    first, makefile = named[0]
    known.guess("modules", list_words(words), f"obj-m in {makefile.path}:{first.line}")
    if doubtful := [module for module, _ in named if module.condition]:
        what = "; ".join(f"{module.name}: {module.condition}" for module in doubtful[:_SHOWN])
        all_of_them = len(doubtful) == len(named)
        missing = (
            "Until then a build without any of them would pass." if all_of_them else "Until then they may be missing."
        )
        text = f"Some are built only under a condition ({what}). Which must there be? {missing}"
        known.ask("modules", text, list_words(words))
    return words


def _find_named(known: Known) -> list[tuple[NamedModule, Makefile]]:
    """Return the modules that Makefiles name, each once, those of the highest folders first.

    One of which nothing is there does not count: a copy of the kernel's own Makefile names more than a driver has.
    """
    files = {path.rpartition("/")[2] for path in known.look.names}
    found: dict[str, tuple[NamedModule, Makefile]] = {}
    for makefile in _in_order(known.makefiles):
        for module in makefile.modules:
            is_there = module.name in makefile.composites or f"{module.name}.c" in files
            if not (is_there and _MODULE.fullmatch(module.name)):
                continue
            key = module.name.replace("-", "_")
            if key not in found or (found[key][0].condition and not module.condition):
                found[key] = (module, makefile)
    return list(found.values())


def _in_order(makefiles: Mapping[str, Makefile]) -> list[Makefile]:
    return sorted(makefiles.values(), key=lambda item: (item.path.count("/"), "/test" in f"/{item.path}", item.path))


# The command


def _guess_command(known: Known) -> str:
    top = next((known.makefiles[name] for name in _TOP if name in known.makefiles), None)
    ordered = [item for item in _in_order(known.makefiles) if item.modules]
    if not ordered:
        return _own_command(known, top) or _ask_for_command(known)
    highest = ordered[0]
    # What the source's own Makefile sets for the build reaches it only through that Makefile.
    if any(item and _why_own(item) for item in (highest, top)) and (command := _own_command(known, top)):
        return command
    folders = list(dict.fromkeys(item.folder for item in ordered))
    apart = sorted(folder for folder in folders if not any(_is_below(folder, upper) for upper in folders))
    if not all(map(_PATH.fullmatch, apart)):
        return _ask_for_command(known)
    command = " && ".join(f"{_BY_KBUILD}{'/' if folder else ''}{folder} modules" for folder in apart[:_MOST_FOLDERS])
    if len(apart) == 1:
        return known.guess("make", command, f"{highest.path} is what the kernel's own build reads")
    known.guess("make", command, f"the kernel's own build, in each folder with an obj-m: {list_words(apart)}")
    text = "Modules lie in several folders. Does one need another's symbols (KBUILD_EXTRA_SYMBOLS), or come first?"
    return known.ask("make", text, command)


def _is_below(folder: str, upper: str) -> bool:
    return folder != upper and (not upper or folder.startswith(f"{upper}/"))


def _why_own(makefile: Makefile) -> str:
    """Say what of a Makefile the kernel's own build would miss; empty where it would miss nothing."""
    if makefile.exports:
        return f"it exports {list_words(makefile.exports)}"
    call = _own_call(makefile)
    return f"its call sets {list_words(call.words)}" if call and call.words else ""


def _own_call(makefile: Makefile) -> KernelCall | None:
    """Return the call that builds modules; None where nobody can say to the Makefile which kernel is meant.

    ``KERNELRELEASE`` is no way to say that: a Makefile takes it for the sign that the kernel's build reads it.
    """
    calls = [
        call
        for call in makefile.calls
        if call.variable not in {"", "KERNELRELEASE"}
        and not _NO_BUILD.search(call.target)
        and (call.is_first or _TARGET.fullmatch(call.target))
    ]
    return min(calls, key=lambda item: (item.target != "modules", not item.is_first), default=None)


def _own_command(known: Known, makefile: Makefile | None) -> str:
    """Return the call of a source's own Makefile; empty where there is none that takes a kernel."""
    call = _own_call(makefile) if makefile else None
    if makefile is None or call is None:
        return ""
    value = "$KERNEL_FULL_VERSION" if call.is_version else "$KERNEL_SRC_DIR"
    target = "" if call.is_first else f" {call.target}"
    more = f", and {why}" if (why := _why_own(makefile)) else ""
    why = f"{makefile.path}:{call.line} takes the kernel from {call.variable}{more}"
    return known.guess("make", f"make {call.variable}={value}{target}", why)


def _ask_for_command(known: Known) -> str:
    text = "No Makefile was found that names modules (obj-m). Which command builds them? It sees KERNEL_SRC_DIR."
    return known.ask("make", text, f"{_BY_KBUILD} modules")
