"""The programs that kmodsmith, its boot tests, its tests and their cluster run, and the packages with them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from builder.kernel import Arch


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that kmodsmith runs: why, from which version on, and the packages that bring it, by spaces."""

    name: str
    purpose: str
    debian: str
    fedora: str
    version: tuple[int, ...] = ()
    plain_user_only: bool = False


# buildah 1.28 (Debian 12) is the oldest that was tried; it takes --build-context, --output and --identity-label.
TOOLS = (
    Tool(name="buildah", purpose="builds the images", debian="buildah", fedora="buildah", version=(1, 28)),
    Tool(name="bwrap", purpose="locks compiles up", debian="bubblewrap", fedora="bubblewrap"),
    Tool(name="unshare", purpose="tries user namespaces", debian="util-linux", fedora="util-linux"),
    Tool(name="setpriv", purpose="lets no compile outlive us", debian="util-linux", fedora="util-linux"),
    Tool(name="depmod", purpose="proves the data that modprobe reads", debian="kmod", fedora="kmod"),
    Tool(
        name="newuidmap", purpose="maps users in rootless builds", debian="uidmap", fedora="shadow-utils",
        plain_user_only=True,
    ),
)  # fmt: skip


# What the project's own tests and benchmarks need beside those; a test compares these with the programs they start.
TEST_TOOLS = (
    Tool(name="openssl", purpose="makes the keys of the tests", debian="openssl", fedora="openssl"),
    Tool(
        name="docker-registry",
        purpose="is the tests' registry server",
        debian="docker-registry",
        fedora="docker-distribution",
    ),
    Tool(name="softhsm2-util", purpose="is the tests' PKCS#11 token", debian="softhsm2", fedora="softhsm"),
    Tool(
        name="qemu-aarch64-static",
        purpose="starts images of another architecture",
        debian="qemu-user-static",
        fedora="qemu-user-static-aarch64",
    ),
    # The second is what the program needs that drives it, Playwright's own Node.
    Tool(
        name="chromium",
        purpose="shows the pages of the site",
        debian="chromium libatomic1",
        fedora="chromium libatomic",
    ),
    Tool(name="skopeo", purpose="reads images as others would", debian="skopeo", fedora="skopeo"),
    Tool(name="podman", purpose="pulls images as others would", debian="podman", fedora="podman"),
    Tool(name="modinfo", purpose="reads modules as others would", debian="kmod", fedora="kmod"),
    Tool(name="modprobe", purpose="orders modules as others would", debian="kmod", fedora="kmod"),
    Tool(name="rpmbuild", purpose="makes the packages of a base image", debian="rpm", fedora="rpm-build"),
    Tool(name="rpm", purpose="installs the packages of a base image", debian="rpm", fedora="rpm"),
    Tool(name="mount", purpose="gives tests a small disk", debian="mount", fedora="util-linux-core"),
)


# What a cluster for tests needs beside those; everything else of it is built from sources.
E2E_TOOLS = (
    Tool(name="docker", purpose="runs the cluster's nodes", debian="docker.io", fedora="docker-cli"),
    Tool(name="dockerd", purpose="runs the cluster's nodes", debian="docker.io", fedora="moby-engine"),
    Tool(name="runc", purpose="runs the cluster's nodes", debian="runc", fedora="runc"),
    Tool(name="mmdebstrap", purpose="makes the nodes' root folder", debian="mmdebstrap", fedora="mmdebstrap"),
    Tool(name="nsenter", purpose="enters the cluster's namespaces", debian="util-linux", fedora="util-linux-core"),
    Tool(name="iptables", purpose="lets nodes reach each other", debian="iptables", fedora="iptables-nft"),
    Tool(name="ip", purpose="plugs a virtual machine into their network", debian="iproute2", fedora="iproute"),
    Tool(name="git", purpose="is the forge that pipelines fetch from", debian="git", fedora="git-core"),
    Tool(name="mke2fs", purpose="makes a virtual machine's disk", debian="e2fsprogs", fedora="e2fsprogs"),
)


# What boot tests need beside those, by architecture of the guests.
BOOT_TOOLS = {
    Arch.X86_64: Tool(
        name="qemu-system-x86_64", purpose="boots kernels", debian="qemu-system-x86", fedora="qemu-system-x86-core",
        version=(6, 2),
    ),
    Arch.AARCH64: Tool(
        name="qemu-system-aarch64", purpose="boots kernels", debian="qemu-system-arm",
        fedora="qemu-system-aarch64-core", version=(6, 2),
    ),
}  # fmt: skip


# No programs, but packages: UEFI firmware with Secure Boot.
FIRMWARE = {
    Arch.X86_64: Tool(name="firmware for x86_64", purpose="Secure Boot", debian="ovmf", fedora="edk2-ovmf"),
    Arch.AARCH64: Tool(
        name="firmware for aarch64", purpose="Secure Boot", debian="qemu-efi-aarch64", fedora="edk2-aarch64"
    ),
}


# No program either: whom buildah believes. Debian only recommends it to buildah, so a bare machine has none.
CERTIFICATES = Tool(
    name="certificates",
    purpose="tells real registries from false ones",
    debian="ca-certificates",
    fedora="ca-certificates",
)
