"""The OCI distribution protocol: read, write, credentials, and pulling into the store. Speaks with registries.

``access`` opens what versions.yaml says; ``reader`` is for what a digest names (kept in ``cache``), ``tags`` for what
is there at this moment, ``writer`` for uploads. All send their requests by ``transport``, which asks ``credentials``.
"""
