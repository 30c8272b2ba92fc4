"""Devices told to kubelet, by its device plugin protocol v1beta1. ``rpc`` is the only module that knows of gRPC."""
