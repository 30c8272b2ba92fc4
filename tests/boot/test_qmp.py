"""What is said to QEMU's monitor, when, and what is made of its answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builder.boot.devices import DEVICES
from builder.boot.qmp import Conversation
from builder.errors import FormatError

_GREETING = b'{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n'


def _say(conversation: Conversation, **message: Any) -> None:
    conversation.take(json.dumps(message).encode() + b"\r\n")


def _asked(conversation: Conversation) -> tuple[str, dict[str, str], int]:
    asked = json.loads(conversation.next_line())
    return asked["execute"], asked["arguments"], asked["id"]


def _greeted() -> Conversation:
    """A conversation in which QEMU has been told to take the device away."""
    conversation = Conversation()
    conversation.take(_GREETING)
    conversation.unplug("edu")
    assert _asked(conversation) == ("qmp_capabilities", {}, 1)
    _say(conversation, id=1, **{"return": {}})
    assert _asked(conversation) == ("device_del", {"id": "edu"}, 2)
    return conversation


def test_a_device_comes_back_only_when_qemu_has_let_go_of_it() -> None:
    conversation = _greeted()
    assert conversation.waits_for == "answer device_del edu"
    conversation.plug(DEVICES["edu"].arguments)
    assert conversation.next_line() == b"", "one question at a time"
    _say(conversation, id=2, **{"return": {}})
    assert (conversation.next_line(), conversation.waits_for) == (b"", "let go of edu")
    for event in ({"event": "RESET"}, {"event": "DEVICE_DELETED", "data": {"device": "other", "path": "/x"}}):
        _say(conversation, **event)
        assert conversation.next_line() == b""
    _say(conversation, event="DEVICE_DELETED", data={"device": "edu", "path": "/x"}, timestamp={})
    assert conversation.waits_for == "carry out device_add edu"
    assert _asked(conversation) == ("device_add", {"driver": "edu", "id": "edu", "bus": "port-edu"}, 3)
    _say(conversation, id=3, **{"return": {}})
    assert conversation.waits_for == ""
    conversation.unplug("edu")
    conversation.plug(DEVICES["edu"].arguments)
    assert _asked(conversation)[0] == "device_del"
    _say(conversation, id=4, **{"return": {}})
    assert conversation.next_line() == b"", "that it let go before says nothing of this time"


def test_nothing_is_asked_before_the_greeting() -> None:
    conversation = Conversation()
    conversation.unplug("edu")
    assert conversation.next_line() == b""
    conversation.take(_GREETING[:9])
    assert conversation.next_line() == b""
    conversation.take(_GREETING[9:])
    assert _asked(conversation)[0] == "qmp_capabilities"


def test_a_port_that_blinks_is_asked_again() -> None:
    conversation = _greeted()
    reason = "Hot-unplug failed: guest is busy (power indicator blinking)"
    _say(conversation, id=2, error={"class": "GenericError", "desc": reason})
    assert _asked(conversation) == ("device_del", {"id": "edu"}, 3)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b'{"id": 2, "error": {"class": "DeviceNotFound", "desc": "Device \'edu\' not found"}}\n', "refuses device_del edu: Device 'edu'"),
        (b'{"id": 2, "error": "no"}\n', "refuses device_del edu: it does not say why"),
        (b'{"id": 2, "error": {"desc": {"a": "guest is busy"}}}\n', "refuses device_del edu: it does not say why"),
        (b'{"id": 9, "return": {}}\n', "answers nothing that it was asked"),
        (b'{"return": {}}\n', "answers nothing that it was asked"),
        (b'{"id": 2}\n', "answers nothing that it was asked"),
        (b"{}\n", "answers nothing that it was asked"),
        (b"[]\n", "is not a JSON object"),
        (b"5\n", "is not a JSON object"),
        (b"no JSON\n", "is not JSON"),
        (b"\xff\xfe\n", "is not JSON"),
        (b'{"a":' * 20_000 + b"\n", "bytes, more than it may have"),
        (b'{"a":' * 9_000 + b"\n", "is not JSON"),
        (b"x" * 70_000, "or a line without an end"),
        (b'{"event": "RESET"}\n' * 250_000, "says more than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_qemu_does_not_say_is_a_sentence(said: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        _greeted().take(said)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "DEVICE_DELETED"}, {"event": "DEVICE_DELETED", "data": None}, {"event": "DEVICE_DELETED", "data": []},
        {"event": "DEVICE_DELETED", "data": {"device": 5}}, {"event": "DEVICE_DELETED", "data": {"device": ["edu"]}},
        {"event": ["DEVICE_DELETED"], "data": {"device": "edu"}}, {"event": None, "data": {"device": "edu"}},
        {"event": "DEVICE_DELETED", "data": {"path": "/machine/peripheral/port-edu/edu"}},
    ],
    ids=str,
)  # fmt: skip
def test_another_event_lets_nothing_go(event: dict[str, Any]) -> None:
    conversation = _greeted()
    _say(conversation, id=2, **{"return": {}})
    _say(conversation, **event)
    conversation.plug(DEVICES["edu"].arguments)
    assert (conversation.next_line(), conversation.waits_for) == (b"", "let go of edu")
