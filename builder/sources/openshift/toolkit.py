"""Toolkits of OpenShift releases in the container store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from builder.errors import LockFileError
from builder.registry.pull import open_puller
from builder.sources.provider import ToolkitBytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.kernel import Arch, KernelVersion
    from builder.registry.pull import Puller
    from builder.sources.openshift.parts import OpenShiftParts
    from builder.sources.provider import Toolkits, Workplace

_PULLS_AT_ONCE = 2


def open_pulled_toolkits(parts: OpenShiftParts, workplace: Workplace, runtime: Toolkits | None) -> PulledToolkits:
    """Return the toolkits of a source, to be closed; UsageError where a file of pull secrets is not one."""
    puller = open_puller(workplace.registry, workplace.root, cache_dir=workplace.cache_dir, work_dir=workplace.work_dir)
    return PulledToolkits(parts, puller, runtime)


class PulledToolkits:
    """Toolkit images of OpenShift releases, pulled when first asked for. Base images come from ``runtime``."""

    def __init__(self, parts: OpenShiftParts, puller: Puller, runtime: Toolkits | None) -> None:
        self._parts = parts
        self._puller = puller
        self._runtime = runtime
        self._pool = ThreadPoolExecutor(max_workers=_PULLS_AT_ONCE, thread_name_prefix="pull")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._puller.close()
        if self._runtime is not None:
            self._runtime.close()

    def estimate_bytes(self, kernels: Iterable[KernelVersion]) -> ToolkitBytes:
        """Return what the missing toolkits of these kernels need: pulls leave no file outside the store."""
        wanted = {self._parts.toolkit_image(kernel): kernel for kernel in kernels}
        missing = [kernel for name, kernel in wanted.items() if not self._puller.has(name)]
        sizes = (self._puller.size(self._parts.toolkit_pullspec(kernel), kernel.arch) for kernel in missing)
        return ToolkitBytes(installed=sum(sizes), download=0)

    def prefetch(self, kernels: Iterable[KernelVersion]) -> None:
        """Start pulling the toolkits of these kernels, in their order; a failure shows up when one is needed."""
        for kernel in kernels:
            self._pool.submit(self.ensure, kernel)

    def ensure(self, kernel: KernelVersion, wanted: Iterable[str] = ()) -> str:
        self._parts.build_packages(kernel, wanted)
        return self._puller.ensure(self._parts.toolkit_pullspec(kernel), self._parts.toolkit_image(kernel), kernel.arch)

    def ensure_runtime(self, arch: Arch) -> str:
        if self._runtime is None:
            raise LockFileError(f"the lock has no small base image for {arch}")
        return self._runtime.ensure_runtime(arch)
