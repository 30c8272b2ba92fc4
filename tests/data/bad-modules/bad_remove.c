// SPDX-License-Identifier: GPL-2.0-only
#include "device.h"

static int *volatile nowhere;

DEVICE_DRIVER(return 0;, *nowhere = 1;);
module_pci_driver(device_driver);
