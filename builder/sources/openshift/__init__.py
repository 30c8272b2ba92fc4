"""OpenShift and OKD releases as a kernel source: graph, payload, toolkit by registry metadata."""
