"""Images that versions.yaml names: by tag or digest, by repository, by the beginning of either. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from builder.config.model.declaration import complain, form
from builder.errors import FormatError
from builder.pullspec import find_host_problem, find_repository_problem, parse_pullspec


def _check_image(text: str) -> str:
    try:
        parse_pullspec(text)
    except FormatError as error:
        raise complain(error.message) from None
    if problem := find_host_problem(text):
        raise complain(f"{text!r} is not a full image name such as quay.io/org/name@sha256:...: {problem}")
    return text


def _check_pinned_image(text: str) -> str:
    if not parse_pullspec(_check_image(text)).is_pinned:
        raise complain(f"{text!r} must name the image by digest: {text.partition('@')[0]}@sha256:...")
    return text


def _check_repository(text: str) -> str:
    if problem := find_repository_problem(text):
        raise complain(problem)
    if f"{text}/".startswith("localhost/kmodsmith/"):
        raise complain(f"{text!r}: names below localhost/kmodsmith/ are kmodsmith's own, and prune removes them")
    return text


def _check_image_prefix(text: str) -> str:
    host = text.partition("/")[0]
    if problem := find_host_problem(f"{host}/"):
        raise complain(f"{text!r} must begin with a registry's host, such as quay.io: {problem}")
    _check_image(f"{text}:tag" if "/" in text else f"{text}/name:tag")
    if host != host.lower():
        raise complain(f"{text!r} would never be found: write {host.lower()}{text.removeprefix(host)}")
    return text


Pullspec = Annotated[str, AfterValidator(_check_image)]
PinnedImage = Annotated[
    str,
    form(
        r"^\S+@sha256:[0-9a-f]{64}$",
        "an image by its digest, quay.io/organisation/base@sha256:...; 'skopeo inspect' tells it",
    ),
    AfterValidator(_check_pinned_image),
]
Repository = Annotated[str, AfterValidator(_check_repository)]
ImagePrefix = Annotated[
    str,
    form(
        r"^[a-zA-Z0-9.-]+(:\d+)?(/[a-z0-9._/-]*[a-z0-9])?$",
        "a registry, or a registry and the beginning of a repository, such as quay.io/organisation",
    ),
    AfterValidator(_check_image_prefix),
]
