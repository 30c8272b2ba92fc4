"""Regular expressions as KMM reads them: Go's regexp, which is RE2, searched anywhere in the kernel version. Pure."""

from __future__ import annotations

import re

import re2

from builder.errors import FormatError

# Go's syntax has no \C, one byte of UTF-8, which the C++ library takes; between \Q and \E nothing is syntax.
_QUOTED = re.compile(r"\\Q.*?(\\E|$)", re.DOTALL)
_ANY_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def compile_regexp(pattern: str) -> re2._Regexp[str]:
    """Compile a pattern.

    Raises:
        FormatError: RE2 does not take it: lookaround and backreferences exist in other languages only.
    """
    if _ANY_BYTE.search(_QUOTED.sub("", pattern)):
        raise FormatError(f"Go does not take {pattern!r}: \\C is RE2's alone")
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise FormatError(f"RE2 does not take {pattern!r}: {text}") from None


def matches(pattern: str, kernel: str) -> bool:
    """Tell whether KMM would take a pattern for a kernel (Go's MatchString: anywhere in it). Raises as above."""
    return compile_regexp(pattern).search(kernel) is not None
