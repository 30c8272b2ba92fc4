"""A ClusterServiceVersion says all that it has to, in words that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.operator_bundles import Mutation, check_told, mutations_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mutation", mutations_of("csv_rules"), ids=lambda mutation: mutation.id)
def test_a_mistake_is_told_where_it_is(mutation: Mutation, tmp_path: Path) -> None:
    check_told(mutation, tmp_path)
