"""What headers make of a name: real lines, as grep prints them, and what only looks alike."""

from __future__ import annotations

import pytest

from builder.kmod.header_forms import find_forms


@pytest.mark.parametrize(
    ("printed", "form"),
    [
        ("include/linux/a.h:7:#define f(x) g(x)", "a macro in include/linux/a.h"),
        ("include/linux/a.h:7: #  define f g", "a macro in include/linux/a.h"),
        ("include/linux/a.h:7:static inline int f(void)", "an inline function in include/linux/a.h"),
        ("./include/linux/a.h:7:static __always_inline void *f (int x,", "an inline function in include/linux/a.h"),
        (
            "include/a-1-b.h-6-static inline struct x *\ninclude/a-1-b.h:7:f(int x)",
            "an inline function in include/a-1-b.h",
        ),
        ("include/linux/a.h:7:extern int f(int x);", ""),
        ("include/linux/a.h:7:int f(int x,", ""),
        ("include/linux/a.h:7:static inline int f(int x);", ""),
        ("include/linux/a.h:7:static inline int g(void) { return f(1); }", ""),
        ("include/linux/a.h:7:\treturn f(1);", ""),
        ("include/linux/a.h-6-static inline void g(void) {}\ninclude/linux/a.h:7:int f(int x)", ""),
        ("include/linux/a.h-6-static inline void g(void);\n--\ninclude/linux/b.h:7:int f(int x)", ""),
        ("include/linux/a.h:7:#define ff(x) f(x)", ""),
        ("include/linux/a.h:7:#undef f", ""),
        ("no line of grep", ""),
        ("include/linux/a.h:x:#define f(x)", ""),
        ("", ""),
    ],
)
def test_forms(printed: str, form: str) -> None:
    assert find_forms(f"{printed}\n", ["f", "h"]) == ({"f": form} if form else {})


def test_the_first_form_counts_and_names_that_nobody_asked_for_do_not() -> None:
    printed = "a.h:1:#define f 1\nb.h:2:static inline int f(void)\nc.h:3:#define g 2\n"
    assert find_forms(printed, ["f"]) == {"f": "a macro in a.h"}
