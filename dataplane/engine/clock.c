/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clock (dataplane/clock/clock.h) on this host: TSC stamps, its frequency, exchanges with the
 * reference node, the map in the segment, and waking vCPUs that run on an old one.
 *
 * A message is stamped where it is packed and where it is unpacked. What the poll loop sleeps in
 * between is part of the delay, alike in both directions, and only the fastest exchanges count.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dataplane/base/check.h"
#include "dataplane/engine/engine.h"
#include "hypervisor-glue/link/glue_clock.h"

enum {
    CALIBRATE_MS = 50,
    CALIBRATE_TRIES = 16,
    WAKE_US = 1, /* vCPUs in the guest are told when the correction has changed by this */
};

static uint64_t raw_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* TSC and raw clock at one moment: the closest of some tries, as an interrupt may come between. */
static void read_both(uint64_t *ret_tsc, uint64_t *ret_ns)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < CALIBRATE_TRIES; i++) {
        uint64_t before = glue_clock_tsc(), ns = raw_ns(), apart = glue_clock_tsc() - before;
        if (apart < best) {
            best = apart;
            *ret_tsc = before + apart / 2;
            *ret_ns = ns;
        }
    }
}

static uint64_t host_now(const struct engine *e)
{
    return glue_clock_host(&e->clock.injected, glue_clock_tsc());
}

int clock_open(struct engine *e)
{
    read_both(&e->clock.tsc_start, &e->clock.ns_start);
    return 0;
}

/* Some readings of a microsecond's accuracy, 50 ms apart or more: 25 ppm, which the limit on
 * differing frequencies makes room for. */
static bool calibrate(struct engine *e)
{
    struct engine_clock *k = &e->clock;
    const struct config_node *n = config_node_of(e->cfg, e->self);
    uint64_t tsc, ns;
    if (raw_ns() - k->ns_start < CALIBRATE_MS * UINT64_C(1000000))
        return false;
    read_both(&tsc, &ns);
    uint64_t khz =
        (uint64_t)((clock_wide)(tsc - k->tsc_start) * 1000000 / (int64_t)(ns - k->ns_start));
    if (khz < CLOCK_KHZ_MIN || khz > CLOCK_KHZ_MAX) {
        engine_stop(e, false, "node %u (%s): its TSC seems to run at %llu kHz: not usable", e->self,
                    node_name(e, e->self), (unsigned long long)khz);
        return false;
    }
    k->injected.injected_base = k->tsc_start;
    k->injected.injected_offset = (uint64_t)n->clock_offset_us * khz / 1000;
    k->injected.injected_rate = ((int64_t)n->clock_drift_ppb << 32) / 1000000000;
    struct glue_clock *g = &e->shared->clock;
    g->injected_base = k->injected.injected_base;
    g->injected_offset = k->injected.injected_offset;
    g->injected_rate = k->injected.injected_rate;
    struct clock_config cfg = {
        .self = e->self,
        .reference = e->cfg->vm.vmm_node,
        .nodes = e->nodes,
        .discipline = e->cfg->clock.discipline == CONFIG_ON,
        .khz = (uint32_t)((int64_t)khz + clock_scale((int64_t)khz, k->injected.injected_rate)),
        .interval_ms = e->cfg->clock.interval_ms,
    };
    clock_init(&k->core, &cfg, host_now(e));
    k->known = true;
    return true;
}

/* ---- publishing ---------------------------------------------------------------------------- */

/* A vCPU applies the map when it enters the guest. One that stays there runs at its host's rate
 * with the correction of that time, so it is called out when that is off by WAKE_US: after a step
 * of the map, or from time to time as it drifts. */
static void tell_vcpus(struct engine *e)
{
    struct engine_clock *k = &e->clock;
    uint64_t tsc = glue_clock_tsc(); /* the processor's own: what a vCPU goes on by */
    uint64_t host = glue_clock_host(&e->shared->clock, tsc);
    uint64_t correction = clock_map_at(&k->core.map, host) - tsc;
    int64_t change = (int64_t)(correction - k->told);
    if (change <= (int64_t)k->core.map.khz * WAKE_US / 1000 &&
        -change <= (int64_t)k->core.map.khz * WAKE_US / 1000)
        return;
    k->told = correction;
    if (e->conn != CONN_WELCOMED)
        return;
    for (uint32_t v = 0; v < e->cfg->vm.vcpus; v++) {
        struct glue_chan *c = &e->shared->chan[v];
        if (e->cfg->vm.vcpu_home[v] != e->self)
            continue;
        atomic_fetch_or_explicit(&c->posted.events, GLUE_POST_CLOCK, memory_order_release);
        atomic_thread_fence(memory_order_seq_cst); /* [W] of glue.c */
        if (atomic_load_explicit(&c->state, memory_order_relaxed) != GLUE_IN_GUEST)
            continue; /* it looks before it enters */
        k->wakes++;
        glue_wake(e, v);
    }
}

static void publish(struct engine *e)
{
    glue_clock_write(&e->shared->clock, &e->clock.core.map);
    if (clock_usable(&e->clock.core))
        tell_vcpus(e);
}

/* ---- the exchange -------------------------------------------------------------------------- */

static bool follows(const struct engine *e)
{
    return e->clock.core.cfg.discipline && e->self != e->cfg->vm.vmm_node;
}

bool clock_poll(struct engine *e)
{
    struct wire_time m;
    uint8_t reference = e->cfg->vm.vmm_node;
    if (e->phase == ENGINE_LEAVING || (!e->clock.known && !calibrate(e)))
        return false;
    if (follows(e) && !rrdp_peer_up(e->rrdp, reference))
        return false;
    uint64_t host = host_now(e);
    if ((int64_t)(host - clock_due(&e->clock.core)) < 0)
        return false;
    if (clock_tick(&e->clock.core, host, &m)) {
        clock_asked(&e->clock.core, &m, host_now(e));
        e->clock.unsent += transmit_time(e, reference, &m) != 0; /* the next one will do */
    }
    publish(e);
    return true;
}

static void unfit(struct engine *e, uint8_t src, const struct wire_time *m, enum clock_drop why)
{
    if (why == CLOCK_DROP_FREQUENCY)
        engine_stop(e, false,
                    "node %u (%s): its TSC of %u kHz differs from the %u kHz of node %u (%s) by "
                    "more than %d ppm: that needs TSC scaling, which is not offered",
                    src, node_name(e, src), m->khz, e->clock.core.cfg.khz, e->self,
                    node_name(e, e->self), CLOCK_KHZ_PPM_MAX);
    else if (why == CLOCK_DROP_RATE)
        engine_stop(e, false,
                    "node %u (%s): its TSC runs %d ppm off that of node %u (%s): more than %d", src,
                    node_name(e, src), m->rate / CLOCK_PPM, e->self, node_name(e, e->self),
                    CLOCK_RATE_PPM_MAX);
}

void clock_message(struct engine *e, uint8_t src, const struct wire_time *m)
{
    struct wire_time answer;
    uint64_t host = host_now(e);
    if (!e->clock.known)
        return; /* asked again soon */
    if (m->kind == WIRE_TIME_REP) {
        if (clock_answer(&e->clock.core, src, m, host) == CLOCK_OK)
            publish(e);
        else if (!clock_khz_fits(&e->clock.core, m->khz))
            unfit(e, src, m, CLOCK_DROP_FREQUENCY);
        return;
    }
    enum clock_drop why = clock_request(&e->clock.core, src, m, host, &answer);
    if (why != CLOCK_OK) {
        unfit(e, src, m, why);
        return;
    }
    answer.stamp = host_now(e);
    e->clock.unsent += transmit_time(e, src, &answer) != 0;
}

/* ---- for others ---------------------------------------------------------------------------- */

bool clock_locked(const struct engine *e)
{
    return e->clock.known && clock_usable(&e->clock.core);
}

/* Why it is not, for the message when the time for it is over. */
void clock_why_not(const struct engine *e, char *buf, size_t size)
{
    const struct clock *c = &e->clock.core;
    uint8_t reference = e->cfg->vm.vmm_node;
    if (follows(e)) {
        snprintf(buf, size, "%llu answers of node %u (%s) were good; %s",
                 (unsigned long long)c->count.samples, reference, node_name(e, reference),
                 c->rated ? "its own clock is not decided" : "too few for a rate");
        return;
    }
    size_t len = 0;
    uint64_t who = clock_missing(c);
    buf[0] = '\0';
    for (uint8_t n = 0; n < e->nodes && len < size; n++)
        if ((who >> n & 1) != 0)
            len += (size_t)snprintf(buf + len, size - len, "%snode %u (%s)",
                                    len ? ", " : "no rate yet of ", n, node_name(e, n));
}

/* Until the next tick, for who is about to sleep. */
uint64_t clock_wait_ns(const struct engine *e)
{
    if (!e->clock.known)
        return UINT64_C(1000000);
    int64_t ticks = (int64_t)(clock_due(&e->clock.core) - host_now(e));
    return ticks <= 0 ? 0 : (uint64_t)ticks * 1000000 / e->clock.core.cfg.khz;
}
