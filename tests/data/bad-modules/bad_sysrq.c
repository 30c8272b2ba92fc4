// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

BAD_MODULE(printk(KERN_INFO "sysrq: Show Blocked State\n"); WARN(1, "behind an answer"); return 0;,);
