/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the intents mean: for each received frame whether it is dropped, by which fence, and which
 * class, node and queue it is of. PURE. It is the software backend, in the poll loop, and what
 * rules of a NIC and the XDP program are measured by.
 *
 * A frame is of the node that its RRDP header names as its source. A fence holds back what bears a
 * fenced node as its source or comes from its address; one around an old connection, what does and
 * bears its tag. All versions of the header have source and tag in the same place, and neither CRC
 * nor sender was looked at before: a fence is against nodes that were given up and go on, not
 * against one that lies about its number and its address.
 */
#ifndef PANDO_OFFLOAD_CLASSIFY_H
#define PANDO_OFFLOAD_CLASSIFY_H

#include "offload/plan/plan.h"

/* clang-format off */
#define CLASSIFY_VERDICT_LIST(X) X(DELIVER, "deliver") X(NODE, "fenced_node") X(EPOCH, "fenced_epoch")
/* clang-format on */
#define X(ID, name) CLASSIFY_##ID,
enum classify_verdict { CLASSIFY_VERDICT_LIST(X) CLASSIFY_VERDICTS };
#undef X
const char *classify_verdict_name(enum classify_verdict v);

struct classify {
    uint64_t fenced, epoch_of; /* nodes that are fenced; that have old connections which are */
    uint16_t queue[WIRE_CLASSES];
    uint8_t nodes;
    uint64_t known;                     /* address[n] is right */
    uint8_t address[WIRE_NODES_MAX][6]; /* as link_frame.src */
    uint32_t epochs;
    struct {
        uint8_t node;
        uint32_t tag;
    } epoch[PLAN_EPOCHS_MAX];
};

struct classified {
    enum classify_verdict verdict;
    uint8_t cls;    /* of a header too short to say: urgent */
    uint8_t node;   /* RULE_ANY: none of the cluster's */
    uint16_t queue; /* DELIVER */
};

/* From an input that plan_make takes. */
void classify_init(struct classify *c, const struct plan_input *in);

/* What link_read took. */
struct classified classify_frame(const struct classify *c, const struct link_frame *f);

#endif
