"""Devices of a node: found, checked, described. ``source`` says what a partner writes; all else stays as it is."""
