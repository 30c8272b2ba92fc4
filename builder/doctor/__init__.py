"""Is this machine ready: programs, store, jail, disk, memory, certificates; and installing what is missing.

A new program that kmodsmith or a test runs is one row of ``tools``; something else to look at is one function of
``examine``.
"""
