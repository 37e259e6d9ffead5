/* SPDX-License-Identifier: BSD-3-Clause */
/* Random clusters, intents, NICs and frames for tests of the planner. All follows from a seed. */
#ifndef PANDO_TESTS_OFFLOAD_WORLD_H
#define PANDO_TESTS_OFFLOAD_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "offload/nic/nic.h"
#include "offload/plan/classify.h"
#include "offload/plan/plan.h"

#define FIELD(id) (UINT32_C(1) << RULE_##id)
#define DO(id)    (UINT32_C(1) << RULE_DO_##id)

enum {
    FRAME_MAX = 256,
    BEHIND_HEADER = 22, /* bytes of a frame */
    SIZES = 4,          /* of clusters: 2 to 64 nodes */
    WORLDS =
        (int)LINK_KINDS * SIZES, /* consecutive seeds go through all, for each family of NICs */
};

struct world {
    struct prng r;
    uint64_t seed;
    const struct nic *nic;
    struct plan_input in;
    uint8_t mac[WIRE_NODES_MAX][6];
    struct link own;
    struct classify classify;
    struct plan plan;
};

extern struct world w;

struct frame {
    uint8_t b[FRAME_MAX];
    size_t len;
    uint8_t cls, node;
    bool proper; /* as it was made; then spoiled, perhaps */
};

/* From PANDO_SEED, or new in each run. A failure names the seed that PANDO_SEED repeats it with. */
uint64_t first_seed(void);
/* The link, the cluster's size and the NIC of this seed, which random numbers follow from then on.
 */
enum link_kind seeded(uint64_t seed, uint8_t *ret_nodes, const struct nic **ret_nic);
unsigned families_known(void);
double now(clockid_t clock); /* seconds */
/* Ends the test; rule: of w.plan, or -1. */
void fail_here(const char *what, int32_t rule);

bool chance(unsigned percent);
uint8_t any_peer(void);
/* w.in, w.mac and w.own; make_intents: other fences, of the same cluster. */
void make_input(enum link_kind kind, uint8_t nodes);
void make_intents(void);
/* Any combination of what a table can say. */
void make_up_nic(struct nic *nic);

/* As its sender writes it. Some datagrams are shorter than their frame, and not proper if it is the
 * header that is not whole. */
void make_proper(struct frame *f);
/* One thing that makes it another frame; true: it is not proper any more. */
bool spoil(struct frame *f);
/* What software gets to see: the NIC strips priority tags. Returns its length. */
size_t strip(const struct frame *f, uint8_t out[FRAME_MAX]);

#endif
