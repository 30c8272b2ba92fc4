// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

static int __init add_node(void)
{
	struct class *bad;

#ifdef class_create
	bad = class_create(THIS_MODULE, "bad_node");
#else
	bad = class_create("bad_node");
#endif
	return PTR_ERR_OR_ZERO(device_create(bad, NULL, MKDEV(240, 7), NULL, "bad_node"));
}

BAD_MODULE(return add_node();,);
