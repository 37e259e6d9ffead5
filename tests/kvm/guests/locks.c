/* SPDX-License-Identifier: BSD-3-Clause */
/* Ticket and MCS locks protect plain data on other pages. Totals are exact, and the data is looked
 * at inside the critical section, where a second owner would be seen. */
#include "lib.h"

const char guest_name[] = "locks";

struct protected_data {
    volatile uint64_t total PAGE_ALIGNED;
    volatile uint64_t owner, last_owner;
    volatile uint64_t copies[8] PAGE_ALIGNED; /* all equal outside of the critical section */
};

struct mcs_node {
    struct mcs_node *next;
    uint32_t locked;
} PAGE_ALIGNED;

static struct {
    uint32_t next PAGE_ALIGNED;
    uint32_t serving PAGE_ALIGNED;
} ticket;

static struct mcs_node *mcs_tail PAGE_ALIGNED;
static struct mcs_node nodes[MAX_CPUS];
static struct protected_data by_ticket, by_mcs;
static uint64_t sections[MAX_CPUS][512] PAGE_ALIGNED; /* [0] ticket, [1] MCS */
static bool broken;

static void ticket_lock(void)
{
    uint32_t mine = __atomic_fetch_add(&ticket.next, 1, __ATOMIC_RELAXED);

    if (!broken)
        WAIT_UNTIL(__atomic_load_n(&ticket.serving, __ATOMIC_ACQUIRE) == mine, "ticket %u", mine);
}

static void ticket_unlock(void)
{
    __atomic_store_n(&ticket.serving, ticket.serving + 1, __ATOMIC_RELEASE);
}

static void mcs_lock(struct mcs_node *me)
{
    me->next = NULL;
    me->locked = 1;
    struct mcs_node *before = __atomic_exchange_n(&mcs_tail, me, __ATOMIC_ACQ_REL);

    if (before == NULL)
        return;
    __atomic_store_n(&before->next, me, __ATOMIC_RELEASE);
    WAIT_UNTIL(__atomic_load_n(&me->locked, __ATOMIC_ACQUIRE) == 0, "MCS lock");
}

static void mcs_unlock(struct mcs_node *me)
{
    struct mcs_node *expected = me;

    if (__atomic_load_n(&me->next, __ATOMIC_ACQUIRE) == NULL) {
        if (__atomic_compare_exchange_n(&mcs_tail, &expected, NULL, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return;
        WAIT_UNTIL(__atomic_load_n(&me->next, __ATOMIC_ACQUIRE) != NULL, "MCS successor");
    }
    __atomic_store_n(&me->next->locked, 0, __ATOMIC_RELEASE);
}

/* Returns whether another CPU was inside since this one was. */
static bool critical_section(struct protected_data *d, unsigned cpu, const char *lock)
{
    uint64_t owner = d->owner, total = d->total;

    CHECK(owner == 0, "%s: vCPU %lu is inside, too", lock, owner - 1);
    d->owner = cpu + 1;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t v = d->copies[i];

        CHECK(v == total, "%s: copy %u is %lu, total %lu", lock, i, v, total);
        d->copies[i] = total + 1;
    }
    d->total = total + 1;

    bool contended = d->last_owner != cpu + 1;

    d->last_owner = cpu + 1;
    CHECK(d->owner == cpu + 1, "%s: owner changed inside", lock);
    d->owner = 0;
    return contended;
}

static uint64_t run_ticket(unsigned cpu, uint64_t iters)
{
    uint64_t i = 0, contended = 0;

    contend_begin();
    for (; contend_more(i, iters, contended); i++) {
        ticket_lock();
        contended += critical_section(&by_ticket, cpu, "ticket lock");
        ticket_unlock();
    }
    return i;
}

static uint64_t run_mcs(unsigned cpu, uint64_t iters)
{
    uint64_t i = 0, contended = 0;

    contend_begin();
    for (; contend_more(i, iters, contended); i++) {
        if (!broken)
            mcs_lock(&nodes[cpu]);
        contended += critical_section(&by_mcs, cpu, "MCS lock");
        if (!broken)
            mcs_unlock(&nodes[cpu]);
    }
    return i;
}

static void verify(const struct protected_data *d, unsigned which, const char *lock)
{
    uint64_t want = 0;

    for (unsigned c = 0; c < ncpus; c++)
        want += sections[c][which];
    CHECK(d->total == want, "%s: total is %lu, not %lu", lock, d->total, want);
    for (unsigned i = 0; i < 8; i++)
        CHECK(d->copies[i] == want, "%s: copy %u is %lu", lock, i, d->copies[i]);
    printf("%s: %lu critical sections\n", lock, want);
}

void guest_main(unsigned cpu)
{
    const uint64_t iters = cmdline_u64("iters", 500);

    if (cpu == 0)
        broken = cmdline_has("break");
    sections[cpu][0] = run_ticket(cpu, iters);
    sections[cpu][1] = run_mcs(cpu, iters);
    barrier();
    if (cpu == 0) {
        verify(&by_ticket, 0, "ticket lock");
        verify(&by_mcs, 1, "MCS lock");
    }
    if (ncpus == 1)
        pass_note("1 vCPU: nothing to contend");
}
