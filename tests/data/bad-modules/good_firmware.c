// SPDX-License-Identifier: GPL-2.0-only
#include <linux/crc-itu-t.h>
#include <linux/firmware.h>
#include <linux/platform_device.h>
#include "bad.h"

/* Does nothing wrong, with a file of firmware and a function of one of the kernel's own modules. */
static int __init check_firmware(void)
{
	const struct firmware *firmware;
	struct platform_device *device;
	int ret;

	device = platform_device_register_simple("good_firmware", -1, NULL, 0);
	if (IS_ERR(device))
		return PTR_ERR(device);
	ret = request_firmware(&firmware, "kmodsmith/test.bin", &device->dev);
	if (!ret) {
		ret = crc_itu_t(0, firmware->data, firmware->size) == 0x31c3 ? 0 : -EBADMSG;
		release_firmware(firmware);
	}
	platform_device_unregister(device);
	return ret;
}

MODULE_FIRMWARE("kmodsmith/test.bin");
BAD_MODULE(return check_firmware();,);
