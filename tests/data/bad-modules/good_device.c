// SPDX-License-Identifier: GPL-2.0-only
#include "device.h"

DEVICE_DRIVER(return pcim_enable_device(pdev);,);
module_pci_driver(device_driver);
