/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ptemplate_core offers to the modules that stand on it: bounded message
 * buffers that several readers and writers can share.
 */
#ifndef PTEMPLATE_H
#define PTEMPLATE_H

#include <linux/types.h>

#define PTEMPLATE_MAX_BUFFER 65536

struct ptemplate_buffer;

struct ptemplate_buffer *ptemplate_buffer_create(size_t size, const char *text);
void ptemplate_buffer_destroy(struct ptemplate_buffer *buffer);
size_t ptemplate_buffer_size(const struct ptemplate_buffer *buffer);
ssize_t ptemplate_buffer_read(struct ptemplate_buffer *buffer, char __user *to,
			      size_t count, loff_t *pos);
ssize_t ptemplate_buffer_write(struct ptemplate_buffer *buffer,
			       const char __user *from, size_t count,
			       loff_t *pos);

#endif /* PTEMPLATE_H */
