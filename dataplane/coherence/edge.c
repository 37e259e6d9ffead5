/* SPDX-License-Identifier: BSD-3-Clause */
/* MAPPED, PROTECTED, UNMAPPED: the mapping is as the last action asked; what waited for it goes on.
 */
#include "dataplane/coherence/core.h"

static struct wire_msg served(const struct coh_rec *r, uint8_t kind, uint64_t version)
{
    return (struct wire_msg){.kind = kind,
                             .requester = r->serve_requester,
                             .acks = r->serve_acks,
                             .txn = r->serve_txn,
                             .version = version};
}

void coh_on_mapped_ro(struct coh *c, struct coh_ctx *x)
{
    x->e->ref = x->e->owner ? 2 : 1;
    c->taking -= x->e->taking;
    x->e->taking = 0;
    coh_set_state(c, x, COH_S);
    coh_settle(c, x);
}

void coh_on_mapped_rw(struct coh *c, struct coh_ctx *x)
{
    x->e->ref = 2;
    coh_set_state(c, x, COH_M);
    coh_settle(c, x);
}

/* MS_P: nobody can write the frame now. */
void coh_on_protected(struct coh *c, struct coh_ctx *x)
{
    struct wire_msg fwd = served(x->r, WIRE_FWD_GETS, x->e->version);
    coh_send_data(c, x, &fwd);
    coh_serve_end(c, x->r);
    coh_set_state(c, x, COH_S);
    coh_settle(c, x);
}

/* SI_U, OI_U */
void coh_on_unmapped_ack(struct coh *c, struct coh_ctx *x)
{
    if (!COH_PLANT_EARLY_ACK)
        coh_send_ack(c, x, x->r->serve_requester, x->r->serve_txn);
    coh_serve_end(c, x->r);
    coh_set_state(c, x, COH_I);
    coh_settle(c, x);
}

/* MI_U: the data is the ack. */
void coh_on_unmapped_data(struct coh *c, struct coh_ctx *x)
{
    struct wire_msg fwd = served(x->r, WIRE_FWD_GETM, x->e->version + 1);
    coh_send_data(c, x, &fwd);
    coh_serve_end(c, x->r);
    x->e->owner = 0;
    coh_set_state(c, x, COH_I);
    coh_settle(c, x);
}

/* SM_IU: our request stands, but it needs the data now. */
void coh_on_unmapped_sm(struct coh *c, struct coh_ctx *x)
{
    coh_send_ack(c, x, x->r->serve_requester, x->r->serve_txn);
    coh_serve_end(c, x->r);
    coh_set_state(c, x, COH_IM_AD);
}

/* ---- evictions
 * ------------------------------------------------------------------------------------- */

static void put(struct coh *c, struct coh_ctx *x, uint8_t kind, enum coh_state to,
                uint64_t *counter)
{
    struct coh_rec *r = x->r;
    PANDO_CHECK(r->evict);
    r->txn = coh_new_txn(c);
    struct wire_msg m = {.kind = kind,
                         .vm = c->cfg.vm,
                         .requester = c->cfg.self,
                         .page = x->page,
                         .txn = r->txn,
                         .version = x->e->version};
    coh_send(c, coh_home(c, x->page), &m);
    coh_set_state(c, x, to);
    (*counter)++;
    /* What was parked while the page was being unmapped: after PUT_ACK it is gone. */
    coh_forward_all(c, x);
    coh_settle(c, x);
}

/* Each of the three is called off if somebody wants the page meanwhile: the copy is still valid. */
void coh_on_unmapped_se(struct coh *c, struct coh_ctx *x)
{
    if (x->e->owner ||
        coh_wanted(x->r)) /* owner: this home took a PUT while the page was unmapped */
        coh_map(c, x, false, false);
    else
        put(c, x, WIRE_PUTS, COH_SE_A, &c->counters.evict_puts);
}

void coh_on_unmapped_oe(struct coh *c, struct coh_ctx *x)
{
    if (coh_wanted(x->r))
        coh_map(c, x, false, false);
    else
        put(c, x, WIRE_PUTO, COH_OE_A, &c->counters.evict_puto);
}

void coh_on_unmapped_me(struct coh *c, struct coh_ctx *x)
{
    if (coh_wanted(x->r))
        coh_map(c, x, true, false);
    else
        put(c, x, WIRE_PUTM, COH_ME_A, &c->counters.evict_putm);
}
