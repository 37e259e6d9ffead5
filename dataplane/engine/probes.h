/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The probes of pando-dataplane (dataplane/host/usdt.h), provider "pando". EDGE, macros only.
 * Scripts that use them: perf/bpftrace.
 *
 *     bpftrace -l 'usdt:build/dataplane/engine/pando-dataplane:*'
 *
 * The first argument is always the node on which it happens; others as below, at most five, for
 * bpftrace knows no more than six. A time is in nanoseconds, a point in time is of CLOCK_MONOTONIC
 * (bpftrace's nsecs too, or with the time of suspends). page: coherence unit number, guest physical
 * address / 4096. kind: of a message, enum wire_kind in wire.h. vcpu: vCPU number; 255: another
 * thread of the VMM's process.
 *
 *   fault_read        page, write (0, 1), vcpu: userfaultfd reports a fault
 *   fault_asked       page, kind (gets, getm), home (node), txn: this node asks another for the
 *                     page. Not where the home is this node, or a page was asked for already
 *   fault_mapped      page, kind (enum coh_fault_kind: coherence.h), took, writable (0, 1): the
 *                     vCPU can go on. took: since the fault was read. What the summary's "faults"
 *                     count
 *   message_sent      peer, kind, place, id, exclusive: handed to the transport or kept for it.
 *                     place: page of a coherence message, channel of a glue or span message,
 *                     else 0. id: txn of a coherence message, the span's, else seq. exclusive
 *                     (0, 1): of a coherence message, for writing
 *   message_received  peer, kind, place, id, at: complete, valid, and about to be acted on. at:
 *                     when the burst with its last frame was taken from the port, so nsecs - at is
 *                     how long it waited for those before it. What it waited below the port nobody
 *                     sees here
 *   frame_sent        peer (255: several), class, bytes, again (0, 1): put into the port. bytes:
 *                     behind the link header. again: it is a retransmission
 *   frame_received    bytes, placed, segments: taken from the port. placed: those of the bytes that
 *                     the peer's device wrote into guest memory. segments: what the transport made
 *                     of it, 0 for a duplicate, a refusal, an acknowledgement, one before its turn
 *   zap_requested     page: queued for the agent, which is to unmap it
 *   zap_done          page: it did
 *   irq_posted        vcpu, mode (enum glue_irq_op: glue_abi.h), vector: for a vCPU of this node
 *   io_exit           vcpu, run, peer, bytes: an exit of a vCPU of this node leaves for the VMM
 *   io_done           vcpu, run, peer, bytes: and the VMM's answer, which starts that run, has
 *                     come. run: numbers the entries of this vCPU; an exit's answer has its run
 *                     plus 1
 *   backlog           peer, class, kind, waiting: the transport had no room for a message, which
 *                     now waits with so many of all peers
 *   peer_up           peer
 *   peer_down         peer, why (enum rrdp_down)
 *   sleep             most: the poll loop blocks, for so long at most
 *   wake              it runs again
 */
#ifndef PANDO_ENGINE_PROBES_H
#define PANDO_ENGINE_PROBES_H

#include "dataplane/host/usdt.h"

/* name, arguments (with the node), cost */
/* clang-format off */
#define PROBE_LIST(X) \
    X(fault_read, 4, AT_HAND) \
    X(fault_asked, 5, GUARDED) \
    X(fault_mapped, 5, GUARDED) \
    X(message_sent, 6, GUARDED) \
    X(message_received, 6, GUARDED) \
    X(frame_sent, 5, GUARDED) \
    X(frame_received, 4, GUARDED) \
    X(zap_requested, 2, AT_HAND) \
    X(zap_done, 2, AT_HAND) \
    X(irq_posted, 4, AT_HAND) \
    X(io_exit, 5, GUARDED) \
    X(io_done, 5, GUARDED) \
    X(backlog, 5, GUARDED) \
    X(peer_up, 2, AT_HAND) \
    X(peer_down, 3, AT_HAND) \
    X(sleep, 2, AT_HAND) \
    X(wake, 1, AT_HAND)
/* clang-format on */

#define X(name, args, cost) USDT_DECLARE(pando, name, args, cost)
PROBE_LIST(X)
#undef X

/* PROBE(zap_done, e->self, page); PROBE_WANTED(fault_asked): somebody has attached. */
#define PROBE(name, ...)   USDT(pando, name, __VA_ARGS__)
#define PROBE_WANTED(name) USDT_WANTED(pando, name)

#endif
