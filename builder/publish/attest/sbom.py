"""A bill of materials of a kmod image: modules, firmware, and what was there at the build (CycloneDX 1.6). Pure."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.evidence.records import ModuleRecord
    from builder.publish.attest.facts import CellFacts
    from builder.sources.provider import BuildInput

SBOM_PREDICATE = "https://cyclonedx.org/bom"
# Names of CycloneDX properties: a prefix of one's own, see the property taxonomy.
PREFIX = "kmodsmith"
NAMESPACE = uuid.UUID("6f0d7f0e-6a54-5d0a-9c0b-6b6d6f64736d")


def make_sbom(facts: CellFacts) -> dict[str, Any]:
    """Return the bill of materials; equal facts give an equal one."""
    evidence = facts.evidence
    image = _describe_image(facts)
    modules = {module.name: _describe_module(module, facts) for module in evidence.modules}
    firmware = [_describe_file(record.path, record.sha256, ComponentType.FIRMWARE) for record in evidence.firmware]
    base = [describe_input(item, "base", ComponentScope.REQUIRED) for item in facts.base]
    toolkit = [describe_input(item, "toolkit", ComponentScope.EXCLUDED) for item in facts.toolkit]
    toolkit += [describe_input(item, "build-package", ComponentScope.EXCLUDED) for item in facts.packages]
    bom = Bom(
        serial_number=uuid.uuid5(NAMESPACE, facts.digest),
        components=unique([*modules.values(), *firmware, *base, *toolkit]),
    )
    bom.metadata.component = image
    bom.metadata.timestamp = datetime.fromisoformat(evidence.finished)
    bom.metadata.supplier = OrganizationalEntity(name=facts.vendor)
    bom.register_dependency(image, [*modules.values(), *firmware, *base])
    by_name = {module.partition(".ko")[0].replace("-", "_"): component for module, component in modules.items()}
    for module in evidence.modules:
        needed = [by_name[name] for name in (item.replace("-", "_") for item in module.depends) if name in by_name]
        bom.register_dependency(modules[module.name], needed)
    return render(bom)


def render(bom: Bom) -> dict[str, Any]:
    """Return a bill of materials as data of CycloneDX 1.6."""
    data: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return data


def unique(components: list[Component]) -> list[Component]:
    """Return each component once: base and toolkit share packages; the first of the same reference stays."""
    return list({component.bom_ref.value: component for component in reversed(components)}.values())


def _describe_image(facts: CellFacts) -> Component:
    evidence = facts.evidence
    said = {
        "cell": evidence.cell,
        "cell:key": evidence.key,
        "kernel": evidence.kernel,
        "source": evidence.inputs.get("source", ""),
    }
    return describe_image(
        facts.repository,
        facts.digest,
        arch=facts.arch,
        version=facts.driver_version,
        about=facts.description,
        said=said,
    )


def describe_image(
    repository: str, digest: str, *, arch: str, version: str, about: str, said: Mapping[str, str]
) -> Component:
    """Describe the image that a bill of materials is of; ``said`` are properties of our own."""
    sha256 = digest.removeprefix("sha256:")
    name = repository.rpartition("/")[2]
    purl = PackageURL("oci", None, name, f"sha256:{sha256}", {"repository_url": repository, "arch": arch})
    return Component(
        type=ComponentType.CONTAINER,
        name=repository,
        version=version,
        bom_ref="image",
        description=about,
        hashes=[hash_of(sha256)],
        purl=purl,
        properties=[Property(name=f"{PREFIX}:{key}", value=value) for key, value in said.items()],
    )


def _describe_module(module: ModuleRecord, facts: CellFacts) -> Component:
    said = {
        "vermagic": module.vermagic,
        "srcversion": module.srcversion,
        "kernel": facts.evidence.kernel,
        "depends": " ".join(module.depends),
        "firmware": " ".join(module.firmware),
        "aliases": str(len(module.aliases)),
        "signers": " ".join(facts.evidence.signers),
    }
    return Component(
        type=ComponentType.DEVICE_DRIVER,
        name=module.name,
        version=module.version or facts.driver_version,
        bom_ref=f"module:{module.name}",
        hashes=[hash_of(module.sha256)],
        licenses=[DisjunctiveLicense(name=module.license)] if module.license else [],
        properties=[Property(name=f"{PREFIX}:{key}", value=value) for key, value in said.items() if value],
    )


def _describe_file(path: str, sha256: str, kind: ComponentType) -> Component:
    return Component(type=kind, name=path, bom_ref=f"file:{path}", hashes=[hash_of(sha256)])


def describe_input(item: BuildInput, role: str, scope: ComponentScope) -> Component:
    """Describe a package or an image that went into a build."""
    return Component(
        type=ComponentType.LIBRARY if item.purl else ComponentType.CONTAINER,
        name=item.name,
        version=item.version or None,
        bom_ref=f"input:{item.uri}",
        scope=scope,
        hashes=[hash_of(item.sha256)],
        purl=PackageURL.from_string(item.purl) if item.purl else None,
        properties=[Property(name=f"{PREFIX}:role", value=role), Property(name=f"{PREFIX}:uri", value=item.uri)],
    )


def hash_of(sha256: str) -> HashType:
    """Return a SHA-256 as CycloneDX has it."""
    return HashType(alg=HashAlgorithm.SHA_256, content=sha256)
