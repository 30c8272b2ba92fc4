"""Mistakes of versions.yaml in words: nothing of what validates it may be read by who wrote it."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from fakes.project import VERSIONS_YAML

from builder.config.load import load_config
from builder.config.model.config import Config
from builder.config.model.declaration import FORMS
from builder.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

# Words of pydantic, of Python and of regular expressions.
_FOREIGN = re.compile(r"tuple|dictionary|string should|input should|validation|NoneType|\bTrue\b|\bNone\b|\\[wdS]|\^\(")


def _mistakes(folder: Path, text: str) -> list[str]:
    (folder / "versions.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(folder / "versions.yaml", today=date(2026, 11, 23))
    return [str(mistake).removeprefix(f"{folder}/versions.yaml:") for mistake in raised.value.mistakes]


def _in_driver(line: str) -> str:
    return VERSIONS_YAML.replace("    vendor: V\n", f"    vendor: V\n    {line}\n")


_TABLE = [
    (_in_driver("licenses: []"), "drivers[0].licenses is empty: it needs at least one"),
    (_in_driver("licenses: COPYING"), "drivers[0].licenses must be a list, not text: write [COPYING]"),
    (VERSIONS_YAML.replace("modules: [demo]", "modules: demo"), "modules must be a list, not text: write [demo]"),
    (VERSIONS_YAML.replace("[demo]", "[demo.ko]"), "'demo.ko' does not have the right form: it is the name of a module, "),
    (VERSIONS_YAML.replace("name: demo", "name: My_Driver"), "it is small letters, digits and '-', a letter or digit "),
    (VERSIONS_YAML.replace("name: demo", f"name: {'a' * 40}"), "name has 40 characters, and at most 39 are allowed"),
    (VERSIONS_YAML.replace("name: demo", "name: ''"), "'' does not have the right form"),
    (VERSIONS_YAML.replace("vendor: V", "vendor: ''"), "drivers[0].vendor is empty"),
    (VERSIONS_YAML.replace("vendor: V", "vendor:"), "drivers[0].vendor must be text, not nothing"),
    (_in_driver("make: [make, modules]"), "drivers[0].make must be text, not a list"),
    (_in_driver("compress: true"), "true is not allowed; known: gz, none, xz, zst"),
    (_in_driver("compress: zstd"), "'zstd' is not allowed: did you mean 'zst'?"),
    (_in_driver("base_image: quay.io/a/b:1"), "it is an image by its digest, quay.io/organisation/base@sha256:...;"),
    (_in_driver("build_args: {foo: x}"), "'foo' does not have the right form: it is capital letters, digits and '_'"),
    (_in_driver("smoke_test: test.sh"), "drivers[0].smoke_test is not a known key: it belongs below 'boot'"),
    (_in_driver("namespace: x"), "drivers[0].namespace is not a known key: it belongs below 'kmm'"),
    (_in_driver("boot: {timeouts: {boot: 1}}"), "boot.timeouts.boot must be at least 5, not 1"),
    (_in_driver("boot: {memory: 512M}"), "boot.memory must be a whole number, not '512M'"),
    (_in_driver("boot: {parameters: [{name: a, modules: {}}]}"), "parameters[0].modules is empty: it needs at least one"),
    (_in_driver("kmm: {parameters: [max dev]}"), "it is a parameter and its value, such as max_dev=8"),
    ("drivers: []\n", "drivers is empty: it needs at least one"),
    (VERSIONS_YAML.replace("[x86_64]", "[amd64]"), "'amd64' is not allowed: did you mean 'x86_64'?"),
    (VERSIONS_YAML.replace("newest: true", "newest: 'yes'"), "newest must be true or false, not 'yes'"),
    (VERSIONS_YAML.replace("newest: true", "kernels: 6.1*"), "kernels must be a list, not text: write ['6.1*']"),
    (VERSIONS_YAML.replace("newest: true", "variants: [realtime]"), "'realtime' is not allowed: did you mean 'rt'?"),
    (VERSIONS_YAML.replace("newest: true", "build: {}"), "groups.few.build is not a known key: it belongs to the outermost"),
    (f"{VERSIONS_YAML}build: {{jobs: 1.5}}\n", "build.jobs must be auto or a number of at least 1, not 1.5"),
    (f"{VERSIONS_YAML}build: {{jobs: true}}\n", "build.jobs must be auto or a number of at least 1, not True"),
    (f"{VERSIONS_YAML}build: {{retries: 9}}\n", "build.retries must be at most 5, not 9"),
    (f"{VERSIONS_YAML}build: {{compile_memory: .inf}}\n", "compile_memory must be a whole number, not inf"),
    (f"{VERSIONS_YAML}build: {{compile_memory: {'9' * 90}}}\n", "must be at most 16777216, not number"),
    (f"{VERSIONS_YAML}known_bad: [{{kernel: x, reason: r, owner: o, expires: 2027-01-01 12:00:00}}]\n",
     "expires must be a date such as 2027-03-31, without a time"),
    (f"{VERSIONS_YAML}known_bad: [{{kernel: x, reason: r, owner: o, expires: 2027-02-30}}]\n",
     "at known_bad[0].expires '2027-02-30' is not YAML: day is out of range for month; text belongs in quotes"),
    (f"{VERSIONS_YAML}publish: {{tags: []}}\n", "publish.tags is empty: it needs at least one"),
    (f"{VERSIONS_YAML}signers: {{a: {{certificate: a, key_file: k, passphrase_env: MY-PASS}}}}\n",
     "'MY-PASS' does not have the right form: it is the name of an environment variable"),
    (f"{VERSIONS_YAML}registry: {{plain_http: ['http://r:5']}}\n", "it is a host, with its port if need be"),
    ("drivers:\n\t- name: x\n", "is not YAML: found character that cannot start any token: lines are indented with spaces"),
    ("drivers:\n  - name: @demo\n", "a text that begins with this character has to stand in quotes"),
    ("exclude:\n  - kernel: *-cloud-*\n", "a text that begins with '*' or '&' has to stand in quotes"),
    ("drivers:\n  - name: demo: x\n", "a text with ': ' in it has to stand in quotes"),
    ("drivers:\n  - name: demo\n   version: 1\n", "the keys of an entry stand exactly below each other"),
    ("a: 1\n---\nb: 2\n", "one file holds one document: take out the line '---'"),
    ("drivers: [\n", "a bracket is not closed"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), _TABLE, ids=[words[:40] for _, words in _TABLE])
def test_mistakes_are_told_in_words_of_who_made_them(project_dir: Path, text: str, words: str) -> None:
    told = _mistakes(project_dir, text)
    assert any(words in mistake for mistake in told), told
    assert not [mistake for mistake in told if _FOREIGN.search(mistake.replace("not True", ""))], told


_NAMED = "groups:\n  few:"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (VERSIONS_YAML.replace(_NAMED, "groups:\n  boot: {sourc: debian}\n  few:"), "groups.boot.sourc"),
        (VERSIONS_YAML.replace(_NAMED, "groups:\n  int: {sourc: debian}\n  few:"), "groups.int.sourc"),
        (VERSIONS_YAML.replace(_NAMED, 'groups:\n  few: {source: debian, "[key]": 1}\n  other:'), "groups.few.[key]"),
        (f"{VERSIONS_YAML}signers: {{kmm: {{certificat: c, key_file: k}}}}\n", "signers.kmm.certificat"),
        (VERSIONS_YAML.replace("sources:", "sources:\n  int: {provider: debian, keyrin: k}"), "sources.int.keyrin"),
        (VERSIONS_YAML.replace("sources:", "sources:\n  str: {provider: okd, chanels: [a]}"), "sources.str.chanels"),
        (_in_driver("boot: {load: {timeouts: {expct: EIO, because: r}}}"), "drivers[0].boot.load.timeouts.expct"),
        (_in_driver("boot: {load: {kmm: {expct: EIO, because: r}}}"), "drivers[0].boot.load.kmm.expct"),
    ],
)  # fmt: skip
def test_names_that_authors_give_are_no_keys(project_dir: Path, text: str, place: str) -> None:
    """A group may be called as a key of another place, or as what pydantic calls members of a union."""
    meant = {
        "sourc": "source",
        "certificat": "certificate",
        "keyrin": "keyring",
        "chanels": "channels",
        "expct": "expect",
    }
    (told,) = [mistake for mistake in _mistakes(project_dir, text) if "is not a known key" in mistake]
    assert f"at {place} is not a known key" in told
    key = place.rpartition(".")[2]
    assert told.endswith(f": did you mean {meant[key]!r}?" if key in meant else "tag_suffix, variants"), told


def test_the_key_of_one_provider_is_not_offered_for_another(project_dir: Path) -> None:
    text = VERSIONS_YAML.replace("{provider: debian}", "{provider: debian, channels: [fast-4.18]}")
    (told,) = _mistakes(project_dir, text)
    assert told.endswith("sources.debian.channels is not a known key: did you mean 'archives'?")


def test_every_pattern_is_told_in_words() -> None:
    def patterns(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["pattern"]} if isinstance(value.get("pattern"), str) else set()
            # Keys of a mapping must fit the pattern that stands for a key.
            named = set(value["patternProperties"]) if isinstance(value.get("patternProperties"), dict) else set()
            return own | named | {found for item in value.values() for found in patterns(item)}
        return {found for item in value for found in patterns(item)} if isinstance(value, list) else set()

    wanted = patterns(Config.model_json_schema())
    assert wanted
    assert wanted <= FORMS.keys()
    assert all(words and not _FOREIGN.search(words) for words in FORMS.values())
