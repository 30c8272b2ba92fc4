"""kmodsmith: driver containers for every kernel that a vendor's OpenShift customers run."""

import os

__version__ = "0.1.0"

# Nobody else's plugin has a say in what is valid here; and pydantic looks through all that is installed to find some.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
