"""``device_plugin`` of a component: how devices get to pods. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from builder.config.model.declaration import Declaration, complain, form
from builder.config.model.names import Name, Text

if TYPE_CHECKING:
    from typing import Self

# What a socket's name may have beside kubelet's folder and the ending; and what the API allows for a driver's name.
_LONGEST_RESOURCE = 107 - len("/var/lib/kubelet/device-plugins/") - len(".sock")
_LONGEST_DRIVER = 63


class SmokeTest(Declaration):
    """How a device is tried on a node where the operator has just brought a driver: in a pod that asks for one."""

    command: tuple[Text, ...] = ()
    """Command in the device plugin's image; exit code 0 means that the device works, and the last line says why not.
    Default: the image's own `try-devices`, which asks your class (docs/devices.md)."""
    timeout: Annotated[int, Field(ge=5, le=3600)] = 60
    """Seconds that it may take, with the pull of the image."""


class DevicePlugin(Declaration):
    """How a component's image is run: on each node that has the driver, by `emit device-plugin` without privilege."""

    driver: Name
    """Driver whose devices it tells kubelet of: it runs where KMM says that this driver is loaded."""
    resource: Annotated[
        str,
        form(
            r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
            r"/[A-Za-z0-9]([A-Za-z0-9_-]{0,52}[A-Za-z0-9])?$",
            "your domain, a slash and the class of device, such as drivers.example.com/ptemplate",
        ),
    ]
    """What pods ask for."""
    mode: Literal["DevicePlugin", "DRA", "Auto"] = "DevicePlugin"
    """DevicePlugin: devices are a number that kubelet counts. DRA: dynamic resources, each device by its own name; they
    need resource.k8s.io/v1 (Kubernetes 1.34). Auto: these where a cluster has them. DRA and Auto need rights in the
    cluster."""
    managed_by: Literal["daemonset", "kmm"] = "daemonset"
    """daemonset: `emit device-plugin` writes what runs it, without privilege. kmm: `emit kmm` puts it into the Module,
    and KMM runs it privileged."""
    injection: Literal["cdi", "nodes"] = "cdi"
    """cdi: the container runtime reads the devices from a file. nodes: kubelet is told the device files, for runtimes
    that do not know CDI."""
    source: Annotated[str, form(r"^\w+(\.\w+)*:\w+$", "a class, module:Class, such as mydriver:MyDevices")] | None = (
        None
    )
    """Your class that knows the devices, in the image (docs/devices.md); default: that of the sample driver."""
    replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many pods share a device; more than 1 puts `.shared` behind the resource."""
    memory: Annotated[int, Field(ge=16, le=4096)] = 96
    """MiB of memory that it may use."""
    smoke_test: SmokeTest | None = None
    """The operator tries a device of each node with it before the node counts as ready; `{}` takes the defaults."""

    @property
    def driver_name(self) -> str:
        """The driver of dynamic resources, and the class that claims ask for: `class.vendor.example`."""
        domain, _, name = self.resource.partition("/")
        return f"{name.lower().replace('_', '-')}.{domain}"

    @model_validator(mode="after")
    def _check(self) -> Self:
        told = self.resource if self.replicas == 1 else f"{self.resource}.shared"
        if len(told) > _LONGEST_RESOURCE:
            raise complain(f"resource: {told} has {len(told)} characters; kubelet's folder takes {_LONGEST_RESOURCE}")
        if self.mode == "DevicePlugin":
            return self
        for is_so, words in (
            (self.replicas > 1, "replicas: only a device plugin shares devices"),
            (self.injection != "cdi", "injection: only a device plugin gives devices without CDI"),
            (self.managed_by == "kmm", "managed_by: what KMM runs is a device plugin"),
            (
                len(self.driver_name) > _LONGEST_DRIVER,
                f"resource: the driver's name, {self.driver_name}, has {_LONGEST_DRIVER} characters at most",
            ),
        ):
            if is_so:
                raise complain(f"{words}: set mode to DevicePlugin, not {self.mode}")
        return self
