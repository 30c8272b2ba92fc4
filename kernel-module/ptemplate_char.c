// SPDX-License-Identifier: GPL-2.0-only
/*
 * ptemplate_char: character devices /dev/ptemplate-0 .. N-1, each with a
 * message buffer of ptemplate_core behind it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cdev.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "ptemplate.h"
#include "ptemplate_compat.h"

#define PTEMPLATE_NAME "ptemplate"
#define PTEMPLATE_MAX_DEVICES 64

static int max_dev = 5;
module_param(max_dev, int, 0444);
MODULE_PARM_DESC(max_dev, "number of devices, 1 to 64 (default 5)");

static int buffersize = 100;
module_param(buffersize, int, 0444);
MODULE_PARM_DESC(buffersize, "bytes that a device holds, 1 to 65536 (default 100)");

static char *default_msg = "Hello from ptemplate\n";
module_param(default_msg, charp, 0444);
MODULE_PARM_DESC(default_msg, "first content of each device; must fit into buffersize");

struct ptemplate_device {
	struct cdev cdev;
	struct ptemplate_buffer *buffer;
};

static struct ptemplate_device *devices;
static struct class *device_class;
static dev_t first_dev;

static int ptemplate_open(struct inode *inode, struct file *file)
{
	struct ptemplate_device *device =
		container_of(inode->i_cdev, struct ptemplate_device, cdev);

	file->private_data = device->buffer;
	return 0;
}

static ssize_t ptemplate_read(struct file *file, char __user *to, size_t count,
			      loff_t *pos)
{
	return ptemplate_buffer_read(file->private_data, to, count, pos);
}

static ssize_t ptemplate_write(struct file *file, const char __user *from,
			       size_t count, loff_t *pos)
{
	return ptemplate_buffer_write(file->private_data, from, count, pos);
}

static loff_t ptemplate_llseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence,
				 ptemplate_buffer_size(file->private_data));
}

static const struct file_operations ptemplate_fops = {
	.owner = THIS_MODULE,
	.open = ptemplate_open,
	.read = ptemplate_read,
	.write = ptemplate_write,
	.llseek = ptemplate_llseek,
};

static int ptemplate_add_device(struct ptemplate_device *device, int number)
{
	dev_t dev = MKDEV(MAJOR(first_dev), number);
	struct device *node;
	int ret;

	device->buffer = ptemplate_buffer_create(buffersize, default_msg);
	if (IS_ERR(device->buffer))
		return PTR_ERR(device->buffer);

	cdev_init(&device->cdev, &ptemplate_fops);
	device->cdev.owner = THIS_MODULE;
	ret = cdev_add(&device->cdev, dev, 1);
	if (ret)
		goto free_buffer;

	node = device_create(device_class, NULL, dev, NULL,
			     PTEMPLATE_NAME "-%d", number);
	if (IS_ERR(node)) {
		ret = PTR_ERR(node);
		goto delete_cdev;
	}
	return 0;

delete_cdev:
	cdev_del(&device->cdev);
free_buffer:
	ptemplate_buffer_destroy(device->buffer);
	return ret;
}

static void ptemplate_remove_devices(int count)
{
	while (count--) {
		device_destroy(device_class, MKDEV(MAJOR(first_dev), count));
		cdev_del(&devices[count].cdev);
		ptemplate_buffer_destroy(devices[count].buffer);
	}
}

static int ptemplate_check_parameters(void)
{
	if (max_dev < 1 || max_dev > PTEMPLATE_MAX_DEVICES) {
		pr_err("max_dev=%d is not between 1 and %d\n", max_dev,
		       PTEMPLATE_MAX_DEVICES);
		return -EINVAL;
	}
	if (buffersize < 1 || buffersize > PTEMPLATE_MAX_BUFFER) {
		pr_err("buffersize=%d is not between 1 and %d\n", buffersize,
		       PTEMPLATE_MAX_BUFFER);
		return -EINVAL;
	}
	if (strlen(default_msg) > buffersize) {
		pr_err("default_msg has %zu bytes, buffersize is %d\n",
		       strlen(default_msg), buffersize);
		return -EINVAL;
	}
	return 0;
}

static int __init ptemplate_init(void)
{
	int count;
	int ret;

	ret = ptemplate_check_parameters();
	if (ret)
		return ret;

	devices = kcalloc(max_dev, sizeof(*devices), GFP_KERNEL);
	if (!devices)
		return -ENOMEM;

	ret = alloc_chrdev_region(&first_dev, 0, max_dev, PTEMPLATE_NAME);
	if (ret)
		goto free_devices;

	device_class = ptemplate_class_create(PTEMPLATE_NAME);
	if (IS_ERR(device_class)) {
		ret = PTR_ERR(device_class);
		goto release_region;
	}

	for (count = 0; count < max_dev; count++) {
		ret = ptemplate_add_device(&devices[count], count);
		if (ret)
			goto remove_devices;
	}
	pr_info("%d devices of %d bytes\n", max_dev, buffersize);
	return 0;

remove_devices:
	ptemplate_remove_devices(count);
	class_destroy(device_class);
release_region:
	unregister_chrdev_region(first_dev, max_dev);
free_devices:
	kfree(devices);
	return ret;
}

static void __exit ptemplate_exit(void)
{
	ptemplate_remove_devices(max_dev);
	class_destroy(device_class);
	unregister_chrdev_region(first_dev, max_dev);
	kfree(devices);
}

module_init(ptemplate_init);
module_exit(ptemplate_exit);

MODULE_AUTHOR("kmodsmith");
MODULE_DESCRIPTION("Sample driver: character devices with a message buffer each");
MODULE_LICENSE("GPL");
MODULE_VERSION(PTEMPLATE_VERSION);
