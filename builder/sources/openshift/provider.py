"""Providers ``openshift`` and ``okd``: kernels of releases, with the Driver Toolkits of their payloads.

What asks is imported when something is asked, as in ``source``.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from builder.sources.openshift.changes import describe_releases
from builder.sources.openshift.lock import LockedOpenShift
from builder.sources.openshift.source import OpenShiftSource
from builder.sources.provider import Answer

if TYPE_CHECKING:
    from builder.config.model.openshift import OpenShiftKernels
    from builder.sources.provider import Opening, Question


class OpenShiftProvider:
    """Kernels of OpenShift or OKD releases; the two differ in the address of the update graph only."""

    locked = LockedOpenShift

    def discover(self, question: Question[OpenShiftKernels, LockedOpenShift]) -> Answer:
        from builder.registry.access import open_registries  # noqa: PLC0415 - see the top
        from builder.sources.openshift.discover import discover  # noqa: PLC0415 - see the top

        workplace = question.workplace
        access = open_registries(workplace.registry, workplace.root, workplace.cache_dir)
        with closing(access.registry) as registry:
            found = discover(
                question.settings,
                question.previous,
                registry,
                root=workplace.root,
                now=question.now,
                options=question.options,
                progress=question.progress,
            )
        return Answer(
            locked=found.locked,
            changes=describe_releases(
                question.previous, found.locked, found.lost, now=question.now, unusable=found.unusable
            ),
            doubts=found.doubts,
            releases_read=found.read,
            bytes_read=found.bytes_read,
        )

    def open(self, opening: Opening[LockedOpenShift]) -> OpenShiftSource:
        return OpenShiftSource(
            name=opening.name, locked=opening.locked, build_arch=opening.build_arch, runtime=opening.runtime
        )
