"""What runs in a cluster beside a kernel module. It is unprivileged, and knows nothing of how the module is built.

devices/       what a device is, how well it is, and the one class that a partner replaces
node/          what both ways of telling share: the loop, looks, the runtime's file, who works
deviceplugin/  devices told to kubelet
dra/           devices told to the cluster, as dynamic resources
kubelet_api/   kubelet's own protocols, generated
"""
