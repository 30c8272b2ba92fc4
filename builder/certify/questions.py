"""The questions that a driver's vendor is asked before certification, and how each can be answered. Pure.

They are those of Red Hat's checklist for partners who bring a kernel module to OpenShift (fifteen, of kernel modules,
device plugin, PCIe and orchestration), and of its section about support, in words of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ImageFact(StrEnum):
    """What an image itself says, so that nobody need be asked: what ``image_facts`` reads out of it."""

    MODULES = "modules"
    IN_TREE_DEPENDENCIES = "in-tree-dependencies"
    OWN_DEPENDENCIES = "own-dependencies"
    ORDER = "order"
    FIRMWARE = "firmware"
    ORIGIN = "origin"
    PLUGIN = "plugin"
    DEVICES = "devices"
    LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistQuestion:
    """A question; ``fact`` is what of an image answers it, None where only a person can."""

    id: str
    part: str
    text: str
    fact: ImageFact | None = None


_Row = tuple[str, ImageFact | None, str]
_ASKED: dict[str, tuple[_Row, ...]] = {
    "Kernel modules": (
        ("in-tree-support", None, "Which adapters does the kernel support already, and how far?"),
        (
            "out-of-tree-modules",
            ImageFact.MODULES,
            "Which adapters need modules from outside of the kernel, and which?",
        ),
        (
            "in-tree-dependencies",
            ImageFact.IN_TREE_DEPENDENCIES,
            "Which modules of the kernel do they need, also such as are not loaded at boot?",
        ),
        ("own-dependencies", ImageFact.OWN_DEPENDENCIES, "Which of the modules use symbols of each other?"),
        ("loading-order", ImageFact.ORDER, "In which order must they be loaded, where no symbol says it?"),
        ("firmware", ImageFact.FIRMWARE, "Does the device need firmware, and which?"),
        (
            "user-space-helper",
            None,
            "Must a module start a helper in user space, and is that on the host or in a container?",
        ),
        ("proprietary-libraries", None, "Are there proprietary libraries, and what do they need?"),
        ("where-built", ImageFact.ORIGIN, "Are the modules built in the cluster, or outside of it?"),
    ),
    "Device plugin": (
        ("device-plugin", ImageFact.PLUGIN, "Is there a device plugin already?"),
        ("kubelet", None, "What must kubelet know of the device to give it to pods?"),
    ),
    "PCIe": (
        ("appearance", ImageFact.DEVICES, "As what does the hardware appear to the operating system?"),
        ("node-labels", ImageFact.LABELS, "Can nodes be labelled by how the hardware appears?"),
    ),
    "Orchestration": (
        ("application", None, "Is there an application today that brings workloads to the hardware?"),
        ("orchestration", None, "How does it do that today?"),
    ),
    "Support": (
        ("support-contact", None, "Whom does a customer turn to, and how?"),
        ("support-of-modules", None, "Who supports the modules, on which releases, until when?"),
        ("support-of-plugin", None, "Who supports the device plugin and the other images?"),
        (
            "support-boundary",
            None,
            "Is it understood what Red Hat supports: Driver Toolkit, KMM, the interface of device plugins, no modules?",
        ),
        (
            "support-taint",
            None,
            "Do customers learn that loading the modules marks the kernel as tainted, and what that means to support?",
        ),
        ("support-host", None, "Is nothing installed on the hosts, packages and driver disks included?"),
    ),
}

QUESTIONS = tuple(
    ChecklistQuestion(id=name, part=part, text=text, fact=fact)
    for part, rows in _ASKED.items()
    for name, fact, text in rows
)
"""In the order in which they are asked."""

BY_ID = {question.id: question for question in QUESTIONS}
