// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

BAD_MODULE(return try_module_get(THIS_MODULE) ? 0 : -EBUSY;,);
