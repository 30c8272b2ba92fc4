"""A node that is a virtual machine, with the driver's own kernel: one for all tests of this folder."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from builder.plan.project import open_project
from builder.signing.certificates import read_certificate
from integration.buildah.test_sign import make_certificate
from integration.conftest import copy_project
from integration.kind.cluster import failure_dir
from integration.kind.kmm_operator import WORKER
from integration.kind.make import make, say
from integration.kind.node_image import make_node_image
from integration.kind.recipe import CLUSTER
from integration.kind.registry_in_cluster import Registry, trust_files
from integration.kind.vm_disk import make_disk
from integration.kind.vm_driver import Vendor
from integration.kind.vm_kernel import NodeKernel, prepare_kernels
from integration.kind.vm_node import VmError, VmNode, choose_accelerator, in_cluster, node_files, plugged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.conftest import Machine
    from integration.kind.cluster import Cluster


@pytest.fixture(scope="package")
def here(cluster: Cluster) -> Cluster:
    """The cluster that was made here: a node of somebody else's is not ours to start."""
    if cluster.world is None:
        pytest.skip("virtual machines join clusters that are made here only")
    return cluster


@pytest.fixture(scope="package")
def project(machine: Machine, lock_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("kernels"))
    (folder / "versions.lock.yaml").write_text(lock_text)
    return folder


@pytest.fixture(scope="package")
def kernels(machine: Machine, project: Path) -> list[NodeKernel]:
    """Two kernels of the lock, the one that a node begins with and the next."""
    fetch = [*machine.prefix, sys.executable, "-m", "integration.kind.vm_kernel", str(project)]
    subprocess.run(fetch, check=True)
    return prepare_kernels(project)


@pytest.fixture(scope="package")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the vendor's own signer, which nodes trust; its key is beside it."""
    return make_certificate(tmp_path_factory.mktemp("signer"), "vendor")[1]


@pytest.fixture(scope="package")
def vendor(machine: Machine, lock_text: str, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    return Vendor(folder=tmp_path_factory.mktemp("vendor"), machine=machine, lock_text=lock_text, registry=registry)


@pytest.fixture(scope="package")
def node(
    request: pytest.FixtureRequest, here: Cluster, operator: Cluster, kernels: list[NodeKernel], project: Path, registry: Registry, certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[VmNode]:  # fmt: skip
    """A node with the first kernel, in a cluster with KMM; its kernel trusts the vendor."""
    assert here.world is not None
    base = make_disk(here.world, make_node_image(here.world, make(CLUSTER)), [WORKER])
    folder = tmp_path_factory.mktemp("vm")
    disk = folder / "disk.img"
    subprocess.run(["cp", "--sparse=always", str(base), str(disk)], check=True)
    trust = trust_files(registry.host, registry.authority_file)
    with plugged(here) as (address, gateway):
        found = VmNode(
            cluster=here,
            folder=folder,
            disk=disk,
            kernel=kernels[0],
            certificates=[read_certificate(certificate)],
            files=node_files(here, address, gateway) | {f"node/{path}": data for path, data in trust.items()},
            pull_secret=registry.pull_secret,
            accelerator=choose_accelerator(open_project(project).cache_dir / "boot" / "acceleration.json"),
        )
        begun = time.monotonic()
        try:
            with in_cluster(found):
                found.wait_for_ready()
                say(f"a virtual machine was ready after {time.monotonic() - begun:.0f} s ({found.accelerator})")
                yield found
                say(f"the virtual machine took {found.peak_mib} MiB; its disk {disk.stat().st_blocks // 2048} MiB")
                if request.session.testsfailed:
                    found.describe(failure_dir())
        except VmError:
            found.describe(failure_dir())
            raise
