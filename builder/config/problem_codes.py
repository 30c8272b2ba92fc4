"""Problems that discover and plan tell of, by the codes under which versions.yaml can acknowledge them. Pure."""

from __future__ import annotations

from enum import StrEnum


class ProblemCode(StrEnum):
    """What is wrong with something outside of versions.yaml; stable codes, the sentence beside them is for people."""

    UNREACHABLE = "unreachable"
    """A release, channel or source gives no answer, or none to us."""
    MALFORMED = "malformed"
    """What it answers is not what it should be."""
    NO_RELEASES = "no-releases"
    """A channel has none."""
    MANY_LOST = "many-lost"
    """An answer lacks so much of what was known that it is not believed."""
    TWO_PAYLOADS = "two-payloads"
    """Several payloads are served as one release."""
    KERNEL_INCOMPLETE = "kernel-incomplete"
    """An archive serves a kernel, but not all that its toolkit needs."""
    NO_TOOLKIT = "no-toolkit"
    """No release brings a toolkit for a kernel."""
    TOOLKIT_UNKNOWN = "toolkit-unknown"
    """The toolkit of a kernel's release was never read."""
    NO_BOOTABLE_KERNEL = "no-bootable-kernel"
    """Nothing is known that a kernel could be booted from."""
