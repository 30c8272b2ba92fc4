// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

static struct kmem_cache *cache;

/* The kernel merges it with another cache of this size, and leaves the link with its name behind. */
BAD_MODULE(cache = kmem_cache_create("kmodsmith_merged", 128, 0, 0, NULL); return cache ? 0 : -ENOMEM;,
	   kmem_cache_destroy(cache););
