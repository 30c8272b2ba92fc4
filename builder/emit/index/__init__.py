"""A driver's index as a file, for clusters that reach no registry."""
