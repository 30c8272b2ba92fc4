// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

static int limit = 1;
module_param(limit, int, 0444);

BAD_MODULE(return 0;,);
