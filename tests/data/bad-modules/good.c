// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

/* The one that does nothing wrong. */
BAD_MODULE(return 0;,);
