/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables: (state, event) -> handler. An empty cell is a protocol error: counted, nothing
 * changes.
 *
 * Rows are cache states; columns are grouped by where the event comes from. DEFER parks the message
 * until the state is left. The same three columns (FWD_GETS, FWD_GETM, INV) are used when a parked
 * message is served, so that a message is judged by the state that it was meant for.
 */
#include "dataplane/coherence/core.h"

#define DEFER coh_defer_cell

/* Never called: coh_forward compares with it. */
void coh_defer_cell(struct coh *c, struct coh_ctx *x)
{
    (void)c;
    (void)x;
    PANDO_CHECK(!"the defer cell is data, not code");
}

#define FAULTS(r, w)         [COH_CE_READ] = r, [COH_CE_WRITE] = w
#define HOME(fs, fm, inv)    [COH_CE_FWD_GETS] = fs, [COH_CE_FWD_GETM] = fm, [COH_CE_INV] = inv
#define ANSWERS(grant, data) [COH_CE_GRANT] = grant, [COH_CE_DATA] = data
#define ACKS                 [COH_CE_INV_ACK] = coh_on_inv_ack
#define PUT_ACK              [COH_CE_PUT_ACK] = coh_on_put_ack
#define MAPPED(h)            [COH_CE_MAPPED] = h
#define PROTECTED(h)         [COH_CE_PROTECTED] = h
#define UNMAPPED(h)          [COH_CE_UNMAPPED] = h
#define EVICT(h)             [COH_CE_EVICT] = h
#define TAKE(h)              [COH_CE_TAKE] = h
#define WAIT                 FAULTS(coh_on_read_wait, coh_on_write_wait)
#define LATE                 FAULTS(coh_on_read_late, coh_on_write_wait)

/* clang-format off */
const coh_cache_handler coh_cache_table[COH_STATES][COH_CES] = {
    [COH_I]     = { FAULTS(coh_on_read_i, coh_on_write_i), EVICT(coh_on_evict_i), TAKE(coh_on_take_fill) },
    [COH_S]     = { FAULTS(coh_on_again, coh_on_write_s),
                    HOME(coh_on_share, coh_on_yield_s, coh_on_inv_s),
                    EVICT(coh_on_evict_s), TAKE(coh_on_take_own) },
    [COH_M]     = { FAULTS(coh_on_again, coh_on_again),
                    HOME(coh_on_downgrade, coh_on_yield_m, NULL), EVICT(coh_on_evict_m) },

    [COH_IS_D]  = { WAIT, ANSWERS(coh_on_grant_read, coh_on_data), HOME(DEFER, DEFER, DEFER),
                    TAKE(coh_on_take_own) },
    [COH_IS_P]  = { LATE, HOME(DEFER, DEFER, DEFER), MAPPED(coh_on_mapped_ro), TAKE(coh_on_take_own) },

    [COH_IM_AD] = { WAIT, ANSWERS(coh_on_grant_write, coh_on_data), HOME(DEFER, DEFER, DEFER), ACKS },
    [COH_IM_P]  = { FAULTS(coh_on_read_late, coh_on_write_late), HOME(DEFER, DEFER, DEFER),
                    MAPPED(coh_on_mapped_rw) },

    [COH_SM_AD] = { WAIT, ANSWERS(coh_on_grant_upgrade, NULL),
                    HOME(coh_on_share, coh_on_yield_sm, coh_on_inv_sm), ACKS },
    [COH_SM_A]  = { WAIT, HOME(DEFER, DEFER, DEFER), ACKS },
    [COH_SM_IU] = { WAIT, HOME(DEFER, DEFER, DEFER), ACKS, UNMAPPED(coh_on_unmapped_sm) },

    [COH_MS_P]  = { LATE, HOME(DEFER, DEFER, DEFER), PROTECTED(coh_on_protected) },
    [COH_SI_U]  = { WAIT, UNMAPPED(coh_on_unmapped_ack) },
    [COH_OI_U]  = { WAIT, UNMAPPED(coh_on_unmapped_ack) },
    [COH_MI_U]  = { WAIT, UNMAPPED(coh_on_unmapped_data) },

    [COH_SE_U]  = { WAIT, HOME(coh_on_share, coh_on_yield_u, coh_on_inv_u), UNMAPPED(coh_on_unmapped_se),
                    TAKE(coh_on_take_own) },
    [COH_OE_U]  = { WAIT, HOME(coh_on_share, coh_on_yield_u, coh_on_inv_u), UNMAPPED(coh_on_unmapped_oe) },
    [COH_ME_U]  = { WAIT, HOME(DEFER, coh_on_yield_mu, DEFER), UNMAPPED(coh_on_unmapped_me) },
    [COH_SE_A]  = { WAIT, HOME(NULL, NULL, coh_on_inv_a), PUT_ACK },
    [COH_OE_A]  = { WAIT, HOME(coh_on_share, coh_on_yield_oa, coh_on_inv_a), PUT_ACK },
    [COH_ME_A]  = { WAIT, HOME(coh_on_share_me, coh_on_yield_ma, NULL), PUT_ACK },
    [COH_IE_A]  = { WAIT, PUT_ACK },
};

#define REQUESTS(gets, getm)    [COH_HE_GETS] = gets, [COH_HE_GETM] = getm
#define PUTS(puts, putm, puto)  [COH_HE_PUTS] = puts, [COH_HE_PUTM] = putm, [COH_HE_PUTO] = puto

const coh_home_handler coh_home_table[3][COH_HES] = {
    [COH_DIR_ZERO]     = { REQUESTS(coh_home_gets_zero, coh_home_getm_zero), PUTS(coh_home_puts, NULL, NULL) },
    [COH_DIR_OWNED]    = { REQUESTS(coh_home_gets, coh_home_getm_owned),
                           PUTS(coh_home_puts, coh_home_put, coh_home_put) },
    [COH_DIR_MODIFIED] = { REQUESTS(coh_home_gets, coh_home_getm_modified),
                           PUTS(coh_home_puts, coh_home_put, coh_home_put) },
};
/* clang-format on */
