"""An OCI image as bytes: layers, manifests, layout, the contract that a driver container keeps, leaks.

Most of it is pure; ``depmod`` asks the host's program for its opinion. Knows nothing of stores and registries.
"""
