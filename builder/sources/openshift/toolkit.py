"""Toolkits of OpenShift releases in the container store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from builder.errors import LockFileError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.kernel import Arch, KernelVersion
    from builder.registry.pull import Puller
    from builder.sources.debian.toolkit import DebianToolkits
    from builder.sources.provider import OpenShiftSource

_PULLS_AT_ONCE = 2


class PulledToolkits:
    """Toolkit images of OpenShift releases, pulled when first asked for. Base images come from ``runtime``."""

    def __init__(self, source: OpenShiftSource, puller: Puller, runtime: DebianToolkits | None) -> None:
        self._source = source
        self._puller = puller
        self._runtime = runtime
        self._pool = ThreadPoolExecutor(max_workers=_PULLS_AT_ONCE, thread_name_prefix="pull")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._puller.close()
        if self._runtime is not None:
            self._runtime.close()

    def estimate_bytes(self, kernels: Iterable[KernelVersion]) -> tuple[int, int]:
        """Return what the missing toolkits of these kernels need: bytes in the store; pulls leave no other file."""
        wanted = {self._source.toolkit_image(kernel): kernel for kernel in kernels}
        missing = [kernel for name, kernel in wanted.items() if not self._puller.has(name)]
        return sum(self._puller.size(self._source.toolkit_pullspec(kernel), kernel.arch) for kernel in missing), 0

    def prefetch(self, kernels: Iterable[KernelVersion]) -> None:
        """Start pulling the toolkits of these kernels, in their order; a failure shows up when one is needed."""
        for kernel in kernels:
            self._pool.submit(self.ensure, kernel)

    def ensure(self, kernel: KernelVersion) -> str:
        """Return the name of a kernel's toolkit image, which is in the store when this returns.

        Raises:
            SourceError: it could not be pulled.
            LockFileError: the lock names none.
        """
        return self._puller.ensure(
            self._source.toolkit_pullspec(kernel), self._source.toolkit_image(kernel), kernel.arch
        )

    def ensure_runtime(self, arch: Arch) -> str:
        """Return the name of the small base image for an architecture; raises as its Debian source does."""
        if self._runtime is None:
            raise LockFileError(f"the lock has no small base image for {arch}")
        return self._runtime.ensure_runtime(arch)
