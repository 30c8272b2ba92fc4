"""The verb certify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.certify.bundle_files import need_whole, read_bundle_folder
from builder.certify.policies import CONTAINER_POLICIES, Policy
from builder.certify.subjects import certify_built, certify_named, certify_published
from builder.certify.submission import emit_certification_json, make_submission
from builder.errors import EXIT_NOT_CERTIFIABLE, EXIT_NOTHING_TO_JUDGE, UsageError
from builder.host.places import write_below
from builder.show.certification import emit_certification_summary, emit_certifications
from builder.verbs.options import COMPONENT_OPTION, choose_components, make_selector, with_selectors
from builder.verbs.session import show_progress

if TYPE_CHECKING:
    from builder.certify.subjects import Certified
    from builder.verbs.session import Session

_SELECTORS = ("group", "drivers", "kernels", "arches", "variants")
_DEFAULT_FOLDER = Path("deploy/certification")


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="A bundle that is not an image yet, such as deploy/operator/bundle; repeatable.",
)
@click.option(
    "--policy",
    type=click.Choice([str(policy) for policy in CONTAINER_POLICIES]),
    help="The policy of the certification project. Default: the one that each image can be certified by.",
)
@click.option("--published", is_flag=True, help="Judge images as their registries have them, by digest.")
@with_selectors
@COMPONENT_OPTION
@click.option("--plain-http", is_flag=True, help="Speak to the registry of docker://... without TLS.")
@click.option(
    "--write",
    is_flag=False,
    flag_value=str(_DEFAULT_FOLDER),
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help=f"Write what partners submit; without FOLDER, to {_DEFAULT_FOLDER}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every check as JSON.")
@click.pass_obj
def certify(session: Session, /, *, images: tuple[str, ...], write: Path | None, as_json: bool, **options: Any) -> int:
    """What would Red Hat's preflight say of IMAGE? Offline: each check with the condition that its source has.

    IMAGE is a name in the container store, oci:FOLDER, or docker://NAME of a registry; an image of a bundle is judged
    by the operator policy. Without IMAGE, all that is built of the project: cells and component images.

    What only Red Hat or a cluster can tell is not-judged, and never passed: BasedOnUbi asks Red Hat's catalogue,
    DeployableByOLM a cluster. --write writes certification.json, submit.sh with a command for each image that would
    pass, and of each bundle the pull request for certified-operators.

    Exit codes: 0 nothing that is judged is refused, 21 something is, 19 there is nothing to judge, 7 no answer.

    \b
    certify localhost/ptemplate:1.0.0-6.12.117_deb12-amd64
    certify docker://quay.io/mycompany/mydriver@sha256:... --policy root
    certify --driver mydriver --published --write
    certify --bundle deploy/operator/bundle
    """
    bundles: tuple[Path, ...] = options.pop("bundles")
    certified = _certify(session, images, bundles, options)
    items = certified.certifications
    if write is not None:
        files = make_submission(items, [need_whole(read_bundle_folder(folder)) for folder in bundles])
        for name, content in files.items():
            write_below(write, name, content)
        session.err.print(f"written to {write}: {', '.join(files)}", markup=False, soft_wrap=True)
    if as_json:
        session.out.file.write(emit_certification_json(items, certified.left_out))
    else:
        session.out.print(emit_certifications(items, certified.left_out))
        session.out.print(emit_certification_summary(items), markup=False, soft_wrap=True)
    if not items:
        return EXIT_NOTHING_TO_JUDGE
    return EXIT_NOT_CERTIFIABLE if any(item.is_refused for item in items) else 0


def _certify(
    session: Session, images: tuple[str, ...], bundles: tuple[Path, ...], options: dict[str, Any]
) -> Certified:
    policy = Policy(options["policy"]) if options["policy"] else None
    components: tuple[str, ...] = options["components"]
    is_selection = options["published"] or components or any(options[name] for name in _SELECTORS)
    if images or bundles:
        if is_selection:
            raise UsageError("images that are named and a selection of the project's exclude each other")
        return certify_named(session.project, images, bundles, policy=policy, plain_http=options["plain_http"])
    with show_progress(session.err, "images judged") as progress:
        if options["published"]:
            if components:
                raise UsageError("--published is of cells; name a component's image: docker://NAME")
            return certify_published(session.project, make_selector(options), policy=policy, progress=progress)
        wanted = choose_components(session.project, options, components)
        selector = None if components else make_selector(options)
        return certify_built(session.project, selector, wanted, policy=policy, progress=progress)
