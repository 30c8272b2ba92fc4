"""What a plan makes of sources with releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakes.site import Site


_K1 = "5.14.0-427.50.1.el9_4.x86_64"


_K2 = "5.14.0-427.51.1.el9_4.x86_64"


def test_groups_of_releases(site: Site) -> None:
    site.release("4.17.1", _K1)
    site.release("4.17.2", _K2)
    site.run("discover", "--source", "ocp")
    _, plan = site.json("plan", "--group", "ocp-1")
    assert [(cell["kernel"], cell["action"]) for cell in plan["cells"]] == [(_K1, "build")]
    _, plan = site.json("plan", "--group", "ocp")
    assert len(plan["cells"]) == 4
    site.edit(groups={"few": {"source": "debian", "releases": ["4.17.*"]}}, default_group="few")
    code, _, err = site.run("plan")
    assert (code, "source 'debian' has no releases" in err) == (3, True)


def test_a_plan_says_why_a_kernel_has_no_toolkit(site: Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    site.release("4.17.2", "5.14.0-427.52.1.el9_4.x86_64", toolkit=False)
    site.run("discover", "--source", "ocp")
    code, plan = site.json("plan", "--group", "ocp", "--variant", "standard")
    cells = {cell["kernel"]: (cell["action"], cell["reason"], cell["explanation"]) for cell in plan["cells"]}
    assert code == 0
    assert cells[_K2][:2] == ("refuse", "no-toolkit")
    assert f"release 4.17.1 runs it, but brings a toolkit for {_K1}" in cells[_K2][2]
    assert "release 4.17.2 brings none for rhel-coreos" in cells["5.14.0-427.52.1.el9_4.x86_64"][2]
