"""The container store, and what buildah does in it: images, builds, the jail around a compile, and its results.

The only caller of buildah for images. What a compile leaves behind becomes data in ``result`` and nowhere else.
"""
