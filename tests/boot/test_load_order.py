"""The order of loading by itself; tests/integration/archive/test_load_order.py compares it with modprobe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builder.boot.load_order import (
    Load,
    LoadOrder,
    ModuleFacts,
    ModuleIndex,
    parse_softdep,
    read_modprobe_files,
    underscored,
)
from builder.kernel import parse_kernel_version

if TYPE_CHECKING:
    from collections.abc import Iterable


_KERNEL = parse_kernel_version("6.12.5+deb12-amd64")


def _index(*modules: ModuleFacts, built_in: Iterable[str] = ()) -> ModuleIndex:
    return ModuleIndex(modules, built_in)


_CRC = (
    ModuleFacts(name="libcrc32c", softdeps=("pre: crc32c",)),
    ModuleFacts(name="crc32c_generic", aliases=("crc32c", "crypto-crc32c")),
    ModuleFacts(name="crc32c_intel", aliases=("crc32c",)),
)


def _order(index: ModuleIndex, *names: str, config: dict[str, str] | None = None) -> LoadOrder:
    files = {f"etc/modprobe.d/{name}": text.encode() for name, text in (config or {}).items()}
    order = LoadOrder(index, read_modprobe_files(files))
    for name in names:
        order.add(name)
    return order


def test_soft_dependencies_come_before_and_may_fail() -> None:
    order = _order(_index(*_CRC, ModuleFacts(name="boost", depends=("libcrc32c",))), "boost")
    assert order.loads == [
        Load(name="crc32c_generic", is_required=False, because_of="libcrc32c"),
        Load(name="crc32c_intel", is_required=False, because_of="libcrc32c"),
        Load(name="libcrc32c"),
        Load(name="boost"),
    ]
    assert order.missing == []


def test_what_is_wanted_for_itself_may_not_fail_although_it_is_a_soft_dependency_of_another() -> None:
    order = _order(_index(*_CRC), "libcrc32c", "crc32c_intel")
    assert {load.name: load.is_required for load in order.loads} == {
        "crc32c_generic": False, "crc32c_intel": True, "libcrc32c": True,
    }  # fmt: skip


def test_a_soft_dependency_that_nothing_answers_to_is_named_and_one_in_the_kernel_is_not() -> None:
    facts = ModuleFacts(name="a", softdeps=("pre: gone built-in post: later",))
    order = _order(_index(facts, built_in=["built_in"]), "a")
    assert ([load.name for load in order.loads], order.missing) == (["a"], ["gone (of a)", "later (of a)"])


def test_circles_end_and_chains_have_a_bound() -> None:
    ring = [ModuleFacts(name=f"m{n}", softdeps=(f"pre: m{(n + 1) % 3000}",)) for n in range(3000)]
    assert 1 < len(_order(_index(*ring), "m0").loads) < 3000
    chain = [ModuleFacts(name=f"m{n}", depends=(f"m{n + 1}",)) for n in range(3000)]
    assert len(_order(_index(*chain), "m0").loads) < 3000


def test_a_stranger_cannot_have_names_looked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    look_up = LoadOrder._look_up

    def note(self: LoadOrder, word: str) -> list[tuple[str, str]]:
        asked.append(word)
        return look_up(self, word)

    monkeypatch.setattr(LoadOrder, "_look_up", note)
    evil = ModuleFacts(name="evil", softdeps=("pre: " + " ".join(f"no{n}" for n in range(5000)),))
    order = _order(_index(evil, ModuleFacts(name="honest", softdeps=("pre: crc32c",))), "evil", "honest")
    assert (len(asked), order.is_cut_short) == (2 + 300, True)
    assert [load.name for load in order.loads] == ["evil", "honest"], "what is asked for itself is always there"
    assert not _order(_index(*_CRC), "libcrc32c").is_cut_short


def test_a_strangers_aliases_have_a_bound() -> None:
    evil = [ModuleFacts(name=f"m{n}", aliases=tuple(f"pci:{n}-{m}*" for m in range(600))) for n in range(20)]
    index = _index(*_CRC).with_modules(evil)
    assert sum(len(module.aliases) for module in index.modules.values() if module.name.startswith("m")) == 10_000
    assert index.by_alias("pci:0_0x") == ["m0"]
    assert index.by_alias("pci:19_0x") == []


@pytest.mark.parametrize(
    "files",
    [
        {
            "etc/modprobe.d/a.conf": b"options a b=1\n" + b"install x y\n" * 100_000,
            "etc/modprobe.d/z.conf": b"blacklist z\n",
        },
        {"etc/modprobe.d/a.conf": b"options a b=1\n" + b"#" * 10**6 + b"\nblacklist z\n"},
    ],
    ids=["lines", "bytes"],
)
def test_files_of_a_stranger_have_a_bound_and_it_is_said(files: dict[str, bytes]) -> None:
    config = read_modprobe_files(files)
    assert (config.options, config.blacklist) == ((("a", "b=1"),), frozenset())
    assert len(config.not_followed) <= 2002
    assert any("what comes after its first lines" in line for line in config.not_followed)


def test_own_modules_take_the_place_of_namesakes() -> None:
    index = _index(*_CRC, ModuleFacts(name="hdaps", depends=("old",))).with_modules([ModuleFacts(name="hdaps")])
    assert [load.name for load in _order(index, "hdaps").loads] == ["hdaps"]


def test_files_are_read_by_name_and_one_in_etc_wins() -> None:
    config = read_modprobe_files(
        {
            "usr/lib/modprobe.d/a.conf": b"options a old=1\n",
            "etc/modprobe.d/a.conf": b'options a-b text="two  words"\nblacklist c-d\ninstall x /bin/true\n',
            "lib/modprobe.d/z.conf": b"softdep late pre: x\nsoftdep",
            "run/modprobe.d/b.conf": b"softdep early post: y\n#options a no=1\n",
            "etc/modprobe.d/not-read": b"options a no=1\n",
        }
    )
    assert config.options == (("a_b", 'text="two  words"'),)
    assert config.blacklist == {"c_d"}
    assert [item.module for item in config.softdeps_first] == ["early"]
    assert [item.module for item in config.softdeps] == ["late"]
    assert config.not_followed == ("etc/modprobe.d/a.conf: install x /bin/true", "lib/modprobe.d/z.conf: softdep")


def test_blacklisted_modules_answer_to_their_names_only() -> None:
    config = {"a.conf": "blacklist crc32c_intel\n"}
    assert [load.name for load in _order(_index(*_CRC), "crc32c", config=config).loads] == ["crc32c_generic"]
    assert [load.name for load in _order(_index(*_CRC), "crc32c-intel", config=config).loads] == ["crc32c_intel"]


def test_words_of_softdeps_and_names() -> None:
    assert parse_softdep(["a", "pre:", "b", "c", "post:", "d", "pre:", "e"]) == (("b", "c", "e"), ("d",))
    assert underscored("a-b[0-9]c-d") == "a_b[0-9]c_d"
