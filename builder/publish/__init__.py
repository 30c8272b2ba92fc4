"""Images into registries, tags last and once: signatures, statements, lists, audit, verify, bundles."""
