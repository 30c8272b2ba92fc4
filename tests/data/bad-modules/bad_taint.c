// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

/* What every vendor's module does anyway; others by parameter. */
static int bit = TAINT_OOT_MODULE;
module_param(bit, int, 0444);

BAD_MODULE(add_taint(bit, LOCKDEP_STILL_OK); return 0;,);
