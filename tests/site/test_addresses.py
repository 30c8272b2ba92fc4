"""Addresses: plain words, and never the same one for two things."""

from __future__ import annotations

from dataclasses import replace

from fakes.site_facts import HOSTILE, facts_of, make_cell, make_kernel, make_release

from builder.site.addresses import Addresses, plain

_KERNEL = "5.14.0-427.50.1.el9_4.x86_64"


def test_a_cell_has_files_and_an_anchor_that_need_no_escape() -> None:
    cell = make_cell(f"{_KERNEL}+rt")
    at = Addresses(facts_of([cell]))
    assert at.page(cell) == f"cells/gpu-1.4.0/{_KERNEL}_rt.html"
    assert at.data(cell) == f"cells/gpu-1.4.0/{_KERNEL}_rt.json"
    assert at.log(cell, "boot") == f"cells/gpu-1.4.0/{_KERNEL}_rt.boot.txt"
    assert at.cell(cell) == f"cell-gpu-1.4.0-on-{_KERNEL}_rt"
    assert at.depth(cell) == "../../"


def test_names_that_differ_in_what_is_replaced_or_in_capitals_stay_apart() -> None:
    cells = [replace(make_cell(_KERNEL), id=f"gpu-1/{name}") for name in ("a+b", "a_b", "A+B")]
    at = Addresses(facts_of(cells))
    assert [at.page(cell) for cell in cells] == [
        "cells/gpu-1/a_b.html",
        "cells/gpu-1/a_b-2.html",
        "cells/gpu-1/A_B-3.html",
    ]


def test_a_kernel_of_two_sources_has_two_anchors() -> None:
    facts = facts_of([], kernels=[make_kernel(_KERNEL), make_kernel(_KERNEL, source="okd")])
    at = Addresses(facts)
    assert at.kernel("openshift", _KERNEL) == f"kernel-{_KERNEL}"
    assert at.kernel("okd", _KERNEL) == f"kernel-{_KERNEL}-2"


def test_releases_and_drivers() -> None:
    at = Addresses(facts_of([], releases=[make_release("4.18.12", [_KERNEL])]))
    assert at.release("openshift", "4.18.12", "x86_64") == "release-4.18.12-x86_64"
    assert at.driver("gpu", "1.4.0") == "driver-gpu-1.4.0"


def test_no_name_leads_out_of_the_site_or_into_markup() -> None:
    for name in ("../../etc/passwd", "..", ".hidden", "", HOSTILE, "a\0b", "x" * 4000):
        word = plain(name)
        assert 0 < len(word) <= 120
        assert not word.startswith(".")
        assert set(word) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    cell = replace(make_cell(_KERNEL), id=f"../..//{HOSTILE}")
    page = Addresses(facts_of([cell])).page(cell)
    assert page.startswith("cells/")
    assert ".." not in page.split("/")
