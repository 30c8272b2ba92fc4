"""Certification: what Red Hat's preflight would say of an image or a bundle, and the checklist with its evidence.

``policies`` has the checks and in which policy they count, ``container`` and ``bundle`` judge (pure), ``subjects``
reads images out of the container store or a registry, ``submission`` has what partners submit. ``questions`` are those
of the checklist, ``checklist`` is its file, ``drafting`` makes a first one, ``review`` holds every answer against its
evidence (``image_facts``), and ``statement`` makes a page of it. It may import what is
above it, up to ``publish``. One more check: a member of ``PolicyCheck``, its rows in ``policies`` and one function in
``container`` or ``bundle``.
"""
