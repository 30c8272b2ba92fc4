// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

/* What a driver answers whose hardware is not there. */
BAD_MODULE(return -ENODEV;,);
