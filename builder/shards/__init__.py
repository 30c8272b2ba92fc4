"""One plan over many machines: it is cut into shards, and travels by a registry alone, by digest.

``grouping`` cuts, ``document`` and ``snapshot`` are what travels, ``artefact`` brings it into a registry and back,
``planning`` plans, ``running`` carries out one shard, ``evidence`` is what it leaves behind, and ``judging`` looks at
what all of them left, and at the images themselves. ``outputs`` are the small files by which a pipeline goes on.
"""
