"""Devices told to the cluster as dynamic resources.

Kubelet asks a driver to prepare claims, and slices tell the scheduler what there is. ``rpc`` is the only module that
knows of gRPC, ``api`` the only one that knows of the client of Kubernetes.
"""
