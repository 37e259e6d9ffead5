/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload/flow/offload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_ethdev.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/ethdev.h"
#include "offload/flow/internal.h"

#define US UINT64_C(1000)

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* The device below the port, if it is one of DPDK's, and what is known of its family. */
static void find_nic(struct offload *o, const struct offload_config *cfg)
{
    struct ethdev_info info;
    struct rte_eth_dev_info dev = {0};
    o->nic = cfg->nic != NULL ? cfg->nic : &nic_none;
    o->device = cfg->device;
    o->queues = 1;
    if (ethdev_info(port_below(cfg->port), &info) != 0 ||
        rte_eth_dev_info_get(info.id, &dev) != 0 || dev.driver_name == NULL)
        return;
    snprintf(o->driver, sizeof(o->driver), "%s", dev.driver_name);
    o->queues = info.rx_queues;
    const struct nic *known = nic_by_driver(dev.driver_name);
    if (cfg->nic == NULL && known != NULL)
        o->nic = known;
}

/* The device that takes rules, unless a test gave one. */
static int open_device(struct offload *o)
{
    struct ethdev_info info;
    if (o->device != NULL || o->driver[0] == '\0' || o->nic->templates == 0 ||
        ethdev_info(port_below(o->port), &info) != 0)
        return 0;
    struct flow_device_config c = {.id = info.id,
                                   .nic = o->nic,
                                   .in = &o->in,
                                   .flow_queue = info.flow_queue,
                                   .flow_why = info.flow_why};
    int rc = flow_device_open(&c, &o->own);
    o->device = o->own;
    return rc;
}

static bool has_xdp(const struct port *p)
{
#ifdef PANDO_HAVE_AF_XDP
    return port_af_xdp_mode(p) != NULL;
#else
    (void)p;
    return false;
#endif
}

static void begin_input(struct offload *o, const struct offload_config *cfg)
{
    o->in = (struct plan_input){
        .link = cfg->link,
        .ethertype = cfg->ethertype,
        .queues = o->queues <= PLAN_QUEUES_MAX ? o->queues : PLAN_QUEUES_MAX,
        .count = cfg->count,
        .mark = cfg->mark,
        .xdp = has_xdp(cfg->port),
    };
    memcpy(o->in.group_mac, cfg->group_mac, sizeof(o->in.group_mac));
    if (cfg->wishes != NULL)
        memcpy(o->in.peer_mac, cfg->wishes->peer_mac, sizeof(o->in.peer_mac));
    plan_class_queues(o->in.queues, o->in.class_queue);
}

void offload_wishes(const struct offload *o, struct offload_wishes *ret_wishes)
{
    *ret_wishes = (struct offload_wishes){.fenced = o->in.fenced, .epochs = o->in.epochs};
    for (uint32_t k = 0; k < o->in.epochs; k++) {
        ret_wishes->epoch[k].node = o->in.epoch[k].node;
        ret_wishes->epoch[k].tag = o->in.epoch[k].tag;
    }
    memcpy(ret_wishes->peer_mac, o->in.peer_mac, sizeof(ret_wishes->peer_mac));
}

/* A port that cannot fence now is asked again by offload_tick. */
static int take_over(struct offload *o, const struct offload_wishes *w)
{
    int rc = 0;
    for (uint64_t n = w->fenced; n != 0; n &= n - 1)
        (void)offload_fence(o, (uint8_t)bit64_first(n), true);
    if (o->in.fenced != w->fenced)
        return -EINVAL;
    for (uint32_t k = 0; k < w->epochs && rc == 0; k++)
        rc = offload_fence_epoch(o, w->epoch[k].node, w->epoch[k].tag, true);
    return rc;
}

/* An input that needs a rule of each kind that may come: all peers and a connection of each are
 * fenced. Over plain Ethernet any address does to ask with. */
static void worst_case(const struct offload *o, struct plan_input *out)
{
    *out = o->in;
    for (uint8_t n = 0; n < o->in.link.nodes; n++) {
        if (n == o->in.link.self)
            continue;
        const uint8_t mac[6] = {2, 'P', 'A', 'N', 'D', n};
        memcpy(out->peer_mac[n], mac, sizeof(mac));
        out->fenced |= bit64(n);
    }
    out->epochs = 1;
    out->epoch[0].node = o->in.link.self == 0 ? 1 : 0;
    out->epoch[0].tag = 1;
}

/* What the device takes of what its family's table promises, first of what is wanted now, then of
 * what may come. What it takes nothing of is planned without, until nothing changes. */
static int probe(struct offload *o)
{
    struct plan_input *worst = malloc(sizeof(*worst));
    if (worst == NULL)
        return -ENOMEM;
    uint32_t before;
    int rc = 0;
    do {
        before = o->in.refused_shapes;
        for (unsigned i = 0; i < 2 && rc == 0; i++) {
            uint32_t refused = 0;
            worst_case(o, worst);
            rc = plan_make(o->nic, i == 0 ? &o->in : worst, &o->scratch);
            if (rc == 0)
                install_probe(o->device, &o->scratch, &refused, o->shape_why);
            o->in.refused_shapes |= refused;
        }
    } while (rc == 0 && o->in.refused_shapes != before);
    free(worst);
    return rc;
}

/* Without a fence and without anything to count or to order nobody need look at each frame. */
static void attach_if_needed(struct offload *o)
{
    if (o->count || o->sieve.order || o->in.fenced != 0 || o->in.epochs > 0)
        sieve_attach(&o->sieve, o->port);
    else
        sieve_detach(&o->sieve, o->port);
}

/* A fence that is new begins at 0; those that stay keep what they have counted. */
static void keep_counts(struct sieve *s, const struct plan_input *old,
                        const struct plan_input *next)
{
    uint64_t count[PLAN_EPOCHS_MAX] = {0};
    for (uint64_t n = next->fenced & ~old->fenced; n != 0; n &= n - 1)
        s->fenced_node[bit64_first(n)] = 0;
    for (uint32_t k = 0; k < next->epochs; k++)
        for (uint32_t m = 0; m < old->epochs; m++)
            if (old->epoch[m].node == next->epoch[k].node &&
                old->epoch[m].tag == next->epoch[k].tag)
                count[k] = s->fenced_epoch[m];
    memcpy(s->fenced_epoch, count, sizeof(count));
}

/* Plans anew, and tells everybody but the NIC: the sieve, and by install_want what is left to do.
 * An input that cannot be planned changes nothing. */
static int replan(struct offload *o, const struct plan_input *next)
{
    pthread_mutex_lock(&o->lock);
    int rc = plan_make(o->nic, next, &o->plan);
    if (rc == 0) {
        keep_counts(&o->sieve, &o->in, next);
        o->in = *next;
        classify_init(&o->sieve.rules, &o->in);
        if (o->install != NULL)
            install_want(o->install, &o->plan);
        attach_if_needed(o);
    }
    pthread_mutex_unlock(&o->lock);
    return rc;
}

static void step(struct offload *o, uint64_t budget_ns)
{
    if (o->install == NULL)
        return;
    pthread_mutex_lock(&o->lock);
    install_step(o->install, budget_ns);
    pthread_mutex_unlock(&o->lock);
}

int offload_open(const struct offload_config *cfg, struct offload **ret_offload)
{
    const struct link_config *l = &cfg->link;
    if (l->nodes < 2 || l->nodes > WIRE_NODES_MAX || l->self >= l->nodes)
        return -EINVAL;
    struct offload *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return -ENOMEM;
    pthread_mutex_init(&o->lock, NULL);
    o->port = cfg->port;
    if (cfg->group_how != NULL)
        snprintf(o->group_how, sizeof(o->group_how), "received %s", cfg->group_how);
    o->count = cfg->count;
    o->sieve.order = cfg->order;
    find_nic(o, cfg);
    begin_input(o, cfg);
    int rc = open_device(o);
    if (rc == 0 && o->device != NULL)
        rc = probe(o);
    if (rc == 0 && o->device != NULL)
        rc = install_open(o->device, clock_ns, &o->install);
    const struct plan_input first = o->in;
    if (rc == 0)
        rc = replan(o, &first);
    if (rc != 0) {
        offload_close(o);
        return rc;
    }
    step(o, OFFLOAD_OPEN_MS * 1000 * US);
    if (o->driver[0] != '\0')
        ethdev_urgent_queue(port_below(o->port), o->in.class_queue[WIRE_CLASS_URGENT]);
    rc = cfg->wishes != NULL ? take_over(o, cfg->wishes) : 0;
    if (rc == 0)
        *ret_offload = o;
    else
        offload_close(o);
    return rc;
}

void offload_close(struct offload *o)
{
    if (o == NULL)
        return;
    sieve_detach(&o->sieve, o->port);
    for (uint64_t n = o->port_fences; n != 0; n &= n - 1)
        (void)port_fence(o->port, (uint8_t)bit64_first(n), false);
    install_close(o->install);
    flow_device_close(o->own);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

/* ---- changes ------------------------------------------------------------------------------- */

static int check_node(const struct offload *o, uint8_t node)
{
    return node < o->in.link.nodes && node != o->in.link.self ? 0 : -EINVAL;
}

/* Fences that the port does not know of yet, or still has. What fails is tried again by the next
 * fence or tick; a port that has no fence is left to the sieve. */
static int tell_port(struct offload *o)
{
    int rc = 0;
    for (uint64_t n = o->port_fences ^ o->in.fenced; n != 0; n &= n - 1) {
        uint8_t node = (uint8_t)bit64_first(n);
        int one = port_fence(o->port, node, (o->in.fenced & bit64(node)) != 0);
        if (one == 0 || one == -EOPNOTSUPP)
            o->port_fences ^= bit64(node);
        else
            rc = one;
    }
    return rc;
}

/* In software it holds when this returns; in the NIC as far as the budget goes. */
static int change(struct offload *o, const struct plan_input *next)
{
    int rc = replan(o, next);
    if (rc == 0)
        step(o, OFFLOAD_FENCE_US * US);
    return rc;
}

/* Another node that has this address; link.nodes: none. */
static uint8_t owner_of(const struct plan_input *in, const uint8_t mac[6], uint8_t but)
{
    static const uint8_t unknown[6];
    uint8_t n = memcmp(mac, unknown, 6) == 0 ? in->link.nodes : 0;
    while (n < in->link.nodes && (n == but || memcmp(in->peer_mac[n], mac, 6) != 0))
        n++;
    return n;
}

int offload_peer(struct offload *o, uint8_t node, const uint8_t mac[6])
{
    if (check_node(o, node) != 0)
        return -EINVAL;
    if (o->in.link.kind != LINK_ETHERNET)
        return 0;
    bool news = memcmp(o->told_mac[node], mac, 6) != 0;
    memcpy(o->told_mac[node], mac, 6);
    uint8_t other = owner_of(&o->in, mac, node);
    if (memcmp(o->in.peer_mac[node], mac, 6) == 0 || (other < o->in.link.nodes && !news))
        return 0;
    struct plan_input next = o->in;
    if (other < o->in.link.nodes)
        memset(next.peer_mac[other], 0, 6);
    memcpy(next.peer_mac[node], mac, 6);
    return change(o, &next);
}

int offload_fence(struct offload *o, uint8_t node, bool on)
{
    struct plan_input next = o->in;
    if (check_node(o, node) != 0)
        return -EINVAL;
    next.fenced = on ? o->in.fenced | bit64(node) : o->in.fenced & ~bit64(node);
    int rc = next.fenced != o->in.fenced ? change(o, &next) : 0;
    return rc != 0 ? rc : tell_port(o);
}

int offload_fence_epoch(struct offload *o, uint8_t node, uint32_t tag, bool on)
{
    struct plan_input next = o->in;
    uint32_t k = 0;
    if (check_node(o, node) != 0)
        return -EINVAL;
    while (k < next.epochs && (next.epoch[k].node != node || next.epoch[k].tag != tag))
        k++;
    if (on == (k < next.epochs))
        return 0;
    if (on && k == PLAN_EPOCHS_MAX)
        return -ENOSPC;
    if (on) {
        next.epoch[k].node = node;
        next.epoch[k].tag = tag;
        next.epochs++;
    } else { /* the last one takes its place */
        next.epochs--;
        next.epoch[k] = next.epoch[next.epochs];
    }
    return change(o, &next);
}

void offload_tick(struct offload *o)
{
    (void)tell_port(o);
    if (o->install == NULL || pthread_mutex_trylock(&o->lock) != 0)
        return; /* somebody reads: later */
    if (install_step(o->install, OFFLOAD_TICK_US * US))
        install_count(o->install);
    pthread_mutex_unlock(&o->lock);
}

bool offload_settled(const struct offload *o)
{
    return o->port_fences == o->in.fenced && (o->install == NULL || install_done(o->install));
}

uint64_t offload_dropped(const struct offload *o)
{
    return o->sieve.dropped;
}
