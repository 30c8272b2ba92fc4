"""Registries: what is taken out of settings, and put into them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from builder.config.model.registry import RegistrySettings


def test_secrets_of_registries_are_forgotten_where_nobody_is_trusted() -> None:
    known = RegistrySettings(auth_files=("a.json",))
    assert (known.is_anonymous, known.forget_secrets().is_anonymous) == (False, True)


@pytest.mark.parametrize("key", ["plain_http", "unverified_tls"])
@pytest.mark.parametrize(
    ("host", "is_right"),
    [
        ("localhost:5000", True), ("r.test", True), ("r.test:65535", True), ("r.test:0", False), ("r.test:65536", False),
        ("r.test:999999", False), ("r.test:٣", False), ("r.test:", False), ("http://r.test", False),
    ],
)  # fmt: skip
def test_a_host_has_a_port_that_there_is(key: str, host: str, *, is_right: bool) -> None:
    if is_right:
        assert getattr(RegistrySettings.model_validate({key: (host,)}), key) == (host,)
        return
    with pytest.raises(ValidationError):
        RegistrySettings.model_validate({key: (host,)})
