"""Mistakes in the sources of versions.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.hostile import adding, linking, replacing
from fakes.project import TEN_MISTAKES, VERSIONS_YAML
from fakes.versions_yaml import TODAY, find_mistakes_in, load, with_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.config.load import load_config
from builder.config.model.debian import DebianKernels
from builder.errors import ConfigError
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Callable


_ROOT = Path(__file__).parents[2]


def test_reads_the_real_file() -> None:
    config = load_config(_ROOT / "versions.yaml", today=TODAY)
    assert config.default_group == "laptop"
    assert config.groups["laptop"].newest
    driver = config.drivers[0]  # the sample, or in a fork a vendor's
    assert driver.source_dir.is_dir()
    assert driver.containerfile_file == _ROOT / "driver-container" / "Containerfile"


def test_defaults(project_dir: Path) -> None:
    config = load(project_dir, VERSIONS_YAML)
    assert config.build.jobs == "auto"
    source = config.sources["debian"]
    assert isinstance(source, DebianKernels)
    assert source.build_arches == (Arch.X86_64,)
    assert config.groups["all"].arches == tuple(Arch)


def test_several_drivers_side_by_side(project_dir: Path) -> None:
    entry = VERSIONS_YAML[VERSIONS_YAML.index("  - name") : VERSIONS_YAML.index("sources:")]
    text = VERSIONS_YAML.replace("sources:", entry.replace("demo", "other") + "sources:", 1)
    assert [driver.name for driver in load(project_dir, text).drivers] == ["demo", "other"]


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("driver", "boot: {load: {dmeo: {expect: ENODEV, because: r}}}", "no module 'dmeo': did you mean 'demo'?"),
        ("end", "registry: {mirrors: [{source: quay.io, mirrors: [m.test]}, {source: quay.io, mirrors: [n.test]}]}", "registry.mirrors[1].source: quay.io has mirrors already"),
        ("end", "exclude: [{kernel: '*', driver: dmeo, reason: r}]", "exclude[0].driver: there is no driver 'dmeo': did you mean 'demo'?"),
        ("end", "known_bad: [{kernel: '*', driver: x*, reason: r, owner: o, expires: 2099-01-01}]", "there is no driver 'x*'"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = find_mistakes_in(project_dir, with_line(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("end", "exclude: [{kernel: '*', driver: 'de*', reason: r}]"),
    ],
)
def test_what_works_is_taken(project_dir: Path, place: str, line: str) -> None:
    load(project_dir, with_line(place, line))


def test_two_drivers_with_one_name_for_their_images(project_dir: Path) -> None:
    entry = VERSIONS_YAML[VERSIONS_YAML.index("  - name") : VERSIONS_YAML.index("sources:")]
    second = entry.replace("name: demo", "name: other\n    image: localhost/demo")
    (mistake,) = find_mistakes_in(project_dir, VERSIONS_YAML.replace("sources:", f"{second}sources:", 1))
    assert mistake.startswith("11: drivers[1].image: its images and those of demo would have the same names, such as ")
    longer = VERSIONS_YAML.replace("1.2.0", f"1.2.0-{'x' * 110}")
    assert "3: drivers[0].version: " in find_mistakes_in(project_dir, longer)[0]


_SIGNED_BUILD = f"{{source: https://x.example/d.tar.gz, source_sha256: {'a' * 64}, sign: true}}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {module: dmeo}",
            "10: drivers[0].kmm.module: there is no module 'dmeo': did you mean 'demo'?",
        ),
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {loading_order: [a, demo]}",
            "drivers[0].kmm.loading_order[0]: there is no module 'a'",
        ),
        ("maintainer: M", "maintainer: M\n    kmm: {selectro: {}}", "is not a known key: did you mean 'selector'?"),
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {tolerations: [{kye: a}]}",
            "is not a known key: did you mean 'key'?",
        ),
        (
            "default_group: few",
            "default_group: few\npublish: {signer: {public_key: k.pub, key_fiel: k}}",
            "is not a known key: did you mean 'key_file'?",
        ),
        (
            "version: 1.2.0",
            "version: 1.2",
            "3: drivers[0].version: must be text, but YAML reads 1.2 as a number: put it in quotes",
        ),
        (
            "version: 1.2.0",
            "version: 1.2.0+git1\n    kmm: {ordered_upgrade: true}",
            "4: drivers[0].kmm.ordered_upgrade: nodes carry the version as a label, and '1.2.0+git1' cannot be one",
        ),
        ("source: src", "source: scr", "4: drivers[0].source: there is no folder scr"),
        ("    vendor: V\n", "", "2: drivers[0]: 'vendor' is required and missing"),
        ("vendor: V", "vendro: V", "6: drivers[0].vendro: is not a known key: did you mean 'vendor'?"),
        (
            "modules: [demo]",
            "modules: ['?late', demo]\n    kmm: {in_cluster_build: " + _SIGNED_BUILD + "}",
            "drivers[0].kmm.in_cluster_build.sign: KMM signs files by their names, and '?late' in 'modules' is no name",
        ),
        (
            "modules: [demo]",
            "modules: [demo, 'demo_*']\n    kmm: {module: demox}",
            "drivers[0].kmm.module: there is no module 'demox'",
        ),
        ("modules: [demo]", "modules: [demo]\n    dkms: d", "there is no file d in src"),
        (
            "modules: [demo]",
            "modules: [demo]\n    licenses: [GPL]",
            "drivers[0].licenses[0]: there is no file GPL in src",
        ),
        ("modules: [demo]", "modules: [demo]\n    containerfile: none", "there is no file none"),
        (
            "vendor: V",
            "vendor: NO",
            "drivers[0].vendor: must be text, but YAML reads it as true or false: put it in quotes",
        ),
        ("provider: debian", "provider: debain", "'debain' is not allowed: did you mean 'debian'?"),
        (
            "source: debian, newest",
            "source: debain, newest",
            "there is no source 'debain': did you mean 'debian'?",
        ),
        ("arches: [x86_64]", "arches: [x86-64]", "'x86-64' is not allowed: did you mean 'x86_64'?"),
        ("newest: true", "newest: maybe", "must be true or false, not 'maybe'"),
        ("default_group: few", "default_group: fwe", "there is no group 'fwe': did you mean 'few'?"),
        (
            "default_group: few",
            "default_group: few\nknown_bad: [{kernel: x, reason: r, owner: o}]",
            "'expires' is required and missing",
        ),
        (
            "default_group: few",
            "default_group: few\nknown_bad: [{kernel: x, reason: r, owner: jo, expires: 2026-11-22}]",
            "expired on 2026-11-22: ask its owner (jo) whether to fix, renew or remove it",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    boot: {smoke_test: none.sh}",
            "drivers[0].boot.smoke_test: there is no file none.sh in src",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    boot: {files: [a]}",
            "drivers[0].boot.files[0]: there is no file a in src",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    boot: {memori: 1}",
            "drivers[0].boot.memori: is not a known key: did you mean 'memory'?",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    boot: {timeouts: {laod: 1}}",
            "is not a known key: did you mean 'load'?",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    boot: {mode: secre}",
            "'secre' is not allowed: did you mean 'secure'?",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    boot: {parameters: [{name: x, modules: {dmeo: a=1}}]}",
            "there is no module 'dmeo': did you mean 'demo'?",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    boot: {allow: [{pattern: x, reason: r, expires: 2026-11-22}]}",
            "drivers[0].boot.allow[0].expires: expired on 2026-11-22: repair what it excuses",
        ),
        ("drivers:", "drivers: {}\nx:", "1: drivers: must be a list, not a mapping"),
    ],
)
def test_names_the_place_and_the_remedy(project_dir: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in mistake for mistake in find_mistakes_in(project_dir, VERSIONS_YAML.replace(old, new, 1)))


def test_an_entry_that_expires_today_is_still_valid(project_dir: Path) -> None:
    entry = "\nknown_bad: [{kernel: x, reason: r, owner: jo, expires: 2026-11-23}]"
    assert load(project_dir, VERSIONS_YAML + entry).known_bad


def test_the_key_of_a_licence_that_nobody_named_is_named(project_dir: Path) -> None:
    """The default is a name that stands in no file of the vendor's."""
    text = (project_dir / "versions.yaml").read_text()
    (project_dir / "src" / "LICENSE").rename(project_dir / "src" / "COPYING.GPLv2")
    (mistake,) = find_mistakes_in(project_dir, text)
    assert mistake == (
        "2: drivers[0]: 'licenses' is not given, and there is no file LICENSE in src, which is its default: "
        "name what is there, such as licenses: [COPYING.GPLv2]"
    )
    (project_dir / "src" / "COPYING.GPLv2").unlink()
    (mistake,) = find_mistakes_in(project_dir, text)
    assert mistake.endswith("which images must hold, such as licenses: [COPYING]")
    (mistake,) = find_mistakes_in(project_dir, text.replace("    vendor: V", "    licenses: [GPL]\n    vendor: V"))
    assert mistake == "6: drivers[0].licenses[0]: there is no file GPL in src"


def test_what_is_missing_on_disk_is_told_beside_what_is_wrong_in_the_file(project_dir: Path) -> None:
    """Else a second round begins when the first is mended."""
    text = (project_dir / "versions.yaml").read_text()
    (project_dir / "src" / "LICENSE").unlink()
    told = find_mistakes_in(project_dir, text.replace("newest: true", "newest: 1"))
    assert len(told) == 2
    assert "'licenses' is not given" in told[0]
    assert "must be true or false" in told[1]
    (project_dir.parent / "outside").mkdir()
    (project_dir.parent / "outside" / "COPYING").write_text("x")
    told = find_mistakes_in(
        project_dir, text.replace("source: src", "source: ../outside").replace("newest: true", "newest: 1")
    )
    assert not [mistake for mistake in told if "COPYING" in mistake], "of what lies outside nothing is told"


def test_modules_may_be_patterns_and_may_be_missing(project_dir: Path) -> None:
    words = "modules: [demo, 'probe-*', '?late']\n    kmm: {module: probe_net}\n    boot: {load: {late: {expect: EIO, because: x}}}"
    assert load(project_dir, VERSIONS_YAML.replace("modules: [demo]", words, 1)).drivers[0].modules[1:] == (
        "probe-*",
        "?late",
    )


def test_ten_mistakes_are_reported_at_once(project_dir: Path) -> None:
    mistakes = find_mistakes_in(project_dir, TEN_MISTAKES)
    lines = [int(mistake.split(":")[0]) for mistake in mistakes]
    assert lines == [2, 3, 5, 6, 7, 12, 14, 14, 17, 17]


_FRAGMENTS = st.sampled_from(
    [
        "drivers",
        "name",
        "[",
        "]",
        "{",
        "}",
        ":",
        "- ",
        "\n",
        "  ",
        "&a",
        "*a",
        "!!x",
        "1.0",
        "2027-01-01",
        "'",
        '"',
        "\x00",
        "é",
        "~",
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(_FRAGMENTS, max_size=30), cut=st.integers(0, len(VERSIONS_YAML)))
def test_no_text_escapes_as_another_error(tmp_path: Path, pieces: list[str], cut: int) -> None:
    (tmp_path / "src").mkdir(exist_ok=True)
    text = VERSIONS_YAML[:cut] + "".join(pieces) + VERSIONS_YAML[cut:]
    try:
        load(tmp_path, text)
    except ConfigError as error:
        assert error.mistakes


_SIGNER = "signers: {vendor: {certificate: %s, key_file: /keys/vendor.key}}\n"
_PUBLISH = "publish: {signer: {public_key: %s, key_file: /keys/image.key}}\n"
_OPENSHIFT = "sources:\n  os: {provider: openshift, channels: [%s], graph: %s}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            replacing("source: src", "source: ../outside"),
            "4:13: at drivers[0].source ../outside leads out of the project",
        ),
        (replacing("source: src", "source: OUTSIDE"), "4:13: at drivers[0].source /"),
        (replacing("source: src", "source: src/../../outside"), "drivers[0].source"),
        (linking("src", "../outside"), "drivers[0].source src leads out of the project"),
        (linking("src", "/"), "drivers[0].source src leads out of the project, to /;"),
        (
            replacing("vendor: V", "containerfile: ../outside/secret\n    vendor: V"),
            "6:20: at drivers[0].containerfile",
        ),
        (linking("driver-container", "../outside"), "drivers[0].containerfile"),
        (adding(_SIGNER % "../outside/secret"), "signers.vendor.certificate ../outside/secret leads out"),
        (adding(_PUBLISH % "~/x.pub"), "publish.signer.public_key ~/x.pub leads out"),
        (adding(_PUBLISH % "~nobody-of-this-name/../../x"), "publish.signer.public_key ~nobody"),
        (
            replacing("sources:", _OPENSHIFT % ("fast-4.18", "../outside/secret")),
            "sources.os.graph ../outside/secret leads",
        ),
        (replacing("sources:", _OPENSHIFT % ("..", '"{channel}/{channel}/x"')), "sources.os.graph ../../x leads out"),
        (
            replacing("provider: debian", "provider: debian, keyring: /etc/shadow"),
            "sources.debian.keyring /etc/shadow leads",
        ),
        (
            replacing("provider: debian", "provider: debian, keyring: /usr/share/keyrings/../../x"),
            "sources.debian.keyring",
        ),
    ],
)
def test_what_leads_out_of_the_project_is_refused_with_its_place(
    change: Callable[[Path], None], expected: str, project_dir: Path, outside: Path
) -> None:
    change(project_dir)
    file = project_dir / "versions.yaml"
    file.write_text(file.read_text().replace("OUTSIDE", str(outside)))
    with pytest.raises(ConfigError) as caught:
        load_config(file, today=TODAY)
    message = caught.value.message
    assert (expected in message, "--allow-outside" in message) == (True, True), message


def test_the_command_line_can_allow_it(project_dir: Path, outside: Path) -> None:
    replacing("source: src", "source: ../outside")(project_dir)
    config = load_config(project_dir / "versions.yaml", today=TODAY, outside=[outside])
    assert config.drivers[0].source_dir.resolve() == outside
    with pytest.raises(ConfigError):
        load_config(project_dir / "versions.yaml", today=TODAY, outside=[outside / "sub"])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (replacing("vendor: V", "licenses: [../../outside/secret]\n    vendor: V"), "drivers[0].licenses[0]"),
        (replacing("vendor: V", "licenses: [/etc/passwd]\n    vendor: V"), "drivers[0].licenses[0]"),
        (replacing("vendor: V", "firmware: [../versions.yaml]\n    vendor: V"), "drivers[0].firmware[0]"),
        (replacing("vendor: V", "dkms: ../../outside/secret\n    vendor: V"), "drivers[0].dkms"),
        (
            replacing("vendor: V", "boot: {smoke_test: ../../outside/secret}\n    vendor: V"),
            "drivers[0].boot.smoke_test",
        ),
        (replacing("vendor: V", "boot: {smoke_test: demo.c, files: [l]}\n    vendor: V"), "drivers[0].boot.files[0]"),
        (linking("src/LICENSE", "../../outside/LICENSE"), "drivers[0].licenses[0]"),
        (linking("src/LICENSE", "/etc/passwd"), "drivers[0].licenses[0]"),
    ],
)
def test_files_of_a_source_lie_in_it(
    change: Callable[[Path], None], path: str, project_dir: Path, outside: Path
) -> None:
    (project_dir / "src" / "l").symlink_to(outside / "secret")
    change(project_dir)
    file = project_dir / "versions.yaml"
    with pytest.raises(ConfigError, match="there is no file") as caught:
        load_config(file, today=TODAY, outside=[outside])
    assert f"at {path} " in caught.value.message


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("releases: ['4.18.*']", "groups.few.releases: source 'debian' has no releases"),
        ("include: [ga]", "groups.few.include: source 'debian' has no releases"),
        ("include: [rc]", "groups.few.include[0]: 'rc' is not allowed; known: candidate, ga, hotfix"),
        ("include: []", "groups.few.include"),
        ("include: ga", "groups.few.include: must be a list, not text"),
        ("include: [1]", "groups.few.include[0]"),
    ],
)
def test_kinds_of_releases_of_a_group(project_dir: Path, keys: str, expected: str) -> None:
    (mistake,) = find_mistakes_in(project_dir, VERSIONS_YAML.replace("newest: true", keys))
    assert expected in mistake
    assert load(project_dir, VERSIONS_YAML).groups["few"].include == ("ga",)
