// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

BAD_MODULE(for (;;) cpu_relax(); return 0;,);
