// SPDX-License-Identifier: GPL-2.0-only
#include "device.h"

static int probes;

/* Takes the device once, and forgets that it was taken away. */
DEVICE_DRIVER(return probes++ ? -EBUSY : 0;,);
module_pci_driver(device_driver);
