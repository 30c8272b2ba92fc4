"""What a run builds component images with: base images are brought once, from where versions.yaml says."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from builder.components import workshop as module
from builder.components.workshop import open_component_workshop

if TYPE_CHECKING:
    import pytest
    from fakes.components import Parts

    from builder.kernel import Arch

_PINNED = f"quay.test/base@sha256:{'a' * 64}"


class _Images:
    """Both who pulls and who makes of packages; says what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.opened = self.closed = 0

    def open_packages(self, *_: object, **__: object) -> _Images:
        self.opened += 1
        return self

    def close(self) -> None:
        self.closed += 1

    def ensure(self, pullspec: str, name: str, arch: Arch) -> str:
        self.asked.append(f"{pullspec.partition('@')[0]} {arch}")
        return name

    def ensure_packages(self, arch: Arch, packages: tuple[str, ...]) -> str:
        self.asked.append(f"{' '.join(packages)} {arch}")
        return f"{arch}-{'-'.join(packages)}"


def _use(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], _Images]:
    images = _Images()
    monkeypatch.setattr(module, "open_puller", images.open_packages)
    monkeypatch.setattr(module, "package_source", lambda _: images)
    with ExitStack() as held:
        planned = parts.plan()
        shop = open_component_workshop(parts.project(), planned, "run-7", print, held)
        (decision,) = planned.plan.decisions
        found = [shop.base(decision), shop.build_image(decision), shop.base(decision)]
        assert "run-7" in shop.passing_name(decision)
        assert decision.key in shop.passing_name(decision)
        assert shop.log_file(decision).is_relative_to(parts.project().work_dir)
        assert not images.closed
    assert images.closed == images.opened, "what is opened is closed with the run"
    return found, images


def test_packages_come_from_the_debian_source(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    parts.declare(packages=["zsh"], arches=["aarch64"])
    found, images = _use(parts, monkeypatch)
    assert found == ["aarch64-zsh"] * 3, "without a build image of its own it is built in its base"
    assert images.opened == 1


def test_images_that_are_named_are_pulled(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one for the image's architecture, the other for that of the machine that builds."""
    parts.declare(base_image=_PINNED, build_image=_PINNED, arches=["aarch64"], packages=[])
    (base, built_in, again), images = _use(parts, monkeypatch)
    assert images.asked == ["quay.test/base aarch64", "quay.test/base x86_64", "quay.test/base aarch64"]
    assert base == again != built_in
