// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

BAD_MODULE(preempt_disable(); msleep(1); preempt_enable(); return 0;,);
