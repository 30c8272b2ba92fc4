"""A private apt: what it asks, what it believes, and what it says where nobody answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.debian_archive import AMD64, make_stanza, package_digest, serve_archive

from builder.errors import HostError, SourceError, SourceUnreachableError
from builder.kernel import Arch
from builder.sources.debian.apt import IMAGE_WITH_APT, Apt, Archive

if TYPE_CHECKING:
    from fakes.tools import FakeTools

_ANY = re.compile(".*")
_ARCHIVES = (Archive(url="http://deb.test/debian", suites=("stable", "updates")),)


def _apt(folder: Path) -> Apt:
    return Apt(folder / "apt" / "x86_64", Arch.X86_64, _ARCHIVES, Path("/keys.gpg"))


def _updated(tools: FakeTools, folder: Path, *stanzas: str) -> Apt:
    """Return an apt with an index of these stanzas."""
    serve_archive(tools, folder, list(stanzas))
    apt = _apt(folder)
    apt.update()
    return apt


def test_apt_never_sees_the_hosts_configuration(fake_tools: FakeTools, tmp_path: Path) -> None:
    _updated(fake_tools, tmp_path, *AMD64)
    folder = tmp_path / "apt" / "x86_64"
    lines = (folder / "apt.conf").read_text().splitlines()
    assert 'Dir::Etc::parts "/dev/null";' in lines
    assert f'Dir::State::status "{folder}/status";' in lines
    assert (folder / "status").read_text() == "", "no package is installed"
    assert ('APT::Architecture "amd64";' in lines, 'APT::Architectures { "amd64"; };' in lines) == (True, True)
    assert (folder / "sources.list").read_text().splitlines() == [
        "deb [signed-by=/keys.gpg] http://deb.test/debian stable main",
        "deb [signed-by=/keys.gpg] http://deb.test/debian updates main",
    ]
    assert fake_tools.calls("apt-get") == [["update", "-o", "APT::Update::Error-Mode=any"]]


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("Err: Could not resolve deb.test", SourceUnreachableError, "did not answer"),
        ("E: Unable to connect to deb.test:http:", SourceUnreachableError, "did not answer"),
        ("E: Failed to fetch x  503  Service Unavailable", SourceUnreachableError, "did not answer"),
        ("E: Failed to fetch x  Hash Sum mismatch", SourceUnreachableError, "did not answer"),
        ("Error: initializing source docker://d: i/o timeout", SourceUnreachableError, "did not answer"),
        ("E: The following signatures were invalid", SourceError, "apt refused the Debian archive"),
        ("E: Failed to fetch x  404  Not Found", SourceError, "apt refused the Debian archive"),
        ("", SourceError, "apt refused the Debian archive:\n.*exit code 100"),
        ("E: Write error - write (28: No space left on device)", HostError, "could not be run, or not write its lists"),
    ],
)
def test_no_answer_is_not_an_empty_archive_and_a_full_disk_is_none_of_its_faults(
    fake_tools: FakeTools, tmp_path: Path, said: str, error: type[Exception], words: str
) -> None:
    fake_tools.add("apt-get", f"echo '{said}' >&2; exit 100")
    with pytest.raises(error, match=words) as caught:
        _apt(tmp_path).update()
    assert type(caught.value) is error


def test_every_version_of_the_packages_that_are_wanted_is_listed(fake_tools: FakeTools, tmp_path: Path) -> None:
    names = ("a", "ab", "abc", "b")
    apt = _updated(fake_tools, tmp_path, *(make_stanza(name) for name in names), make_stanza("ab", "1:2~rc1-3+b1", "c"))
    found = apt.packages(re.compile("a."))
    assert [(package.name, package.version, package.depends) for package in found] == [("ab", "1", ""), ("ab", "1:2~rc1-3+b1", "c")]  # fmt: skip
    first = found[0]
    assert (first.key, first.url) == ("ab_1_amd64", "http://deb.test/debian/pool/ab_1.deb")
    assert (first.size, first.installed, first.sha256) == (100, 3072, package_digest("ab", "1"))


def test_what_must_be_there_before_counts_as_what_must_be_there(fake_tools: FakeTools, tmp_path: Path) -> None:
    stanza = make_stanza("kbuild", depends="libc6").replace("\nDepends", "\nDescription: of\n Depends: x\nPre-Depends: dpkg\nDepends")  # fmt: skip
    (found,) = _updated(fake_tools, tmp_path, stanza.replace("Installed-Size: 3\n", "")).packages(_ANY)
    assert (found.depends, found.installed) == ("dpkg, libc6", 0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("Filename: pool/../../x.deb", "Url is 'http://deb.test/debian/pool/../../x.deb'"),
        ("Filename: pool/x.txt", "Url is"),
        ("Filename: pool/x y.deb", "Url is"),
        ("Filename: pool/x.deb?y.deb", "Url is"),
        ("Size: -1", "Size is '-1'"),
        (f"Size: {'9' * 5000}", "Size is"),
        ("SHA256: 00", "SHA256 is '00'"),
        ("Version: 1_2", "Version is '1_2'"),
        ("Version: :", "Invalid version string"),
        ("Installed-Size: lots", "Installed-Size is 'lots'"),
        ("Architecture: ../..", "Architecture is"),
        (f"Depends: {'linux-headers-x' * 1000}", "Depends has 15000 characters"),
        ("", "'SHA256'"),
    ],
)
def test_a_hostile_stanza_costs_its_own_package_only(
    fake_tools: FakeTools, tmp_path: Path, wrong: str, words: str
) -> None:
    field = wrong.partition(":")[0] or "SHA256"
    lines = [line for line in make_stanza("bad", depends="x").split("\n") if not line.startswith(f"{field}:")]
    apt = _updated(fake_tools, tmp_path, "\n".join([lines[0], *filter(None, [wrong]), *lines[1:]]), make_stanza("good"))
    assert [package.name for package in apt.packages(_ANY)] == ["good"]
    assert apt.unusable.keys() == {"bad"}
    assert words in apt.unusable["bad"]


def test_an_index_that_is_not_text_or_not_there(fake_tools: FakeTools, tmp_path: Path) -> None:
    apt = _updated(fake_tools, tmp_path, *AMD64)
    (index,) = (tmp_path / "apt" / "x86_64" / "state" / "lists").glob("*amd64")
    index.write_bytes(b"Package: x\xff\n")
    with pytest.raises(SourceError, match="cannot be read"):
        apt.packages(_ANY)
    index.unlink()
    with pytest.raises(SourceError, match="cannot be read: .*No such file"):
        apt.packages(_ANY)
    fake_tools.add("apt-get")
    with pytest.raises(SourceError, match="serves no package index"):
        apt.packages(_ANY)


def test_wishes_come_to_exact_packages_in_the_order_of_installation(fake_tools: FakeTools, tmp_path: Path) -> None:
    apt = _updated(fake_tools, tmp_path, *AMD64)
    found = apt.resolve(["gcc-12", "base-files"])
    assert [package.name for package in found][:3] == ["libc6", "pahole", "gcc-12"]
    (call,) = [call for call in fake_tools.calls("apt-get") if call[0] == "install"]
    assert call[-2:] == ["gcc-12", "base-files"]
    assert "Acquire::ForceHash=SHA256" in call
    assert "--print-uris" in call, "nothing is installed"


def test_wishes_that_cannot_be_met_are_told_with_what_apt_says(fake_tools: FakeTools, tmp_path: Path) -> None:
    apt = _updated(fake_tools, tmp_path, *AMD64)
    fake_tools.add("apt-get", "echo 'E: Unable to locate package gxx' >&2; exit 100")
    with pytest.raises(SourceError, match="apt cannot resolve gxx make:\nE: Unable to locate package gxx"):
        apt.resolve(["gxx", "make"])


def test_a_package_that_no_index_has_is_not_believed(fake_tools: FakeTools, tmp_path: Path) -> None:
    apt = _updated(fake_tools, tmp_path, *(item for item in AMD64 if not item.startswith("Package: pahole\n")))
    with pytest.raises(
        SourceError, match=f"apt cannot resolve gcc-12:\nit names {package_digest('pahole', '1')}, which is in none"
    ):
        apt.resolve(["gcc-12"])


def test_a_host_without_apt_runs_it_in_an_image_with_nothing_of_its_own_but_its_folder(
    fake_tools: FakeTools, tmp_path: Path
) -> None:
    fake_tools.add("buildah", '[ "$1" != from ] || echo working-container')
    _apt(tmp_path).update()
    folder = tmp_path / "apt" / "x86_64"
    assert fake_tools.calls("buildah") == [
        ["from", "--quiet", IMAGE_WITH_APT],
        [
            "run", "--isolation", "chroot", "--volume", f"{folder}:{folder}", "--volume", "/keys.gpg:/keys.gpg:ro",
            "working-container", "--", "env", f"APT_CONFIG={folder}/apt.conf", "apt-get", "update",
            "-o", "APT::Update::Error-Mode=any",
        ],
        ["rm", "working-container"],
    ]  # fmt: skip


def test_a_host_with_neither_says_what_installs_one(fake_tools: FakeTools, tmp_path: Path) -> None:
    assert not list(fake_tools.folder.glob("buildah"))
    with pytest.raises(HostError, match="neither apt-get nor buildah is installed") as caught:
        _apt(tmp_path).update()
    assert "doctor" in (caught.value.hint or "")
