"""Files that install the operator: ``facts`` reads, everything else is pure.

One model (``model.py``) says which objects there are; ``plain.py``, ``bundle.py`` and ``chart.py`` write the same ones
for those who apply, for Operator Lifecycle Manager, and for Helm.
"""
