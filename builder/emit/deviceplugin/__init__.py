"""What runs a device plugin in clusters: ``facts`` reads registries, ``files`` is pure."""
