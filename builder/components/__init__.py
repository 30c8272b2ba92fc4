"""Component images: device plugin, operator, a vendor's libraries and tools; for each architecture, not each kernel.

They go the way of kmod images: key, plan with reasons, build without network, proof of the finished image, names last.
``inputs`` and ``decide`` are pure; ``planning`` reads, ``build`` acts; to add a check, add it to ``contract``.
"""
