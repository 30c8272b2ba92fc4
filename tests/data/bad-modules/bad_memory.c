// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

static void *volatile lost;

BAD_MODULE(lost = vmalloc(65536); return 0;,);
