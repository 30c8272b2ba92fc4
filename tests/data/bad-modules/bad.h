/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define BAD_MODULE(in, out)			\
	static int __init bad_init(void) { in }	\
	static void __exit bad_exit(void) { out }	\
	module_init(bad_init);			\
	module_exit(bad_exit);			\
	MODULE_LICENSE("GPL");			\
	MODULE_DESCRIPTION("misbehaves on purpose")
