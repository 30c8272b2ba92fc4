// SPDX-License-Identifier: GPL-2.0-only
#include <linux/console.h>
#include "bad.h"

/* The console is kept from printing until the kernel's buffer is full: what was first in it is dropped. */
static void say(int times) { while (times--) printk(KERN_INFO "%0900d\n", times); }

BAD_MODULE(console_lock(); WARN(1, "dropped"); say(6000); console_unlock(); return 0;,);
