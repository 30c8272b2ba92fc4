"""What people see of a command's words: ``***`` in place of passwords and tokens. Pure.

Words are masked before they are quoted for display: a value ends where its word ends, whatever is in it. Inside of a
word there may be a shell's command, JSON in that, and a URL in the JSON, each with quotes of its own. Where a secret
ends there cannot be known for sure, so all that follows the first name of a secret is hidden: rather too much than half
a password shown. Each character is looked at a few times only: a pull request's build arguments come here, too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MASK = "***"
# A name as options, variables, headers and JSON have it; taken whole, so that none is looked at from its middle again.
_NAME = re.compile(r"[\w.[\]-]+")
_OF_SECRET = re.compile(r"(?i)pass(?:word|phrase|wd)|secret|token|cred(?:s|ential)|api[_-]?key|pin[_-]value")
# Short words, which others have within them: --pin, OIDC_AUTH, Proxy-Authorization.
_SHORT = re.compile(r"(?i)(?:.*[_.-])?(?:auth|authorization|pin)")
# Between a name and its value: quotes that end the name, and "=", ":", the "," of a list, the ">" of XML ...
_SIGN = re.compile(r"(?i)[\"'\\\])}]*(?:\s*(?:[=>]|%3[ad]|:(?=[\s\"'\\])[ ]?)|(?<=[\"'\])}])\s*[:,][ ]?)")
# ... or ":" at once, unless what looks like a name is the end of a path: localhost/usb-token:1.2, /run/auth:/auth ...
_COLON = re.compile(r":")
# ... or blanks: --password x, and netrc's "password x".
_BLANKS = re.compile(r"[\"'\\\])}]*\s")
# What can be the name of the next word: --password, tool/set-password.
_NAMING = re.compile(r"[\w./-]+")
_URL = re.compile(r":\\*/\\*/")
# The end of a user's name and password, and not of an image's: quay.io/a@sha256:...
_AT = re.compile(r"@(?![a-z0-9]{2,12}:[0-9a-f]{32})")


def mask_secrets(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a command without passwords and tokens: in options, variables, JSON, headers and URLs."""
    shown = []
    is_next = False
    for word in words:
        masked, awaits = _mask_word(word)
        shown.append(MASK if is_next else masked)
        # What is hidden names no secret itself, unless it is the next option: of --password-stdin --token x.
        is_next = awaits and (not is_next or word.startswith("-"))
    return tuple(shown)


def _mask_word(word: str) -> tuple[str, bool]:
    """Return a word as it is shown, and whether the next word is a secret because of it."""
    cut = _find_value(word)
    url = _find_user(word)
    awaits = cut == len(word)
    end = "" if cut is None or awaits else MASK
    if url is None or (cut is not None and cut <= url[0]):
        return word[:cut] + end, awaits
    first, last = url
    if cut is not None and cut <= last:  # in the middle of a password: what is behind it may go on with it
        return word[:first] + MASK, False
    return word[:first] + MASK + word[last:cut] + end, awaits


def _find_value(word: str) -> int | None:
    """Return where the first value of a secret begins; the end of the word where only a name is there."""
    for name in _NAME.finditer(word):
        is_short = _SHORT.fullmatch(name[0]) is not None
        if not is_short and _OF_SECRET.search(name[0]) is None:
            continue
        is_path = word[name.start() - 1 : name.start()] == "/"
        takes_blanks = not is_short or name[0].startswith("-")
        # Blanks come first: a "=" behind them may be the secret's own.
        signs = [*([_BLANKS] if takes_blanks else []), _SIGN, *([] if is_path else [_COLON])]
        if found := next(filter(None, (sign.match(word, name.end()) for sign in signs)), None):
            return found.end()
        if takes_blanks and name.end() == len(word) and _NAMING.fullmatch(word):
            return len(word)
    return None


def _find_user(word: str) -> tuple[int, int] | None:
    """Return where the user and password of a URL begin and end.

    A password may hold anything, so it is taken to go from the first address to the last ``@``.
    """
    start = _URL.search(word)
    if start is None:
        return None
    ends = [found.start() for found in _AT.finditer(word, start.end())]
    if not ends:
        return None
    span = word[start.end() : ends[-1]]
    is_path = ":" not in span and any(sign in span for sign in "/?#")
    return None if is_path else (start.end(), ends[-1])
