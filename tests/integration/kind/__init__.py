"""A real cluster for tests, from package registries only: an API server alone, and kind with everything in it."""
