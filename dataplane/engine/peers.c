/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers: joining, refusals, losses; and the end of the VM.
 *
 *   JOINING --all peers up, clock locked--> RUNNING --the VM ended, or cannot go on--> LEAVING
 * --peers told--> exit
 *      \_______________ time-out, refusal, a peer left ___________________^
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/engine/engine.h"
#include "dataplane/engine/probes.h"

#define MS UINT64_C(1000000)

const char *node_name(const struct engine *e, uint8_t node)
{
    const struct config_node *n = config_node_of(e->cfg, node);
    return n != NULL ? n->name : "?";
}

void engine_stop(struct engine *e, bool orderly, const char *fmt, ...)
{
    va_list args;
    if (e->phase == ENGINE_LEAVING)
        return;
    va_start(args, fmt);
    vsnprintf(e->stop_text, sizeof(e->stop_text), fmt, args);
    va_end(args);
    fprintf(stderr, "pando-dataplane (node %u): %s\n", e->self, e->stop_text);
    e->phase = ENGINE_LEAVING;
    e->orderly = orderly;
    e->status = orderly ? 0 : 1;
    e->now = engine_now();
    e->deadline = e->now + ENGINE_LINGER_MS * MS;
    control_stop(e);
    if (orderly)
        rrdp_close(e->rrdp, e->now);
    else
        rrdp_reset(e->rrdp);
}

static bool any_up(const struct engine *e)
{
    for (uint8_t n = 0; n < e->nodes; n++)
        if (n != e->self && rrdp_peer_up(e->rrdp, n))
            return true;
    return false;
}

static void missing(const struct engine *e, char *buf, size_t size)
{
    size_t len = 0;
    buf[0] = '\0';
    for (uint8_t n = 0; n < e->nodes && len < size; n++)
        if (n != e->self && !rrdp_peer_up(e->rrdp, n))
            len += (size_t)snprintf(buf + len, size - len, "%snode %u (%s)", len ? ", " : "", n,
                                    node_name(e, n));
}

/* The end is reached when everybody was told, or the time for it is over. A refused peer is not up
 * and needs the whole time to hear our SYN. The others need a moment to take our last frames out of
 * the fabric; one that lost them all speaks within a heartbeat, and is told again then. */
bool peers_finished(struct engine *e)
{
    if (e->phase != ENGINE_LEAVING)
        return false;
    uint64_t last = e->now + (e->cfg->transport.heartbeat_ms + ENGINE_LAST_MS) * MS;
    if (!e->refused && !any_up(e) && e->deadline > last)
        e->deadline = last;
    return e->now >= e->deadline;
}

/* Of a peer that is silent, half of the time that it has: does its host answer? Only the kernel's
 * answer says more than silence, and only the message about the loss uses it. */
static void ask_host(struct engine *e, uint8_t n)
{
    if (e->now < rrdp_peer_last_rx(e->rrdp, n) + e->cfg->transport.dead_ms * MS / 2)
        e->host_alive &= ~(UINT64_C(1) << n);
    else
        rrdp_host_ping(e->rrdp, n, (uint32_t)++e->pings, (uint32_t)(e->now / 1000));
}

static void look_at_fabric(struct engine *e)
{
    if (port_look(e->port) == NULL)
        return;
    if (!telemetry_try_hold()) {
        e->gone_at = e->now + MS;
        return;
    }
    if (fabric_look(&e->fabric)) {
        e->port = e->fabric.port;
        e->wait_fd_known = false; /* the old one left the epoll set when it was closed */
        e->count.fabric_changes++;
        control_new_port(e);
    }
    telemetry_release();
    if (e->fabric.stand_in != NULL)
        engine_stop(e, false, "node %u (%s) has no fabric any more: %s", e->self,
                    node_name(e, e->self), e->fabric.text);
}

static void look_at_peers(struct engine *e)
{
    if (e->now < e->gone_at || e->phase == ENGINE_LEAVING)
        return;
    e->gone_at = e->now + ENGINE_GONE_MS * MS;
    look_at_fabric(e);
    port_tell_gone(e->port, e->rrdp, e->nodes, e->now, 2 * e->cfg->transport.heartbeat_ms * MS,
                   &e->gone);
    for (uint8_t n = 0; n < e->nodes; n++)
        if (n != e->self && rrdp_peer_up(e->rrdp, n)) {
            struct rrdp_mac mac = rrdp_peer_mac(e->rrdp, n);
            ask_host(e, n);
            if (e->fabric.offload != NULL)
                offload_peer(e->fabric.offload, n, mac.addr);
        }
    if (e->fabric.offload != NULL)
        offload_tick(e->fabric.offload);
}

/* All peers, then one clock: what has no time to become ready within its time-out is named. */
static void join(struct engine *e)
{
    char who[128];
    uint32_t ms = e->cfg->transport.join_timeout_ms;
    missing(e, who, sizeof(who));
    if (who[0] != '\0') {
        if (e->now >= e->deadline)
            engine_stop(e, false, "did not come within transport.join_timeout_ms = %u: %s", ms,
                        who);
        return;
    }
    if (!e->all_here) {
        e->all_here = true;
        e->deadline = e->now + ms * MS;
    }
    if (!clock_locked(e)) {
        if (e->now < e->deadline)
            return;
        clock_why_not(e, who, sizeof(who));
        engine_stop(e, false,
                    "node %u (%s): its clock was not locked within transport.join_timeout_ms = %u: "
                    "%s",
                    e->self, node_name(e, e->self), ms, who);
        return;
    }
    e->phase = ENGINE_RUNNING;
    if (e->verbose)
        fprintf(stderr, "pando-dataplane: node %u: all %u nodes are here, the clock is locked\n",
                e->self, e->nodes);
    control_welcome(e);
}

/* Time and readiness: what no event says. */
void peers_watch(struct engine *e)
{
    look_at_peers(e);
    if (engine_interrupted()) { /* also while it joins, which takes as long as the others do */
        engine_stop(e, false, "node %u (%s) was stopped by a signal", e->self,
                    node_name(e, e->self));
        return;
    }
    if (e->phase == ENGINE_JOINING)
        join(e);
}

static void refused(struct engine *e, uint8_t peer, uint64_t why)
{
    static const char *const text[] = {
        [RRDP_REFUSE_REVISION] = "has another version of Pando; install the same one on all nodes",
        [RRDP_REFUSE_VERSION] =
            "speaks another version of the wire format; install the same version of "
            "Pando on all nodes",
        [RRDP_REFUSE_CONFIG] =
            "has another configuration; give all nodes the same configuration file",
        [RRDP_REFUSE_NODES] = "has a configuration with another number of nodes",
        [RRDP_REFUSE_SAME_NODE] = "says that it is this node: two nodes have the same id",
    };
    if (why == RRDP_REFUSE_PURPOSE) {
        if ((e->endpoints >> peer & 1) == 0)
            fprintf(stderr,
                    "pando-dataplane: node %u: at node %u (%s) there is pando ping, echo or bench; "
                    "waiting for its dataplane\n",
                    e->self, peer, node_name(e, peer));
        e->endpoints |= UINT64_C(1) << peer;
        return;
    }
    const char *what =
        why < sizeof(text) / sizeof(text[0]) && text[why] ? text[why] : "does not fit";
    e->refused = true;
    engine_stop(e, false, "refused: node %u (%s) %s", peer, node_name(e, peer), what);
}

static void down(struct engine *e, uint8_t peer, uint64_t why)
{
    const char *name = node_name(e, peer);
    if (e->phase == ENGINE_LEAVING)
        return;
    /* One that ends while only our clock is not ready ends the VM like any other. */
    bool ended = why == RRDP_DOWN_CLOSED && e->all_here;
    if (e->phase == ENGINE_JOINING && why != RRDP_DOWN_RESTARTED && !ended) {
        char who[128];
        missing(e, who, sizeof(who));
        engine_stop(e, false, "node %u (%s) left before all nodes were here; missing: %s", peer,
                    name, who);
        return;
    }
    switch (why) {
    case RRDP_DOWN_CLOSED:
        engine_stop(e, true, "the VM has ended, says node %u (%s)", peer, name);
        return;
    case RRDP_DOWN_RST:
        engine_stop(e, false, "node %u (%s) stopped the VM; its own message says why", peer, name);
        return;
    case RRDP_DOWN_RESTARTED:
        if (e->phase == ENGINE_JOINING)
            return; /* it joins again at once */
        engine_stop(e, false, "node %u (%s) was lost: its dataplane was restarted", peer, name);
        return;
    case RRDP_DOWN_GONE:
        engine_stop(e, false, "node %u (%s) was lost: its dataplane has ended", peer, name);
        return;
    default:
        engine_stop(e, false, "node %u (%s) was lost: nothing was heard of it for %u ms%s", peer,
                    name, e->cfg->transport.dead_ms,
                    e->host_alive >> peer & 1 ? "; its host answers, so its dataplane stands still"
                                              : "");
        return;
    }
}

/* fabric.mtu is what the interfaces say; the path may carry less. */
static void path_known(const struct engine *e, uint8_t peer, uint64_t mtu)
{
    if (mtu == RRDP_MTU_BASE && mtu < e->port->mtu)
        fprintf(
            stderr,
            "pando-dataplane: node %u: frames of %u bytes do not arrive at node %u (%s): going on "
            "with %u, three for a page. All interfaces and switches between must carry "
            "fabric.mtu\n",
            e->self, e->port->mtu, peer, node_name(e, peer), (unsigned)mtu);
}

bool peers_events(struct engine *e)
{
    struct rrdp_event ev;
    bool useful = false;
    while (rrdp_event(e->rrdp, &ev)) {
        useful = true;
        switch (ev.type) {
        case RRDP_EV_SENT:
            transmit_sent(e, ev.value);
            break;
        case RRDP_EV_DOWN:
            PROBE(peer_down, e->self, ev.peer, ev.value);
            down(e, ev.peer, ev.value);
            break;
        case RRDP_EV_REFUSED:
            refused(e, ev.peer, ev.value);
            break;
        case RRDP_EV_UP:
            PROBE(peer_up, e->self, ev.peer);
            if (e->verbose)
                fprintf(stderr, "pando-dataplane: node %u: node %u (%s) is here\n", e->self,
                        ev.peer, node_name(e, ev.peer));
            break;
        case RRDP_EV_MTU:
            path_known(e, ev.peer, ev.value);
            break;
        case RRDP_EV_PONG:
            if (ev.by == WIRE_PING_BY_KERNEL)
                e->host_alive |= UINT64_C(1) << ev.peer;
            break;
        case RRDP_EV_NONE:
            break;
        }
    }
    return useful;
}
