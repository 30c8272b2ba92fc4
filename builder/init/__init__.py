"""A vendor's first hour: looks at a source, drafts its entry of versions.yaml, and puts it in the sample's place.

``look`` reads a folder that anybody may have filled, and runs nothing of it; ``guess`` decides and says why, or asks;
``draft`` and ``sample`` write text (all three pure); ``start`` puts everything on the disk, or nothing. One more thing
that a source can tell is one more function in ``guess``.
"""
