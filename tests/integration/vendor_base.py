"""A base image as vendors name it: like UBI, with an RPM database, packed layers and a registry of its own.

UBI itself cannot be pulled where tests run. What they look at is the same: packages that real rpm installed, layers
that somebody else packed, labels of the base that a driver's image must not keep.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from programs import need

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from integration.registry_server import RegistryServer

_SPEC = """
%global __os_install_post %{{nil}}
%global _binaries_in_noarch_packages_terminate_build 0
Name: {name}
Version: 1.0
Release: 1.el9
Summary: a package of the tests
License: GPL-2.0-only
BuildArch: noarch
%description
A package of the tests.
%install
cp -a {files}/. %{{buildroot}}/
%files
{listing}
"""
_OS_RELEASE = 'NAME="Red Hat Enterprise Linux"\nID="rhel"\nVERSION_ID="9.6"\nPLATFORM_ID="platform:el9"\n'
_LABELS = {
    "name": "ubi9/ubi-micro", "vendor": "Red Hat, Inc.", "version": "9.6", "release": "1", "architecture": "x86_64",
    "summary": "ubi9 micro image", "description": "Very small image which doesn't install the package manager.",
    "maintainer": "Red Hat, Inc.", "io.buildah.version": "1.39.0", "distribution-scope": "public",
}  # fmt: skip
_PLACE = ("--define", "_dbpath /var/lib/rpm")
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass(frozen=True)
class VendorBase:
    """A base image in a registry: its full name by digest, and its packed layers, digest and bytes."""

    pullspec: str
    layers: dict[str, int]


def make_vendor_base(
    server: RegistryServer,
    folder: Path,
    busybox: bytes,
    *,
    name: str = "ubi9/ubi-micro",
    packages: tuple[str, ...] = (),
    bulk: Iterable[Path] = (),
) -> VendorBase:
    """Make one, of two layers, and push it.

    Args:
        server: where to.
        folder: to work in.
        busybox: a program that is also sh, mkdir and cp.
        name: repository.
        packages: further packages that its database names.
        bulk: files of this machine that make it as large as those of others are.
    """
    root = folder / "root"
    low = _install(folder, root, "redhat-release", {"etc/os-release": _OS_RELEASE.encode()})
    for package in packages:
        _install(folder, root, package, {f"usr/share/doc/{package}/README": package.encode()})
    links = {f"usr/bin/{tool}": "busybox" for tool in ("sh", "mkdir", "cp")}
    _install(folder, root, "busybox", {"usr/bin/busybox": busybox}, links)
    (root / "bin").symlink_to("usr/bin")
    for file in bulk:
        copy = root / "usr/share/bulk" / file.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    with closing(sqlite3.connect(root / "var/lib/rpm/rpmdb.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # as a finished base has it: in one file
    layers = [_pack(folder / "low.tar", root, low), _pack(folder / "high.tar", root, None)]
    return _push(server, folder, name, layers)


def put_in_list(server: RegistryServer, base: VendorBase) -> VendorBase:
    """Put a base into a list that says to have it for two architectures; returns it by the digest of the list."""
    repository, digest = base.pullspec.partition("/")[2].split("@")
    with httpx.Client(base_url=f"http://{server.host}/v2/{repository}/", auth=("user", "secret")) as client:
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        size = len(client.get(f"manifests/{digest}", headers={"Accept": kind}).content)
        entries = [
            {"mediaType": kind, "digest": digest, "size": size, "platform": {"os": "linux", "architecture": arch}}
            for arch in ("s390x", "amd64")
        ]
        media_type = "application/vnd.oci.image.index.v1+json"
        index = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
        answer = client.put("manifests/list", content=index, headers={"Content-Type": media_type})
        assert answer.status_code == 201, answer.text
    return VendorBase(f"{server.host}/{repository}@sha256:{hashlib.sha256(index).hexdigest()}", base.layers)


def _install(
    folder: Path, root: Path, name: str, files: dict[str, bytes], links: dict[str, str] | None = None
) -> list[str]:
    """Have rpm install a package with these files; returns their paths."""
    tree = folder / f"files-{name}"
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
        (tree / path).chmod(0o755 if path.startswith("usr/bin") else 0o644)
    for path, target in (links or {}).items():
        (tree / path).symlink_to(target)
    paths = [*files, *(links or {})]
    spec = folder / f"{name}.spec"
    spec.write_text(_SPEC.format(name=name, files=tree, listing="\n".join(f"/{path}" for path in paths)))
    _run(need("rpmbuild"), "-bb", "--quiet", "--define", f"_topdir {folder}/rpmbuild", str(spec))
    package = next((folder / "rpmbuild" / "RPMS").rglob(f"{name}-1.0-*.rpm"))
    root.mkdir(exist_ok=True)
    # Debian's rpm would keep its database in somebody's home.
    _run("rpm", "--root", str(root), *_PLACE, "-i", "--nodeps", "--nosignature", str(package))
    return paths


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _pack(file: Path, root: Path, only: list[str] | None) -> tuple[bytes, str]:
    """Return a layer, packed as no library of ours does it, and its diff id."""
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in only if only is not None else [item.name for item in root.iterdir()]:
            archive.add(root / path, arcname=path)
    plain = file.read_bytes()
    return gzip.compress(plain, compresslevel=9), f"sha256:{hashlib.sha256(plain).hexdigest()}"


def _push(server: RegistryServer, folder: Path, name: str, layers: list[tuple[bytes, str]]) -> VendorBase:
    target = folder / "pushed"
    target.mkdir()

    def keep(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (target / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    diff_ids = [diff_id for _, diff_id in layers]
    config = {
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Labels": _LABELS, "Env": ["PATH=/usr/bin", "container=oci"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [{"created_by": "x"} for _ in layers],
    }  # fmt: skip
    blobs = [{"mediaType": _LAYER, **keep(content)} for content, _ in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", **keep(json.dumps(config).encode())},
        "layers": blobs,
    }
    text = json.dumps(manifest).encode()
    (target / "manifest.json").write_bytes(text)
    (target / "version").write_text("Directory Transport Version: 1.1\n")
    auth = str(server.auth_file(folder))
    place = f"docker://{server.host}/{name}:9.6"
    _run(
        "skopeo",
        "copy",
        "--quiet",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "--authfile",
        auth,
        f"dir:{target}",
        place,
    )
    digest = hashlib.sha256(text).hexdigest()
    return VendorBase(f"{server.host}/{name}@sha256:{digest}", {layer["digest"]: layer["size"] for layer in blobs})
