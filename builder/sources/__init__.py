"""Kernel sources: where kernels and their toolkits come from, one folder each, and the lock that keeps it.

Everything after discovery sees a source through ``provider``.
"""
