"""The verb submit: host/cluster.py does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.config.yamlfile import read_yaml
from builder.errors import ConfigError
from builder.host.cluster import find_api_server
from builder.writing import emit_json

if TYPE_CHECKING:
    from builder.verbs.session import Session


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print what was started as JSON.")
@click.pass_obj
def submit(session: Session, /, *, file: Path, as_json: bool) -> None:
    """Start a pipeline: create the PipelineRun of a file on the cluster that this is a pod of.

    It is what the nightly's CronJob runs; people have 'kubectl create -f FILE'. Unknown fields are refused, not passed
    over. Exit codes: 0 it was created, 3 the file has mistakes, 6 this is no pod, 7 the cluster refuses or does not
    answer.

    \b
    submit pipelines/runs/build.yaml
    """
    document = read_yaml(file)
    if not isinstance(document.data, dict):
        raise ConfigError([document.mistake((), "must be a PipelineRun")])
    name = find_api_server().create(document.data)
    if as_json:
        session.out.file.write(emit_json({"format": 1, "run": name}))
    else:
        session.out.print(name, markup=False, soft_wrap=True)
