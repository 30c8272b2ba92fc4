"""Guests of the real QEMU: boot tests, and the way from a release to a booted image."""
