// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

extern int nobody_exports_this(void);

BAD_MODULE(return nobody_exports_this();,);
