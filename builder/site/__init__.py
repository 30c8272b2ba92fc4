"""The site: one folder of pages that people send each other, made of what is on record. Pages are pure, facts are read.

``read`` asks journal, lock and plan; ``cells``, ``failures``, ``releases``, ``freshness`` and ``trends`` work out what
is to be said; ``data`` says it as JSON, ``pages`` as HTML; ``write`` puts both where the old ones were, in one step.
One more page: a module that works it out, a function in ``data`` and in ``pages``, a template, a row in ``PAGES``.
"""
