"""What registries have at this moment: what a tag stands for, which tags and referrers there are. Nothing is kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builder.digest import sha256_of
from builder.errors import FormatError, SourceError, SourceGoneError
from builder.foreign import Parsed, parse_json
from builder.registry.transport import READ_RIGHTS, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from builder.pullspec import Pullspec
    from builder.registry.transport import Transport

LARGEST_ANSWER = 4 * 1024**2
_MOST_PAGES = 1000
# How registries say, other than by 404, that they have no list of referrers.
_NO_REFERRERS = frozenset({400, 405, 501})
_NEXT = re.compile(r'<([^>]+)>; *rel="?next"?')


class Tags:
    """Asks registries, and no mirrors; safe to use from several threads.

    Args:
        transport: carries the requests.
        actions: the rights that tokens are asked for. Who writes asks for more than reading needs: a registry may let
            nobody but a writer look at a repository that does not exist yet.
    """

    def __init__(self, transport: Transport, *, actions: str = READ_RIGHTS) -> None:
        self._transport = transport
        self._actions = actions

    def resolve(self, name: Pullspec) -> str | None:
        """Return the digest that a tag stands for now; None only if the registry says that there is no such tag.

        Raises:
            SourceError: refused, or no answer: then nothing is known about the tag.
        """
        content = self.read_manifest(name)
        return None if content is None else sha256_of(content)

    def read_manifest(self, name: Pullspec) -> bytes | None:
        """Return what a tag stands for now; None and errors are those of ``resolve``."""

        def read(answer: httpx.Response) -> bytes:
            return self._transport.read_body(answer, LARGEST_ANSWER, str(name))

        request = Request(actions=self._actions)
        try:
            return self._transport.exchange_often(name, f"manifests/{name.reference}", read, request)
        except SourceGoneError:
            return None

    def has_blob(self, name: Pullspec, digest: str) -> bool:
        """Tell whether a repository has a blob. Errors are those of ``resolve``."""
        return self._transport.retrying(lambda: self.ask_for_blob(name, digest))

    def ask_for_blob(self, name: Pullspec, digest: str) -> bool:
        """Do ``has_blob`` with one try, for who tries again himself."""
        try:
            self._transport.exchange(
                name, f"blobs/{digest}", lambda _: None, Request(method="HEAD", actions=self._actions)
            )
        except SourceGoneError:
            return False
        return True

    def read_referrers(self, image: Pullspec) -> list[bytes] | None:
        """Return the registry's own lists of what refers to an image, page by page; None if it has no such lists.

        Errors are those of ``resolve``.
        """
        pages: list[bytes] = []
        path, accepted = f"referrers/{image.reference}", _NO_REFERRERS | {200}
        try:
            for content in self._pages(image, path, "referrers", accepted):
                if content is None:
                    return None
                pages.append(content)
        except SourceGoneError:
            return pages or None
        return pages

    def list_tags(self, name: Pullspec) -> list[str]:
        """Return all tags of a repository; empty if there is no such repository. Errors are those of ``resolve``."""
        try:
            pages = [*self._pages(name, "tags/list?n=1000", "tags", frozenset({200}))]
        except SourceGoneError:
            return []
        return [tag for content in pages for tag in _parse_tags(content or b"", name)]

    def _pages(self, name: Pullspec, path: str, what: str, accepted: frozenset[int]) -> Iterator[bytes | None]:
        """Yield the pages of a list (distribution-spec, "Listing Tags", Link); None: the registry has no such lists."""

        def read(answer: httpx.Response) -> tuple[bytes | None, str]:
            if answer.status_code in _NO_REFERRERS:
                return None, ""
            content = self._transport.read_body(answer, LARGEST_ANSWER, f"{name} ({what})")
            return content, str(answer.headers.get("Link", ""))

        request = Request(actions=self._actions, accepted=accepted)
        for _ in range(_MOST_PAGES):
            content, link = self._transport.exchange_often(name, path, read, request)
            yield content
            if (following := _NEXT.match(link)) is None:
                return
            path = following[1]
        raise SourceError(f"{name}: its list of {what} has no end")


class _Tags(Parsed):
    tags: list[str] | None


def _parse_tags(content: bytes, name: Pullspec) -> list[str]:
    try:
        return parse_json(_Tags, content, "list of tags").tags or []
    except FormatError as error:
        raise SourceError(f"{name}: what the registry answers is wrong: {error.message}") from None
