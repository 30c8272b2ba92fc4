"""What facts say of themselves."""

from __future__ import annotations

from dataclasses import replace

from fakes.site_facts import COMPILE_ERROR, facts_of, make_build, make_cell, make_kernel

from builder.site.facts import is_built, is_unproven, minor_of, minors

_KERNEL = "5.14.0-427.50.1.el9_4.x86_64"


def test_minors_are_those_of_the_releases_that_run_a_kernel() -> None:
    facts = facts_of([make_cell(_KERNEL)], kernels=[make_kernel(_KERNEL, ("4.16.9", "4.16.10", "4.17.1"))])
    assert facts.minors_of(facts.cells[0]) == ("4.16", "4.17")
    assert facts.minors_of(make_cell(_KERNEL, source="okd")) == (), "another source's kernel of the same name"
    assert minors(()) == ()
    assert minor_of("5.0.0-ec.6") == "5.0"


def test_a_compile_error_says_something_about_a_cell_and_a_full_disk_does_not() -> None:
    built = make_build("c", _KERNEL)
    failed = make_build("c", _KERNEL, failure=COMPILE_ERROR)
    assert is_built(built)
    assert not is_built(failed)
    assert not is_built(replace(built, modules=()))
    assert not is_unproven(built)
    assert not is_unproven(failed)
