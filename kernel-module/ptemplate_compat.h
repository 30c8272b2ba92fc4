/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernels, told apart by feature. Version numbers cannot
 * do it: RHEL keeps calling its kernel 5.14 while it takes over newer APIs.
 */
#ifndef PTEMPLATE_COMPAT_H
#define PTEMPLATE_COMPAT_H

#include <linux/device.h>

/*
 * class_create() lost its owner argument in Linux 6.4 and in RHEL 9.4. The
 * older form is a macro and the newer one a function, so the preprocessor
 * itself can tell which of them this kernel has.
 */
#ifdef class_create
#define ptemplate_class_create(name) class_create(THIS_MODULE, name)
#else
#define ptemplate_class_create(name) class_create(name)
#endif

#endif /* PTEMPLATE_COMPAT_H */
