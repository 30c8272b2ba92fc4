// SPDX-License-Identifier: GPL-2.0-only
#include "bad.h"

BAD_MODULE(for (;;) { set_current_state(TASK_UNINTERRUPTIBLE); schedule(); } return 0;,);
