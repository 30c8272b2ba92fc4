"""What has to be done so that a driver is on its nodes: decided from what is there, and from nothing else.

Pure: ``spec.py`` is what people want, ``world.py`` what is there, ``decision.py`` what is to be done; ``decide.py``
goes from the first two to the third. ``kmod_operator.cluster`` looks and acts.
"""
