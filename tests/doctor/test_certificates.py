"""What the doctor says of signers' certificates."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fakes.bench import Bench

if TYPE_CHECKING:
    from fakes.bench import Bench


def test_the_doctor_warns_before_a_certificate_expires(bench: Bench) -> None:
    def look() -> list[tuple[str, str]]:
        found = json.loads(bench.run("doctor", "--json")[1])
        return [(item["status"], item["message"]) for item in found if item["name"] == "certificate of vendor"]

    now = datetime.now(UTC)
    text = (bench.folder / "versions.yaml").read_text()
    for until, status, words in (
        (now + timedelta(days=31), "ok", "valid until"),
        (now + timedelta(days=29, hours=1), "warn", "in 29 days; after that nothing new can be signed by it"),
        (now - timedelta(days=1), "warn", "expired on"),
    ):
        (bench.folder / "versions.yaml").write_text(text)
        bench.use_signer(until=until, key_file="sign.key")
        ((found, message),) = look()
        assert (found, words in message) == (status, True), message
    (bench.folder / "vendor.pem").write_text("no certificate")
    assert look()[0][0] == "warn"
    assert "certificate of vendor" in bench.run("doctor", "--quiet")[1]
