"""Passwords in the words of a command, however they are quoted in there."""

from __future__ import annotations

import json
import shlex
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.host.masking import mask_secrets


@pytest.mark.parametrize(
    ("words", "masked"),
    [
        (["tool", "--password", "two words", "x"], ["tool", "--password", "***", "x"]),
        (["tool", "--password", "token", "x"], ["tool", "--password", "***", "x"]),
        (["tool", "--password-stdin", "--token", "x"], ["tool", "--password-stdin", "***", "***"]),
        (["java", "-Ddb.password.value=x y", "a[token]=x"], ["java", "-Ddb.password.value=***", "a[token]=***"]),
        (["sh", "-c", "login --password =:x"], ["sh", "-c", "login --password ***"]),
        (["--set", "registry.auth=x"], ["--set", "registry.auth=***"]),
        (["tool", "--registry-token=abc", "x"], ["tool", "--registry-token=***", "x"]),
        (["tool", "--so-pin", "12", "--pin=34"], ["tool", "--so-pin", "***", "--pin=***"]),
        (["env", "DB_PASSWORD=a b", "x"], ["env", "DB_PASSWORD=***", "x"]),
        (["env", "DB_PASSWORD=", "x"], ["env", "DB_PASSWORD=", "***"]),
        (["tool", "--build-arg=DB_PASSWORD=a b", "x"], ["tool", "--build-arg=DB_PASSWORD=***", "x"]),
        (["tool", "--env=OIDC_AUTH=a b"], ["tool", "--env=OIDC_AUTH=***"]),
        (["skopeo", "copy", "--src-creds", "user:pa ss", "a"], ["skopeo", "copy", "--src-creds", "***", "a"]),
        (["curl", "-H", "Authorization: Bearer a.b", "x"], ["curl", "-H", "Authorization: ***", "x"]),
        (["curl", "-H", "Authorization:", "Bearer a"], ["curl", "-H", "Authorization:", "***"]),
        (["curl", "-H", "X-Auth-Token:a b"], ["curl", "-H", "X-Auth-Token:***"]),
        (['{"password":"x\\"y z"}'], ['{"password":***']),
        (['{"auths": {"a": {"auth" : "dTpw"}}}'], ['{"auths": {"a": {"auth" : ***']),
        (['["tool", "--password", "a b"]'], ['["tool", "--password", ***']),
        (['curl -d \'{\\"password\\": \\"x\\"}\''], ['curl -d \'{\\"password\\": ***']),
        (["machine a login b password c"], ["machine a login b password ***"]),
        (["sh", "-c", "DB_PASSWORD='it'\"'\"'s' make"], ["sh", "-c", "DB_PASSWORD=***"]),
        (["sh", "-c", "pkcs11-tool --pin 12"], ["sh", "-c", "pkcs11-tool --pin ***"]),
        (["pkcs11:object=o?pin-value=12"], ["pkcs11:object=o?pin-value=***"]),
        (["https://h/?api_key%3Dabc"], ["https://h/?api_key%3D***"]),
        (["<password>x</password>"], ["<password>***"]),
        (["https://user:pass@host/x"], ["https://***@host/x"]),
        (["http://user:it's@host:80/x y"], ["http://***@host:80/x y"]),
        (["http://user:p/a@s@host/x"], ["http://***@host/x"]),
        (["https:\\/\\/user:pass@host"], ["https:\\/\\/***@host"]),
        (["ssh://git@host/x"], ["ssh://***@host/x"]),
        (["https://a/x https://token@b/y"], ["https://***@b/y"]),
        (["https://u:p@h/?token=x"], ["https://***@h/?token=***"]),
        (["token=x https://u:p@h/"], ["token=***"]),
        (["https://u:password=x@h/"], ["https://***"]),
        (["https://h:80/?password=a@b"], ["https://***"]),
    ],
)
def test_what_is_secret_is_not_shown(words: list[str], masked: list[str]) -> None:
    assert list(mask_secrets(words)) == masked


@pytest.mark.parametrize(
    "words",
    [
        ["tool", "--passage", "x", "--author", "a", "--mapping=x", "pin", "x"],
        ["tool", "user@host", "https://host/@x"],
        ["docker://quay.io:443/a/b:1@sha256:" + "a" * 64],
        ["buildah", "--build-arg", "DRIVER_NAME=usb-token", "--build-arg", "DRIVER_VERSION=1"],
        ["buildah", "--volume", "/run/auth:/auth:ro", "--volume", "/etc/passwd:/etc/passwd", "--authfile", "/x"],
        ["buildah", "tag", "localhost/usb-token:1.0", "x"],
        ["buildah", "build", "--build-arg", "BUILD_COMMAND=export MAKEFLAGS=-j2; make -C x 'modules'"],
        [],
    ],
)
def test_what_is_no_secret_is_shown(words: list[str]) -> None:
    assert list(mask_secrets(words)) == words


def _in_json(secret: str) -> str:
    return json.dumps({"a": 1, "password": secret, "z": [1]})


# One word of a command that has a secret in it, and the same with nothing said of it.
_FORMS = (
    lambda secret: f"DB_PASSWORD={secret}",
    lambda secret: f"--build-arg=DB_PASSWORD={secret}",
    lambda secret: f"export DB_PASSWORD={shlex.quote(secret)}; make",
    lambda secret: f"make modules TOKEN={json.dumps(secret)} V=1",
    lambda secret: f"login --password {shlex.quote(secret)} quay.io",
    lambda secret: f"Proxy-Authorization: Basic {secret}",
    lambda secret: f"https://user:{secret}@host/x",
    _in_json,
    lambda secret: json.dumps({"data": _in_json(secret)}),
    lambda secret: f"curl -d {shlex.quote(_in_json(secret))} https://host/",
    lambda secret: f"sh -c {shlex.quote(f'curl -d {shlex.quote(_in_json(secret))}')}",
)


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_a_secret_shows_nothing_of_itself_in_any_form(secret: str) -> None:
    """Whatever it is, a command looks as it does with another one: neither a part of it is there, nor its length."""
    for form in _FORMS:
        assert mask_secrets([form(secret)])[0] in {mask_secrets([form("x")])[0], "https://***"}
    for name in ("--password", "--creds", "--registry-token", "--pin"):
        assert mask_secrets([name, secret, "x"]) == (name, "***", "x")


@pytest.mark.parametrize(
    "part",
    [
        "password",
        "password ",
        "passwor",
        "pin-",
        "token\\",
        "auth\"'",
        "a:",
        "://",
        "://@",
        "@",
        "--pin",
        " ",
        "\"'\\",
        "x=",
    ],
)
def test_long_words_are_looked_at_once(part: str) -> None:
    """Its time grew with the cube of the length: 6 s for 16,000 characters, before any time-out counted."""
    word = f"BUILD_COMMAND=make {part * (50_000 // len(part))}"
    started = time.process_time()
    mask_secrets([word, f"--{word}", "x"])
    assert time.process_time() - started < 5.0
