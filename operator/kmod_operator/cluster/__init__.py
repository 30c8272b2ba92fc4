"""Looks at a cluster, and acts in it: what ``kmod_operator.rollout`` decides is decided there.

``client.py`` speaks to the API server, ``cache.py`` keeps what is there, ``worlds.py`` makes one picture of it,
``acting.py`` carries out what was decided, ``controller.py`` does so again and again, and ``lease.py`` says which of
several programs it is that does.
"""
