"""``Module.symvers``: every symbol that a kernel and its own modules export, with the CRC of its type.

Format (Documentation/kbuild/modules.rst, "Symbols From the Kernel"): a line for each symbol, fields separated by tabs:
CRC, name, module (a path without ``.ko``, or ``vmlinux``), kind of export, and since 5.3 the namespace. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from builder.errors import FormatError
from builder.kmod.kernel_object import Export, module_name


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolCounts:
    """How the symbols of two kernels differ; ``changed`` are those of another type, module, namespace or licence."""

    same: int
    changed: int
    gone: int
    new: int


class KernelSymbols:
    """The exported symbols of one kernel; parsed once, asked by name.

    Raises:
        FormatError: a line is not of the form above; the message says which.
    """

    def __init__(self, text: str) -> None:
        lines = [line for line in text.split("\n") if line]
        if not all(line.startswith("0x") and line.count("\t") in {3, 4} for line in lines):
            raise FormatError(_describe_wrong_line(text))
        # Whole lines: split into fields, a kernel's symbols would take twice the memory.
        rows = [(line, line.split("\t", 3)) for line in lines]
        self._lines = {row[1]: line for line, row in rows}
        modules = {row[2] for _, row in rows}
        self.modules = frozenset(module_name(path) for path in modules - {"vmlinux"})

    def __len__(self) -> int:
        return len(self._lines)

    def compare(self, later: KernelSymbols) -> SymbolCounts:
        """Count what a later kernel's symbols are against these."""
        ours, theirs = self._lines, later._lines
        both = ours.keys() & theirs.keys()
        same = sum(ours[name] == theirs[name] for name in both)
        return SymbolCounts(
            same=same, changed=len(both) - same, gone=len(ours) - len(both), new=len(theirs) - len(both)
        )

    def find(self, name: str) -> Export | None:
        line = self._lines.get(name)
        if line is None:
            return None
        row = line.split("\t")
        try:
            crc = int(row[0], 16)
        except ValueError:
            raise FormatError(f"{name} has no CRC in Module.symvers but {row[0]!r}") from None
        return Export(
            crc=crc,
            is_gpl_only=row[3].startswith("EXPORT_SYMBOL_GPL"),
            namespace=row[4] if len(row) > 4 else "",  # noqa: PLR2004 - the field came with 5.3
            module=row[2],
        )


def _describe_wrong_line(text: str) -> str:
    for number, line in enumerate(text.split("\n"), start=1):
        if line and not (line.startswith("0x") and line.count("\t") in {3, 4}):
            return f"line {number} is not a line of Module.symvers: {line[:80]!r}"
    raise AssertionError(text)
