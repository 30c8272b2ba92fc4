"""The verb upgrade-check."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakes.site import Site


def test_a_release_whose_images_are_not_there_is_not_ready(site: Site) -> None:
    site.release("4.17.1")
    site.run("discover", "--source", "ocp")
    code, out, _ = site.run("upgrade-check", "4.17.1")
    assert (code, "4.17.1: not ready; images of 2 cells: 2 absent" in " ".join(out.split())) == (18, True)
    code, answer = site.json("upgrade-check", "4.17.1")
    assert (code, answer["ready"], answer["release"]) == (18, False, "4.17.1")
