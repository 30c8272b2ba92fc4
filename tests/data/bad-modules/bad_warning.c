// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

BAD_MODULE(WARN(1, "on purpose"); return 0;,);
