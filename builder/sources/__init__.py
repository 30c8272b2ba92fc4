"""Kernel sources: each lists kernels, and gives the toolkit of a kernel."""
