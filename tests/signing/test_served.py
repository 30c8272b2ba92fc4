"""Which keys are served: files by name, of whom alone, and nothing out of a plan."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.key_holder import write_key
from fakes.signers import MemoryKey

from builder.errors import SignerError, UsageError
from builder.signing import served
from builder.signing.backends.key import read_secret
from builder.signing.image_key import IMAGE_SIGNER
from builder.signing.served import ServeWish, open_served, split_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.config.model.signer import KeyPlace


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What was opened, by the signers' names, with the content of the files that the process was given."""
    found: dict[str, dict[str, Any]] = {}

    @contextmanager
    def open_pretended(name: str, place: KeyPlace) -> Iterator[MemoryKey]:
        said = {key: value for key, value in place.model_dump().items() if value}
        for key in ("key_file", "passphrase_file"):
            if key in said:
                said[f"{key} content"] = read_secret(Path(said[key]), "file")
        found[name] = said
        yield MemoryKey("rsa")

    monkeypatch.setattr(served, "open_own_key", open_pretended)
    return found


def test_keys_are_opened_by_the_names_that_questions_have(opened: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    vendor, images = write_key(tmp_path / "vendor.pem"), write_key(tmp_path / "images.key")
    wish = ServeWish(keys={"vendor": str(vendor)}, images=images)
    with open_served(wish, None) as keys:
        assert set(keys) == set(opened) == {"vendor", IMAGE_SIGNER}
    assert opened["vendor"]["key_file"] == str(vendor)


def test_a_file_that_others_may_read_is_refused(opened: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    for mode, group_may_read in ((0o640, False), (0o644, True), (0o604, True)):
        key = write_key(tmp_path / "vendor.pem", mode=mode)
        wish = ServeWish(keys={"vendor": str(key)}, group_may_read=group_may_read)
        with pytest.raises(SignerError, match="open to other users"), open_served(wish, None):
            pass
    assert not opened


def test_a_secret_of_a_pod_is_held_in_memory(
    opened: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubelet makes it readable by the pod's group, whatever the mode that was asked for."""
    monkeypatch.setattr(served, "_MEMORY", tmp_path)
    key = write_key(tmp_path / "vendor.pem", mode=0o440)
    (tmp_path / "pass").write_text("secret\n")
    (tmp_path / "pass").chmod(0o440)
    wish = ServeWish(
        keys={"vendor": str(key)}, passphrases={"vendor": str(tmp_path / "pass")}, group_may_read=True
    )  # fmt: skip
    with open_served(wish, None):
        assert opened["vendor"]["key_file content"] == key.read_bytes()
        assert opened["vendor"]["passphrase_file content"] == b"secret\n"
        assert opened["vendor"]["key_file"] != str(key)
    assert not [*tmp_path.glob("kmodsmith-keys-*")], "nothing is left"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (ServeWish(), "no key is to be served"),
        (ServeWish(signers=("vendor",)), "has no signer 'vendor'"),
        (ServeWish(keys={"a": "/a"}, passphrases={"b": "/b"}), "a passphrase for 'b', and no key"),
        (ServeWish(keys={"images": "/a"}, images=Path("/b")), "would have one passphrase"),
    ],
)
def test_what_cannot_be_served_is_told(wish: ServeWish, words: str) -> None:
    with pytest.raises(UsageError, match=words), open_served(wish, None):
        pass


@pytest.mark.parametrize("name", ["gone", "folder"])
def test_a_key_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    wish = ServeWish(keys={"vendor": str(tmp_path / name)}, group_may_read=True)
    with pytest.raises(SignerError, match="cannot be read"), open_served(wish, None):
        pass


def test_pairs_are_split() -> None:
    assert split_pairs(["a=/x", "b=/y=z"], "--key") == {"a": "/x", "b": "/y=z"}
    for words in (["a"], ["=x"], ["a="], ["a=/x", "a=/y"]):
        with pytest.raises(UsageError, match="--key"):
            split_pairs(words, "--key")
