"""Ways to private keys, a file each. Those that hold a key run in a process of its own: ``builder.signing.holder``.

One more way is a file here with ``open_key(request) -> Key``, and a row of ``table.BACKENDS``. If versions.yaml names
it by a key of its own, that is a field of ``KeyPlace`` and a word of its ``_WAYS``
(``builder/config/model/signer.py``).
"""
