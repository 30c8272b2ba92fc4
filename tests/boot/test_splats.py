"""What in a kernel's log is a complaint, and whose."""

from __future__ import annotations

import pytest

from builder.boot.splats import Splat, SplatKind, find_splats

_KINDS = {
    SplatKind.PANIC: [
        "Kernel panic - not syncing: Fatal exception",
        "---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009 ]---",
    ],
    SplatKind.OOPS: [
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "BUG: unable to handle page fault for address: ffffffffc0000000",
        "BUG: stack guard page was hit at 000000007b5a1b2c (stack is 00000000a..00000000b)",
        "BUG: TASK stack guard page was hit at 000000007b5a1b2c (stack is 00000000a..00000000b)",
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000",
        "Internal error: Oops: 0000000096000045 [#1] SMP",
        "Insufficient stack space to handle exception!",
        "kernel stack overflow (double-fault): 0000 [#1] PREEMPT SMP",
        "kernel BUG at mm/slub.c:448!",
        "Oops: 0002 [#1] PREEMPT SMP NOPTI",
        "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
        "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
        "general protection fault: 0000 [#1] SMP NOPTI",
        "invalid opcode: 0000 [#1] SMP NOPTI",
        "divide error: 0000 [#1] PREEMPT SMP",
        "stack segment: 0000 [#2] SMP",
        "double fault: 0000 [#1] SMP",
        "alignment check: 0000 [#1] SMP",
    ],
    SplatKind.MEMORY: [
        "BUG: KASAN: slab-use-after-free in char_read+0x1/0x2",
        "BUG: KFENCE: out-of-bounds read in char_read+0x1/0x2",
        "UBSAN: array-index-out-of-bounds in x.c:1:2",
        "refcount_t: underflow; use-after-free.",
        "list_add corruption. next->prev should be prev (0), but was 1. (next=2).",
        "list_del corruption. prev->next should be x, but was y",
        "BUG kmalloc-64 (Tainted: G OE): Redzone overwritten",
        "BUG kmalloc-64 (Tainted: G           OE      6.1.0-56-amd64): Right Redzone overwritten",
        "BUG :0000128 (Not tainted): Wrong object count. Counter is 1 but counted were 2",
        "BUG my cache (Tainted: [O]=OOT_MODULE, [E]=UNSIGNED_MODULE): Objects remaining on __kmem_cache_shutdown()",
        "kmem_cache_destroy my_cache: Objects remaining in my_cache on __kmem_cache_shutdown()",
        "usercopy: Kernel memory exposure attempt detected from SLUB object 'a' (offset 0, size 9)!",
        "detected buffer overflow in strcpy",
        "memcpy: detected buffer overflow: 4 byte write of buffer size 3",
        "BUG: Bad page state in process insmod  pfn:01234",
        "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    ],
    SplatKind.LOCKS: [
        "WARNING: possible circular locking dependency detected",
        "WARNING: possible recursive locking detected",
        "WARNING: inconsistent lock state",
        "WARNING: suspicious RCU usage",
        "WARNING: bad unlock balance detected!",
        "WARNING: held lock freed!",
        "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
        "INFO: trying to register non-static key.",
        "DEBUG_LOCKS_WARN_ON(lock->magic != lock)",
        "BUG: sleeping function called from invalid context at x.c:1",
        "BUG: scheduling while atomic: insmod/77/0x00000002",
        "[ BUG: Invalid wait context ]",
        "BUG: spinlock bad magic on CPU#0, insmod/77",
        "BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/77",
    ],
    SplatKind.HUNG: [
        "INFO: task dd:77 blocked for more than 120 seconds.",
        "INFO: task my thread:77 blocked for more than 120 seconds.",
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        "INFO: rcu_sched detected stalls on CPUs/tasks:",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:77]",
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 32s!",
    ],
    SplatKind.WARNING: [
        "WARNING: CPU: 0 PID: 1 at mm/slub.c:1 kfree+0x1/0x2",
        "BUG: using smp_processor_id() in preemptible [00000000] code: insmod/77",
        "sysfs: cannot create duplicate filename '/class/x'",
        "kobject_add_internal failed for x with -EEXIST, don't try to register things with the same name",
        "kobject: kobject_add_internal failed for x (error: -2 parent: y)",
    ],
    SplatKind.TRACE: ["Call Trace:", "Call trace:"],
}


@pytest.mark.parametrize(("kind", "line"), [(kind, line) for kind, lines in _KINDS.items() for line in lines])
def test_kinds_of_complaints(kind: SplatKind, line: str) -> None:
    assert [(splat.kind, splat.headline) for splat in find_splats([line])] == [(kind, line)]


@pytest.mark.parametrize(
    "line",
    [
        "x86/mm: Checked W+X mappings: passed, no W+X pages found.",
        "ptemplate_char: 5 devices of 100 bytes",
        "bad: loading out-of-tree module taints kernel.",
        "random: crng init done",
        "ACPI: no BUG here",
        "vendor: BUG report (Tainted data) goes to support@example.com",
        "traps: prog[77] general protection fault ip:7f00 sp:7ffd error:0 in libc.so.6[7f00+1000]",
        "prog[77]: segfault at 0 ip 0000000000401136 sp 00007ffd error 6 in prog[401000+1000]",
        "traps: prog[77] trap invalid opcode ip:401136 sp:7ffd error:0 in prog[401000+1000]",
    ],
)
def test_ordinary_messages_are_no_complaints(line: str) -> None:
    assert find_splats([line]) == []


def test_a_trace_belongs_to_the_complaint_above_it_and_the_next_one_counts() -> None:
    splats = find_splats(
        [
            "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2", "Call Trace:", " g+0x3/0x4 [mine]",
            "---[ end trace 0000000000000000 ]---", "Call Trace:",
        ]
    )  # fmt: skip
    assert [(splat.kind, splat.place) for splat in splats] == [
        (SplatKind.WARNING, "g+0x3/0x4 [mine]"),
        (SplatKind.TRACE, ""),
    ]


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["RIP: 0010:bad_init+0x10/0xff0 [bad]", " other+0x1/0x2 [mine]"], "bad_init+0x10/0xff0 [bad]"),
        (["pc : bad_init+0x10/0xff0 [bad]"], "bad_init+0x10/0xff0 [bad]"),
        (["RIP: 0010:memcpy+0x1/0x2", " vfs_write+0x1/0x2", " bad_write+0x3/0x4 [bad]"], "bad_write+0x3/0x4 [bad]"),
        (["RIP: 0010:memcpy+0x1/0x2", " ? bad_write+0x3/0x4 [bad]"], "memcpy+0x1/0x2"),
        (["RIP: 0010:memcpy+0x1/0x2", " one+0x1/0x2 [a]", " two+0x3/0x4 [b]"], "one+0x1/0x2 [a]"),
        (["RIP: 0010:first+0x1/0x2", "RIP: 0033:0x7f0012345678"], "first+0x1/0x2"),
        (["Modules linked in: bad(OE+)"], ""),
    ],
    ids=["in a module", "arm64", "in a helper", "a guess", "two modules", "user space", "nowhere"],
)
def test_a_bug_in_a_helper_of_the_kernel_is_the_fault_of_the_module_that_called_it(
    lines: list[str], place: str
) -> None:
    (splat,) = find_splats(["Oops: 0002 [#1]", *lines])
    assert splat.place == place


def test_a_reference_count_names_whose_it_is() -> None:
    """Seen with xtrx of Debian: the warning below only says that the counter's own code noticed."""
    warning = "WARNING: CPU: 0 PID: 133 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110"
    lines = [
        "refcount_t: underflow; use-after-free.", warning, "RIP: 0010:refcount_warn_saturate+0xba/0x110", "Call Trace:",
        " xtrx_cleanup+0x2d/0xd14 [xtrx]", "---[ end trace 0000000000000000 ]---",
    ]  # fmt: skip
    assert find_splats(lines) == [
        Splat(kind=SplatKind.MEMORY, headline=lines[0], place="xtrx_cleanup+0x2d/0xd14 [xtrx]")
    ]
    assert [splat.kind for splat in find_splats([lines[0], "x", warning])] == [SplatKind.MEMORY, SplatKind.WARNING]
    assert [splat.kind for splat in find_splats([*lines[:2], warning])] == [SplatKind.MEMORY, SplatKind.WARNING]


def test_lines_of_one_kind_are_one_complaint_and_warnings_are_one_each() -> None:
    oops = ["BUG: unable to handle page fault for address: 0", "Oops: 0002 [#1] SMP", "Kernel panic - not syncing: x"]
    assert [splat.kind for splat in find_splats(oops)] == [SplatKind.OOPS, SplatKind.PANIC]
    warning = "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2"
    assert len(find_splats([warning, "Call Trace:", warning])) == 2


def test_a_complaint_without_an_end_does_not_hide_what_comes_long_after_it() -> None:
    lines = ["Oops: 0002 [#1]", *([" f+0x1/0x2"] * 300), "Oops: 0002 [#2]", "x" * 999]
    assert [splat.headline for splat in find_splats(lines)] == ["Oops: 0002 [#1]", "Oops: 0002 [#2]"]


def test_an_endless_headline_is_cut() -> None:
    assert [len(splat.headline) for splat in find_splats(["WARNING: " + "x" * 999])] == [300]


@pytest.mark.parametrize(
    "task", ["task:insmod          state:D stack:0     pid:77", "insmod          D    0    77     76 0x00000000"]
)
def test_traces_of_tasks_are_complaints_unless_the_kernel_was_asked(task: str) -> None:
    asked = "sysrq: Show Blocked State"
    worker = "Workqueue: kacpi_hotplug acpi_hotplug_work_fn"
    assert find_splats([asked, task, worker, "Call Trace:", " schedule+0x1/0x2"]) == []
    assert [splat.kind for splat in find_splats([asked, worker, "Call Trace:"])] == [SplatKind.TRACE]
    assert find_splats([asked, task, "Call Trace:", " schedule+0x1/0x2"]) == []
    assert [splat.kind for splat in find_splats([task, "Call Trace:"])] == [SplatKind.TRACE]
    assert [splat.kind for splat in find_splats([asked, "Call Trace:"])] == [SplatKind.TRACE]
    assert [splat.kind for splat in find_splats([asked, task, "Oops: 0002 [#1]"])] == [SplatKind.OOPS]
