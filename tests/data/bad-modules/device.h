/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/module.h>
#include <linux/pci.h>

/* A driver of QEMU's pci-testdev, of which only probe and remove are of interest. */
#define DEVICE_DRIVER(probe_body, remove_body) \
	static int device_probe(struct pci_dev *pdev, const struct pci_device_id *id) { probe_body } \
	static void device_remove(struct pci_dev *pdev) { remove_body } \
	static const struct pci_device_id device_ids[] = { \
		{ PCI_DEVICE(0x1b36, 0x0005) }, {} \
	}; \
	MODULE_DEVICE_TABLE(pci, device_ids); \
	static struct pci_driver device_driver = { \
		.name = KBUILD_MODNAME, .id_table = device_ids, .probe = device_probe, .remove = device_remove, \
	}; \
	MODULE_LICENSE("GPL"); \
	MODULE_DESCRIPTION("Binds to a device of QEMU, in its own way")
