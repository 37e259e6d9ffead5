/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An RDMA device in memory, for tests of the verbs port: what verbs_api.h lists, over a wire that
 * the test can stop. One device, or as many as are asked for, all on one wire and in one process.
 *
 * It is strict where a real one may be: states of queue pairs, keys and the protection domains that
 * they belong to, packet numbers, lengths, depths. Data is read when it is sent, not when it is
 * posted (but for inline), and work requests leave the send queue when a completion at or behind
 * them has been polled.
 */
#ifndef PANDO_TESTS_FAKE_VERBS_H
#define PANDO_TESTS_FAKE_VERBS_H

#include <stdatomic.h>

#include "dataplane/port/verbs_api.h"

/* What the test sets, and counts. */
struct fake_verbs {
    /* the device: as it is opened */
    int devices; /* fake0, fake1, ... */
    bool iwarp, down, no_gids;
    enum ibv_mtu mtu;    /* active */
    uint32_t inline_max; /* create_qp refuses more */
    int max_qp_wr, max_cqe;
    /* Failures: the n-th call from now on, and all behind it; 0: never. */
    int fail_reg, fail_qp;
    atomic_bool slow_reg; /* registrations wait until it is false again */
    /* The wire. */
    bool stopped;      /* reliable packets wait at the sender */
    bool delay_writes; /* WRITEs leave the sender and wait on the wire, whatever becomes of it */
    bool cut;          /* nothing arrives: retries are exceeded */
    bool drop_ud;
    /* What happened. */
    unsigned objects; /* that were made and not destroyed */
    unsigned writes, writes_late_landed, writes_late_refused;
    unsigned errors;          /* the port broke a rule of the interface */
    unsigned posts, requests; /* calls of post_send; work requests */
    unsigned rnr;             /* times that a reliable packet found no buffer */
};
extern struct fake_verbs fake;

/* Back to one device on a wire that works; nothing may be left of the last test. */
void fake_begin(void);
const struct verbs_api *fake_api(void);
/* What waits at senders goes on. */
void fake_go_on(void);
/* WRITEs that were delayed arrive now. */
void fake_late(void);
void fake_event(enum ibv_event_type type); /* at all open devices */
/* Bytes arrive at a UD queue pair by a sender whose number and address are these. */
bool fake_inject_ud(uint32_t to, uint32_t key, uint32_t from, const union ibv_gid *gid,
                    const void *bytes, uint32_t len);
/* A reliable message with an immediate, as if by the queue pair that this one is connected to. */
bool fake_inject_rc(uint32_t to, const void *bytes, uint32_t len, uint32_t immediate);
void fake_break(uint32_t number);                   /* the queue pair goes to the error state */
uint32_t fake_ud_of(unsigned n, uint32_t *ret_key); /* the n-th UD queue pair that lives */

#endif
