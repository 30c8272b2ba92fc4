"""Puts proven modules where the image wants them: into another kernel's folder, compressed; then depmod runs anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from builder.compile import find_modules
from builder.depmod import INPUTS, make_depmod_data
from builder.errors import CellError, FailureClass
from builder.image_contract import MODULE_ROOT
from builder.module.packing import pack_module

if TYPE_CHECKING:
    from builder.kernel import KernelVersion


def move_modules(tree: Path, compiled_for: KernelVersion, kernel: KernelVersion) -> None:
    """Move modules that were compiled for one kernel into the folder of another, which the proof of fit then judges."""
    folder = tree / MODULE_ROOT / kernel.raw
    (tree / MODULE_ROOT / compiled_for.raw).rename(folder)
    host = folder / "host"
    if host.is_symlink():
        host.unlink()
        host.symlink_to(f"/lib/modules/{kernel}")
    _write_depmod_data(tree, kernel)


def compress_modules(tree: Path, kernel: KernelVersion, compression: str) -> None:
    """Compress every module, signature included, as kernels and kmod read it (``xz``, ``zst`` or ``gz``)."""
    for module in find_modules(tree):
        packed = module.with_name(f"{module.name}.{compression}")
        packed.write_bytes(pack_module(module.read_bytes(), compression))
        module.unlink()
    _write_depmod_data(tree, kernel)


def _write_depmod_data(tree: Path, kernel: KernelVersion) -> None:
    folder = tree / MODULE_ROOT / kernel.raw
    written = folder / "modules.dep"
    if written.is_file() and b"\nhost/" in b"\n" + written.read_bytes():
        raise CellError(
            FailureClass.COMPILE,
            "depmod-covers-kernel",
            "the driver's depmod data covers the kernel's own modules, which only its toolkit has",
            hint="leave out 'compress' and 'reuse' for this driver",
        )
    modules = {file.relative_to(folder).as_posix(): file.read_bytes() for file in find_modules(folder)}
    inputs = {name: (folder / name).read_bytes() for name in INPUTS if (folder / name).is_file()}
    for name, content in make_depmod_data(modules, inputs, kernel.raw).items():
        Path(folder, name).write_bytes(content)
