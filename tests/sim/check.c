/* SPDX-License-Identifier: BSD-3-Clause */
/* The checkers: single writer, data value (and torn pages), version order, node invariants, leaks,
 * progress; and the coverage table that shows which rare paths were reached. */
#include <stdarg.h>
#include <string.h>

#include "tests/sim/sim.h"

struct sim_coverage sim_coverage;

void check_fail(struct sim_world *w, enum sim_result kind, const char *fmt, ...)
{
    if (w->result != SIM_PASS)
        return;
    w->result = kind;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->why, sizeof(w->why), fmt, ap);
    va_end(ap);
    sim_trace(w, "FAIL %s", w->why);
}

/* Invariant 1: at most one node maps a page writable, and then no other maps it at all. */
void check_mapping(struct sim_world *w, uint32_t page, uint8_t life)
{
    uint32_t mapped = 0, writable = 0;
    for (uint32_t i = 0; i < w->opt.nodes; i++) {
        if (w->node[i].dead || w->node[i].life != life)
            continue;
        mapped += w->node[i].map[page] != MAP_NONE;
        writable += w->node[i].map[page] == MAP_RW;
    }
    if (writable > 1 || (writable == 1 && mapped > 1))
        check_fail(w, SIM_SAFETY, "single writer: page %u is mapped by %u nodes, writable by %u",
                   page, mapped, writable);
}

static uint64_t frame_value(struct sim_world *w, const struct sim_node *n, uint32_t page)
{
    uint64_t word[WIRE_PAGE_SIZE / 8];
    memcpy(word, n->frame[page], sizeof(word));
    for (uint32_t i = 1; i < WIRE_PAGE_SIZE / 8; i++)
        if (word[i] != word[0]) {
            check_fail(w, SIM_SAFETY, "torn page %u at node %u: word 0 is %llx, word %u is %llx",
                       page, n->id, (unsigned long long)word[0], i, (unsigned long long)word[i]);
            break;
        }
    return word[0];
}

/* Invariant 2: a read returns the last write. */
void check_read(struct sim_world *w, struct sim_node *n, uint32_t page)
{
    uint64_t seen = frame_value(w, n, page);
    uint64_t latest = w->latest[n->life][page];
    if (seen != latest)
        check_fail(w, SIM_SAFETY, "data value: node %u reads %llx from page %u, last written %llx",
                   n->id, (unsigned long long)seen, page, (unsigned long long)latest);
    w->hash = w->hash * UINT64_C(0x100000001B3) ^ seen;
}

void check_write(struct sim_world *w, struct sim_node *n, uint32_t page)
{
    struct coh_page_view view;
    coh_view(n->coh, page, &view);
    /* The version of a page that is being written only grows, over all nodes. */
    if (view.state == COH_M) {
        uint64_t *last = &w->last_version[n->life][page];
        if (view.version < *last)
            check_fail(w, SIM_SAFETY,
                       "version order: node %u writes page %u at version %llu after %llu", n->id,
                       page, (unsigned long long)view.version, (unsigned long long)*last);
        *last = view.version;
    }
    uint64_t value = ++w->write_count << 8 | n->id;
    uint64_t word[WIRE_PAGE_SIZE / 8];
    for (uint32_t i = 0; i < WIRE_PAGE_SIZE / 8; i++)
        word[i] = value;
    memcpy(n->frame[page], word, sizeof(word));
    w->latest[n->life][page] = value;
}

/* Invariant 6: a node never gives a transaction id out twice. */
void check_request(struct sim_world *w, struct sim_node *n, const struct wire_msg *m)
{
    if (m->kind != WIRE_GETS && m->kind != WIRE_GETM && m->kind != WIRE_PUTS &&
        m->kind != WIRE_PUTM && m->kind != WIRE_PUTO)
        return;
    if (m->txn <= n->last_txn)
        check_fail(w, SIM_SAFETY, "node %u uses transaction id %llu again", n->id,
                   (unsigned long long)m->txn);
    n->last_txn = m->txn;
}

void check_node(struct sim_world *w, struct sim_node *n, uint64_t page)
{
    const char *broken = coh_check(n->coh, page);
    if (broken)
        check_fail(w, SIM_SAFETY, "node %u page %llu: %s", n->id, (unsigned long long)page, broken);
}

static void check_copies(struct sim_world *w, uint32_t page)
{
    struct coh_dir_view dir = {0};
    uint8_t home = coh_home(w->node[0].coh, page);
    coh_dir_view(w->node[home].coh, page, &dir);
    for (uint32_t i = 0; i < w->opt.nodes; i++) {
        struct coh_page_view v;
        coh_view(w->node[i].coh, page, &v);
        bool listed = dir.sharers & (UINT64_C(1) << i);
        if (v.state != COH_I && v.state != COH_S && v.state != COH_M)
            check_fail(w, SIM_LIVENESS, "page %u at node %u rests in %s", page, i,
                       coh_state_name(v.state));
        else if (dir.state == COH_DIR_MODIFIED ? (v.state == COH_M) != (i == dir.owner)
                                               : (v.state == COH_S) != listed)
            check_fail(w, SIM_SAFETY,
                       "page %u: node %u is in %s, directory state %d owner %u sharers %llx", page,
                       i, coh_state_name(v.state), dir.state, dir.owner,
                       (unsigned long long)dir.sharers);
        if ((v.state == COH_S || v.state == COH_M) &&
            frame_value(w, &w->node[i], page) != w->latest[w->node[i].life][page])
            check_fail(w, SIM_SAFETY, "page %u at node %u is stale at the end", page, i);
    }
}

/* After the liveness phase everything is idle, every page rests where the directory says. */
void check_end(struct sim_world *w)
{
    const struct sim_options *o = &w->opt;
    for (uint32_t i = 0; i < o->nodes && w->result == SIM_PASS; i++) {
        struct sim_node *n = &w->node[i];
        for (uint32_t v = 0; v < o->vcpus; v++)
            if (n->vcpu[v].done < o->insns)
                check_fail(w, SIM_LIVENESS, "node %u vcpu %u retired %u of %u instructions", i, v,
                           n->vcpu[v].done, o->insns);
        if (!coh_idle(n->coh))
            check_fail(w, SIM_LIVENESS, "node %u: coherence does not become idle", i);
        else if (!rrdp_idle(n->rrdp))
            check_fail(w, SIM_LIVENESS, "node %u: transport does not become idle", i);
        if (n->freeze.pins.used != 0 || n->freeze.staging.used != 0)
            check_fail(w, SIM_SAFETY, "node %u: %u messages still freeze pages, %u copies left", i,
                       n->freeze.pins.used, n->freeze.staging.used);
        check_node(w, n, UINT64_MAX);
    }
    if (w->ipis_taken != w->ipis_sent)
        check_fail(w, SIM_LIVENESS, "%llu IPIs were sent, %llu came",
                   (unsigned long long)w->ipis_sent, (unsigned long long)w->ipis_taken);
    for (uint32_t p = 0; p < o->pages && w->result == SIM_PASS; p++)
        check_copies(w, p);
}

void coverage_node(const struct sim_world *w, const struct sim_node *n)
{
    struct sim_coverage *s = &sim_coverage;
    const struct coh_counters *c = coh_counters(n->coh);
    for (uint32_t a = 0; a < COH_STATES; a++)
        for (uint32_t b = 0; b < COH_STATES; b++)
            s->transitions[a][b] += c->transitions[a][b];
    for (uint32_t d = 0; d < COH_DROPS; d++)
        s->coh_drop[d] += c->drop[d];
    for (uint32_t k = 0; k < WIRE_KIND_LIMIT; k++)
        s->kinds[k] += c->rx[k];
    for (uint32_t k = 0; k < COH_FAULT_KINDS; k++)
        s->faults[k] += c->faults[k];
    s->deferred += c->deferred;
    s->held += c->held;
    s->hold_expired += c->hold_expired;
    s->hold_wounded += c->hold_wounded;
    s->punches += c->punches;
    s->put_stale += c->put_stale;
    s->evict[0] += c->evict_puts;
    s->evict[1] += c->evict_putm;
    s->evict[2] += c->evict_puto;
    for (uint8_t p = 0; p < w->opt.nodes; p++) {
        const struct rrdp_counters *r = rrdp_counters(n->rrdp, p);
        for (uint32_t d = 0; d < RRDP_DROPS; d++)
            s->rrdp_drop[d] += r->drop[d];
        for (uint32_t k = 0; k < WIRE_CLASSES; k++) {
            s->retransmit += r->retransmit[k];
            s->retransmit_probe += r->retransmit_probe[k];
            s->retransmit_timeout += r->retransmit_timeout[k];
            s->credit_stall += r->credit_stall[k];
        }
        s->out_of_order += r->out_of_order;
        s->group_tx += r->group_tx;
        s->group_rx += r->group_rx;
        s->group_lost += r->group_lost;
        s->mtu_falls += r->mtu_falls;
        s->parts += r->parts;
    }
}

void coverage_add(struct sim_world *w)
{
    struct sim_coverage *s = &sim_coverage;
    for (uint32_t i = 0; i < w->opt.nodes; i++)
        coverage_node(w, &w->node[i]);
    s->events += w->events;
    s->ipis += w->ipis_taken;
    s->virtual_ns += w->now;
}

static void print_list(FILE *f, const char *title, uint32_t n, const char *(*name)(uint32_t),
                       const uint64_t *count)
{
    fprintf(f, "%s:", title);
    for (uint32_t i = 0; i < n; i++)
        if (name(i))
            fprintf(f, " %s %llu", name(i), (unsigned long long)count[i]);
    fprintf(f, "\n");
}

static const char *name_coh_drop(uint32_t i)
{
    return coh_drop_name((enum coh_drop)i);
}

static const char *name_rrdp_drop(uint32_t i)
{
    return rrdp_drop_name((enum rrdp_drop)i);
}

static const char *name_kind(uint32_t i)
{
    const struct wire_kind_info *info = wire_kind_info((uint8_t)i);
    return info->family == WIRE_FAMILY_COH ? info->name : NULL;
}

/* All that the tables lead to (coherence/tables.c). */
static const struct {
    uint8_t from, to;
} possible[] = {
    {COH_I, COH_IS_D},      {COH_I, COH_IM_AD},    {COH_I, COH_IS_P},      {COH_S, COH_SM_AD},
    {COH_S, COH_SI_U},      {COH_S, COH_OI_U},     {COH_S, COH_SE_U},      {COH_S, COH_OE_U},
    {COH_M, COH_MS_P},      {COH_M, COH_MI_U},     {COH_M, COH_ME_U},      {COH_IS_D, COH_IS_P},
    {COH_IS_P, COH_S},      {COH_IM_AD, COH_IM_P}, {COH_IM_P, COH_M},      {COH_SM_AD, COH_SM_A},
    {COH_SM_AD, COH_SM_IU}, {COH_SM_A, COH_IM_P},  {COH_SM_IU, COH_IM_AD}, {COH_MS_P, COH_S},
    {COH_SI_U, COH_I},      {COH_OI_U, COH_I},     {COH_MI_U, COH_I},      {COH_SE_U, COH_IS_P},
    {COH_SE_U, COH_SE_A},   {COH_SE_U, COH_SI_U},  {COH_SE_U, COH_OI_U},   {COH_OE_U, COH_IS_P},
    {COH_OE_U, COH_OE_A},   {COH_OE_U, COH_OI_U},  {COH_OE_U, COH_SI_U},   {COH_ME_U, COH_IM_P},
    {COH_ME_U, COH_ME_A},   {COH_ME_U, COH_MI_U},  {COH_SE_A, COH_I},      {COH_SE_A, COH_IE_A},
    {COH_OE_A, COH_I},      {COH_OE_A, COH_IE_A},  {COH_ME_A, COH_OE_A},   {COH_ME_A, COH_I},
    {COH_ME_A, COH_IE_A},   {COH_IE_A, COH_I},
};

/* Drops that loss, junk, crashes, restarts and lies cause. Not here: SEGMENT, REFUSED and EVENTS of
 * the transport, and DEFERRED_FULL, of which a full table, another configuration or frames that
 * only a broken node sends are the cause (tests/unit/test_rrdp_hostile.c, test_rrdp_setup.c,
 * test_coherence_basic.c, the fuzzers). */
static const uint8_t possible_drops[] = {
    RRDP_DROP_SHORT,     RRDP_DROP_LENGTH,        RRDP_DROP_VERSION,   RRDP_DROP_RESERVED,
    RRDP_DROP_CLUSTER,   RRDP_DROP_CRC,           RRDP_DROP_TAG,       RRDP_DROP_EPOCH,
    RRDP_DROP_DUPLICATE, RRDP_DROP_NO_CONNECTION, RRDP_DROP_RANGE,     RRDP_DROP_NOT_FOR_US,
    RRDP_DROP_SELF,      RRDP_DROP_MAC_MOVED,     RRDP_DROP_ACK_RANGE, RRDP_DROP_WINDOW,
    RRDP_DROP_PONG};
static const uint8_t possible_coh_drops[] = {
    COH_DROP_PAGE_RANGE, COH_DROP_WRONG_VM, COH_DROP_NOT_HOME, COH_DROP_NOT_FROM_HOME,
    COH_DROP_REQUESTER,  COH_DROP_TXN,      COH_DROP_VERSION,  COH_DROP_STATE,
    COH_DROP_DIR_STATE,  COH_DROP_ACKS,     COH_DROP_EDGE,     COH_DROP_DEAD_PEER,
    COH_DROP_FIELDS};

static size_t name_missing(char *out, size_t size, size_t at, const char *a, const char *b)
{
    int n =
        at < size ? snprintf(out + at, size - at, " %s%s%s", a, b[0] != '\0' ? "->" : "", b) : 0;
    return at + (size_t)n;
}

uint32_t coverage_missing(char *out, size_t size)
{
    const struct sim_coverage *s = &sim_coverage;
    uint32_t missing = 0;
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof(possible) / sizeof(possible[0]); i++)
        if (s->transitions[possible[i].from][possible[i].to] == 0 && ++missing)
            at = name_missing(out, size, at, coh_state_name(possible[i].from),
                              coh_state_name(possible[i].to));
    for (size_t i = 0; i < sizeof(possible_drops); i++)
        if (s->rrdp_drop[possible_drops[i]] == 0 && ++missing)
            at = name_missing(out, size, at, rrdp_drop_name(possible_drops[i]), "");
    for (size_t i = 0; i < sizeof(possible_coh_drops); i++)
        if (s->coh_drop[possible_coh_drops[i]] == 0 && ++missing)
            at = name_missing(out, size, at, coh_drop_name(possible_coh_drops[i]), "");
    const struct {
        const char *name;
        uint64_t count;
    } rare[] = {{"crash", s->crashes},
                {"rejoin", s->rejoins},
                {"ipi", s->ipis},
                {"host-ping", s->pongs},
                {"group-message", s->group_rx},
                {"group-message-again", s->group_lost},
                {"path-cut", s->mtu_falls},
                {"part", s->parts},
                {"page-in-place", s->placed},
                {"credit-stall", s->credit_stall},
                {"time-out", s->retransmit_timeout},
                {"tail-probe", s->retransmit_probe},
                {"out-of-order", s->out_of_order},
                {"set-expired", s->hold_expired},
                {"set-gave-way", s->hold_wounded},
                {"stale-put", s->put_stale},
                {"frozen-page-copied", s->unfreeze},
                {"punch", s->punches}};
    for (size_t i = 0; i < sizeof(rare) / sizeof(rare[0]); i++)
        if (rare[i].count == 0 && ++missing)
            at = name_missing(out, size, at, rare[i].name, "");
    return missing;
}

void coverage_print(FILE *f, bool json, double seconds)
{
    const struct sim_coverage *s = &sim_coverage;
    uint32_t reached = 0;
    for (uint32_t a = 0; a < COH_STATES; a++)
        for (uint32_t b = 0; b < COH_STATES; b++)
            reached += a != b && s->transitions[a][b] > 0;
    if (json) {
        fprintf(f,
                "{\"schema\": 1, \"result\": \"%s\", \"seconds\": %.1f, \"passed\": %llu, "
                "\"failed\": %llu, "
                "\"events\": %llu, \"virtual_seconds\": %.1f, \"instructions\": %llu, "
                "\"transitions\": %u, "
                "\"retransmissions\": %llu, \"crashes\": %llu}\n",
                s->failed ? "fail" : "pass", seconds, (unsigned long long)s->passed,
                (unsigned long long)s->failed, (unsigned long long)s->events,
                (double)s->virtual_ns / 1e9, (unsigned long long)s->insns, reached,
                (unsigned long long)s->retransmit, (unsigned long long)s->crashes);
        return;
    }
    char missing[2048];
    uint32_t unreached = coverage_missing(missing, sizeof(missing));
    fprintf(f, "coverage: %u distinct state transitions reached; of what can happen %u not:%s\n",
            reached, unreached, unreached != 0 ? missing : " -");
    for (uint32_t a = 0; a < COH_STATES; a++) {
        fprintf(f, "  %-6s ->", coh_state_name((enum coh_state)a));
        for (uint32_t b = 0; b < COH_STATES; b++)
            if (a != b && s->transitions[a][b])
                fprintf(f, " %s %llu", coh_state_name((enum coh_state)b),
                        (unsigned long long)s->transitions[a][b]);
        fprintf(f, "\n");
    }
    print_list(f, "messages", WIRE_KIND_LIMIT, name_kind, s->kinds);
    print_list(f, "coherence drops", COH_DROPS, name_coh_drop, s->coh_drop);
    print_list(f, "transport drops", RRDP_DROPS, name_rrdp_drop, s->rrdp_drop);
    fprintf(f,
            "faults: read %llu write %llu upgrade %llu spurious %llu; virtual latency us p50 %.1f "
            "p99 %.1f "
            "max %.1f\n",
            (unsigned long long)s->faults[COH_FAULT_READ],
            (unsigned long long)s->faults[COH_FAULT_WRITE],
            (unsigned long long)s->faults[COH_FAULT_UPGRADE],
            (unsigned long long)s->faults[COH_FAULT_SPURIOUS],
            (double)hist_quantile(&s->fault_ns, 500) / 1e3,
            (double)hist_quantile(&s->fault_ns, 990) / 1e3, (double)s->fault_ns.max / 1e3);
    fprintf(f,
            "deferred %llu, held for residency %llu, sets expired %llu, gave way %llu; punched "
            "%llu, puts %llu "
            "putm %llu puto "
            "%llu stale %llu; frozen pages copied %llu\n",
            (unsigned long long)s->deferred, (unsigned long long)s->held,
            (unsigned long long)s->hold_expired, (unsigned long long)s->hold_wounded,
            (unsigned long long)s->punches, (unsigned long long)s->evict[0],
            (unsigned long long)s->evict[1], (unsigned long long)s->evict[2],
            (unsigned long long)s->put_stale, (unsigned long long)s->unfreeze);
    fprintf(f,
            "retransmitted %llu (probes %llu, by time-out %llu), in group frames %llu, out of "
            "order %llu, credit stalls "
            "%llu, paths cut %llu, parts %llu, pages in place %llu; lies "
            "told %llu; crashes "
            "%llu, rejoined %llu; %llu IPIs, %llu "
            "instructions, %llu events, %.1f virtual s\n",
            (unsigned long long)s->retransmit, (unsigned long long)s->retransmit_probe,
            (unsigned long long)s->retransmit_timeout, (unsigned long long)s->group_tx,
            (unsigned long long)s->out_of_order, (unsigned long long)s->credit_stall,
            (unsigned long long)s->mtu_falls, (unsigned long long)s->parts,
            (unsigned long long)s->placed, (unsigned long long)s->lies,
            (unsigned long long)s->crashes, (unsigned long long)s->rejoins,
            (unsigned long long)s->ipis, (unsigned long long)s->insns,
            (unsigned long long)s->events, (double)s->virtual_ns / 1e9);
}
