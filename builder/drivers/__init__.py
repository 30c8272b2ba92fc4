"""Vendor source to recipe: versions.yaml's own words, or a dkms.conf.

Reads a driver's folder once and copies it once for a run. A new kind of recipe is one more file beside ``dkms``.
"""
