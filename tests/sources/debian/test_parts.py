from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.project import make_source

from builder.errors import LockFileError, NoPackagesError
from builder.kernel import Arch, parse_kernel_version
from builder.sources.debian.lock import name_further_set
from builder.sources.debian.parts import DebianParts

_AMD64, _CLOUD = "6.1.0-9-amd64", "6.1.0-9-cloud-amd64"


def _parts(arch: Arch = Arch.X86_64, **changed: str) -> DebianParts:
    """Return the parts of two kernels, the packages of which have other digests where that is said."""
    locked = make_source(_AMD64, _CLOUD)
    packages = {
        name: package.model_copy(update={"sha256": changed[name] * 64} if name in changed else {})
        for name, package in locked.packages.items()
    }
    sets = locked.package_sets | {"runtime-x86_64": ("gcc",), "runtime-aarch64": ("gcc",)}
    return DebianParts(locked=locked.model_copy(update={"packages": packages, "package_sets": sets}), build_arch=arch)


def test_identities_follow_from_the_packages() -> None:
    kernel = parse_kernel_version(_AMD64)
    identity = _parts().toolkit_id(kernel)
    assert _parts().toolkit_id(kernel) == identity
    assert _parts(gcc="f").toolkit_id(kernel) != identity
    assert _parts().toolkit_id(parse_kernel_version(_CLOUD)) != identity
    assert _parts().base_id(Arch.X86_64) != _parts().base_id(Arch.AARCH64)
    assert identity[:16] in _parts().toolkit_image(kernel)


def test_a_machine_that_the_lock_does_not_know() -> None:
    with pytest.raises(LockFileError, match="for a machine that is aarch64"):
        _parts(Arch.AARCH64).toolkit_packages(parse_kernel_version(_AMD64))


def test_what_the_lock_does_not_have() -> None:
    for ask in (_parts().toolkit_id, _parts().boot_id, _parts().boot_package):
        with pytest.raises(LockFileError, match=r"no kernel 6\.1\.0-8-amd64"):
            ask(parse_kernel_version("6.1.0-8-amd64"))
    with pytest.raises(LockFileError, match="no small base image for s390x"):
        _parts().base_id(Arch.S390X)


def test_what_boots_is_named_by_its_package() -> None:
    parts, kernel = _parts(), parse_kernel_version(_AMD64)
    assert (parts.boot_package(kernel), parts.boot_id(kernel)) == (None, "")
    kernels = {kernel: parts.locked.kernels[kernel].model_copy(update={"image": "gcc"})}
    bootable = replace(parts, locked=parts.locked.model_copy(update={"kernels": kernels}))
    assert (bootable.boot_package(kernel), bootable.boot_id(kernel)) == (parts.locked.packages["gcc"], parts.locked.packages["gcc"].sha256)  # fmt: skip


def _with_key(key: str) -> DebianParts:
    parts = _parts()
    sets = parts.locked.package_sets | {"runtime-x86_64": (key,)}
    packages = {**parts.locked.packages, key: parts.locked.packages["gcc"]}
    return replace(parts, locked=parts.locked.model_copy(update={"packages": packages, "package_sets": sets}))


def test_what_a_base_image_is_made_of_has_names_that_others_know() -> None:
    (found,) = _with_key("libstdc++6_1:12.2+x~1_amd64").base_inputs(Arch.X86_64)
    assert (found.name, found.version) == ("libstdc++6", "1:12.2+x~1")
    assert found.purl == "pkg:deb/debian/libstdc++6@1%3A12.2%2Bx~1?arch=amd64"


@pytest.mark.parametrize("key", ["gcc", "gcc_12", "gcc_12_amd64_x", ""])
def test_a_package_whose_key_says_too_little_is_told(key: str) -> None:
    with pytest.raises(LockFileError, match=f"has a package {key!r}, which is no name, version and architecture"):
        _with_key(key).base_inputs(Arch.X86_64)


def test_build_packages_are_those_of_the_lock_or_an_error_that_says_what_to_do() -> None:
    kernel = parse_kernel_version(_AMD64)
    parts = _parts()
    assert (parts.build_packages(kernel, ()), parts.compile_image(kernel, ())) == ((), parts.toolkit_image(kernel))
    with pytest.raises(NoPackagesError, match=r"does not hold .* \(b, a\): run 'nox -s discover'"):
        parts.build_packages(kernel, ("b", "a"))
    toolchain = parts.locked.kernels[kernel].toolchains[Arch.X86_64]
    name = f"{toolchain} with a, b"
    package = parts.locked.packages["busybox"]
    sets = parts.locked.package_sets | {name: ("a_1_amd64",), f"{toolchain} with gcc": ()}
    packages = parts.locked.packages | {"a_1_amd64": package}
    locked = parts.locked.model_copy(update={"package_sets": sets, "packages": packages})
    parts = replace(parts, locked=locked)
    (found,) = parts.build_packages(kernel, ("b", "a"))
    assert (found.name, found.version, found.sha256) == ("a", "1", package.sha256)
    image = parts.compile_image(kernel, ("a", "b"))
    assert image.startswith(f"{parts.toolkit_image(kernel)}-")
    assert parts.compile_image(kernel, ("gcc",)) == parts.toolkit_image(kernel), "the toolkit has them all"
    other = locked.packages | {"a_1_amd64": package.model_copy(update={"sha256": "f" * 64})}
    changed = replace(parts, locked=locked.model_copy(update={"packages": other}))
    assert changed.compile_image(kernel, ("a", "b")) != image
    assert changed.toolkit_id(kernel) == parts.toolkit_id(kernel)
    lacking = replace(parts, locked=locked.model_copy(update={"lacking": {name: "no such package b"}}))
    with pytest.raises(NoPackagesError, match="cannot be had: no such package b"):
        lacking.build_packages(kernel, ("a", "b"))


def _with_image_set(*wanted: str, lacking: str = "") -> DebianParts:
    parts = _parts()
    name = name_further_set("runtime-x86_64", wanted)
    update = (
        {"lacking": {name: lacking}} if lacking else {"package_sets": {**parts.locked.package_sets, name: ("gcc",)}}
    )
    return replace(parts, locked=parts.locked.model_copy(update=update))


def test_images_of_packages_are_named_by_all_of_them() -> None:
    plain, wanted = _parts(), ("python3.11", "curl")
    parts = _with_image_set(*wanted)
    assert plain.package_image(Arch.X86_64, ()) == plain.base_image(Arch.X86_64)
    assert plain.image_package_names(Arch.X86_64, ()) == ()
    assert parts.image_package_names(Arch.X86_64, wanted) == ("gcc",)
    name = parts.package_image(Arch.X86_64, wanted)
    assert name.startswith("localhost/kmodsmith/base:x86_64-")
    assert name != parts.base_image(Arch.X86_64)
    assert parts.package_image(Arch.X86_64, reversed(wanted)) == name, "in whatever order they are wanted"
    assert parts.image_packages_id(Arch.X86_64, iter(wanted))[:16] in name
    base = _with_key("busybox-static_1_amd64")
    assert [item.name for item in base.image_packages(Arch.X86_64, ())] == ["busybox-static"], "with all of the base"


def test_another_digest_of_a_package_is_another_image() -> None:
    wanted = ("python3.11",)
    parts = _with_image_set(*wanted)
    packages = {name: item.model_copy(update={"sha256": "f" * 64}) for name, item in parts.locked.packages.items()}
    changed = replace(parts, locked=parts.locked.model_copy(update={"packages": packages}))
    assert changed.image_packages_id(Arch.X86_64, wanted) != parts.image_packages_id(Arch.X86_64, wanted)


def test_packages_of_an_image_that_the_lock_does_not_have() -> None:
    for ask in (_parts().image_package_names, _parts().image_packages_id, _parts().package_image):
        with pytest.raises(NoPackagesError, match=r"packages of its image \(a\): run 'nox -s discover'"):
            ask(Arch.X86_64, ("a",))
    with pytest.raises(NoPackagesError, match=r"packages of its image \(a\) cannot be had: no such package"):
        _with_image_set("a", lacking="no such package").package_image(Arch.X86_64, ("a",))
    with pytest.raises(LockFileError, match="no small base image for s390x"):
        _parts().image_package_names(Arch.S390X, ("a",))


def test_kernels_of_one_toolchain_share_its_identity() -> None:
    parts, kernel = _parts(), parse_kernel_version(_AMD64)
    assert parts.toolchain_id(kernel) == parts.toolchain_id(parse_kernel_version(_CLOUD))
    assert parts.toolchain_id(kernel) != _parts(gcc="f").toolchain_id(kernel)


def test_ccache_is_that_of_the_machine_that_compiles() -> None:
    parts = _parts()
    assert parts.ccache_packages() == ()
    sets = parts.locked.package_sets | {"ccache-x86_64": ("gcc",), "ccache-aarch64": ("headers-6.1.0-9-amd64",)}
    locked = parts.locked.model_copy(update={"package_sets": sets})
    assert replace(parts, locked=locked).ccache_packages() == ("gcc",)
