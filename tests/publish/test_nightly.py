"""Verb nightly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakes.site import Site


_K1 = "5.14.0-427.50.1.el9_4.x86_64"


_K2 = "5.14.0-427.51.1.el9_4.x86_64"


def test_nightly_does_nothing_when_nothing_changed_and_tells_of_sources_that_failed(site: Site) -> None:
    site.release("4.17.1", _K1, node=_K2)
    site.edit(sources={"ocp": {"provider": "openshift", "channels": ["fast-4.17"], "graph": "{channel}_{arch}.json"}}, groups={"few": {"source": "ocp", "variants": ["standard"]}})  # fmt: skip
    code, report = site.json("nightly")
    assert (code, report["cells"], report["run"]) == (10, {"refused": 1}, "")
    assert json.loads((site.folder / ".kmodsmith" / "nightly.json").read_text())["cells"] == {"refused": 1}
    assert report["freshness"] == [
        {"cell": f"demo-1.2.0/{_K2}", "kernel": _K2, "seen": "", "ready": "", "hours": None}
    ]  # fmt: skip
    code, report = site.json("nightly")
    assert (report["discovery"]["changes"], report["discovery"]["bytes_read"]) == ([], 0)
    site.edit(exclude=[{"kernel": "*", "reason": "none"}])
    (site.folder / "fast-4.17_amd64.json").unlink()
    code, out, err = site.run("nightly")
    assert (code, "1 excluded" in out, "cannot be read" in err) == (7, True, True)
