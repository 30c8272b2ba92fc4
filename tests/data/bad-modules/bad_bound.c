// SPDX-License-Identifier: GPL-2.0-only
#include "device.h"

DEVICE_DRIVER(return 0;,);

static int __init bound_init(void)
{
	return pci_register_driver(&device_driver);
}

/* Says nothing to the bus, which goes on believing in the driver. */
static void __exit bound_exit(void)
{
}

module_init(bound_init);
module_exit(bound_exit);
