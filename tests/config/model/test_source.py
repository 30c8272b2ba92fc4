"""What a kernel source says of itself where its provider has nothing to say."""

from __future__ import annotations

from datetime import date

from builder.config.model.source import SourceSettings


def test_a_source_has_nothing_that_its_provider_does_not_give_it() -> None:
    source = SourceSettings(provider="other")
    assert (source.gives_base_images, source.has_releases, source.runtime_source) == (False, False, None)
    assert (source.machines, source.named_files) == ((), ())
    assert source.why_left_out("4.18.3", date(2026, 11, 23)) == ""
