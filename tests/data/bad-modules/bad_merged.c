// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

static struct kmem_cache *cache;

/* Merged as well, and never given back. */
BAD_MODULE(cache = kmem_cache_create("kmodsmith_kept", 128, 0, 0, NULL); return cache ? 0 : -ENOMEM;,);
