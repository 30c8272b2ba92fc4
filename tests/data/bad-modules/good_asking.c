// SPDX-License-Identifier: GPL-2.0-only
#include <linux/crypto.h>
#include "bad.h"

/*
 * Does nothing wrong, and needs a cipher by name: the kernel asks modprobe for it. What modprobe does not find is not
 * an error (xt_pknock asks for "hmac(sha256)", which no module calls itself), a missing modprobe is.
 */
static int __init check_cipher(void)
{
	if (request_module("kmodsmith-nothing") < 0)
		return -ENXIO;
	return crypto_has_alg("cbc(camellia)", 0, 0) ? 0 : -ENOENT;
}

BAD_MODULE(return check_cipher();,);
