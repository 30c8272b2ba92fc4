"""Which cells there are, and what is to be done for each, with a reason.

``matrix`` and ``decide`` are pure; ``project`` reads what they need; ``discovery`` writes the lock.
"""
