/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attaching an XDP program to an interface for as long as this process lives. EDGE.
 *
 * The attachment is a bpf_link that is pinned nowhere: when its descriptor closes, on purpose or
 * because the process was killed, the kernel detaches. So a successor finds the interface free as
 * soon as its predecessor has ended, and is told who holds it before that.
 *
 * One program an interface. libxdp's dispatcher would run several, but it pins what it attaches, so
 * that a killed process would leave its program behind, and it needs programs of type EXT
 * (freplace), which not every kernel takes. An interface with a dispatcher, or with any other
 * program, is refused by an error that names it.
 */
#ifndef PANDO_BPF_ATTACH_H
#define PANDO_BPF_ATTACH_H

#include <stdbool.h>

enum { XDP_ERROR_MAX = 256, XDP_REASON_MAX = 96 };

struct xdp_attachment {
    int link_fd;              /* -1: not attached */
    bool generic;             /* in the kernel's generic (skb) mode, not in the driver */
    char why[XDP_REASON_MAX]; /* generic: what the driver's mode failed with */
};

/* Attaches in native mode; where the driver refuses, in generic mode. 0, or -errno and in err a
 * sentence that says what to do: -ENODEV no such interface, -EBUSY another program is there,
 * -EPERM.
 */
int xdp_attach(const char *interface, int prog_fd, struct xdp_attachment *ret_attachment,
               char err[XDP_ERROR_MAX]);
void xdp_detach(struct xdp_attachment *a);
/* Why the program no longer runs though nobody called xdp_detach, in words; NULL: it does. */
const char *xdp_lost(const struct xdp_attachment *a);

/* A sentence for a program that could not be loaded; rc is -errno. */
void xdp_load_error(int rc, char err[XDP_ERROR_MAX]);

#endif
