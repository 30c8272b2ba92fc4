"""Tests that need a node with a kernel of its own: a virtual machine joins the cluster for them."""
