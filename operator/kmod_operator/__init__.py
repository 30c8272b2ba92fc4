"""What runs in a cluster beside a kernel module. It is unprivileged, and knows nothing of how the module is built.

devices/       what a device is, how well it is, and the one class that a partner replaces
deviceplugin/  devices told to kubelet
kubelet_api/   kubelet's own protocol, generated
"""
