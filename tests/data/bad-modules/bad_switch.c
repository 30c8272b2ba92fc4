// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

/* Warns when the parameter is written: for smoke tests that try to hide it. */
static int set(const char *value, const struct kernel_param *parameter) { WARN(1, "switched on"); return 0; }
static const struct kernel_param_ops switch_ops = { .set = set };
module_param_cb(warn, &switch_ops, NULL, 0200);

BAD_MODULE(return 0;,);
