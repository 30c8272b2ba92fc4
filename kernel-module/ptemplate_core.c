// SPDX-License-Identifier: GPL-2.0-only
/*
 * ptemplate_core: bounded message buffers, exported to other modules.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "ptemplate.h"

struct ptemplate_buffer {
	struct mutex lock; /* guards used and data */
	size_t size;
	size_t used;
	char data[];
};

/**
 * ptemplate_buffer_create() - make a buffer that holds a text
 * @size: capacity in bytes, 1 to PTEMPLATE_MAX_BUFFER
 * @text: first content; it has to fit
 *
 * Return: the buffer, or an error pointer (-EINVAL, -ENOMEM).
 */
struct ptemplate_buffer *ptemplate_buffer_create(size_t size, const char *text)
{
	struct ptemplate_buffer *buffer;
	size_t used = strlen(text);

	if (!size || size > PTEMPLATE_MAX_BUFFER || used > size)
		return ERR_PTR(-EINVAL);

	buffer = kzalloc(struct_size(buffer, data, size), GFP_KERNEL);
	if (!buffer)
		return ERR_PTR(-ENOMEM);

	mutex_init(&buffer->lock);
	buffer->size = size;
	buffer->used = used;
	memcpy(buffer->data, text, used);
	return buffer;
}
EXPORT_SYMBOL_GPL(ptemplate_buffer_create);

/**
 * ptemplate_buffer_destroy() - free a buffer that nobody uses any more
 * @buffer: the buffer, or NULL
 */
void ptemplate_buffer_destroy(struct ptemplate_buffer *buffer)
{
	if (!buffer)
		return;
	mutex_destroy(&buffer->lock);
	kfree(buffer);
}
EXPORT_SYMBOL_GPL(ptemplate_buffer_destroy);

/**
 * ptemplate_buffer_size() - capacity of a buffer in bytes
 * @buffer: the buffer
 */
size_t ptemplate_buffer_size(const struct ptemplate_buffer *buffer)
{
	return buffer->size;
}
EXPORT_SYMBOL_GPL(ptemplate_buffer_size);

/**
 * ptemplate_buffer_read() - copy content to user space, as read(2) does
 * @buffer: the buffer
 * @to: where to
 * @count: how much at most
 * @pos: position, moved on by what was read
 */
ssize_t ptemplate_buffer_read(struct ptemplate_buffer *buffer, char __user *to,
			      size_t count, loff_t *pos)
{
	ssize_t ret;

	if (mutex_lock_interruptible(&buffer->lock))
		return -ERESTARTSYS;
	ret = simple_read_from_buffer(to, count, pos, buffer->data,
				      buffer->used);
	mutex_unlock(&buffer->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(ptemplate_buffer_read);

/**
 * ptemplate_buffer_write() - take content from user space, as write(2) does
 * @buffer: the buffer
 * @from: where from
 * @count: how much at most
 * @pos: position, moved on by what was written
 *
 * The content ends where the last write ended. Return: bytes written, which
 * can be fewer than asked for, or -ENOSPC when no room is left at @pos.
 */
ssize_t ptemplate_buffer_write(struct ptemplate_buffer *buffer,
			       const char __user *from, size_t count,
			       loff_t *pos)
{
	ssize_t ret;

	if (!count)
		return 0;
	if (mutex_lock_interruptible(&buffer->lock))
		return -ERESTARTSYS;
	if (*pos > buffer->used) {
		/* No holes: what lies between would be old content. */
		ret = -EINVAL;
	} else if (*pos >= buffer->size) {
		ret = -ENOSPC;
	} else {
		ret = simple_write_to_buffer(buffer->data, buffer->size, pos,
					     from, count);
		if (ret > 0)
			buffer->used = *pos;
	}
	mutex_unlock(&buffer->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(ptemplate_buffer_write);

MODULE_AUTHOR("kmodsmith");
MODULE_DESCRIPTION("Sample driver: bounded message buffers");
MODULE_LICENSE("GPL");
MODULE_VERSION(PTEMPLATE_VERSION);
