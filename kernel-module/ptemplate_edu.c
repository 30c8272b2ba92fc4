// SPDX-License-Identifier: GPL-2.0-only
/*
 * ptemplate_edu: a PCI driver, for the educational device that QEMU has
 * (-device edu; its registers are in QEMU's docs/specs/edu). The device
 * computes factorials and keeps a few bytes that it reads and writes by DMA;
 * both end with an interrupt. What it does is offered as attributes of the
 * device: factorial, and echo.
 *
 * Without such a device the module is loaded and does nothing.
 */
#include <linux/bits.h>
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#define EDU_ID 0x00 /* version, and 0xed in the lowest byte */
#define EDU_ID_MASK 0xff
#define EDU_ID_VALUE 0xed
#define EDU_LIVENESS 0x04 /* gives back the complement of what is written */
#define EDU_FACTORIAL 0x08
#define EDU_STATUS 0x20
#define EDU_STATUS_IRQ BIT(7) /* interrupt when a factorial is computed */
#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_ACK 0x64
#define EDU_DMA_FROM 0x80
#define EDU_DMA_TO 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_DMA_START BIT(0)
#define EDU_DMA_TO_RAM BIT(1)
#define EDU_DMA_IRQ BIT(2)

#define EDU_BAR 0
#define EDU_DMA_BITS 28
/* Where the device keeps its bytes; QEMU ends where it is asked for more. */
#define EDU_BUFFER 0x40000
#define EDU_BUFFER_SIZE 2048
/* 13! has more than the 32 bits of the register. */
#define EDU_LARGEST 12
#define EDU_PATIENCE (5 * HZ)

struct ptemplate_edu {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct completion done;
	struct mutex lock; /* one job at a time; guards all below */
	u32 factorial;
	size_t used;
	char *buffer; /* NULL where memory is out of the device's reach */
	dma_addr_t bus_address;
};

static irqreturn_t ptemplate_edu_interrupt(int irq, void *data)
{
	struct ptemplate_edu *edu = data;
	u32 status = readl(edu->regs + EDU_IRQ_STATUS);

	if (!status)
		return IRQ_NONE;
	writel(status, edu->regs + EDU_IRQ_ACK);
	complete(&edu->done);
	return IRQ_HANDLED;
}

static int ptemplate_edu_wait(struct ptemplate_edu *edu)
{
	if (wait_for_completion_timeout(&edu->done, EDU_PATIENCE))
		return 0;
	dev_err(&edu->pdev->dev, "no interrupt came\n");
	return -ETIMEDOUT;
}

static int ptemplate_edu_transfer(struct ptemplate_edu *edu, u32 from, u32 to,
				  u32 direction)
{
	reinit_completion(&edu->done);
	writel(from, edu->regs + EDU_DMA_FROM);
	writel(to, edu->regs + EDU_DMA_TO);
	writel(EDU_BUFFER_SIZE, edu->regs + EDU_DMA_COUNT);
	writel(EDU_DMA_START | EDU_DMA_IRQ | direction,
	       edu->regs + EDU_DMA_COMMAND);
	return ptemplate_edu_wait(edu);
}

static ssize_t factorial_show(struct device *dev, struct device_attribute *attr,
			      char *text)
{
	struct ptemplate_edu *edu = dev_get_drvdata(dev);
	u32 value;

	mutex_lock(&edu->lock);
	value = edu->factorial;
	mutex_unlock(&edu->lock);
	return sysfs_emit(text, "%u\n", value);
}

static ssize_t factorial_store(struct device *dev,
			       struct device_attribute *attr, const char *text,
			       size_t count)
{
	struct ptemplate_edu *edu = dev_get_drvdata(dev);
	u32 number;
	int ret;

	ret = kstrtou32(text, 0, &number);
	if (ret)
		return ret;
	if (number > EDU_LARGEST)
		return -ERANGE;

	mutex_lock(&edu->lock);
	reinit_completion(&edu->done);
	writel(EDU_STATUS_IRQ, edu->regs + EDU_STATUS);
	writel(number, edu->regs + EDU_FACTORIAL);
	ret = ptemplate_edu_wait(edu);
	if (!ret)
		edu->factorial = readl(edu->regs + EDU_FACTORIAL);
	mutex_unlock(&edu->lock);
	return ret ? ret : count;
}
static DEVICE_ATTR_RW(factorial);

static ssize_t echo_show(struct device *dev, struct device_attribute *attr,
			 char *text)
{
	struct ptemplate_edu *edu = dev_get_drvdata(dev);
	ssize_t ret;

	mutex_lock(&edu->lock);
	memset(edu->buffer, 0, EDU_BUFFER_SIZE);
	ret = ptemplate_edu_transfer(edu, EDU_BUFFER, edu->bus_address,
				     EDU_DMA_TO_RAM);
	if (!ret) {
		memcpy(text, edu->buffer, edu->used);
		ret = edu->used;
	}
	mutex_unlock(&edu->lock);
	return ret;
}

static ssize_t echo_store(struct device *dev, struct device_attribute *attr,
			  const char *text, size_t count)
{
	struct ptemplate_edu *edu = dev_get_drvdata(dev);
	int ret;

	if (count > EDU_BUFFER_SIZE)
		return -EFBIG;

	mutex_lock(&edu->lock);
	memset(edu->buffer, 0, EDU_BUFFER_SIZE);
	memcpy(edu->buffer, text, count);
	ret = ptemplate_edu_transfer(edu, edu->bus_address, EDU_BUFFER, 0);
	edu->used = ret ? 0 : count;
	mutex_unlock(&edu->lock);
	return ret ? ret : count;
}
static DEVICE_ATTR_RW(echo);

static struct attribute *ptemplate_edu_attributes[] = {
	&dev_attr_factorial.attr,
	&dev_attr_echo.attr,
	NULL,
};

static umode_t ptemplate_edu_is_visible(struct kobject *kobj,
					struct attribute *attribute, int index)
{
	struct ptemplate_edu *edu = dev_get_drvdata(kobj_to_dev(kobj));

	if (attribute == &dev_attr_echo.attr && !edu->buffer)
		return 0;
	return attribute->mode;
}

static const struct attribute_group ptemplate_edu_group = {
	.attrs = ptemplate_edu_attributes,
	.is_visible = ptemplate_edu_is_visible,
};

static int ptemplate_edu_check(struct ptemplate_edu *edu)
{
	const u32 pattern = 0x5aa5c33c;

	if ((readl(edu->regs + EDU_ID) & EDU_ID_MASK) != EDU_ID_VALUE)
		return -ENODEV;
	writel(pattern, edu->regs + EDU_LIVENESS);
	return readl(edu->regs + EDU_LIVENESS) == ~pattern ? 0 : -EIO;
}

/* The device reaches the first 256 MiB only, where some machines have none. */
static void ptemplate_edu_find_memory(struct ptemplate_edu *edu)
{
	struct device *dev = &edu->pdev->dev;

	if (!dma_set_mask_and_coherent(dev, DMA_BIT_MASK(EDU_DMA_BITS)))
		edu->buffer = dmam_alloc_coherent(dev, EDU_BUFFER_SIZE,
						  &edu->bus_address,
						  GFP_KERNEL | __GFP_NOWARN);
	if (!edu->buffer)
		dev_info(dev, "no memory in reach of its DMA: no echo\n");
}

static int ptemplate_edu_probe(struct pci_dev *pdev,
			       const struct pci_device_id *id)
{
	struct ptemplate_edu *edu;
	int ret;

	edu = devm_kzalloc(&pdev->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	edu->pdev = pdev;
	mutex_init(&edu->lock);
	init_completion(&edu->done);
	pci_set_drvdata(pdev, edu);

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_iomap_regions(pdev, BIT(EDU_BAR), KBUILD_MODNAME);
	if (ret)
		return ret;
	edu->regs = pcim_iomap_table(pdev)[EDU_BAR];
	ret = ptemplate_edu_check(edu);
	if (ret)
		return ret;
	ptemplate_edu_find_memory(edu);

	pci_set_master(pdev);
	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI);
	if (ret < 0)
		return ret;
	ret = request_irq(pci_irq_vector(pdev, 0), ptemplate_edu_interrupt, 0,
			  KBUILD_MODNAME, edu);
	if (ret)
		goto free_vectors;
	ret = sysfs_create_group(&pdev->dev.kobj, &ptemplate_edu_group);
	if (ret)
		goto free_irq;
	return 0;

free_irq:
	free_irq(pci_irq_vector(pdev, 0), edu);
free_vectors:
	pci_free_irq_vectors(pdev);
	return ret;
}

static void ptemplate_edu_remove(struct pci_dev *pdev)
{
	struct ptemplate_edu *edu = pci_get_drvdata(pdev);

	/* Waits for those who are reading or writing, so no job is left. */
	sysfs_remove_group(&pdev->dev.kobj, &ptemplate_edu_group);
	writel(0, edu->regs + EDU_STATUS);
	free_irq(pci_irq_vector(pdev, 0), edu);
	pci_free_irq_vectors(pdev);
	pci_clear_master(pdev);
}

static const struct pci_device_id ptemplate_edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{}
};
MODULE_DEVICE_TABLE(pci, ptemplate_edu_ids);

static struct pci_driver ptemplate_edu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = ptemplate_edu_ids,
	.probe = ptemplate_edu_probe,
	.remove = ptemplate_edu_remove,
};
module_pci_driver(ptemplate_edu_driver);

MODULE_AUTHOR("kmodsmith");
MODULE_DESCRIPTION("Sample driver: QEMU's educational PCI device");
MODULE_LICENSE("GPL");
MODULE_VERSION(PTEMPLATE_VERSION);
