"""Mistakes in the sources of versions.yaml."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.hostile import adding, linking, replacing
from fakes.project import TEN_MISTAKES, VERSIONS_YAML
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.config.load import load_config
from builder.config.model import Config, DebianKernels
from builder.errors import ConfigError
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.site import Site


_TODAY = date(2026, 11, 23)
_ROOT = Path(__file__).parents[2]


def _load(folder: Path, text: str) -> Config:
    (folder / "versions.yaml").write_text(text)
    return load_config(folder / "versions.yaml", today=_TODAY)


def _mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(folder, text)
    return [f"{item.line}: {item.path}: {item.message}" for item in caught.value.mistakes]


def test_reads_the_real_file() -> None:
    config = load_config(_ROOT / "versions.yaml", today=_TODAY)
    assert config.default_group == "laptop"
    assert config.groups["laptop"].newest
    driver = config.drivers[0]  # the sample, or in a fork a vendor's
    assert True
    assert driver.source_dir.is_dir()
    assert driver.containerfile_file == _ROOT / "driver-container" / "Containerfile"


def test_defaults(project_dir: Path) -> None:
    config = _load(project_dir, VERSIONS_YAML)
    assert config.build.jobs == "auto"
    source = config.sources["debian"]
    assert isinstance(source, DebianKernels)
    assert source.build_arches == (Arch.X86_64,)
    assert config.groups["all"].arches == tuple(Arch)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("source", "a" * 300),
        ("source", "a/" * 3000 + "x"),
        ("dkms", "d" * 5000),
        ("containerfile", "é" * 200),
        ("dkms", '"a\\0b"'),
    ],
)
def test_names_that_no_file_can_have(project_dir: Path, key: str, name: str) -> None:
    text = VERSIONS_YAML.replace(
        "    source: src\n", f"    {key}: {name}\n" + ("" if key == "source" else "    source: src\n")
    )
    assert any("is no name that a file can have" in mistake for mistake in _mistakes(project_dir, text))


def test_several_drivers_side_by_side(project_dir: Path) -> None:
    entry = VERSIONS_YAML[VERSIONS_YAML.index("  - name") : VERSIONS_YAML.index("sources:")]
    text = VERSIONS_YAML.replace("sources:", entry.replace("demo", "other") + "sources:", 1)
    assert [driver.name for driver in _load(project_dir, text).drivers] == ["demo", "other"]


_DIGEST = f"sha256:{'0' * 64}"


def _with(place: str, line: str) -> str:
    """Return a file with one more key: of the driver, of the Debian source, or at the end."""
    old, new = {
        "driver": ("maintainer: M", f"maintainer: M\n    {line}"),
        "debian": ("debian: {provider: debian}", f"debian: {{provider: debian, {line}}}"),
        "ocp": ("debian: {provider: debian}", f"debian: {{provider: debian}}\n  ocp: {{provider: openshift, {line}}}"),
        "end": ("default_group: few", f"default_group: few\n{line}"),
    }[place]
    return VERSIONS_YAML.replace(old, new, 1)


@pytest.mark.parametrize(
    ("place", "line", "expected"),
    [
        ("driver", "image: repo:latest", "'repo:latest' cannot name an image: it names no registry and its tag comes from publish.tags; write 'localhost/repo' for this machine's store, or 'quay.io/organisation/repo'"),
        ("driver", "image: demo", "it names no registry; write 'localhost/demo' for this machine's store"),
        ("driver", "image: org/demo", "it names no registry; write 'localhost/demo'"),
        ("driver", "image: quay.io/org/demo:1", "its tag comes from publish.tags; write 'quay.io/org/demo'"),
        ("driver", f"image: quay.io/org/demo@{_DIGEST}", "its tag comes from publish.tags; write 'quay.io/org/demo'"),
        ("driver", "image: Quay.io/Org/demo", "it must be in small letters; write 'quay.io/org/demo'"),
        ("driver", "image: quay.io:99999/org/demo", "99999 is no port"),
        ("driver", "image: 'quay.io/org//demo-'", "is not the name of an image"),
        ("driver", "image: quay.io", "it names no registry"),
        ("driver", "image: localhost/kmodsmith/cell", "are kmodsmith's own, and prune removes them"),
        ("driver", f"base_image: ubi9@{_DIGEST}", "is not a full image name"),
        ("driver", f"base_image: library/debian@{_DIGEST}", "it names no registry"),
        ("driver", f"base_image: https://quay.io/x@{_DIGEST}", "is not a full image name"),
        ("driver", "reuse: [{kernel: 'x', compiled_for: '6.1', reason: r}]", "'6.1' is not a kernel version"),
        ("driver", "kmm: {selector: {'a b': x}}", "cannot be the key of a label"),
        ("driver", "kmm: {selector: {a: 'b c'}}", "does not have the right form"),
        ("driver", "kmm: {tolerations: [{value: x}]}", "key is required, unless operator is Exists"),
        ("driver", "kmm: {tolerations: [{operator: Exists, value: x}]}", "value says nothing where operator is Exists"),
        ("driver", "boot: {allow: [{pattern: '.*', reason: r, expires: 2099-01-01}]}", "matches everything"),
        ("driver", "boot: {files: [a/x, b/x], smoke_test: s}", "files has two that would both be x"),
        ("driver", "boot: {devices: [e1000]}", "'e1000' is no device that guests of boot tests can have: edu, pci-testdev are"),
        ("driver", "boot: {devices: [edo]}", "'edo' is no device that guests of boot tests can have: edu, pci-testdev are"),
        ("driver", "boot: {devices: [{a: 1}]}", "{'a': 1} is no device that guests of boot tests can have"),
        ("driver", "boot: {devices: edu}", "must be a list, not text: write [edu]"),
        ("driver", "boot: {devices: [edu, pci-testdev, edu]}", "devices has edu twice, and a guest gets one of each"),
        ("driver", "boot: {load: {demo: {expect: ENOENT, because: r}}}", "'ENOENT' is not allowed: did you mean 'ENODEV'?"),
        ("driver", "boot: {load: {demo: {expect: ENODEV}}}", "'because' is required and missing"),
        ("driver", "boot: {load: {demo: {expct: ENODEV, because: r}}}", "did you mean 'expect'?"),
        ("driver", "boot: {load: {dmeo: {expect: ENODEV, because: r}}}", "no module 'dmeo': did you mean 'demo'?"),
        (
            "driver",
            "boot: {load: {demo: {expect: EIO, because: r}}, parameters: [{name: x, modules: {demo: a=1}, refused: true}]}",
            "parameters 'x' is to be refused by demo: it is refused anyway for want of hardware",
        ),
        ("driver", "boot: {parameters: [{name: x, modules: {demo: a}, refused: true, default: true}]}", "exclude each"),
        (
            "driver",
            "boot: {parameters: [{name: x, modules: {demo: a}, default: true}, {name: y, modules: {demo: b}, default: true}]}",
            "parameters has two sets that are the default",
        ),
        ("driver", "boot: {timeouts: {load: 99999999999999999999}}", "must be at most 86400, not 99999999999999999999"),
        ("debian", "archives: [{url: 'http://u:p@deb.test/debian', suites: [s]}]", "a password does not belong"),
        ("debian", "archives: [{url: 'http://[deb.test/debian', suites: [s]}]", "is not an address"),
        ("debian", "archives: [{url: 'http://deb.test:0x50/debian', suites: [s]}]", "is not an address"),
        ("debian", "archives: [{url: 'http://deb.test/debian?x', suites: [s]}]", "must not have a query"),
        ("debian", "archives: [{url: 'http://deb.test/debian', suites: [stable/]}]", "does not have the right form"),
        ("debian", "build_arches: [ppc64le]", "are made for machines that are x86_64 or aarch64, not ppc64le"),
        ("ocp", "channels: [fast-4.18], graph: 'ftp://x/graph'", "is neither an address that begins with http"),
        ("ocp", "channels: [fast-4.18], graph: '{chanel}.json'", "has the unknown field {chanel}"),
        ("ocp", "channels: [fast-4.18], graph: '{channel[0]}'", "has the unknown field {channel[0]}"),
        ("ocp", "channels: [fast-4.18], graph: '{0}'", "has the unknown field {0}"),
        ("ocp", "channels: [fast-4.18], graph: 'https://x/{channel}'", "an address is asked with channel and arch"),
        ("ocp", "releases: ['ocp-release/x:4.18']", "it names no registry"),
        ("end", "registry: {mirrors: [{source: quay, mirrors: [m.test]}]}", "must begin with a registry's host"),
        ("end", "registry: {mirrors: [{source: quay.io/a//.., mirrors: [m.test]}]}", "does not have the right form"),
        ("end", "registry: {mirrors: [{source: Quay.io, mirrors: [m.test]}]}", "would never be found: write quay.io"),
        ("end", "registry: {mirrors: [{source: quay.io, mirrors: [m.test]}, {source: quay.io, mirrors: [n.test]}]}", "registry.mirrors[1].source: quay.io has mirrors already"),
        ("end", "exclude: [{kernel: '*', driver: dmeo, reason: r}]", "exclude[0].driver: there is no driver 'dmeo': did you mean 'demo'?"),
        ("end", "known_bad: [{kernel: '*', driver: x*, reason: r, owner: o, expires: 2099-01-01}]", "there is no driver 'x*'"),
        ("end", "signers: {s: {certificate: c.pem, pkcs11: 'pkcs11:token=t'}}", "it does not say which PKCS#11 library"),
        ("end", "build: {timeout_minutes: 99999999999999999999}", "must be at most 10080"),
    ],
)  # fmt: skip
def test_what_would_fail_at_the_end_is_refused_at_load(project_dir: Path, place: str, line: str, expected: str) -> None:
    mistakes = _mistakes(project_dir, _with(place, line))
    assert any(expected in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("driver", "image: localhost/demo"),
        ("driver", "image: localhost:5000/demo"),
        ("driver", "image: registry.site.example:8443/a/b_c/d-e"),
        ("driver", f"base_image: quay.io/org/base:9@{_DIGEST}"),
        ("driver", f"base_image: localhost/base@{_DIGEST}"),
        ("driver", "kmm: {selector: {node-role.kubernetes.io/worker: '', a.b_c: d}}"),
        ("driver", "kmm: {tolerations: [{operator: Exists}]}"),
        ("debian", "archives: [{url: 'http://mirror.test:8080/my_debian~x', suites: [bookworm/updates]}]"),
        ("ocp", "channels: [fast-4.18], graph: 'graphs/{channel}_{arch}.json'"),
        ("end", "registry: {mirrors: [{source: quay.io/org, mirrors: ['m.test:5000', 'm.test/a_b']}]}"),
        ("end", "exclude: [{kernel: '*', driver: 'de*', reason: r}]"),
    ],
)
def test_what_works_is_taken(project_dir: Path, place: str, line: str) -> None:
    _load(project_dir, _with(place, line))


def test_two_drivers_with_one_name_for_their_images(project_dir: Path) -> None:
    entry = VERSIONS_YAML[VERSIONS_YAML.index("  - name") : VERSIONS_YAML.index("sources:")]
    second = entry.replace("name: demo", "name: other\n    image: localhost/demo")
    (mistake,) = _mistakes(project_dir, VERSIONS_YAML.replace("sources:", f"{second}sources:", 1))
    assert mistake.startswith("11: drivers[1].image: its images and those of demo would have the same names, such as ")
    longer = VERSIONS_YAML.replace("1.2.0", f"1.2.0-{'x' * 110}")
    assert "3: drivers[0].version: " in _mistakes(project_dir, longer)[0]


_SIGNED_BUILD = f"{{source: https://x.example/d.tar.gz, source_sha256: {'a' * 64}, sign: true}}"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: demo", "name: Demo.X", "2: drivers[0].name: 'Demo.X' does not have the right form"),
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
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {loading_order: [demo]}",
            "loading_order needs at least two modules, each once",
        ),
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {module: demo, loading_order: [demo, x]}",
            "loading_order must end with module (demo)",
        ),
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {in_cluster_build: {source: x}}",
            "drivers[0].kmm.in_cluster_build.source: 'x' does not have the right form",
        ),
        ("maintainer: M", "maintainer: M\n    kmm: {selectro: {}}", "is not a known key: did you mean 'selector'?"),
        (
            "maintainer: M",
            "maintainer: M\n    kmm: {tolerations: [{kye: a}]}",
            "is not a known key: did you mean 'key'?",
        ),
        (
            "default_group: few",
            "default_group: few\npublish: {signer: {public_key: k.pub}}",
            "give exactly one of key_file, pkcs11 and command, not none",
        ),
        (
            "default_group: few",
            "default_group: few\npublish: {signer: {public_key: k.pub, key_fiel: k}}",
            "is not a known key: did you mean 'key_file'?",
        ),
        (
            "default_group: few",
            "default_group: few\npublish: {tags: [version]}",
            "would be the same tag for every image",
        ),
        (
            "default_group: few",
            "default_group: few\npublish: {tags: ['{version}-{kernel_noarch}']}",
            "the first must hold {kernel}",
        ),
        (
            "default_group: few",
            "default_group: few\npublish: {tags: [version-kernel, '{version}-{release}']}",
            "a kernel without its architecture is {kernel_noarch}",
        ),
        ("default_group: few", "default_group: few\npublish: {tags: ['{kernel} x']}", "gives no tag"),
        ("default_group: few", "default_group: few\npublish: {tags: ['{kernel']}", "is no pattern of a tag"),
        (
            "default_group: few",
            "default_group: few\npublish: {builder: laptop}",
            "publish.builder: 'laptop' does not have the right form",
        ),
        ("version: 1.2.0", "version: 1.2 final", "3: drivers[0].version: '1.2 final' cannot stand in tags"),
        ("version: 1.2.0", f"version: 1.{'a' * 62}", "cannot stand in tags, labels and file names: up to 63"),
        ("version: 1.2.0", "version: 1.2.0+", "a letter or digit first and last"),
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
        ("modules: [demo]", "modules: [demo, demo]", "modules names a module twice"),
        ("modules: [demo]", "modules: [demo, '?demo']", "modules names a module twice"),
        ("modules: [demo]", "modules: ['demo?']", "does not have the right form"),
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
        ("modules: [demo]", "modules: [demo.ko]", "does not have the right form"),
        ("modules: [demo]", "make: make", "modules is required"),
        (
            "modules: [demo]",
            "modules: [demo]\n    make: m\n    dkms: d",
            "give either make or dkms, not both",
        ),
        ("modules: [demo]", "modules: [demo]\n    dkms: d", "there is no file d in src"),
        (
            "modules: [demo]",
            "modules: [demo]\n    build_args: {DTK_AUTO: x}",
            "kmodsmith sets DTK_AUTO itself",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    base_image: ubi:9",
            "drivers[0].base_image: 'ubi:9' does not have the right form",
        ),
        (
            "modules: [demo]",
            "modules: [demo]\n    licenses: [GPL]",
            "drivers[0].licenses[0]: there is no file GPL in src",
        ),
        ("modules: [demo]", "modules: [demo]\n    firmware: ['a b']", "holds a space"),
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
            "default_group: few\nbuild: {jobs: 0}",
            "must be auto or a number of at least 1, not 0",
        ),
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
            "modules: [demo]\n    boot: {parameters: [{name: x, modules: {demo: a=1, other: b=1}, refused: true}]}",
            "refused is about one module",
        ),
        (
            "modules: [demo]",
            'modules: [demo]\n    boot: {allow: [{pattern: "[", reason: r, expires: 2999-01-01}]}',
            "is not a regular expression",
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
    assert any(expected in mistake for mistake in _mistakes(project_dir, VERSIONS_YAML.replace(old, new, 1)))


def test_an_entry_that_expires_today_is_still_valid(project_dir: Path) -> None:
    entry = "\nknown_bad: [{kernel: x, reason: r, owner: jo, expires: 2026-11-23}]"
    assert _load(project_dir, VERSIONS_YAML + entry).known_bad


@pytest.mark.parametrize(
    "version", ["'0.43'", "'11'", "10.5.3.5", "20250329T1", "v5", "0+git20250605+6.6.0-95.0.0", "1~rc1"]
)
def test_a_version_is_what_its_vendor_writes(project_dir: Path, version: str) -> None:
    text = VERSIONS_YAML.replace("version: 1.2.0", f"version: {version}", 1)
    assert _load(project_dir, text).drivers[0].version == version.strip("'")


def test_the_key_of_a_licence_that_nobody_named_is_named(project_dir: Path) -> None:
    """The default is a name that stands in no file of the vendor's."""
    text = (project_dir / "versions.yaml").read_text()
    (project_dir / "src" / "LICENSE").rename(project_dir / "src" / "COPYING.GPLv2")
    (mistake,) = _mistakes(project_dir, text)
    assert mistake == (
        "2: drivers[0]: 'licenses' is not given, and there is no file LICENSE in src, which is its default: "
        "name what is there, such as licenses: [COPYING.GPLv2]"
    )
    (project_dir / "src" / "COPYING.GPLv2").unlink()
    (mistake,) = _mistakes(project_dir, text)
    assert mistake.endswith("which images must hold, such as licenses: [COPYING]")
    (mistake,) = _mistakes(project_dir, text.replace("    vendor: V", "    licenses: [GPL]\n    vendor: V"))
    assert mistake == "6: drivers[0].licenses[0]: there is no file GPL in src"


def test_what_is_missing_on_disk_is_told_beside_what_is_wrong_in_the_file(project_dir: Path) -> None:
    """Else a second round begins when the first is mended."""
    text = (project_dir / "versions.yaml").read_text()
    (project_dir / "src" / "LICENSE").unlink()
    told = _mistakes(project_dir, text.replace("newest: true", "newest: 1"))
    assert len(told) == 2
    assert "'licenses' is not given" in told[0]
    assert "must be true or false" in told[1]
    (project_dir.parent / "outside").mkdir()
    (project_dir.parent / "outside" / "COPYING").write_text("x")
    told = _mistakes(
        project_dir, text.replace("source: src", "source: ../outside").replace("newest: true", "newest: 1")
    )
    assert not [mistake for mistake in told if "COPYING" in mistake], "of what lies outside nothing is told"


def test_modules_may_be_patterns_and_may_be_missing(project_dir: Path) -> None:
    words = "modules: [demo, 'probe-*', '?late']\n    kmm: {module: probe_net}\n    boot: {load: {late: {expect: EIO, because: x}}}"
    assert _load(project_dir, VERSIONS_YAML.replace("modules: [demo]", words, 1)).drivers[0].modules[1:] == (
        "probe-*",
        "?late",
    )


def test_ten_mistakes_are_reported_at_once(project_dir: Path) -> None:
    mistakes = _mistakes(project_dir, TEN_MISTAKES)
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
        _load(tmp_path, text)
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
        load_config(file, today=_TODAY)
    message = caught.value.message
    assert (expected in message, "--allow-outside" in message) == (True, True), message


def test_the_command_line_can_allow_it(project_dir: Path, outside: Path) -> None:
    replacing("source: src", "source: ../outside")(project_dir)
    config = load_config(project_dir / "versions.yaml", today=_TODAY, outside=[outside])
    assert config.drivers[0].source_dir.resolve() == outside
    with pytest.raises(ConfigError):
        load_config(project_dir / "versions.yaml", today=_TODAY, outside=[outside / "sub"])


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
        load_config(file, today=_TODAY, outside=[outside])
    assert f"at {path} " in caught.value.message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"provider": "openshift"}, "give channels, such as [fast-4.18], or releases"),
        ({"provider": "openshfit", "channels": ["a"]}, "'openshfit' is not allowed: did you mean 'openshift'?"),
        ({"channels": ["fast-4.17"]}, "'provider' is required and missing"),
        ({"provider": "okd", "channels": ["fast_4.17"]}, "does not have the right form"),
        ({"provider": "okd", "chanels": ["fast-4.17"]}, "is not a known key: did you mean 'channels'?"),
        ({"provider": "okd", "releases": ["quay.io/okd/scos-release"]}, "is not a full image name"),
        ({"provider": "okd", "channels": ["a"], "arches": ["amd64"]}, "'amd64' is not allowed"),
        ({"provider": "okd", "channels": ["a"], "end_of_life": {"4.14": "soon"}}, "must be a date"),
        ({"provider": "okd", "channels": ["a"], "end_of_life": {"four": "2025-10-31"}}, "does not have the right form"),
        ({"provider": "okd", "channels": ["a"], "runtime": "ocp"}, "there is no source with base images 'ocp'"),
        ({"provider": "okd", "channels": ["a"], "drop": [{"release": "4.*"}]}, "'reason' is required and missing"),
    ],
)
def test_mistakes_in_a_source_are_named(site: Site, source: dict[str, Any], words: str) -> None:
    site.edit(sources={"debian": {"provider": "debian"}, "ocp": source})
    code, _, err = site.run("plan")
    assert (code, words in " ".join(err.split())) == (3, True), err


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
    (mistake,) = _mistakes(project_dir, VERSIONS_YAML.replace("newest: true", keys))
    assert expected in mistake
    assert _load(project_dir, VERSIONS_YAML).groups["few"].include == ("ga",)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{code: malformed, about: '4.18.3*', reason: r, owner: o, expires: 2020-01-01}", ""),
        ("{code: malformd, about: x, reason: r, owner: o, expires: 2027-01-01}", "'malformd' is not allowed: did you mean 'malformed'?"),
        ("{code: defect, about: x, reason: r, owner: o, expires: 2027-01-01}", "'defect' is not allowed"),
        ("{code: malformed, about: '*', reason: r, owner: o, expires: 2027-01-01}", "'*' fits everything, so that nothing new of this kind"),
        ("{code: malformed, about: '**?', reason: r, owner: o, expires: 2027-01-01}", "fits everything"),
        ("{code: malformed, about: '', reason: r, owner: o, expires: 2027-01-01}", "known_problems[0].about"),
        ("{code: malformed, about: 4.18, reason: r, owner: o, expires: 2027-01-01}", "must be text, but YAML reads 4.18 as a number"),
        ("{code: malformed, about: x, reason: r, expires: 2027-01-01}", "'owner' is required and missing"),
        ("{code: malformed, about: x, owner: o, expires: 2027-01-01}", "'reason' is required and missing"),
        ("{code: malformed, about: x, reason: r, owner: o}", "'expires' is required and missing"),
        ("{code: malformed, about: x, reason: r, owner: o, expires: soon}", "must be a date such as 2027-03-31"),
        ("{code: malformed, abuot: x, about: x, reason: r, owner: o, expires: 2027-01-01}", "is not a known key: did you mean 'about'?"),
    ],
)  # fmt: skip
def test_known_problems(project_dir: Path, entry: str, expected: str) -> None:
    """One that has expired is no mistake of the file: it only counts no more."""
    text = _with("end", f"known_problems: [{entry}]")
    if not expected:
        (known,) = _load(project_dir, text).known_problems
        assert (known.code, known.owner) == ("malformed", "o")
        return
    assert any(expected in mistake for mistake in _mistakes(project_dir, text)), _mistakes(project_dir, text)
