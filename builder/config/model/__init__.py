"""What a vendor wants built: every key of versions.yaml is declared here, once.

A file for each of its outermost keys, and for what is large below one: ``driver`` has ``boot`` and ``kmm`` beside it,
``component`` has ``device_plugin``; ``config`` is the whole. What texts may look like is in ``names``, ``file_names``
and ``image_names`` where several need it, or beside the one that does; ``declaration`` is what all are made with.
The JSON schema and the reference page are generated from these classes and the texts below their fields
(``config/described.py``, ``emit/reference.py``).
"""
