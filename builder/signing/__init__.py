"""Keys, certificates and the process that holds a key; signs modules and gives images their key.

A private key is only ever in ``holder``'s process. Nothing else signs.
"""
