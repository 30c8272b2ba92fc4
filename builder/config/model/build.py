"""``build``: how cells are built, and what one compile may use. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from builder.config.model.declaration import Declaration, complain
from builder.host.bounds import Limits

_MIB = 1024**2


def _check_jobs(value: object) -> object:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise complain(f"must be auto or a number of at least 1, not {value!r}")


class BuildSettings(Declaration):
    """How cells are built."""

    jobs: Annotated[int | str, BeforeValidator(_check_jobs)] = "auto"
    """Cells at once; auto: as many as cores and memory allow."""
    memory_per_job: Annotated[int, Field(ge=64)] = 1024
    """MiB that one cell may need; bounds `auto`."""
    compile_memory: Annotated[int, Field(ge=64, le=2**24)] = 4096
    """MiB of memory that one compile may use; one that needs more is stopped."""
    compile_processes: Annotated[int, Field(ge=64, le=2**22)] = 4096
    """Processes that one compile may have at once."""
    compile_disk: Annotated[int, Field(ge=64, le=2**30)] = 20480
    """MiB that one compile may write."""
    timeout_minutes: Annotated[int, Field(ge=1, le=10_080)] = 30
    """After this long a compile is stopped."""
    retries: Annotated[int, Field(ge=0, le=5)] = 2
    """How often a cell is tried again when the infrastructure, not the driver, failed."""
    compile_cache: Annotated[int, Field(ge=0, le=2**24)] = 2048
    """MiB that ccache's results may take, which make the next kernel's compile shorter; 0: no compile looks anywhere
    and nothing is kept. Modules are the same with and without."""
    compile_cache_check: Annotated[int, Field(ge=0, le=100)] = 2
    """Of a hundred compiles that took something from the cache, so many are done again without it and compared."""
    boot: Literal["always", "changed", "never"] = "never"
    """Which cells a build loads on their kernels, in virtual machines. changed: those that are new, or whose image,
    kernel or test changed since they passed. always: all that are selected. An image that fails gets no name."""

    def limits(self, *, most: BuildSettings | None = None) -> Limits:
        """Return what one compile may use, nothing above ``most``."""
        bounds = [self] if most is None else [self, most]
        return Limits(
            memory_bytes=min(bound.compile_memory for bound in bounds) * _MIB,
            processes=min(bound.compile_processes for bound in bounds),
            disk_bytes=min(bound.compile_disk for bound in bounds) * _MIB,
        )
