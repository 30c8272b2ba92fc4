"""What is loaded in a guest, in the order in which modprobe would do it, and the kernel's own modules that it takes.

The kernel's own modules come before all of the driver's, so that what is registered then can be compared with what is
left in the end; a soft dependency that a module of the driver wants *after* itself comes before it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.boot.load_order import LoadOrder, ModuleIndex, read_modprobe_files, underscored
from builder.boot.module_index import facts_of
from builder.boot.script import OwnModule, StepKind
from builder.kmod.kernel_object import module_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.boot.console import Transcript
    from builder.boot.kernel_image import KernelImages
    from builder.boot.load_order import Load, ModuleFacts
    from builder.boot.script import Step
    from builder.config.model.boot import BootTest
    from builder.kernel import KernelVersion
    from builder.kmod.fit import PlacedModule

_MOST_NOTES = 20
_MOST_REQUESTS = 100
_MOST_TOLD = 10
_LOADS = {StepKind.LOAD, StepKind.LOAD_WITHOUT_HARDWARE, StepKind.REFUSE_PARAMETERS}
_LOADS_BEFORE = {StepKind.LOAD_IN_TREE, StepKind.LOAD_SOFT}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """The kernel's own modules, with their contents by name, the driver's after them, and what a reader should know."""

    in_tree: Sequence[Load]
    files: Mapping[str, bytes]
    own: Sequence[OwnModule]
    notes: Sequence[str] = ()
    answers: Sequence[str] = ()
    """What the kernel may ask for that is loaded then."""

    @property
    def order(self) -> list[str]:
        """Names of everything that is loaded."""
        return [*(load.name for load in self.in_tree), *(module.name for module in self.own)]


def collect_requests(
    known: Mapping[str, Sequence[str]], steps: Sequence[Step], transcript: Transcript
) -> dict[str, list[str]]:
    """Add what the kernel was asked for in a guest to what is known already, by the module that was being loaded.

    What a smoke test made it ask for has to be there before the first of the driver's modules.
    """
    found = {name: list(words) for name, words in known.items()}
    own = [step.subject for step in steps if step.kind in _LOADS]
    for step in steps:
        log = transcript.steps.get(step.number)
        if log is None or not log.asked or not own:
            continue
        module = step.subject if step.kind in _LOADS or step.kind in _LOADS_BEFORE else own[0]
        words = found.setdefault(module, [])
        words += [word for word in dict.fromkeys(log.asked[:_MOST_REQUESTS]) if word not in words]
    return found


def plan_loads(
    modules: Mapping[str, PlacedModule],
    settings: BootTest,
    images: KernelImages,
    kernel: KernelVersion,
    modprobe_files: Mapping[str, bytes],
    *,
    requests: Mapping[str, Sequence[str]] | None = None,
) -> LoadPlan:
    """Say what is loaded for a driver.

    Args:
        modules: the driver's modules by the name that the kernel knows.
        settings: the driver's ``boot`` of versions.yaml.
        images: where the kernel's own modules come from; asked only where something needs them.
        kernel: the guest's kernel.
        modprobe_files: the image's files of modprobe.d by path.
        requests: what the kernel was asked for while a module was loaded, by its name, as an earlier guest told.
    """
    requests = requests or {}
    facts = [facts_of(name, module.object.modinfo) for name, module in modules.items()]
    config = read_modprobe_files(modprobe_files)
    needs_kernel = settings.in_tree or config.softdeps_first or config.softdeps or requests or _reaches_out(facts)
    of_kernel = images.index(kernel) if needs_kernel else ModuleIndex([])
    index = of_kernel.with_modules(facts)
    knows = LoadOrder(index, config).answers
    answered = {name: [word for word in words if knows(word)] for name, words in requests.items()}
    order = LoadOrder(index, config, answered)
    unknown = [name for name in settings.in_tree if not order.add(name)]
    for name in modules:
        order.add_module(name)
    in_tree = [load for load in order.loads if load.name not in modules]
    files = dict(images.in_tree(kernel, sorted(load.name for load in in_tree))) if in_tree else {}
    return LoadPlan(
        in_tree=[load for load in in_tree if load.name in files],
        files={load.name: files[load.name] for load in in_tree if load.name in files},
        own=[
            OwnModule(name=load.name, depends=_own_dependencies(index, load.name, modules), options=load.options)
            for load in order.loads
            if load.name in modules
        ],
        answers=sorted({word for words in answered.values() for word in words}),
        notes=_shorten(
            [
                *_tell_answers(answered),
                *(f"{kernel} has no module and no alias {name!r}, which boot.in_tree names" for name in unknown),
                *(
                    ["soft dependencies after the first hundreds: they are not looked for"]
                    if order.is_cut_short
                    else ()
                ),
                *(f"{kernel} has nothing for the soft dependency {missing}" for missing in order.missing),
                *_unknown_names(modules, settings),
                *(f"not followed: {line}" for line in config.not_followed),
            ]
        ),
    )


def _tell_answers(answered: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, words in answered.items():
        if words:
            more = f" and {len(words) - _MOST_TOLD} more" if len(words) > _MOST_TOLD else ""
            yield f"loaded before {name}, which asks the kernel for it: {', '.join(words[:_MOST_TOLD])}{more}"


def _shorten(notes: Sequence[str]) -> list[str]:
    """Return as many as somebody reads: they stand in results, in the journal and in what is attested."""
    more = len(notes) - _MOST_NOTES
    return [*notes[:_MOST_NOTES], f"and {more} more notes"] if more > 0 else list(notes)


def _reaches_out(facts: Sequence[ModuleFacts]) -> bool:
    own = {module.name for module in facts}
    return any(module.softdeps or set(module.depends) - own for module in facts)


def _own_dependencies(index: ModuleIndex, name: str, modules: Mapping[str, PlacedModule]) -> tuple[str, ...]:
    return tuple(needed for needed in index.modules[name].depends if needed in modules)


def _unknown_names(modules: Mapping[str, PlacedModule], settings: BootTest) -> Iterator[str]:
    """Yield the modules that versions.yaml speaks of and the image of this kernel does not have."""
    known = {*modules, *(module_name(module.path) for module in modules.values())}
    named = [*settings.load, *(name for item in settings.parameters for name in item.modules)]
    for name in dict.fromkeys(named):
        if underscored(name) not in known:
            yield f"the image has no module {name!r}, which versions.yaml names for its boot test"
