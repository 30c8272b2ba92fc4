"""What a ``.ko`` says, and whether a kernel would load it: ELF, signature, symbol versions, findings, fit.

Reads bytes and decides; touches nothing. May import the words of the root. A new check of fit is a member of
``finding.Check`` and a function of ``fit``.
"""
