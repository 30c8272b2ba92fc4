"""This machine: processes, locks, disk, memory, HTTP.

Touches the world, for everybody else. ``run`` is the only caller of subprocess, ``places`` the only way to open what
strangers filled. May import the words of the root. One more thing of the machine is one more file.
"""
