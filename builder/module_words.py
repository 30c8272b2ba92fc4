"""How a driver names its modules: ``NAME``, ``probe-*`` for one or more, ``?NAME`` for one that may be absent. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, order=True)
class ModuleWord:
    """One of them as it is written: in versions.yaml, for ``fit``, and in MODULES of driver-container/Containerfile."""

    text: str

    @property
    def glob(self) -> str:
        """What a module's name has to fit, with ``_`` for ``-`` as in the kernel."""
        return self.text.removeprefix("?").removesuffix(".ko").replace("-", "_")

    @property
    def is_optional(self) -> bool:
        return self.text.startswith("?")

    @property
    def is_name(self) -> bool:
        """Whether it stands for exactly one module, which must be there."""
        return not self.is_optional and "*" not in self.text

    def fits(self, module: str) -> bool:
        """Tell whether a module is meant."""
        return fnmatchcase(module.replace("-", "_"), self.glob)
