"""KMM's resources: what we emit, and what we find wrong in other people's (docs/kmm.md)."""
