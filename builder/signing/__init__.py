"""Keys, certificates, the process that holds a key, and signatures on modules.

A private key is only ever in the memory of that process.

``certificates`` says who may sign; ``access`` opens their keys by a way of ``backends``; ``holder`` is the process that
holds one, ``held_key`` its other end. ``modules`` signs modules and writes ``log``; ``image_key`` and ``public_key``
are for images. One more way to a key: see ``backends``.
"""
