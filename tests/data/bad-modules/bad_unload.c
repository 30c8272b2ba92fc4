// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

static int *volatile nowhere;

BAD_MODULE(return 0;, *nowhere = 1;);
