"""Puts proven modules where the image wants them: into another kernel's folder, compressed; then depmod runs anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import CellError, FailureClass
from builder.image.depmod import INPUTS, make_depmod_data
from builder.image.labels import MODULE_ROOT
from builder.kmod.packing import is_module, pack_module
from builder.store.result import File, Link, make_result

if TYPE_CHECKING:
    from builder.kernel import KernelVersion
    from builder.store.result import CompileResult, ResultEntry


def move_modules(result: CompileResult, compiled_for: KernelVersion, kernel: KernelVersion) -> CompileResult:
    """Move modules that were compiled for one kernel into the folder of another, which the proof of fit then judges.

    Raises:
        CellError: depmod data cannot be made anew; or, ``result-twice``, the compile left a folder of that name, too.
    """
    before, after = f"{MODULE_ROOT}/{compiled_for.raw}", f"{MODULE_ROOT}/{kernel.raw}"

    def move(path: str, entry: ResultEntry) -> tuple[str, ResultEntry]:
        if path != before and not path.startswith(f"{before}/"):
            return path, entry
        is_host = path == f"{before}/host" and isinstance(entry, Link)
        return after + path.removeprefix(before), Link(f"/lib/modules/{kernel.raw}") if is_host else entry

    return _with_depmod_data(make_result(move(*item) for item in result.entries.items()), kernel)


def compress_modules(result: CompileResult, kernel: KernelVersion, compression: str) -> CompileResult:
    """Compress every module, signature included, as kernels and kmod read it (``xz``, ``zst`` or ``gz``).

    Raises: as ``move_modules``.
    """
    packed = (
        (f"{path}.{compression}", File(pack_module(entry.content, compression)))
        if isinstance(entry, File) and is_module(path)
        else (path, entry)
        for path, entry in result.entries.items()
    )
    return _with_depmod_data(make_result(packed), kernel)


def _with_depmod_data(result: CompileResult, kernel: KernelVersion) -> CompileResult:
    folder = f"{MODULE_ROOT}/{kernel.raw}"
    files = result.below(folder)
    if b"\nhost/" in b"\n" + files.get("modules.dep", b""):
        raise CellError(
            FailureClass.COMPILE,
            "depmod-covers-kernel",
            "the driver's depmod data covers the kernel's own modules, which only its toolkit has",
            hint="leave out 'compress' and 'reuse' for this driver",
        )
    modules = {path: content for path, content in files.items() if is_module(path)}
    inputs = {name: files[name] for name in INPUTS if name in files}
    data = make_depmod_data(modules, inputs, kernel.raw)
    return result.replace({f"{folder}/{name}": content for name, content in data.items()})
