/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attaching an XDP program to an interface for as long as this process lives. EDGE.
 *
 * The attachment is a bpf_link that is pinned nowhere: when its descriptor closes, on purpose or
 * because the process was killed, the kernel detaches. So a successor finds the interface free as
 * soon as its predecessor has ended, and is told who holds it before that.
 *
 * One program an interface, so one node: an interface with another program is refused by an error
 * that says whose it is, and that program stays as it is.
 *
 * libxdp's dispatcher would run several (freplace, programs of type EXT). It is not joined, as a
 * killed process could not help leaving something that nobody can safely remove. What
 * tests/bpf/test_dispatcher.c shows, of libxdp 1.3.1 on Debian's 6.12:
 *   - It pins what it attaches: the program of a killed process goes on, and takes its frames off
 *     the interface for sockets that are gone.
 *   - Without the pin the link ends with the process. But then libxdp cannot read the dispatcher
 *     any more, and nobody else can join or leave.
 *   - Killed just behind the exchange of dispatchers, a process leaves the pins of the former one,
 *     in which nothing is its own: its successor cannot know them. They outlive the interface, too.
 *   - Pins are named by interface number and program, for all network namespaces together. Who
 *     cleans up (libxdp_clean_references) in one of them detaches foreign programs in another.
 * And where libxdp cannot make a dispatcher (no EXT; no bpffs in sight, as under `ip netns exec`),
 * it attaches for good, by netlink: also that outlives the process.
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
