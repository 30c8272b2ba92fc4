"""A key process that is late, out of step or gone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from builder.errors import SignerError
from builder.signing.backends.key import KeyRequest
from builder.signing.held_key import HeldKey

if TYPE_CHECKING:
    from fakes.tools import FakeTools

# Answers as the key holder does, except for the first process that is started: it does what a test says.
_KEY_PROCESS = """
[ -f "$0.started" ] && first= || first=1; echo x >>"$0.started"
number() {{ number=${{line##*\\"number\\": }}; number=${{number%%\\}}*}}; }}
read -r line; number; echo "{{\\"ready\\": \\"yes\\", \\"number\\": $number}}"
while read -r line; do
    number; signature=0{number}
    [ -z "$first" ] || {{ signature=bad; {first}; }}
    echo "{{\\"signature\\": \\"$signature\\", \\"number\\": $number}}"
done
"""


def _held_key(fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch, script: str, patience_s: float = 20.0) -> HeldKey:
    fake_tools.add("key-process", script)
    monkeypatch.setattr("sys.executable", "key-process")
    monkeypatch.setattr("builder.signing.held_key.ANSWER_TIMEOUT_S", patience_s)
    monkeypatch.setattr("builder.host.run._STOP_STEPS", ((signal.SIGKILL, 5.0),))
    return HeldKey(KeyRequest(signer="release", way="key_file", place="x"))


@pytest.mark.parametrize("trouble", ["sleep 30", "number=7", "exit 1", "echo what", "printf half; sleep 30"])
def test_a_key_process_that_is_out_of_step_is_replaced_once(
    trouble: str, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience_s = 1.0 if "sleep" in trouble else 20.0
    key = _held_key(fake_tools, monkeypatch, _KEY_PROCESS.format(first=trouble, number="$number"), patience_s)
    asked = key.sign(b"x", "sha256")
    assert key.sign(b"y", "sha256") > asked, "each answer is that to its own question"
    key.close()
    assert len(fake_tools.calls("key-process")) == 2


def test_a_key_process_that_never_answers_is_a_failure_to_sign(
    fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = _KEY_PROCESS.format(first=":", number="$number").replace("[ -z", "sleep 30; [ -z")
    key = _held_key(fake_tools, monkeypatch, script, 0.3)
    with pytest.raises(SignerError, match=r"signer release: .* gave no answer for 0.3 s") as caught:
        key.sign(b"x", "sha256")
    key.close()
    assert (caught.value.code, len(fake_tools.calls("key-process"))) == ("no-answer", 2)


@pytest.mark.parametrize("answer", ["5", "[]", "[" * 100_000, '{"number":' * 100_000, "NaN"], ids=range(5))
def test_a_key_process_that_answers_something_else_is_a_failure_to_sign(
    fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    script = f"while read -r line; do echo '{answer}'; done"
    with pytest.raises(SignerError, match="signer release: its answer is not") as caught:
        _held_key(fake_tools, monkeypatch, script)
    assert caught.value.code == "no-answer"
