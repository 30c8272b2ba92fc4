"""A cluster that somebody saved: ``folder`` reads files, ``answers`` (pure) says what its API server would have said.

Everything that asks an API server asks a saved one in the same way, so an explanation of either is made by the same
code.
"""
