"""What a kernel says of itself."""

from __future__ import annotations

import pytest
from fakes.samples import (
    FACT_FILES,
)

from builder.errors import FormatError
from builder.kmod.kernel_facts import evaluate_vermagic


def test_vermagic_is_evaluated_as_a_preprocessor_would() -> None:
    header = '#ifndef X\n#define P "preempt_rt "\n#elif defined(CONFIG_A)\n#define P "a "\n#else\n#define P "none "\n#endif\n'
    header += '#if defined(CONFIG_A)\n# define Q "q "\n#else\n# define Q ""\n#endif\n#define VERMAGIC_STRING "1 " P Q\n'
    assert evaluate_vermagic([header], frozenset()) == "1 preempt_rt "
    assert evaluate_vermagic([header], frozenset({"X", "CONFIG_A"})) == "1 a q "
    assert evaluate_vermagic([header], frozenset({"X"})) == "1 none "
    with pytest.raises(FormatError, match="do not define"):
        evaluate_vermagic([FACT_FILES["arch-vermagic.h"]], frozenset())
    with pytest.raises(FormatError, match="in a circle"):
        evaluate_vermagic(["#define VERMAGIC_STRING A\n#define A VERMAGIC_STRING\n"], frozenset())
