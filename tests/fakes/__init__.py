"""What stands in for the world in the fast tests: programs on PATH, registries, archives, samples."""
