// SPDX-License-Identifier: GPL-2.0-only
#include <linux/delay.h>

#include "device.h"

DEVICE_DRIVER(return 0;, msleep(1000000););
module_pci_driver(device_driver);
