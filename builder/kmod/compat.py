"""On which other kernels would a module load? Decided by what kernels compare: symbol CRCs and vermagic flags. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.kmod.finding import Check
from builder.kmod.fit import check_modules, find_version_differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from builder.kmod.fit import PlacedModule
    from builder.kmod.kernel_facts import KernelFacts
    from builder.kmod.kernel_object import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """Whether modules that were compiled for one kernel would load on another, and if not, why.

    ``changed`` are symbols whose CRC differs, ``missing`` those that the kernel does not export; ``other`` are the
    codes of all further obstacles, such as another architecture.
    """

    compiled_for: str
    kernel: str
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def loads(self) -> bool:
        return not (self.changed or self.missing or self.other)


def judge(modules: Sequence[PlacedModule], compiled_for: str, kernel: KernelFacts) -> Compatibility:
    """Judge the modules of one image for one kernel."""
    siblings = {name: export for module in modules for name, export in module.object.exports.items()}
    changed = {
        difference.symbol
        for module in modules
        for difference in find_version_differences(module.object, kernel, siblings)
    }
    missing = {
        name
        for module in modules
        for name, is_weak in module.object.imports.items()
        if not is_weak and name not in siblings and kernel.symbols.find(name) is None
    }
    # Where modules lie is no obstacle; they would be put into the other kernel's folder.
    elsewhere = {Check.WRONG_FOLDER, Check.WRONG_SYMBOL_VERSION, Check.SYMBOL_MISSING}
    findings = check_modules(modules, kernel, expected=None, compiled_for=compiled_for)
    other = {finding.check.value for finding in findings} - {check.value for check in elsewhere}
    return Compatibility(
        compiled_for=compiled_for,
        kernel=kernel.kernel.raw,
        changed=tuple(sorted(changed)),
        missing=tuple(sorted(missing)),
        other=tuple(sorted(other)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What happened between two kernels to one symbol that a driver uses; CRCs in hex, empty where there is none."""

    symbol: str
    change: str
    before: str
    after: str
    header: str = ""
    """What the later kernel's headers make of one that it no longer exports, where those of the earlier did not."""

    @property
    def kind(self) -> str:
        """One of ``gone``, ``new``, ``changed``."""
        return {_GONE: "gone", _NEW: "new"}.get(self.change, "changed")


_GONE, _NEW = "no longer exported", "newly exported"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDrift:
    """How the symbols that the modules for one kernel use differ between two kernels: removals first, then changes.

    They are read from binaries: what the driver's source would use on the other kernel nobody asked it.
    """

    compiled_for: str
    symbols: tuple[Drift, ...]

    @property
    def gone(self) -> tuple[str, ...]:
        return tuple(item.symbol for item in self.symbols if item.change == _GONE)

    def with_forms(self, before: Mapping[str, str], after: Mapping[str, str]) -> DriverDrift:
        """Return it with what headers make of the symbols that are gone; both by symbol, see ``header_forms``.

        What the earlier kernel's headers had as well is no news: they have another form for other configurations.
        """
        symbols = tuple(
            replace(item, header=form)
            if item.change == _GONE and (form := after.get(item.symbol, "")) and form != before.get(item.symbol)
            else item
            for item in self.symbols
        )
        return replace(self, symbols=symbols)


def find_drift(modules: Sequence[PlacedModule], before: KernelFacts, after: KernelFacts) -> list[Drift]:
    """Return how the symbols that modules use differ between two kernels: first what is gone, last what is new."""
    own = {name for module in modules for name in module.object.exports}
    used = {name for module in modules for name in (*module.object.imports, *module.object.versions)} - own
    return compare_symbols(used, before, after)


def compare_symbols(names: Iterable[str], before: KernelFacts, after: KernelFacts) -> list[Drift]:
    """Return how symbols of these names differ between two kernels, in the order of ``find_drift``."""
    changes = ((name, before.symbols.find(name), after.symbols.find(name)) for name in sorted(set(names)))
    found = [
        Drift(symbol=name, change=change, before=_crc(old), after=_crc(new))
        for name, old, new in changes
        if (change := _describe_change(old, new))
    ]
    order = {_GONE: 0, _NEW: 2}
    return sorted(found, key=lambda item: (order.get(item.change, 1), item.symbol))


def _crc(export: Export | None) -> str:
    return f"{export.crc:#010x}" if export is not None and export.crc is not None else ""


def _describe_change(old: Export | None, new: Export | None) -> str:
    if old is None or new is None:
        return "" if old is new else _GONE if new is None else _NEW
    changes = []
    if old.crc != new.crc:
        changes.append("type changed")
    if old.is_gpl_only != new.is_gpl_only:
        changes.append("now for GPL-compatible modules only" if new.is_gpl_only else "no longer GPL only")
    if old.namespace != new.namespace:
        changes.append(f"namespace {old.namespace or 'none'} became {new.namespace or 'none'}")
    if old.module != new.module:
        changes.append(f"moved from {old.module} to {new.module}")
    return ", ".join(changes)
