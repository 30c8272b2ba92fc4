"""Fields of KMM's kinds with the version that they came with; both flavours have the same.

Source: config/crd of kubernetes-sigs/kernel-module-management and its OpenShift edition, releases 2.4 to 2.7. A test
compares every name, kind and requirement here with those files. Of what Kubernetes itself defines, only what drivers
use is looked into: mounts, the environment's names, volumes of the host. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(StrEnum):
    """Kinds of values, as sentences name them."""

    OBJECT = "a mapping"
    LIST = "a list"
    TEXT = "text"
    NUMBER = "a whole number"
    BOOLEAN = "true or false"
    LABELS = "a mapping of text to text"
    ANY = "anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field: its kind, what is in it, since when it exists, whether it must be there."""

    kind: Kind
    fields: Mapping[str, Field] = field(default_factory=dict)
    item: Field | None = None
    since: str = "2.4"
    is_required: bool = False


_TEXT = Field(kind=Kind.TEXT)
_NUMBER = Field(kind=Kind.NUMBER)
_BOOLEAN = Field(kind=Kind.BOOLEAN)
_LABELS = Field(kind=Kind.LABELS)
_ANY = Field(kind=Kind.ANY)


def _object(**fields: Field) -> Field:
    return Field(kind=Kind.OBJECT, fields=fields)


def _list(item: Field) -> Field:
    return Field(kind=Kind.LIST, item=item)


def _required(given: Field) -> Field:
    return replace(given, is_required=True)


def _since(version: str, given: Field) -> Field:
    return replace(given, since=version)


_REFERENCE = _object(name=_TEXT)
_TLS = _object(insecure=_BOOLEAN, insecureSkipTLSVerify=_BOOLEAN)
_ARGUMENTS = _object(load=_list(_TEXT), unload=_list(_TEXT))
_BUILD = _object(
    baseImageRegistryTLS=_TLS,
    buildArgs=_list(_object(name=_required(_TEXT), value=_required(_TEXT))),
    dockerfileConfigMap=_required(_REFERENCE),
    kanikoParams=_object(tag=_TEXT),
    secrets=_list(_REFERENCE),
    selector=_LABELS,
)
_SIGN = _object(
    certSecret=_required(_REFERENCE),
    keySecret=_required(_REFERENCE),
    filesToSign=_list(_TEXT),
    unsignedImage=_TEXT,
    unsignedImageRegistryTLS=_TLS,
)
_MODPROBE = _object(
    args=_ARGUMENTS,
    dirName=_TEXT,
    firmwarePath=_TEXT,
    moduleName=_TEXT,
    modulesLoadingOrder=_list(_TEXT),
    parameters=_list(_TEXT),
    rawArgs=_ARGUMENTS,
)
_MAPPING = _object(
    build=_BUILD,
    containerImage=_required(_TEXT),
    inTreeModuleToRemove=_TEXT,
    inTreeModulesToRemove=_list(_TEXT),
    literal=_TEXT,
    regexp=_TEXT,
    registryTLS=_TLS,
    sign=_SIGN,
)
_LOADER = _object(
    container=_required(
        _object(
            build=_BUILD,
            containerImage=_TEXT,
            imagePullPolicy=_TEXT,
            inTreeModuleToRemove=_TEXT,
            inTreeModulesToRemove=_list(_TEXT),
            kernelMappings=_required(_list(_MAPPING)),
            modprobe=_required(_MODPROBE),
            registryTLS=_TLS,
            sign=_SIGN,
            version=_TEXT,
        )
    ),
    serviceAccountName=_TEXT,
)
_MOUNT = _object(
    mountPath=_required(_TEXT),
    mountPropagation=_TEXT,
    name=_required(_TEXT),
    readOnly=_BOOLEAN,
    recursiveReadOnly=_TEXT,
    subPath=_TEXT,
    subPathExpr=_TEXT,
)
_OTHER_VOLUMES = (
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi", "downwardAPI",
    "emptyDir", "ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image",
    "iscsi", "nfs", "persistentVolumeClaim", "photonPersistentDisk", "portworxVolume", "projected", "quobyte", "rbd",
    "scaleIO", "secret", "storageos", "vsphereVolume",
)  # fmt: skip
_VOLUME = _object(
    name=_required(_TEXT),
    hostPath=_object(path=_required(_TEXT), type=_TEXT),
    **dict.fromkeys(_OTHER_VOLUMES, _ANY),
)
_CONTAINER = _object(
    args=_list(_TEXT),
    command=_list(_TEXT),
    env=_list(_object(name=_required(_TEXT), value=_TEXT, valueFrom=_ANY)),
    image=_required(_TEXT),
    imagePullPolicy=_TEXT,
    resources=_ANY,
    volumeMounts=_list(_MOUNT),
)
_PLUGIN = _object(
    container=_required(_CONTAINER),
    initContainer=_CONTAINER,
    serviceAccountName=_TEXT,
    volumes=_list(_VOLUME),
    automountServiceAccountToken=_since("2.6", _BOOLEAN),
)
_DRA = _object(
    driverName=_required(_TEXT),
    container=_required(_CONTAINER),
    initContainer=_CONTAINER,
    serviceAccountName=_TEXT,
    volumes=_list(_VOLUME),
    automountServiceAccountToken=_BOOLEAN,
    deviceClasses=_list(_object(name=_required(_TEXT), selectors=_list(_ANY), config=_list(_ANY))),
)
_TOLERATION = _object(effect=_TEXT, key=_TEXT, operator=_TEXT, tolerationSeconds=_NUMBER, value=_TEXT)
MODULE_SPEC = _object(
    selector=_required(_LABELS),
    tolerations=_list(_TOLERATION),
    imageRepoSecret=_REFERENCE,
    imageRebuildTriggerGeneration=_since("2.6", _NUMBER),
    moduleLoader=_LOADER,
    devicePlugin=_PLUGIN,
    dra=_since("2.7", _DRA),
)
_PREFLIGHT = _object(kernelVersion=_required(_TEXT), pushBuiltImage=_BOOLEAN)

SPECS: Mapping[str, tuple[str, Field]] = {
    "Module": ("kmm.sigs.x-k8s.io/v1beta1", MODULE_SPEC),
    "PreflightValidation": ("kmm.sigs.x-k8s.io/v1beta2", _PREFLIGHT),
    "PreflightValidationOCP": (
        "kmm.sigs.x-k8s.io/v1beta2",
        _object(**{**_PREFLIGHT.fields, "dtkImage": _TEXT}),
    ),
    "ManagedClusterModule": (
        "hub.kmm.sigs.x-k8s.io/v1beta1",
        _object(moduleSpec=MODULE_SPEC, selector=_required(_LABELS), spokeNamespace=_required(_TEXT)),
    ),
}
"""API version and ``spec`` by kind."""

CLUSTER_SCOPED = frozenset({"PreflightValidation", "PreflightValidationOCP", "ManagedClusterModule"})
