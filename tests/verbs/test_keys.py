"""The verb keys."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from fakes.key_socket import short_folder
from fakes.signers import MemoryKey

from builder.signing.backends.key import KeyRequest

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from fakes.bench import Bench

    from builder.signing.serving import KeyServer


def test_what_it_prints_for_versions_yaml_is_taken_there(bench: Bench, tmp_path: Path) -> None:
    code, out, _ = bench.run("keys", "create", "--kind", "ecdsa", "--folder", str(tmp_path / "private"))
    assert (code, "signers: [development]" in out) == (0, True)
    assert "or different endings of their tags (tag_suffix)" in " ".join(out.split())
    file = bench.folder / "versions.yaml"
    text = out.partition("For versions.yaml:\n")[2].partition("and in each group")[0]
    file.write_text(f"{file.read_text()}{text}")
    code, out, err = bench.run("keys", "show", "development", "--json", "--write", str(tmp_path / "shown"))
    assert code == 0, err
    assert json.loads(out)["signer"] == "development"
    assert {item.name for item in (tmp_path / "shown").iterdir()} == {"development.der", "development.md"}
    code, _, err = bench.run("keys", "create", "--kind", "ecdsa", "--folder", str(tmp_path / "private"))
    assert code == 2, "a key is never written over"
    assert "development" in err


def test_a_key_for_images_is_another_kind(bench: Bench, tmp_path: Path) -> None:
    code, out, _ = bench.run("keys", "create", "--images", "--folder", str(tmp_path / "private"))
    assert (code, "public_key: keys/images.pub" in out) == (0, True)


def test_a_signer_that_versions_yaml_does_not_name(bench: Bench) -> None:
    code, _, err = bench.run("keys", "show", "nobody")
    assert (code, "nobody" in err) == (9, True)


def test_a_log_that_does_not_exist_is_empty(bench: Bench) -> None:
    code, out, _ = bench.run("keys", "log", "--json")
    assert (code, json.loads(out)) == (0, [])


def test_keys_are_served_until_the_process_is_ended(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question, and then the end that SIGTERM is."""
    key = MemoryKey("rsa")
    monkeypatch.setattr("builder.signing.served.open_own_key", lambda *_: contextlib.nullcontext(key))
    answers: list[bytes] = []

    def serve_one(listener: socket.socket, server: KeyServer) -> None:
        del listener
        question = json.dumps({"signer": "vendor", "digest": "00" * 32, "algorithm": "sha256"})
        answers.append(server.answer(question.encode(), os.getuid()))
        raise KeyboardInterrupt

    monkeypatch.setattr("builder.verbs.keys.serve_keys", serve_one)
    with short_folder() as folder:
        code, out, err = bench.run(
            "keys", "serve", "--socket", str(folder / "sock"), "--key", f"vendor={tmp_path}/k.pem"
        )
        assert (code, [*folder.iterdir()]) == (0, []), err
    assert "signature" in json.loads(answers[0])
    told = [json.loads(line) for line in out.splitlines()]
    assert (told[0]["signers"], told[1]["signed"]) == (["vendor"], f"sha256:{'00' * 32}")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "no key is to be served"),
        (("--key", "vendor"), 2, "wants NAME=FILE"),
        (("--key", "vendor=/gone/key"), 9, "cannot be read"),
        (("--signer", "nobody"), 2, "has no signer 'nobody'"),
    ],
)
def test_what_cannot_be_served_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, words: str
) -> None:
    monkeypatch.setattr("builder.signing.access.HeldKey", lambda request: KeyRequest.of_words(request.words()))
    found, _, err = bench.run("keys", "serve", "--socket", "/tmp/unused", *arguments)
    assert (found, words in err) == (code, True), err
