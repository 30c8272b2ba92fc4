"""Root folders of Debian for tests and surveys, by mmdebstrap, with how this machine reaches the archive."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = (
    "mmdebstrap",
    "--quiet",
    "--mode=root",
    "--aptopt=APT::Install-Recommends false",
    "--dpkgopt=force-unsafe-io",
)


def run_mmdebstrap(
    arguments: Sequence[str], suite: str, target: Path, mirrors: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Make a root folder or an archive of one; scratch files lie beside it. The caller looks at how it ended."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        settings = Path(scratch, "apt.conf")  # proxies and such; not what else is downloaded
        dump = subprocess.run(["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True).stdout
        settings.write_text("".join(line for line in dump.splitlines(keepends=True) if "IndexTargets" not in line))
        command = ["nice", *COMMAND, *arguments, f"--aptopt={settings}", suite, str(target), *mirrors]
        environment = os.environ | {"TMPDIR": scratch}
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
