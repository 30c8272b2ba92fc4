from __future__ import annotations

import pytest
from fakes.project import make_source

from builder.errors import LockFileError
from builder.kernel import Arch, parse_kernel_version
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
    with pytest.raises(LockFileError, match=r"no kernel 6\.1\.0-8-amd64"):
        _parts().toolkit_id(parse_kernel_version("6.1.0-8-amd64"))
    with pytest.raises(LockFileError, match="no small base image for s390x"):
        _parts().base_id(Arch.S390X)
