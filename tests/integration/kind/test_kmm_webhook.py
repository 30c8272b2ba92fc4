"""The verdicts of ``lint kmm``, held against KMM's own webhook before the real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.kmm import change_module, good_module

from builder.emit.kmm.version import Flavour, KmmVersion
from integration.kind.client import Client, Refused
from integration.kind.kmm import installed, pinned_crds, serve_webhook
from integration.kind.verdicts import compare, have_namespaces, mutations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.kind.api_server import ApiServer


pytestmark = pytest.mark.kind
# The webhook's commit is of a year before 2.4.z, the oldest release that lint knows. 2.4 has other rules for tolerations, and
# made moduleLoader optional; their sources say the same as lint.
_CHANGED_SINCE = {
    "spec/moduleLoader = Ellipsis", "spec/moduleLoader gone", "spec/moduleLoader null", "spec gone", "spec null", "spec = Ellipsis", "spec = None",
    *(f"spec/tolerations/0/{name} {what}" for name in ("key", "operator") for what in ("gone", "null", "''")),
}  # fmt: skip


@pytest.fixture(scope="module")
def webhook(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """KMM's CRDs and its own webhook, both of the commit that programs/kmm/go.mod pins."""
    have_namespaces(api_server.client)
    folder = tmp_path_factory.mktemp("webhook")
    with installed(api_server.client, pinned_crds()), serve_webhook(api_server, folder):
        yield api_server.client


def test_a_good_module_passes_the_webhook(webhook: Client) -> None:
    webhook.create(good_module(), dry_run=True)
    with pytest.raises(Refused, match="admission webhook .* denied the request: .*regexp or literal must be set"):
        webhook.create(change_module("spec/moduleLoader/container/kernelMappings/0/literal", ...), dry_run=True)


def test_what_the_webhook_refuses_lint_calls_a_mistake(webhook: Client) -> None:
    wrong = compare(webhook, mutations(), (KmmVersion.V2_4, Flavour.OPENSHIFT), differ=_CHANGED_SINCE)
    assert not wrong, "\n".join(wrong)
