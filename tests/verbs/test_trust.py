"""versions.yaml and sources of strangers: what they may name, and what --untrusted forbids."""

from __future__ import annotations

import json
import os
from datetime import date
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from fakes.signers import certify

from builder.boot.cell import read_test_files
from builder.boot.script import TEST_NAME
from builder.config.load import load_config
from builder.config.model import BootTest
from builder.drivers.source import read_driver
from builder.errors import CellError, ConfigError, FailureClass, FormatError, LockFileError, SignerError, UsageError
from builder.evidence.journal import Journal
from builder.host.places import find_problem_inside, read_inside, replace_file, write_below
from builder.image.contents import LayerCache, read_oci_layout
from builder.plan.project import open_project
from builder.registry.access import open_registries
from builder.signing.access import open_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.bench import Bench

_TODAY = date(2026, 11, 23)
_SIGNER = "signers: {vendor: {certificate: %s, key_file: /keys/vendor.key}}\n"
_PUBLISH = "publish: {signer: {public_key: %s, key_file: /keys/image.key}}\n"
_OPENSHIFT = "sources:\n  os: {provider: openshift, channels: [%s], graph: %s}"


@pytest.fixture
def outside(project_dir: Path) -> Path:
    """A folder beside the project, with everything in it that a driver needs."""
    folder = project_dir.parent / "outside"
    folder.mkdir()
    (folder / "LICENSE").write_text("GPL\n")
    (folder / "secret").write_text("of the host")
    return folder


def _set(old: str, new: str) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        file = project / "versions.yaml"
        file.write_text(file.read_text().replace(old, new, 1))

    return change


def _append(text: str) -> Callable[[Path], None]:
    return _set("default_group", text + "default_group")


def _link(place: str, target: str) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        if (project / place).is_dir():
            (project / place).rename(project / "moved")
        (project / place).unlink(missing_ok=True)
        (project / place).symlink_to(target)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_set("source: src", "source: ../outside"), "4:13: at drivers[0].source ../outside leads out of the project"),
        (_set("source: src", "source: OUTSIDE"), "4:13: at drivers[0].source /"),
        (_set("source: src", "source: src/../../outside"), "drivers[0].source"),
        (_link("src", "../outside"), "drivers[0].source src leads out of the project"),
        (_link("src", "/"), "drivers[0].source src leads out of the project, to /;"),
        (_set("vendor: V", "containerfile: ../outside/secret\n    vendor: V"), "6:20: at drivers[0].containerfile"),
        (_link("driver-container", "../outside"), "drivers[0].containerfile"),
        (_append(_SIGNER % "../outside/secret"), "signers.vendor.certificate ../outside/secret leads out"),
        (_append(_PUBLISH % "~/x.pub"), "publish.signer.public_key ~/x.pub leads out"),
        (_append(_PUBLISH % "~nobody-of-this-name/../../x"), "publish.signer.public_key ~nobody"),
        (_set("sources:", _OPENSHIFT % ("fast-4.18", "../outside/secret")), "sources.os.graph ../outside/secret leads"),
        (_set("sources:", _OPENSHIFT % ("..", '"{channel}/{channel}/x"')), "sources.os.graph ../../x leads out"),
        (
            _set("provider: debian", "provider: debian, keyring: /etc/shadow"),
            "sources.debian.keyring /etc/shadow leads",
        ),
        (_set("provider: debian", "provider: debian, keyring: /usr/share/keyrings/../../x"), "sources.debian.keyring"),
    ],
)
def test_what_leads_out_of_the_project_is_refused_with_its_place(
    change: Callable[[Path], None], expected: str, project_dir: Path, outside: Path
) -> None:
    change(project_dir)
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace("OUTSIDE", str(outside)))
    with pytest.raises(ConfigError) as caught:
        load_config(file, today=_TODAY)
    message = caught.value.message
    assert (expected in message, "--allow-outside" in message) == (True, True), message


def test_the_command_line_can_allow_it(project_dir: Path, outside: Path) -> None:
    _set("source: src", "source: ../outside")(project_dir)
    config = load_config(project_dir / "versions.yaml", today=_TODAY, outside=[outside])
    assert config.drivers[0].source_dir.resolve() == outside
    with pytest.raises(ConfigError):
        load_config(project_dir / "versions.yaml", today=_TODAY, outside=[outside / "sub"])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (_set("vendor: V", "licenses: [../../outside/secret]\n    vendor: V"), "drivers[0].licenses[0]"),
        (_set("vendor: V", "licenses: [/etc/passwd]\n    vendor: V"), "drivers[0].licenses[0]"),
        (_set("vendor: V", "firmware: [../versions.yaml]\n    vendor: V"), "drivers[0].firmware[0]"),
        (_set("vendor: V", "dkms: ../../outside/secret\n    vendor: V"), "drivers[0].dkms"),
        (_set("vendor: V", "boot: {smoke_test: ../../outside/secret}\n    vendor: V"), "drivers[0].boot.smoke_test"),
        (_set("vendor: V", "boot: {smoke_test: demo.c, files: [l]}\n    vendor: V"), "drivers[0].boot.files[0]"),
        (_link("src/LICENSE", "../../outside/LICENSE"), "drivers[0].licenses[0]"),
        (_link("src/LICENSE", "/etc/passwd"), "drivers[0].licenses[0]"),
    ],
)
def test_files_of_a_source_lie_in_it(
    change: Callable[[Path], None], path: str, project_dir: Path, outside: Path
) -> None:
    (project_dir / "src" / "l").symlink_to(outside / "secret")
    change(project_dir)
    file = project_dir / "versions.yaml"
    with pytest.raises(ConfigError, match="there is no file") as caught:
        load_config(file, today=_TODAY, outside=[outside])
    assert f"at {path} " in caught.value.message


def test_links_inside_a_source_are_files_of_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a").write_bytes(b"a")
    (tmp_path / "b").symlink_to("sub/a")
    (tmp_path / "sub" / "c").symlink_to("../b")
    (tmp_path / "up").symlink_to("sub/..")
    assert [read_inside(tmp_path, name) for name in ("b", "sub/c", "up/b", "sub/../b")] == [b"a"] * 4


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../x", "leads out"),
        ("/etc/passwd", "leads out"),
        ("out", "leads out"),
        ("round", "leads out"),
        ("folder/passwd", "leads out"),
        ("folder", "leads out"),
        ("sub/../../x", "leads out"),
        ("absent", "No such file"),
        ("sub", "no regular file"),
        ("pipe", "no regular file"),
        ("x\0y", "null"),
        ("x" * 300, "too long"),
    ],
)
def test_what_is_no_file_inside_is_not_read(name: str, why: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "x").write_text("secret")
    (folder / "out").symlink_to("../x")
    (folder / "round").symlink_to("round")
    (folder / "folder").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    with pytest.raises(FormatError, match=why):
        read_inside(folder, name)
    assert why in str(find_problem_inside(folder, name))


def test_a_guest_gets_no_file_of_the_host(project_dir: Path, outside: Path, tmp_path: Path) -> None:
    """A link of the source, changed after versions.yaml was checked, read a key into the guest and its log."""
    source = project_dir / "src"
    (source / "test.sh").write_text("#!/bin/sh\n")
    (source / "data").symlink_to(outside / "secret")
    driver = load_config(project_dir / "versions.yaml", today=_TODAY).drivers[0]
    driver = driver.model_copy(update={"boot": BootTest(smoke_test="test.sh")})
    staged = read_driver(driver).stage(tmp_path / "sources")
    assert read_test_files(staged) == {TEST_NAME: b"#!/bin/sh\n"}
    assert (staged.context / "data").readlink() == outside / "secret"
    for boot in (BootTest(smoke_test="data"), BootTest(smoke_test="test.sh", files=("data",))):
        staged = read_driver(driver.model_copy(update={"boot": boot})).stage(tmp_path / "sources")
        with pytest.raises(CellError, match="data, which versions.yaml names for the boot test, leads out") as caught:
            read_test_files(staged)
        assert (caught.value.failure.failure_class, caught.value.failure.code) == (FailureClass.BOOT, "test-unreadable")


def test_files_are_written_below_their_folder_only(tmp_path: Path) -> None:
    folder, victim = tmp_path / "deploy", tmp_path / "victim"
    folder.mkdir()
    victim.mkdir()
    (victim / "a.yaml").write_text("mine")
    (folder / "a.yaml").symlink_to(victim / "a.yaml")
    (folder / "demo").symlink_to(victim)
    assert write_below(folder, "a.yaml", "new").read_text() == "new"
    with pytest.raises(UsageError, match="leads out"):
        write_below(folder, "demo/b.yaml", "new")
    assert [file.read_text() for file in victim.iterdir()] == ["mine"]


def test_a_file_that_could_not_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "a", b"x")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


# --untrusted


def _make_hostile(project: Path, outside: Path) -> Path:
    """Let versions.yaml name signers whose commands leave a trace, and pull secrets; returns the trace."""
    trace = outside / "trace"
    (project / "vendor.pem").write_bytes(certify().x509.public_bytes(Encoding.PEM))
    command = json.dumps(["sh", "-c", f"echo ran >{trace}"])
    wanted = "{source: debian, newest: true, signing: production, signers: [vendor],"
    _set("{source: debian, newest: true,", wanted)(project)
    _append(f"signers: {{vendor: {{certificate: vendor.pem, command: {command}}}}}\n")(project)
    _append(f"registry: {{auth_files: [{outside / 'absent.json'}]}}\n")(project)
    return trace


def test_an_untrusted_build_runs_nothing_signs_nothing_and_counts_as_nothing(bench: Bench, outside: Path) -> None:
    trace = _make_hostile(bench.folder, outside)
    code, out, err = bench.run("build", "--untrusted", "--json")
    report = json.loads(out)
    assert (code, report["counts"], trace.exists()) == (0, {"built": 4}, False)
    assert "images stay unsigned" in err
    names = [line.split()[0] for line in (bench.store / "names").read_text().splitlines()]
    keys = {name for name in names if name.startswith("localhost/kmodsmith/cell:")}
    assert {name.rpartition(":")[0] for name in names} - {"localhost/kmodsmith/cell"} == {"localhost/untrusted/demo"}
    assert not (bench.folder / ".kmodsmith").exists()
    assert bench.run("build", "--untrusted", "--json")[1].count('"skipped"') >= 1
    labels = [word for call in bench.calls("build") for word in call if word.startswith("io.kmodsmith.")]
    assert "io.kmodsmith.untrusted=yes" in labels
    # What is trusted knows nothing of it, whether it is signed or not.
    text = (bench.folder / "versions.yaml").read_text()
    (bench.folder / "versions.yaml").write_text(text.replace("signing: production, signers: [vendor],", ""))
    plan = json.loads(bench.run("plan", "--json")[1])
    assert (plan["counts"], {cell["reason"] for cell in plan["cells"]}) == ({"build": 4}, {"never-built"})
    assert not keys & {f"localhost/kmodsmith/cell:{cell['key']}" for cell in plan["cells"]}


def test_an_environment_variable_forbids_as_well(
    bench: Bench,
    outside: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = _make_hostile(bench.folder, outside)
    monkeypatch.setenv("KMODSMITH_UNTRUSTED", "1")
    code, report = bench.build()
    assert (code, report["counts"], trace.exists()) == (0, {"built": 4}, False)
    assert not Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells


@pytest.mark.parametrize(
    "words",
    [
        ["publish"], ["nightly"], ["prune"], ["bundle"], ["bundle", "load", "versions.yaml", "--to", "x"],
        ["sign", "--signer", "vendor", "x.ko"], ["keys", "create"], ["keys", "show", "vendor"], ["keys", "log"],
    ],
)  # fmt: skip
def test_what_needs_trust_is_refused(bench: Bench, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.folder)
    code, _, err = bench.run(*words, "--untrusted")
    assert (code, "cannot be done with --untrusted" in err) == (2, True)
    monkeypatch.setenv("KMODSMITH_UNTRUSTED", "1")
    assert bench.run(*words)[0] == 2


def test_an_untrusted_file_opens_no_key_and_uses_no_secret(project_dir: Path, outside: Path) -> None:
    _make_hostile(project_dir, outside)
    _append(_PUBLISH % "vendor.pem")(project_dir)
    auth = outside / "auth.json"
    auth.write_text('{"auths": {"registry.example": {"username": "u", "password": "p"}}}')
    _set("absent.json", "auth.json")(project_dir)
    project = open_project(project_dir).distrust()
    signer = project.config.publish.signer
    assert signer is not None
    for entry in (project.config.signers["vendor"], signer):
        with pytest.raises(SignerError, match="no key is opened"), open_key("vendor", entry):
            pass
    access = open_registries(project.config.registry, project_dir, outside)
    assert access.credentials.sources == "none"
    access.registry.close()


def test_an_untrusted_project_does_not_hold_its_own_work_folder(project_dir: Path, outside: Path) -> None:
    """A pull request can bring a .kmodsmith with links and with results that nobody compiled."""
    project = open_project(project_dir)
    assert not project.distrust().work_dir.is_relative_to(project_dir)
    assert open_project(project_dir, outside).distrust().work_dir == outside
    (project_dir / "link").symlink_to(".")
    for folder in ("out", "link/out"):
        with pytest.raises(UsageError, match="may hold anything"):
            open_project(project_dir, project_dir / folder).distrust()


@pytest.mark.parametrize("name", ["versions.yaml", "versions.lock.yaml"])
def test_untrusted_files_are_no_links_to_others(name: str, project_dir: Path, outside: Path) -> None:
    (project_dir / name).rename(outside / name)
    (project_dir / name).symlink_to(outside / name)
    assert open_project(project_dir).config.default_group == "few"
    with pytest.raises(UsageError, match="is a link out of the project"):
        open_project(project_dir).distrust()


@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_files_that_never_end_are_not_read(target: str, project_dir: Path) -> None:
    os.mkfifo(project_dir / "pipe")
    for name in ("versions.lock.yaml", "versions.yaml"):
        (project_dir / name).unlink()
        (project_dir / name).symlink_to(target)
    project = open_project(project_dir)
    with pytest.raises(ConfigError, match="is no regular file"):
        _ = project.config
    with pytest.raises(LockFileError, match="is no regular file"):
        _ = project.lock
    (project_dir / "index.json").symlink_to(target)
    with pytest.raises(FormatError, match="is no regular file"):
        read_oci_layout(project_dir, "oci", LayerCache())


def test_options_of_trust_come_from_the_command_line(bench: Bench, outside: Path) -> None:
    _set("source: src", "source: ../outside")(bench.folder)
    code, _, err = bench.run("plan")
    assert (code, f"--allow-outside {outside}" in err) == (3, True)
    assert bench.run("plan", "--allow-outside", str(outside))[0] == 0
    assert bench.run("plan", "--untrusted", "--allow-outside", str(outside))[0] == 0
    _append("allow_outside: ['/']\n")(bench.folder)
    code, _, err = bench.run("plan")
    assert (code, "allow_outside is not a known key" in err) == (3, True)


def test_the_work_folder_of_a_project_is_no_link(project_dir: Path, outside: Path) -> None:
    (project_dir / ".kmodsmith").symlink_to(outside)
    with pytest.raises(UsageError, match="is a link"):
        open_project(project_dir)
