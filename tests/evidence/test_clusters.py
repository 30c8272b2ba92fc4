"""Failures of many cells, once per cause."""

from __future__ import annotations

import pytest

from builder.errors import Failure, FailureClass
from builder.evidence.clusters import Cluster, cluster


def _failure(detail: str, code: str = "compiler-error", failure_class: FailureClass = FailureClass.COMPILE) -> Failure:
    return Failure(failure_class=failure_class, code=code, detail=detail)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "make: *** /lib/modules/6.1.0-56-amd64/build: No such file or directory.  Stop.",
            "make: *** /lib/modules/5.14.0-427.68.1.el9_4.x86_64+rt/build: No such file or directory.  Stop.",
        ),
        (
            "/usr/src/linux-headers-6.1.0-56-common/include/linux/a.h:10:1: error: x",
            "/usr/src/linux-headers-6.12.117+deb12-common/include/linux/a.h:99:2: error: x",
        ),
        ("/tmp/ccAb12.s: Fatal error: x", "/tmp/ccZz99.s: Fatal error: x"),
        ("/tmp/build-1/src/a.c:3:1: error: x", "/tmp/build-2/src/a.c:3:1: error: x"),
        ("bug at 0xffff0012", "bug at 0xffff0aaa"),
        ('ERROR: modpost: "f" [/work/3/x.ko] undefined!', 'ERROR: modpost: "f" [/work/14/x.ko] undefined!'),
        ("make[1]: *** No rule to make target 'x'", "make[2]: *** No rule to make target 'x'"),
        ("package linux-headers-6.1.0-56-amd64 is gone", "package linux-headers-6.12.117+deb12-rt-arm64 is gone"),
        ("package linux-kbuild-6.1 is gone", "package linux-kbuild-6.12 is gone"),
        ("/var/tmp/buildah123/x: read-only", "/var/tmp/buildah456/x: read-only"),
        ("layer 0123456789ab is damaged", f"layer {'fedc' * 16} is damaged"),
        ("ld: cannot open demo.o.77", "ld: cannot open demo.o.78"),
        (
            "/usr/src/kernels/5.14.0-427.68.1.el9_4.x86_64/include/a.h:9:1: error: x",
            "/usr/src/kernels/5.14.0-570.el9.x86_64/include/a.h:12: error: x",
        ),
    ],
)
def test_same_cause_on_two_kernels(one: str, other: str) -> None:
    assert [each.cells for each in cluster({"b": _failure(one), "a": _failure(other)})] == [("a", "b")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_failure("/build/src/a.c:3:1: error: x"), _failure("/build/src/a.c:4:1: error: x")),
        (_failure("/build/src/a.c:3:1: error: x"), _failure("/build/src/b.c:3:1: error: x")),
        (_failure("/build/drv-1.2/a.c:3:1: error: x"), _failure("/build/drv-1.2/a.c:8:1: error: x")),
        (_failure("x"), _failure("x", code="unknown")),
        (_failure("x"), _failure("x", failure_class=FailureClass.TOOLKIT)),
        (_failure("error: too few arguments, expected 2"), _failure("error: too few arguments, expected 3")),
        (_failure("linux-image-a is gone"), _failure("linux-headers-a is gone")),
    ],
)
def test_different_causes_stay_apart(one: Failure, other: Failure) -> None:
    assert [each.count for each in cluster({"a": one, "b": other})] == [1, 1]


def test_clusters_are_sorted_by_count_then_name() -> None:
    failures = {
        "d/9": _failure("z"),
        "d/1": _failure("y"),
        "d/2": _failure("z"),
        "d/3": _failure("a", "api-arity"),
    }
    assert cluster(failures) == [
        Cluster(failure=failures["d/2"], cells=("d/2", "d/9")),
        Cluster(failure=failures["d/3"], cells=("d/3",)),
        Cluster(failure=failures["d/1"], cells=("d/1",)),
    ]


def test_no_failures_no_clusters() -> None:
    assert cluster({}) == []
