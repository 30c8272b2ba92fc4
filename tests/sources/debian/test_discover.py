"""The Debian kernel source, with an apt-get that serves a small archive."""

from __future__ import annotations

import fcntl
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from fakes.debian_archive import AMD64, COMMON, make_headers, make_stanza, serve_archive
from fakes.locks import by_text, debian_of

from builder.config.model.debian import DebianArchive, DebianKernels
from builder.errors import SourceError
from builder.kernel import Arch
from builder.sources.debian.apt import Apt
from builder.sources.debian.changes import describe_changes
from builder.sources.debian.discover import discover
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock, write_lock

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.sources.debian.lock import LockedDebian

_NOW = datetime(2026, 11, 23, tzinfo=UTC)


_SOURCE = DebianKernels(
    provider="debian",
    archives=(DebianArchive(url="http://deb.test/debian", suites=("stable",)),),
    flavours=("amd64", "rt-amd64", "arm64"),
    keyring="/keys.gpg",
)


def _ask(previous: LockedDebian | None, work_dir: Path, now: datetime = _NOW) -> LockedDebian:
    """Ask for an answer that has nothing to complain about."""
    answer = discover(_SOURCE, previous, work_dir, now)
    assert not answer.problems
    return answer.locked


@pytest.fixture
def found(fake_tools: FakeTools, tmp_path: Path) -> LockedDebian:
    serve_archive(fake_tools, tmp_path, AMD64)
    return _ask(None, tmp_path / "work")


def test_lists_kernels_of_all_flavours_and_architectures(found: LockedDebian) -> None:
    assert sorted(by_text(found.kernels)) == ["6.1.0-9-amd64", "6.1.0-9-arm64", "6.1.0-9-rt-amd64"]
    rt = by_text(found.kernels)["6.1.0-9-rt-amd64"]
    assert rt.headers[Arch.X86_64] == (
        "linux-kbuild-6.1_1_amd64",
        "linux-headers-6.1.0-9-common-rt_1_all",
        "linux-headers-6.1.0-9-rt-amd64_1_amd64",
    )
    assert by_text(found.kernels)["6.1.0-9-arm64"].toolchains == {Arch.X86_64: "toolchain-x86_64-aarch64-gcc-12"}
    assert found.resolved == "2026-11-23T00:00:00Z"
    assert set(found.package_sets["runtime-x86_64"]) == {"busybox-static_1_amd64", "base-files_1_amd64"}


def test_the_signed_kernel_is_preferred_and_a_missing_one_is_not_invented(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    images = [
        make_stanza("linux-image-6.1.0-9-amd64"),
        make_stanza("linux-image-6.1.0-9-amd64-unsigned"),
        make_stanza("linux-image-6.1.0-9-amd64-dbg"),
        make_stanza("linux-image-6.1.0-9-rt-amd64-unsigned", "2"),
    ]
    serve_archive(fake_tools, tmp_path, [*AMD64, *images])
    found = _ask(None, tmp_path / "work")
    assert {raw: kernel.image for raw, kernel in by_text(found.kernels).items()} == {
        "6.1.0-9-amd64": "linux-image-6.1.0-9-amd64_1_amd64",
        "6.1.0-9-rt-amd64": "linux-image-6.1.0-9-rt-amd64-unsigned_2_amd64",
        "6.1.0-9-arm64": "",
    }
    assert not any("dbg" in name for name in found.packages)


def test_an_unchanged_archive_leaves_the_lock_unchanged(found: LockedDebian, tmp_path: Path) -> None:
    later = _ask(found, tmp_path / "work", datetime(2027, 1, 1, tzinfo=UTC))
    assert later is found
    assert describe_changes(found, later, {}) == []


def test_changes_are_told_kernel_by_kernel(found: LockedDebian, fake_tools: FakeTools, tmp_path: Path) -> None:
    newer = [
        *COMMON,
        make_stanza("linux-headers-6.1.0-9-common", "2", arch="all"),
        make_stanza("linux-headers-6.1.0-10-common", arch="all"),
        make_headers("6.1.0-9-amd64", "2", common="linux-headers-6.1.0-9-common"),
        make_headers("6.1.0-10-amd64", common="linux-headers-6.1.0-10-common"),
        make_headers("6.1.0-10-rt-amd64", common="linux-headers-6.1.0-10-common"),
    ]
    serve_archive(fake_tools, tmp_path, newer)
    answer = discover(_SOURCE, found, tmp_path / "work", _NOW)
    new = answer.locked
    assert [str(change) for change in describe_changes(found, new, answer.lost)] == [
        "kernel changed 6.1.0-9-amd64: headers 1 -> 2",
        "kernel gone 6.1.0-9-rt-amd64: the archive serves no headers for it any more",
        "new kernel 6.1.0-10-amd64",
        "new kernel 6.1.0-10-rt-amd64",
    ]
    assert by_text(new.kernels)["6.1.0-9-amd64"].headers[Arch.X86_64][1] == "linux-headers-6.1.0-9-common_2_all"


def _kernels(*numbers: int, flavours: tuple[str, ...] = ("", "rt-")) -> list[str]:
    """Stanzas of the headers of kernels 6.1.0-<number>, with what they need."""
    return [
        *COMMON,
        *(make_stanza(f"linux-headers-6.1.0-{number}-common", arch="all") for number in numbers),
        *(
            make_headers(f"6.1.0-{number}-{flavour}amd64", common=f"linux-headers-6.1.0-{number}-common")
            for number in numbers
            for flavour in flavours
        ),
    ]


def test_a_kernel_that_is_not_whole_is_left_out_with_the_reason(fake_tools: FakeTools, tmp_path: Path) -> None:
    serve_archive(fake_tools, tmp_path, [item for item in AMD64 if "common-rt\n" not in item])
    answer = discover(_SOURCE, None, tmp_path / "work", _NOW)
    assert sorted(by_text(answer.locked.kernels)) == ["6.1.0-9-amd64", "6.1.0-9-arm64"]
    (raw, reason), *others = answer.locked.left_out.items()
    assert (raw, others, answer.problems) == ("6.1.0-9-rt-amd64", [], [])
    assert reason.startswith("linux-headers-6.1.0-9-rt-amd64 1 needs a package like linux-headers-")
    assert f"kernel left out {raw}: {reason}" in map(str, describe_changes(None, answer.locked, answer.lost))
    assert not any("rt-amd64" in name for name in answer.locked.packages), "nothing stays of what is left out"
    write_lock(Lock(sources={"debian": answer.locked}), tmp_path / "lock.yaml")
    read = read_lock(tmp_path / "lock.yaml")
    assert read.sources["debian"].incomplete() == {raw: reason}
    again = discover(_SOURCE, debian_of(read), tmp_path / "work", _NOW).locked
    assert again == answer.locked
    assert describe_changes(answer.locked, again, {}) == [], "it is told once"


def test_a_hostile_stanza_costs_its_own_kernel_only(fake_tools: FakeTools, tmp_path: Path) -> None:
    changed = re.sub("SHA256: .*", "SHA256: 00", AMD64[-1])
    serve_archive(fake_tools, tmp_path, [*AMD64[:-1], changed])
    answer = discover(_SOURCE, None, tmp_path / "work", _NOW)
    assert sorted(by_text(answer.locked.kernels)) == ["6.1.0-9-amd64", "6.1.0-9-arm64"]
    assert "SHA256 is '00'" in answer.locked.left_out["6.1.0-9-rt-amd64"]


@pytest.mark.parametrize(
    "name", ["6.1.0: {x}-amd64", "6.1.0-9\x1b[2J-amd64", "6.1.0/../x-amd64", f"6.1.0-{'9' * 5000}-amd64"]
)
def test_a_hostile_name_gets_neither_into_the_lock_nor_onto_a_terminal(
    fake_tools: FakeTools, tmp_path: Path, name: str
) -> None:
    serve_archive(fake_tools, tmp_path, [*AMD64, make_stanza(f"linux-headers-{name}")])
    answer = discover(_SOURCE, None, tmp_path / "work", _NOW)
    assert not answer.locked.left_out
    write_lock(Lock(sources={"debian": answer.locked}), tmp_path / "lock.yaml")
    assert debian_of(read_lock(tmp_path / "lock.yaml")) == answer.locked
    said = [*map(str, describe_changes(None, answer.locked, answer.lost)), *answer.problems]
    assert all(line.isprintable() for line in said)


def test_a_known_kernel_that_is_no_longer_whole_keeps_its_older_answer(
    found: LockedDebian, fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, [item for item in AMD64 if "common-rt\n" not in item])
    for day in (1, 2):
        answer = discover(_SOURCE, found, tmp_path / "work", datetime(2027, 1, day, tzinfo=UTC))
        assert answer.locked.kernels == found.kernels
        assert answer.locked.packages == found.packages
        assert answer.locked.stale == {"6.1.0-9-rt-amd64": "2026-11-23T00:00:00Z"}, "the date of the answer stays"
        (problem,) = answer.problems
        assert problem.startswith("6.1.0-9-rt-amd64: ")
        assert problem.endswith("its older answer is kept [kernel-incomplete]")
        found = answer.locked
    serve_archive(fake_tools, tmp_path, AMD64)
    assert _ask(found, tmp_path / "work").stale == {}


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ((1, 2, 3, 4, 5), (2, 3, 4, 5, 6), 2),
        ((1, 2, 3, 4, 5), (4, 5), 6),
        ((1, 2, 3, 4, 5), (5,), 0),
        ((1,), (2,), 2),
        ((1, 2), (), 0),
    ],
)
def test_nobody_withdraws_many_kernels_at_once(
    fake_tools: FakeTools, tmp_path: Path, before: tuple[int, ...], after: tuple[int, ...], lost: int
) -> None:
    serve_archive(fake_tools, tmp_path, _kernels(*before))
    known = _ask(None, tmp_path / "work")
    serve_archive(fake_tools, tmp_path, _kernels(*after))
    answer = discover(_SOURCE, known, tmp_path / "work", _NOW)
    assert len(answer.lost) == lost
    gone = by_text(known.kernels).keys() - by_text(answer.locked.kernels).keys()
    assert gone == answer.lost.keys(), "nothing leaves without a reason"
    assert bool(answer.problems) is (lost == 0)
    if lost == 0:
        assert "say --accept-loss" in answer.problems[0]
        assert answer.locked.stale.keys() == by_text(known.kernels).keys() - {f"6.1.0-{number}-{flavour}" for number in after for flavour in ("amd64", "rt-amd64")} - {"6.1.0-9-arm64"}  # fmt: skip
        believed = discover(_SOURCE, known, tmp_path / "work", _NOW, accept_loss=True)
        assert (believed.problems, believed.locked.stale) == ([], {})
        assert len(believed.lost) == 2 * len(set(before) - set(after))


def test_an_archive_that_has_nothing_any_more_is_believed_only_if_somebody_accepts_it(
    found: LockedDebian, fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, COMMON, arm64=COMMON)
    with pytest.raises(SourceError, match="if that is right, say --accept-loss"):
        discover(_SOURCE, found, tmp_path / "work", _NOW)
    answer = discover(_SOURCE, found, tmp_path / "work", _NOW, accept_loss=True)
    assert (answer.locked.kernels, answer.locked.packages, answer.problems) == ({}, {}, [])
    assert answer.lost.keys() == by_text(found.kernels).keys()
    write_lock(Lock(sources={"debian": answer.locked}), tmp_path / "lock.yaml")
    assert read_lock(tmp_path / "lock.yaml").sources["debian"] == answer.locked
    with pytest.raises(SourceError, match="no kernel headers of the configured flavours$"):
        discover(_SOURCE, None, tmp_path / "work", _NOW, accept_loss=True)
    whole = [item for item in AMD64 if "common-rt\n" not in item and "headers-6.1.0-9-amd64" not in item]
    serve_archive(fake_tools, tmp_path, whole, arm64=COMMON)
    with pytest.raises(SourceError, match="no kernel that is whole"):
        discover(_SOURCE, found, tmp_path / "work", _NOW, accept_loss=True)


def test_a_flavour_that_is_no_longer_asked_for_leaves_at_once(found: LockedDebian, tmp_path: Path) -> None:
    narrower = _SOURCE.model_copy(update={"flavours": ("amd64", "arm64")})
    answer = discover(narrower, found, tmp_path / "work", _NOW)
    assert sorted(by_text(discover(narrower, None, tmp_path / "work", _NOW).locked.kernels)) == [
        "6.1.0-9-amd64",
        "6.1.0-9-arm64",
    ]
    assert answer.lost == {"6.1.0-9-rt-amd64": "versions.yaml no longer asks for rt-amd64"}
    assert (sorted(by_text(answer.locked.kernels)), answer.problems) == (["6.1.0-9-amd64", "6.1.0-9-arm64"], [])


@pytest.mark.parametrize(
    ("stanzas", "words"),
    [
        (COMMON[4:], "no kernel headers"),
        ([item for item in AMD64 if "-common" not in item.partition("\n")[0]], "needs a package like linux-headers"),
        ([item.replace("linux-compiler-gcc-12-x86", "cc") for item in AMD64], "does not say which gcc"),
        (
            [item.replace("pahole", "newtool") if "kbuild-6.1\n" in item else item for item in AMD64],
            "depends on newtool, which our toolkits do not contain",
        ),
        (
            [item.replace("Size: 100", "Size: many") for item in AMD64],
            "needs a package|nothing usable|apt cannot resolve",
        ),
    ],
)
def test_an_archive_that_does_not_fit_together(
    fake_tools: FakeTools, tmp_path: Path, stanzas: list[str], words: str
) -> None:
    serve_archive(fake_tools, tmp_path, stanzas, arm64=COMMON[4:])
    with pytest.raises(SourceError, match=words):
        discover(_SOURCE, None, tmp_path / "work", _NOW)


def _refuses_a_lock(file: Path) -> bool:
    """Tell whether somebody has the lock; asks as another process would, by a description of its own."""
    with file.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_nobody_else_has_the_lists_until_the_last_of_them_is_read(
    fake_tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that updates them in between would have its archive's kernels locked for this one's."""
    serve_archive(fake_tools, tmp_path, AMD64)
    held: list[tuple[str, bool]] = []

    def watch(name: str) -> None:
        own = getattr(Apt, name)

        def step(*arguments: object, **options: object) -> object:
            held.append((name, _refuses_a_lock(tmp_path / ".work.lock")))
            return own(*arguments, **options)

        monkeypatch.setattr(Apt, name, step)

    for name in ("update", "packages", "resolve"):
        watch(name)
    _ask(None, tmp_path / "work")
    assert set(held) == {("update", True), ("packages", True), ("resolve", True)}
    assert not _refuses_a_lock(tmp_path / ".work.lock")
    fake_tools.add("apt-get", "exit 100")
    with pytest.raises(SourceError):
        _ask(None, tmp_path / "work")
    assert not _refuses_a_lock(tmp_path / ".work.lock"), "nor after a run that failed"


def test_two_projects_with_one_name_for_other_archives_get_each_its_own_kernels(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, [])
    for suite, number in (("stable", 9), ("other", 10)):
        (tmp_path / "archive" / suite).write_text("\n\n".join(_kernels(number)) + "\n")
    uris = tmp_path / "archive" / "uris"
    fake_tools.add(
        "apt-get",
        f"""folder=${{APT_CONFIG%/*}}; read -r _ _ _ suite _ <"$folder/sources.list"
case "$1" in
update) cat "{tmp_path}/archive/$suite" >"$folder/state/lists/amd64" ;;
indextargets) echo "http://deb.test/debian/ $folder/state/lists/amd64" ;;
install) cat "{uris}" ;;
esac""",
    )
    sources = [
        DebianKernels(
            provider="debian", archives=(DebianArchive(url="http://deb.test/debian", suites=(suite,)),),
            flavours=("amd64",), keyring="/keys.gpg",
        )
        for suite in ("stable", "other")
    ]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(discover, source, None, tmp_path / "work", _NOW) for source in sources * 3]
    found = [list(by_text(run.result().locked.kernels)) for run in runs]
    assert found == [["6.1.0-9-amd64"], ["6.1.0-10-amd64"]] * 3


_WANTED = ("libxtables-dev",)
_SET = "toolchain-x86_64-x86_64-gcc-12 with libxtables-dev"


def test_build_packages_come_from_the_archive_of_the_kernels_without_what_toolkits_have(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, AMD64)
    found = discover(_SOURCE, None, tmp_path / "work", _NOW, build_packages=[_WANTED])
    assert not found.problems
    assert found.locked.package_sets[_SET] == ("libxtables-dev_1_amd64", "libxtables12_1_amd64")
    cross = "toolchain-x86_64-aarch64-gcc-12 with libxtables-dev"
    assert found.locked.package_sets[cross] == found.locked.package_sets[_SET], "they run where the compiler runs"
    assert found.locked.packages["libxtables-dev_1_amd64"].sha256
    installs = [call for call in fake_tools.calls("apt-get") if call[0] == "install" and "libxtables-dev" in call]
    assert installs
    assert all("gcc-12" in call for call in installs), "resolved together, so that nothing comes in two versions"
    write_lock(Lock(sources={"debian": found.locked}), tmp_path / "lock")
    assert debian_of(read_lock(tmp_path / "lock")) == found.locked
    told = [str(change) for change in describe_changes(_ask(None, tmp_path / "other"), found.locked, {})]
    assert any("build packages" in line and "libxtables-dev_1_amd64, libxtables12_1_amd64" in line for line in told)
    without = discover(_SOURCE, found.locked, tmp_path / "work", _NOW).locked
    assert _SET not in without.package_sets, "what nobody wants any more leaves the lock"
    assert not [name for name in without.packages if "xtables" in name]


def test_build_packages_that_the_archive_does_not_have_cost_their_driver_alone(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, AMD64)
    found = discover(_SOURCE, None, tmp_path / "work", _NOW, build_packages=[("absent",), _WANTED])
    assert found.problems == [
        "absent: the packages that drivers build with cannot be had: E: Unable to locate package absent"
    ], "once, not for each toolchain"
    assert _SET in found.locked.package_sets
    assert len(found.locked.kernels) == 3
    assert {name.partition(" with ")[2] for name in found.locked.lacking} == {"absent"}
    write_lock(Lock(sources={"debian": found.locked}), tmp_path / "lock")
    assert debian_of(read_lock(tmp_path / "lock")) == found.locked


def test_build_packages_that_were_known_are_kept_while_the_archive_does_not_have_them(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, AMD64)
    wanted = [_WANTED]
    known = discover(_SOURCE, None, tmp_path / "work", _NOW, build_packages=wanted).locked
    (tmp_path / "archive" / "more").write_text(f"'u' f 1 SHA256:{'0' * 64}\n")
    later = datetime(2026, 11, 24, tzinfo=UTC)
    found = discover(_SOURCE, known, tmp_path / "work", later, build_packages=wanted)
    assert found.locked.package_sets[_SET] == known.package_sets[_SET]
    assert found.locked.stale[_SET] == known.resolved
    assert (found.locked.lacking, len(found.problems)) == ({}, 1)
    assert found.problems[0].startswith("libxtables-dev: the packages that drivers build with cannot be had: ")
    assert found.problems[0].endswith("which is in none of its own indexes; their older versions are kept")


def test_a_name_that_apt_takes_for_a_pattern_is_no_package(fake_tools: FakeTools, tmp_path: Path) -> None:
    serve_archive(fake_tools, tmp_path, AMD64)
    found = discover(_SOURCE, None, tmp_path / "work", _NOW, build_packages=[("libxtables.dev",)])
    assert found.problems == [
        "libxtables.dev: the packages that drivers build with cannot be had: the archive has no package libxtables.dev"
    ]
    assert not [name for name in found.locked.package_sets if " with " in name]
    assert not [name for name in found.locked.packages if "xtables" in name]


_IMAGE_SET = "runtime-x86_64 with libxtables-dev"


def test_image_packages_are_locked_beside_the_small_base_image(fake_tools: FakeTools, tmp_path: Path) -> None:
    serve_archive(fake_tools, tmp_path, AMD64)
    wanted = [(Arch.X86_64, _WANTED)]
    found = discover(_SOURCE, None, tmp_path / "work", _NOW, image_packages=wanted)
    assert not found.problems
    packages = set(found.locked.package_sets[_IMAGE_SET])
    assert packages > {"libxtables-dev_1_amd64", "libxtables12_1_amd64"}
    assert not packages & set(found.locked.package_sets["runtime-x86_64"]), "what the base has is not there twice"
    assert found.locked.packages["libxtables12_1_amd64"].sha256
    asked = [call for call in fake_tools.calls("apt-get") if call[0] == "install" and "libxtables-dev" in call]
    assert not any("gcc-12" in call for call in asked), "no toolkit is part of an image"
    write_lock(Lock(sources={"debian": found.locked}), tmp_path / "lock")
    assert debian_of(read_lock(tmp_path / "lock")) == found.locked
    told = [str(change) for change in describe_changes(_ask(None, tmp_path / "other"), found.locked, {})]
    assert any("image packages" in line and "libxtables-dev_1_amd64" in line for line in told)
    without = discover(_SOURCE, found.locked, tmp_path / "work", _NOW).locked
    assert _IMAGE_SET not in without.package_sets, "what nobody wants any more leaves the lock"
    assert not [name for name in without.packages if "xtables" in name]


def test_image_packages_of_an_architecture_without_a_base_image_are_not_asked_for(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, AMD64)
    found = discover(_SOURCE, None, tmp_path / "work", _NOW, image_packages=[(Arch.S390X, _WANTED)])
    assert not [name for name in (*found.locked.package_sets, *found.locked.lacking) if " with " in name]


def test_image_packages_that_the_archive_does_not_have_cost_their_image_alone(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, AMD64)
    wanted = [(Arch.X86_64, ("absent",)), (Arch.X86_64, _WANTED)]
    found = discover(_SOURCE, None, tmp_path / "work", _NOW, image_packages=wanted)
    (problem,) = found.problems
    assert problem.startswith("absent: ")
    assert "Unable to locate package absent" in problem
    assert "drivers build with" not in problem
    assert set(found.locked.lacking) == {"runtime-x86_64 with absent"}
    assert _IMAGE_SET in found.locked.package_sets


def test_image_packages_that_were_known_are_kept_while_the_archive_does_not_have_them(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    serve_archive(fake_tools, tmp_path, AMD64)
    wanted = [(Arch.X86_64, _WANTED)]
    known = discover(_SOURCE, None, tmp_path / "work", _NOW, image_packages=wanted).locked
    (tmp_path / "archive" / "more").write_text(f"'u' f 1 SHA256:{'0' * 64}\n")
    later = datetime(2026, 11, 24, tzinfo=UTC)
    found = discover(_SOURCE, known, tmp_path / "work", later, image_packages=wanted)
    assert found.locked.package_sets[_IMAGE_SET] == known.package_sets[_IMAGE_SET]
    assert {name for name in found.locked.packages if "xtables" in name} == {
        "libxtables-dev_1_amd64", "libxtables12_1_amd64",
    }  # fmt: skip
    assert found.locked.stale[_IMAGE_SET] == known.resolved
    assert (found.locked.lacking, len(found.problems)) == ({}, 1)


def test_ccache_is_locked_with_what_it_needs_where_the_archive_has_it(
    found: LockedDebian, fake_tools: FakeTools, tmp_path: Path
) -> None:
    assert "ccache-x86_64" not in found.package_sets, "kernels do not need it"
    serve_archive(fake_tools, tmp_path, [*AMD64, make_stanza("ccache")])
    later = _ask(found, tmp_path / "work")
    assert later.package_sets["ccache-x86_64"] == ("ccache_1_amd64", "libc6_1_amd64")
    assert later.packages["ccache_1_amd64"].size == 100
    write_lock(Lock(sources={"debian": later}), tmp_path / "lock")
    assert read_lock(tmp_path / "lock").sources["debian"] == later


def test_ccache_that_was_known_is_kept_where_the_archive_has_none_now(fake_tools: FakeTools, tmp_path: Path) -> None:
    serve_archive(fake_tools, tmp_path, [*AMD64, make_stanza("ccache")])
    before = _ask(None, tmp_path / "work")
    serve_archive(fake_tools, tmp_path, AMD64)
    after = _ask(before, tmp_path / "work")
    assert after.package_sets["ccache-x86_64"] == before.package_sets["ccache-x86_64"]
    assert after.packages["ccache_1_amd64"] == before.packages["ccache_1_amd64"]
