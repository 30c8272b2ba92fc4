"""Provider ``debian``: real kernels, with headers and bootable images, without an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.sources.debian.changes import describe_changes
from builder.sources.debian.lock import LockedDebian
from builder.sources.debian.source import DebianSource
from builder.sources.provider import Answer

if TYPE_CHECKING:
    from builder.config.model.debian import DebianKernels
    from builder.sources.provider import Opening, Question


class DebianProvider:
    """Kernels of the Debian archive, with toolkits made from its header packages."""

    locked = LockedDebian

    def discover(self, question: Question[DebianKernels, LockedDebian]) -> Answer:
        from builder.sources.debian.discover import discover  # noqa: PLC0415 - see the top of source.py

        found = discover(
            question.settings,
            question.previous,
            question.workplace.cache_dir / "apt" / question.name,
            question.now,
            accept_loss=question.options.accept_loss,
            build_packages=question.build_packages,
            image_packages=question.image_packages,
        )
        return Answer(
            locked=found.locked,
            changes=describe_changes(question.previous, found.locked, found.lost),
            doubts=found.doubts,
        )

    def open(self, opening: Opening[LockedDebian]) -> DebianSource:
        return DebianSource(locked=opening.locked, build_arch=opening.build_arch)
