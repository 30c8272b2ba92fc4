"""The container store's listing, and what is cleared away in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from builder.errors import CommandError
from builder.image.packed_layer import PackedLayer
from builder.store.images import find_store, import_image, list_images, read_base_layers, remove_leftovers

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools


def test_images_by_name(fake_tools: FakeTools) -> None:
    fake_tools.add(
        "buildah",
        """echo '[{"id":"sha256:1","digest":"sha256:2","names":["a:1","b:2"]},{"id":"3","digest":"sha256:4","names":null}]'""",
    )
    images = list_images()
    assert {name: (image.id, image.digest) for name, image in images.items()} == {
        "a:1": ("1", "sha256:2"),
        "b:2": ("1", "sha256:2"),
    }


def test_without_buildah_there_are_no_images(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.store.images.find_tool", lambda _name: None)
    assert list_images() == {}


@pytest.mark.parametrize("script", ["echo nonsense", 'echo \'[{"names":["a"]}]\'', "exit 1"])
def test_a_store_that_answers_wrongly_is_not_an_empty_store(fake_tools: FakeTools, script: str) -> None:
    fake_tools.add("buildah", script)
    with pytest.raises(CommandError):
        list_images()


@pytest.mark.parametrize("printed", ['{"store":' * 100_000, "[" * 100_000, "[]", "9" * 5000, '"\\ud800"'], ids=range(5))
def test_a_store_that_answers_hostile_json_is_an_error(fake_tools: FakeTools, printed: str) -> None:
    """Names and configurations in it are those of strangers' images."""
    fake_tools.add("buildah", f"cat <<'END'\n{printed}\nEND")
    for ask in (find_store, *(() if printed == "[]" else (list_images, remove_leftovers))):
        with pytest.raises(CommandError, match="printed something unreadable"):
            ask()


def test_only_our_own_leftovers_are_removed(fake_tools: FakeTools) -> None:
    fake_tools.add(
        "buildah",
        """case "$1" in
containers) echo '[{"builder":true,"imagename":"localhost/kmodsmith/toolkit:x","containername":"ours"},{"builder":true,"imagename":"localhost/other:x","containername":"theirs"}]' ;;
images) echo '[{"id":"1","digest":"sha256:1","names":["localhost/kmodsmith/stage:k","localhost/kmodsmith/cell:k","localhost/theirs:1"]}]' ;;
esac""",
    )
    assert remove_leftovers() == ["ours", "localhost/kmodsmith/stage:k"]
    calls = fake_tools.calls("buildah")
    assert ["rm", "ours"] in calls
    assert ["rmi", "localhost/kmodsmith/stage:k"] in calls


_BASE = {
    "Manifest": json.dumps(
        {
            "layers": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{'a' * 64}", "size": 5}
            ]
        }
    ),
    "OCIv1": {"rootfs": {"diff_ids": ["sha256:1"]}},
}


def test_layers_of_a_base_are_told_as_its_registry_has_them(fake_tools: FakeTools) -> None:
    fake_tools.add("buildah", f"echo '{json.dumps(_BASE)}'")
    assert read_base_layers("base:1") == {"sha256:1": PackedLayer(digest=f"sha256:{'a' * 64}", size=5)}
    assert fake_tools.calls("buildah") == [["inspect", "--type", "image", "base:1"]]


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "[]",
        "{}",
        json.dumps(_BASE | {"Manifest": ""}),
        json.dumps(_BASE | {"OCIv1": {"rootfs": {"diff_ids": []}}}),
        json.dumps(_BASE | {"OCIv1": None}),
    ],
)
def test_a_base_of_which_something_unreadable_is_told_is_an_error(fake_tools: FakeTools, printed: str) -> None:
    fake_tools.add("buildah", f"echo '{printed}'")
    with pytest.raises(CommandError, match="unreadable about base:1"):
        read_base_layers("base:1")


def test_an_image_that_is_brought_in_is_named_by_its_folder_alone(fake_tools: FakeTools, tmp_path: Path) -> None:
    """Buildah takes no path with capitals for a name, and work folders lie anywhere."""
    folder = tmp_path / "Work_Dir" / "kmodsmith-import-1"
    folder.mkdir(parents=True)
    fake_tools.add("buildah", "cat policy.json kmodsmith-import-1.policy.json 2>/dev/null; pwd")
    log = tmp_path / "log"
    assert import_image(folder, log_file=log) == "localhost/kmodsmith-import-1:latest"
    (call,) = fake_tools.calls("buildah")
    assert call == ["pull", "--quiet", "--signature-policy", "kmodsmith-import-1.policy.json", "oci:kmodsmith-import-1"]
    assert "insecureAcceptAnything" in log.read_text()
    assert log.read_text().endswith(f"{folder.parent}\n")


def test_an_image_that_cannot_be_brought_in_is_an_error(fake_tools: FakeTools, tmp_path: Path) -> None:
    fake_tools.add("buildah", "echo no space left >&2; exit 125")
    with pytest.raises(CommandError, match="no space left"):
        import_image(tmp_path / "kmodsmith-import-1")
