"""On which other kernels a module would load, and what changed between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.samples import FLAGS, KERNEL, PLACE, SYMVERS, Sample, make_facts

from builder.kmod.compat import Drift, DriverDrift, find_drift, judge
from builder.kmod.fit import place_modules

if TYPE_CHECKING:
    from builder.kmod.compat import Compatibility

_NEWER = "6.12.9+deb12-amd64"


def _judge(symvers: str = SYMVERS, flags: str = FLAGS, **changes: object) -> Compatibility:
    placed, _ = place_modules([(PLACE, Sample(**changes).write())])  # type: ignore[arg-type]
    return judge(placed, KERNEL, make_facts(_NEWER, symvers, flags))


def test_a_module_loads_where_nothing_that_it_uses_changed() -> None:
    found = _judge()
    assert (found.loads, found.compiled_for, found.kernel) == (True, KERNEL, _NEWER)


@pytest.mark.parametrize(
    ("old", "new", "changed", "missing"),
    [
        ("0x11111111\tkfree", "0x11111112\tkfree", ("kfree",), ()),
        ("0x11111111\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n", "", (), ("kfree",)),
        ("0x44444444\tusb_thing", "0x44444445\tusb_thing", (), ()),  # not used
    ],
)
def test_symbols_that_changed_or_are_gone_are_named(
    old: str, new: str, changed: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    assert old in SYMVERS
    found = _judge(SYMVERS.replace(old, new))
    assert (found.changed, found.missing, found.other) == (changed, missing, ())
    assert found.loads is not bool(changed or missing)


def test_other_obstacles_are_told_by_their_code() -> None:
    found = _judge(machine=183)
    assert (found.loads, found.other) == (False, ("wrong-machine",))
    assert _judge(flags="SMP preempt_rt mod_unload modversions ").other == ("wrong-vermagic-flags",)


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("0x11111111\tkfree", "0x11111112\tkfree", "type changed"),
        ("kfree\tvmlinux\tEXPORT_SYMBOL\t", "kfree\tvmlinux\tEXPORT_SYMBOL_GPL\t", "now for GPL-compatible modules only"),
        ("kfree\tvmlinux\tEXPORT_SYMBOL\t", "kfree\tvmlinux\tEXPORT_SYMBOL\tMM", "namespace none became MM"),
        ("kfree\tvmlinux", "kfree\tmm/slab", "moved from vmlinux to mm/slab"),
        ("0x11111111\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n", "", "no longer exported"),
    ],
)  # fmt: skip
def test_what_happened_to_a_symbol_that_is_used(old: str, new: str, change: str) -> None:
    placed, _ = place_modules([(PLACE, Sample().write())])
    before, after = make_facts(), make_facts(_NEWER, SYMVERS.replace(old, new))
    (drift,) = find_drift(placed, before, after)
    assert (drift.symbol, drift.change, drift.before) == ("kfree", change, "0x11111111")
    assert find_drift(placed, before, make_facts(_NEWER)) == []


def test_a_symbol_that_is_new_has_nothing_before() -> None:
    placed, _ = place_modules([(PLACE, Sample().write())])
    without = make_facts(KERNEL, SYMVERS.replace("0x11111111\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n", ""))
    (drift,) = find_drift(placed, without, make_facts(_NEWER))
    assert (drift.change, drift.before, drift.after) == ("newly exported", "", "0x11111111")


def test_removals_come_first_and_what_is_new_last() -> None:
    placed, _ = place_modules([(PLACE, Sample().write())])
    without = SYMVERS.replace("0x11111111\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n", "")
    assert without != SYMVERS
    changed = SYMVERS.replace("0x22222222\t_printk", "0x22222223\t_printk")
    before, after = make_facts(KERNEL, changed), make_facts(_NEWER, without)
    found = [(item.symbol, item.change) for item in find_drift(placed, before, after)]
    assert found == [("kfree", "no longer exported"), ("_printk", "type changed")], "though '_' sorts before 'k'"
    found = [(item.symbol, item.change) for item in find_drift(placed, after, before)]
    assert found == [("_printk", "type changed"), ("kfree", "newly exported")]


def test_what_became_of_a_symbol_is_news_only_where_the_headers_had_no_such_form_before() -> None:
    symbols = tuple(Drift(symbol=name, change="no longer exported", before="0x1", after="") for name in "abc")
    kept = Drift(symbol="d", change="type changed", before="0x1", after="0x2")
    found = DriverDrift(compiled_for="6.1", symbols=(*symbols, kept))
    assert found.gone == ("a", "b", "c")
    told = found.with_forms(
        {"b": "a macro in x.h"}, {"a": "a macro in x.h", "b": "a macro in x.h", "d": "a macro in x.h"}
    )
    assert [item.header for item in told.symbols] == ["a macro in x.h", "", "", ""]
