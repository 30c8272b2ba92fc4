// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

BAD_MODULE(panic("on purpose"); return 0;,);
