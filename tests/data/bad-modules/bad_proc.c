// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

BAD_MODULE(proc_mkdir("bad_proc", NULL); return 0;,);
