"""The signed list of what a vendor published: what the operator believes, and nothing else.

``index.py`` is what an index says, ``reading.py`` makes one of bytes, ``choosing.py`` says which one is believed,
``keys.py`` knows signatures and ``registry.py`` registries.
"""
