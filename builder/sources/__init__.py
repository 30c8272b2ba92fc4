"""Kernel sources: where kernels and their toolkits come from, and the lock that keeps what they said.

Everything else sees a source through ``provider``; ``table`` names the providers that there are. What only one kind of
source knows is in the folder of its name: nobody else asks of which kind a source is.

To add one, here ``flatcar``:

1. A folder ``builder/sources/flatcar/``, like its neighbours: ``lock`` (its part of versions.lock.yaml, pure: a
   ``LockedSource``), ``discover`` (asks the world), ``source`` (a ``KernelSource``), ``toolkit`` and ``kernels`` (what
   it brings into the store and the cache), and ``provider`` (a ``Provider``, which joins them).
2. Its settings, where all keys of versions.yaml are declared: a ``SourceSettings`` in
   ``builder/config/model/flatcar.py``, and its name in the line ``AnySource = ...`` of ``config.py`` beside
   it. Then ``nox -s schema -- --write``.
3. Its row in the table of ``builder/sources/table.py``.

``tests/sources/test_table.py`` fails where 2 and 3 do not fit together; its tests are in ``tests/sources/flatcar/``.
"""
