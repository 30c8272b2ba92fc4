"""The page beside emitted pipelines: their graph, what each part is, how they get onto a cluster. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.emit.tekton.material import TektonFacts

_Dict = dict[str, Any]

_PAGE = """\
# Pipelines

Written by `emit tekton` from `tekton:` of versions.yaml; change that, not these files. docs/tekton.md tells how a
cluster gets ready for them.

{graphs}
| Task | What it does |
|---|---|
{tasks}

```
kubectl apply --server-side -k {folder}              # on OpenShift: oc apply --server-side -k {folder}/openshift
kubectl create -f {folder}/runs/build.yaml
```

The registry's Secret is `{registry_secret}`{signing}, both in namespace `{namespace}`. The nightly begins at
`{schedule}` ({time_zone}).

`.tekton/` is for Pipelines-as-Code, with `{folder}/pipelines-as-code/repository.yaml`: a change is checked, what is
merged is built, a tag is a release.
"""


def emit_readme(facts: TektonFacts, tasks: Mapping[str, _Dict], pipelines: Mapping[str, _Dict], *, folder: str) -> str:
    """Return the page, in Markdown with pictures in Mermaid."""
    settings = facts.settings
    graphs = "\n".join(_graph(word, pipeline["spec"]) for word, pipeline in pipelines.items())
    rows = [f"| `{task['metadata']['name']}` | {task['spec']['description']} |" for task in tasks.values()]
    signing = f", that of the keys `{settings.signing_secret}`" if facts.has_keys else ""
    return _PAGE.format(
        graphs=graphs,
        tasks="\n".join(rows),
        folder=folder,
        registry_secret=settings.registry_secret,
        signing=signing,
        namespace=settings.namespace_name,
        schedule=settings.schedule,
        time_zone=settings.time_zone,
    )


def _graph(word: str, spec: _Dict) -> str:
    """Return a pipeline's picture: arrows are what waits for what, dotted ones lead to what runs in any case."""
    lines = [f"## {word}", "", spec["description"], "", "```mermaid", "flowchart LR"]
    tasks: Sequence[_Dict] = spec["tasks"]
    last: Sequence[_Dict] = spec.get("finally", [])
    for task in (*tasks, *last):
        times = " (0 to n)" if "matrix" in task else ""
        lines.append(f'  {_id(task)}["{task["name"]}{times}"]')
    before: set[str] = set()
    for task in tasks:
        waits = {*task.get("runAfter", []), *_read(task, [item["name"] for item in tasks])}
        before |= waits
        lines += [f"  {name.replace('-', '_')} --> {_id(task)}" for name in sorted(waits)]
    ends = [task for task in tasks if task["name"] not in before]
    lines += [f"  {_id(task)} -.-> {_id(item)}" for task in ends for item in last]
    return "\n".join([*lines, "```", ""])


def _id(task: _Dict) -> str:
    return str(task["name"]).replace("-", "_")


def _read(task: _Dict, names: Sequence[str]) -> set[str]:
    """Return the tasks whose results a task reads."""
    text = str({key: value for key, value in task.items() if key != "name"})
    return {name for name in names if f"$(tasks.{name}." in text}
