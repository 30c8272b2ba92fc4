"""Registries: what is taken out of settings, and put into them."""

from __future__ import annotations

from builder.config.model.registry import RegistrySettings


def test_secrets_of_registries_are_forgotten_where_nobody_is_trusted() -> None:
    known = RegistrySettings(auth_files=("a.json",))
    assert (known.is_anonymous, known.forget_secrets().is_anonymous) == (False, True)
