"""versions.yaml: its model, its checks, its sentences.

``model/`` declares every key, ``load`` reads a file with the place of every mistake. A new key is declared in
``model/`` and nowhere else; ``nox -s schema -- --write`` does the rest.
"""
