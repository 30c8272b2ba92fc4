// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

static void *volatile lost;

/* Too small to see in one round: only repeating it shows it. */
BAD_MODULE(lost = kmalloc(32768, GFP_KERNEL); return 0;,);
