// SPDX-License-Identifier: GPL-2.0-only
#include <linux/crypto.h>
#include "bad.h"

/* Does nothing wrong, and needs a cipher by name: the kernel asks modprobe for it. */
static int __init check_cipher(void)
{
	return crypto_has_alg("cbc(camellia)", 0, 0) ? 0 : -ENOENT;
}

BAD_MODULE(return check_cipher();,);
