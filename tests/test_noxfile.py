"""The front door makes a machine ready before it runs what needs that: read, not run."""

from __future__ import annotations

import ast
from pathlib import Path

_TREE = ast.parse((Path(__file__).parents[1] / "noxfile.py").read_text())
# Sessions that run programs of the machine, and what they ask the doctor for.
_READY = {
    "build": (),
    "shard": (),
    "boot": ("--boot",),
    "nightly": (),
    "tests": ("--tests",),
    "e2e": ("--e2e", "--tests"),
    "bench": ("--tests",),
    "vendors": ("--tests",),
}
# Those that read and tell, work on what a build left, or make an environment of Python packages only.
_WITHOUT = {
    "init", "plan", "gate", "follow", "discover", "matrix", "upgrade_check", "publish", "audit", "verify", "certify", "checklist", "bundle",
    "emit", "lint_kmm", "lint_operator",
    "doctor", "log", "site", "fit", "sign", "keys", "compat", "drift", "schema", "explain", "prune", "lint", "lock", "stubs", "fuzz",
}  # fmt: skip


def _sessions() -> dict[str, ast.FunctionDef]:
    return {
        node.name: node
        for node in _TREE.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(item).startswith("nox.session") for item in node.decorator_list)
    }


def _calls(session: ast.FunctionDef, *names: str) -> list[ast.Call]:
    calls = [node for node in ast.walk(session) if isinstance(node, ast.Call) and ast.unparse(node.func) in names]
    return sorted(calls, key=lambda call: call.lineno)


def test_every_session_that_runs_real_tools_makes_the_machine_ready_for_them() -> None:
    asked = {
        name: tuple(ast.literal_eval(option) for call in calls for option in call.args[1:])
        for name, session in _sessions().items()
        if (calls := _calls(session, "_make_ready"))
    }
    assert asked == _READY
    assert _sessions().keys() - asked.keys() == _WITHOUT, "a new session is in one of the two"


def test_the_machine_is_ready_before_anything_else_is_run() -> None:
    for name in _READY:
        session = _sessions()[name]
        assert len(_calls(session, "_make_ready")) == 1
        first = _calls(session, "_builder", "session.run")[0]
        assert _calls(session, "_make_ready")[0].lineno < first.lineno, name


def test_getting_ready_installs_and_takes_the_options() -> None:
    ready = next(node for node in _TREE.body if isinstance(node, ast.FunctionDef) and node.name == "_make_ready")
    (call,) = _calls(ready, "session.run")
    words = [ast.unparse(word) for word in call.args]
    assert words[-4:] == ["'doctor'", "'--install'", "'--quiet'", "*options"]
