"""What QEMU tells of the items that firmware selects."""

from __future__ import annotations

import pytest

from builder.boot.fw_cfg import Selections, choose_point


def _line(item: int) -> bytes:
    return b"fw_cfg_select 0x562b39794d80 key 0x%04x 'a name', ret: 1\n" % item


def test_selections_are_told_apart_from_all_else() -> None:
    heard = Selections()
    text = (
        _line(0) + b"qemu: warning\nfw_cfg_read 0x56 = 0x41\n" + b"2087@1795806238.198:" + _line(0x19) + b"fw_cfg_sel"
    )
    for place in range(0, len(text), 7):
        heard.feed(text[place : place + 7], float(place))
    assert len(heard.seconds) == 2
    assert heard.seconds == sorted(heard.seconds)
    assert not heard.has_seen_guest


@pytest.mark.parametrize("item", [0x07, 0x08, 0x0A, 0x0B, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18])
def test_a_kernel_is_noticed_however_it_is_asked_for(item: int) -> None:
    heard = Selections()
    heard.feed(_line(0x19), 1.0)
    heard.feed(_line(item) + _line(0x20), 2.0)
    assert heard.has_seen_guest
    assert heard.seconds == [1.0]


@pytest.mark.parametrize(
    ("name", "is_guest"), [("etc/boot/kernel", True), ("etc/boot/shim", True), ("etc/e820", False)]
)
def test_a_kernel_that_is_a_file_is_noticed(name: str, is_guest: bool) -> None:
    heard = Selections()
    heard.feed(f"fw_cfg_select 0x5 key 0x002a '{name}', ret: 1\n".encode(), 1.0)
    assert heard.has_seen_guest is is_guest


@pytest.mark.parametrize("item", [0x00, 0x01, 0x02, 0x05, 0x06, 0x0C, 0x0D, 0x0E, 0x0F, 0x19, 0x20, 0x7FFF, 0x8003])
def test_what_every_machine_has_is_no_kernel(item: int) -> None:
    heard = Selections()
    heard.feed(_line(item), 1.0)
    assert (heard.has_seen_guest, heard.seconds) == (False, [1.0])


def test_a_line_without_an_end_is_not_kept() -> None:
    heard = Selections()
    for _ in range(100):
        heard.feed(b"x" * 10_000, 0.0)
    assert len(heard._pending) <= 4096
    heard.feed(b"\n" + _line(0), 3.0)
    assert heard.seconds == [3.0]


@pytest.mark.parametrize(
    ("seconds", "point"),
    [
        ([], 0),
        ([1.0], 0),
        ([0.0, 0.4, 2.4, 2.6], 3),
        ([0.0, 0.0, 0.5, 0.5, 3.0], 5),
        ([0.0, 2.0, 4.0], 2),
    ],
)
def test_the_point_is_the_end_of_the_longest_silence(seconds: list[float], point: int) -> None:
    assert choose_point(seconds) == point
