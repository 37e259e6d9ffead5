/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything that is counted, as JSON: one object at the end (--summary), or one section of it for
 * telemetry. The keys are a contract with tests/system/summary.py.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/engine/engine.h"
#include "dataplane/port/verbs.h"

enum { SUMMARY_HOT_PAGES = 32 };

static void put(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void put_text(json_t *o, const char *key, const char *text)
{
    json_t *s = json_string(text);
    json_object_set_new(o, key, s != NULL ? s : json_string("(not UTF-8)"));
}

static void put_us(json_t *o, const char *key, uint64_t ns)
{
    json_object_set_new(o, key, json_real((double)ns / 1e3));
}

/* The used buckets: [largest value, samples]. */
static json_t *buckets(const struct hist *h)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        uint64_t n = h->bucket[i];
        if (n > 0)
            json_array_append_new(all,
                                  json_pack("[I,I]", (json_int_t)hist_upper(i), (json_int_t)n));
    }
    return all;
}

static json_t *faults(const struct engine *e)
{
    static const char *const name[COH_FAULT_KINDS] = {"read", "write", "upgrade", "spurious"};
    json_t *all = json_object();
    const struct coh_counters *c = coh_counters(e->coh);
    for (unsigned k = 0; k < COH_FAULT_KINDS; k++) {
        struct hist copy, *h = &copy;
        hist_still(h, &e->latency[k]);
        json_t *o = json_object();
        put(o, "n", h->count);
        put(o, "started", c->faults[k]);
        put(o, "page_tables", e->count.page_tables[k]);
        put_us(o, "p50_us", hist_quantile(h, 500));
        put_us(o, "p90_us", hist_quantile(h, 900));
        put_us(o, "p99_us", hist_quantile(h, 990));
        put_us(o, "max_us", h->max);
        put(o, "sum_ns", h->sum);
        json_object_set_new(o, "buckets", buckets(h));
        json_object_set_new(all, name[k], o);
    }
    return all;
}

static json_t *messages(const struct engine *e)
{
    json_t *all = json_object();
    const struct coh_counters *c = coh_counters(e->coh);
    for (unsigned k = 0; k < WIRE_KIND_LIMIT; k++) {
        const struct wire_kind_info *info = wire_kind_info((uint8_t)k);
        if (info->name == NULL)
            continue;
        bool coh = info->family == WIRE_FAMILY_COH;
        json_t *o = json_object();
        put(o, "tx", coh ? c->tx[k] : e->count.tx[k]);
        put(o, "rx", coh ? c->rx[k] : e->count.rx[k]);
        json_object_set_new(all, info->name, o);
    }
    return all;
}

static void add_counters(struct rrdp_counters *sum, const struct rrdp_counters *c)
{
    const uint64_t *from = (const uint64_t *)(const void *)c;
    uint64_t *to = (uint64_t *)(void *)sum;
    for (size_t i = 0; i < sizeof(*c) / sizeof(uint64_t); i++)
        to[i] += from[i];
}

static struct rrdp_counters transport_sum(const struct engine *e)
{
    struct rrdp_counters sum = {0};
    for (uint8_t n = 0; n < e->nodes; n++)
        add_counters(&sum, rrdp_counters(e->rrdp, n));
    return sum;
}

static json_t *classes(const struct rrdp_counters *c)
{
    json_t *all = json_object();
    for (unsigned k = 0; k < WIRE_CLASSES; k++) {
        json_t *o = json_object();
        put(o, "tx_frames", c->tx_frames[k]);
        put(o, "rx_frames", c->rx_frames[k]);
        put(o, "tx_bytes", c->tx_bytes[k]);
        put(o, "rx_bytes", c->rx_bytes[k]);
        put(o, "tx_messages", c->tx_messages[k]);
        put(o, "rx_messages", c->rx_messages[k]);
        put(o, "retransmit", c->retransmit[k]);
        put(o, "retransmit_probe", c->retransmit_probe[k]);
        put(o, "retransmit_timeout", c->retransmit_timeout[k]);
        put(o, "credit_stall", c->credit_stall[k]);
        json_object_set_new(all, wire_class_name(k), o);
    }
    return all;
}

static void put_drop(json_t *all, const char *part, const char *name, uint64_t n)
{
    char key[64];
    if (n == 0)
        return;
    snprintf(key, sizeof(key), "%s.%s", part, name);
    put(all, key, n);
}

/* What the XDP program and the kernel's side of AF_XDP counted; empty on another port. */
static json_t *xdp(const struct engine *e)
{
    json_t *o = json_object();
#ifdef PANDO_HAVE_AF_XDP
    struct port_af_xdp_counters c;
    if (port_af_xdp_counters(e->port, &c) != 0)
        return o;
    json_t *steered = json_object();
    for (unsigned i = 0; port_af_xdp_reason(i).name != NULL; i++)
        if (c.steered[i] > 0)
            put(steered, port_af_xdp_reason(i).name, c.steered[i]);
    json_object_set_new(o, "steered", steered);
    put(o, "rx_control", c.rx[0]);
    put(o, "rx_pages", c.rx[1]);
    put(o, "assembled", c.assembled);
    put(o, "dropped", c.dropped);
    put(o, "ring_full", c.ring_full);
    put(o, "no_buffer", c.no_buffer);
    put(o, "tx_invalid", c.tx_invalid);
#else
    (void)e;
#endif
    return o;
}

/* What the RDMA port counted; empty on another port. */
static json_t *verbs(const struct engine *e)
{
    json_t *o = json_object();
#ifdef PANDO_HAVE_VERBS
    struct port_verbs_counters c;
    if (port_verbs_counters(e->port, &c) != 0)
        return o;
    put(o, "tx_ud", c.tx_ud);
    put(o, "tx_rc", c.tx_rc);
    put(o, "placed_tx", c.placed_tx);
    put(o, "placed_rx", c.placed_rx);
    put(o, "not_open", c.not_open);
    put(o, "requests", c.requests);
    put(o, "completions_asked", c.asked);
    put(o, "settle_waits", c.settle_waits);
    put(o, "hellos_tx", c.hellos_tx);
    put(o, "hellos_rx", c.hellos_rx);
    put(o, "restarts", c.restarts);
    put(o, "ud_resets", c.ud_resets);
    json_t *dropped = json_object(), *refused = json_object();
    for (unsigned d = 0; d < PORT_VERBS_DROPS; d++)
        if (c.dropped[d] > 0)
            put(dropped, port_verbs_drop_name((enum port_verbs_drop)d), c.dropped[d]);
    for (unsigned r = 0; r < RDMA_REFUSALS; r++)
        if (c.refused[r] > 0)
            put(refused, rdma_refusal_name((enum rdma_refusal)r), c.refused[r]);
    json_object_set_new(o, "dropped", dropped);
    json_object_set_new(o, "hellos_refused", refused);
#else
    (void)e;
#endif
    return o;
}

static void put_xdp_drops(json_t *all, const struct engine *e)
{
#ifdef PANDO_HAVE_AF_XDP
    struct port_af_xdp_counters c;
    if (port_af_xdp_counters(e->port, &c) != 0)
        return;
    for (unsigned i = 0; port_af_xdp_reason(i).name != NULL; i++)
        if (port_af_xdp_reason(i).refused)
            put_drop(all, "xdp", port_af_xdp_reason(i).name, c.steered[i]);
#else
    (void)all;
    (void)e;
#endif
}

static json_t *drops(const struct engine *e, const struct rrdp_counters *t)
{
    json_t *all = json_object();
    const struct coh_counters *c = coh_counters(e->coh);
    for (unsigned i = 0; i < RRDP_DROPS; i++)
        put_drop(all, "rrdp", rrdp_drop_name(i), t->drop[i]);
    for (unsigned i = 0; i < COH_DROPS; i++)
        put_drop(all, "coherence", coh_drop_name(i), c->drop[i]);
    for (unsigned i = 0; i < ENGINE_DROPS; i++)
        put_drop(all, "engine", engine_drop_name(i), e->count.drop[i]);
    for (unsigned i = CLOCK_OK + 1; i < CLOCK_DROPS; i++)
        put_drop(all, "clock", clock_drop_name(i), e->clock.core.count.drop[i]);
    put_drop(all, "port", "foreign", e->port->counters.rx_foreign);
    put_xdp_drops(all, e);
    if (e->fabric.offload != NULL)
        put_drop(all, "port", "fenced", offload_dropped(e->fabric.offload));
    return all;
}

static json_t *fault_filter(const struct engine *e)
{
    const struct port_fault_counters *f = port_fault_counters(e->port);
    json_t *o = json_object();
    put(o, "dropped", f ? f->dropped : 0);
    put(o, "duplicated", f ? f->duplicated : 0);
    put(o, "reordered", f ? f->reordered : 0);
    put(o, "corrupted", f ? f->corrupted : 0);
    put(o, "delayed", f ? f->delayed : 0);
    return o;
}

static json_t *port(const struct engine *e)
{
    const struct port_counters *c = &e->port->counters;
    json_t *o = json_object();
    put_text(o, "name", e->port->name);
    put(o, "mtu", e->port->mtu);
    json_object_set_new(o, "fabric", json_string(e->fabric.text));
    put(o, "fabric_changes", e->count.fabric_changes);
    put(o, "tx_frames", c->tx_frames);
    put(o, "rx_frames", c->rx_frames);
    put(o, "tx_bytes", c->tx_bytes);
    put(o, "rx_bytes", c->rx_bytes);
    put(o, "tx_full", c->tx_full);
    put(o, "tx_unresolved", c->tx_unresolved);
    put(o, "hops_changed", c->hops_changed);
    put(o, "rx_foreign", c->rx_foreign);
    put(o, "peer_restarts", c->peer_restarts);
    json_t *refused = json_object();
    for (unsigned v = 0; v < LINK_VERDICTS; v++)
        if (c->rx_refused[v] > 0)
            put(refused, link_verdict_name((enum link_verdict)v), c->rx_refused[v]);
    json_object_set_new(o, "rx_refused", refused);
    struct port_udp_counters udp;
    json_t *failed = json_object();
    for (unsigned f = 0; port_udp_counters(e->port, &udp) == 0 && f < PORT_UDP_FAILURES; f++)
        put(failed, port_udp_failure_name((enum port_udp_failure)f), udp.failed[f]);
    json_object_set_new(o, "udp_failed", failed);
    json_object_set_new(o, "xdp", xdp(e));
    json_object_set_new(o, "verbs", verbs(e));
    return o;
}

static json_t *coherence(const struct engine *e)
{
    const struct coh_counters *c = coh_counters(e->coh);
    json_t *o = json_object();
    put(o, "checks", c->checks);
    put(o, "violations", e->count.violations);
    put_text(o, "violation", e->violation);
    put(o, "resident", c->resident);
    put(o, "resident_high", c->resident_high);
    put(o, "txn_high", c->txn_high);
    put(o, "txn_full", c->txn_full);
    put(o, "deferred", c->deferred);
    put(o, "deferred_high", c->deferred_high);
    put(o, "ahead", c->ahead);
    put(o, "migratory", c->migratory);
    put(o, "held", c->held);
    put(o, "hold_expired", c->hold_expired);
    put(o, "hold_wounded", c->hold_wounded);
    put(o, "evict_puts", c->evict_puts);
    put(o, "evict_putm", c->evict_putm);
    put(o, "evict_puto", c->evict_puto);
    put(o, "put_stale", c->put_stale);
    put(o, "punches", c->punches);
    return o;
}

/* Those that were seen: "IS_D>IS_P". */
static json_t *transitions(const struct engine *e)
{
    const struct coh_counters *c = coh_counters(e->coh);
    json_t *all = json_object();
    for (unsigned from = 0; from < COH_STATES; from++)
        for (unsigned to = 0; to < COH_STATES; to++) {
            char key[32];
            if (c->transitions[from][to] == 0)
                continue;
            snprintf(key, sizeof(key), "%s>%s", coh_state_name(from), coh_state_name(to));
            put(all, key, c->transitions[from][to]);
        }
    return all;
}

/* By page number, the hottest first: its faults here are "faults" at least and up to "over" more.
 */
static json_t *hot_pages(const struct engine *e)
{
    struct topk_entry most[SUMMARY_HOT_PAGES];
    uint32_t n = topk_most(&e->hot, most, SUMMARY_HOT_PAGES);
    json_t *all = json_object();
    for (uint32_t i = 0; i < n; i++) {
        char key[32];
        json_t *o = json_object();
        snprintf(key, sizeof(key), "0x%llx", (unsigned long long)most[i].key);
        put(o, "faults", topk_sure(&most[i]));
        put(o, "over", most[i].over);
        json_object_set_new(all, key, o);
    }
    return all;
}

static uint64_t over_classes(const uint64_t by_class[WIRE_CLASSES])
{
    uint64_t sum = 0;
    for (unsigned k = 0; k < WIRE_CLASSES; k++)
        sum += by_class[k];
    return sum;
}

static json_t *peers(const struct engine *e)
{
    json_t *all = json_object();
    for (uint8_t n = 0; n < e->nodes; n++) {
        if (n == e->self)
            continue;
        const struct rrdp_counters *c = rrdp_counters(e->rrdp, n);
        json_t *o = json_object();
        put(o, "node", n);
        put(o, "up", rrdp_peer_up(e->rrdp, n));
        put(o, "rtt_ns", rrdp_peer_rtt_ns(e->rrdp, n));
        put(o, "tx_messages", over_classes(c->tx_messages));
        put(o, "rx_messages", over_classes(c->rx_messages));
        put(o, "tx_bytes", over_classes(c->tx_bytes) + c->group_bytes);
        put(o, "rx_bytes", over_classes(c->rx_bytes));
        put(o, "retransmit", over_classes(c->retransmit));
        put(o, "mtu", rrdp_peer_mtu(e->rrdp, n));
        put(o, "mtu_falls", c->mtu_falls);
        put(o, "parts", c->parts);
        put(o, "window", rrdp_peer_window(e->rrdp, n));
        put(o, "congestion", c->congestion);
        put(o, "paced", c->paced);
        put(o, "group_tx", c->group_tx);
        put(o, "group_rx", c->group_rx);
        put(o, "group_lost", c->group_lost);
        put(o, "group_bytes", c->group_bytes);
        put(o, "out_of_order", c->out_of_order);
        put(o, "ack_frames", c->ack_frames);
        put(o, "nul_frames", c->nul_frames);
        put(o, "syn_frames", c->syn_frames);
        put(o, "ping_frames", c->ping_frames);
        put(o, "pong_frames", c->pong_frames);
        json_object_set_new(all, node_name(e, n), o);
    }
    return all;
}

static json_t *loop(const struct engine *e)
{
#define X(ID, name) name "_ns",
    static const char *const state[LOOP_STATES] = {LOOP_STATE_LIST(X)};
#undef X
    const struct engine_counters *c = &e->count;
    struct timespec cpu;
    json_t *o = json_object(), *found = json_object();
    put(o, "rounds", c->rounds);
    put(o, "useful", c->rounds_useful);
    put(o, "empty", c->rounds - c->rounds_useful);
    for (unsigned i = 0; i < ENGINE_STEPS; i++)
        put(found, engine_step_name(i), c->found[i]);
    json_object_set_new(o, "found", found);
    for (unsigned i = 0; i < LOOP_STATES; i++)
        put(o, state[i], e->time.ns[i]);
    if (clock_gettime(e->cpu_clock, &cpu) == 0)
        put(o, "cpu_ns", (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec);
    int32_t core = host_thread_cpu(e->loop_tid);
    if (core >= 0)
        put(o, "core", (uint64_t)core);
    put(o, "sleeps", c->sleeps);
    put(o, "yields", c->yields);
    put(o, "sleep_cost_ns", e->gap.cost_ns); /* poll.mode adaptive: measured at start */
    put(o, "crowded", c->crowded);
    put(o, "made_way", c->made_way);
    put(o, "stalls", c->stalls);
    put(o, "uffd_messages", c->uffd_messages);
    put(o, "fault_pauses", c->fault_pauses);
    put(o, "backlog_high", c->backlog_high);
    put(o, "tx_no_room", c->tx_no_room);
    put(o, "unmap_requests", e->zap.requests);
    put(o, "unmap_pages", e->zap.pages);
    put(o, "agent_wakes", e->zap.wakes);
    return o;
}

/* How often each byte of a page is copied: what the engine did to pages, and what port and driver
 * do to all bytes alike. */
static void put_per_page(json_t *o, const char *key, uint64_t copied, uint64_t page_bytes,
                         uint64_t port_copied, uint64_t port_bytes, uint8_t driver)
{
    json_t *each = json_object();
    double ours = page_bytes != 0 ? (double)copied / (double)page_bytes : 0;
    ours += port_bytes != 0 ? (double)port_copied / (double)port_bytes : 0;
    json_object_set_new(each, "ours", json_real(ours));
    json_object_set_new(each, "driver", json_real(driver));
    json_object_set_new(o, key, each);
}

static json_t *copies(const struct engine *e, const struct rrdp_counters *t)
{
    const struct engine_counters *c = &e->count;
    const struct port_counters *p = &e->port->counters;
    uint64_t thawed = e->freeze.copies * WIRE_PAGE_SIZE;
    json_t *o = json_object();
    put(o, "page_out_bytes", c->page_bytes_out);
    put(o, "page_out_copied", c->page_copied_out);
    put(o, "page_in_bytes", c->page_bytes_in);
    put(o, "page_in_copied", c->page_copied_in);
    put(o, "thawed_bytes", thawed);
    put(o, "parked_bytes", t->ooo_copied_bytes);
    put(o, "port_tx_copied", p->tx_copied_bytes);
    put(o, "port_rx_copied", p->rx_copied_bytes);
    put(o, "driver_tx_copied", p->tx_bytes * e->port->copies.tx);
    put(o, "driver_rx_copied", p->rx_bytes * e->port->copies.rx);
    put_text(o, "by_reference", port_ext_name(e->port->ext));
    put(o, "by_reference_bytes", p->tx_ext_bytes);
    put(o, "settled_frames", p->ext_settled);
    put(o, "puts_not_copied", c->puts_not_copied);
    put(o, "data_not_copied", c->data_not_copied);
    put(o, "glue_bytes", c->glue_bytes);
    put_per_page(o, "per_page_out", c->page_copied_out + thawed, c->page_bytes_out,
                 p->tx_copied_bytes, p->tx_bytes, e->port->copies.tx);
    put_per_page(o, "per_page_in", c->page_copied_in, c->page_bytes_in, p->rx_copied_bytes,
                 p->rx_bytes, e->port->copies.rx);
    return o;
}

static json_t *rings(const struct engine *e)
{
    json_t *o = json_object();
    put(o, "to_glue", e->count.to_glue);
    put(o, "from_glue", e->count.from_glue);
    put(o, "irqs", e->count.irqs);
    put(o, "kicks", e->count.kicks);
    put(o, "futex_wakes", e->count.futex_wakes);
    put(o, "buffer_stalls", e->count.buffer_stalls);
    put(o, "backlog", e->late_pool.used);
    put(o, "buffers", e->buffers.used);
    put(o, "buffers_high", e->buffers.high_water);
    put(o, "pins", e->freeze.pins.used);
    put(o, "pins_high", e->freeze.pins.high_water);
    put(o, "staging_high", e->freeze.staging.high_water);
    return o;
}

static json_t *clock_section(const struct engine *e)
{
    const struct clock *c = &e->clock.core;
    json_t *o = json_object(), *refused = json_object();
    put_text(o, "state", clock_state_name(c->map.state));
    put(o, "khz", c->map.khz);
    put(o, "offset_ticks", c->map.base_cluster - c->map.base_host); /* signed */
    put(o, "rate_ppb", (uint64_t)(c->map.rate * 1000 / CLOCK_PPM));
    put(o, "rho_ppb", (uint64_t)(c->line.rho * 1000 / CLOCK_PPM));
    put(o, "generation", c->line.generation);
    put(o, "delay_ticks", clock_delay(c));
    put(o, "error_ticks", c->map.error_ticks);
    put(o, "requests", c->count.requests);
    put(o, "unsent", e->clock.unsent);
    put(o, "accepted", c->count.drop[CLOCK_OK]);
    put(o, "samples", c->count.samples);
    put(o, "slews", c->count.slews);
    put(o, "steps", c->count.steps);
    put(o, "restarts", c->count.restarts);
    put(o, "wakes", e->clock.wakes);
    for (unsigned i = CLOCK_OK + 1; i < CLOCK_DROPS; i++)
        put(refused, clock_drop_name(i), c->count.drop[i]);
    json_object_set_new(o, "refused", refused);
    return o;
}

static void put_key(void *all, const char *path, const char *value, bool is_default)
{
    if (!is_default)
        put_text(all, path, value);
}

/* The keys whose value is not the default. */
static json_t *config(const struct engine *e)
{
    json_t *o = json_object();
    char hash[20];
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)e->cfg->hash);
    put_text(o, "hash", hash);
    config_show(e->cfg, put_key, o);
    return o;
}

static const char *phase_name(const struct engine *e)
{
    static const char *const name[] = {"joining", "running", "leaving"};
    return name[e->phase];
}

static json_t *everything(const struct engine *e)
{
    struct rrdp_counters t = transport_sum(e);
    json_t *o = json_object(), *vcpus = json_array();
    put(o, "schema", 1);
    put(o, "node", e->self);
    put_text(o, "name", node_name(e, e->self));
    put_text(o, "cluster", e->cfg->cluster);
    json_object_set_new(o, "seconds", json_real((double)(engine_now() - e->started_at) / 1e9));
    json_t *threads = threads_section(e), *processes = processes_section(e); /* of that moment */
    for (uint32_t v = 0; v < e->cfg->vm.vcpus; v++)
        if (e->cfg->vm.vcpu_home[v] == e->self)
            json_array_append_new(vcpus, json_integer((json_int_t)v));
    json_object_set_new(o, "vcpus", vcpus);
    put_text(o, "phase", phase_name(e));
    put_text(o, "vm", e->cfg->vm.name);
    put(o, "vmm_node", e->cfg->vm.vmm_node);
    json_object_set_new(o, "vmm", json_boolean(e->self == e->cfg->vm.vmm_node));
    put_text(o, "stop", e->orderly ? "" : e->stop_text);
    put_text(o, "ended", e->stop_text);
    json_object_set_new(o, "faults", faults(e));
    json_object_set_new(o, "messages", messages(e));
    json_object_set_new(o, "classes", classes(&t));
    json_object_set_new(o, "drops", drops(e, &t));
    json_object_set_new(o, "fault_filter", fault_filter(e));
    json_object_set_new(o, "port", port(e));
    json_object_set_new(o, "coherence", coherence(e));
    json_object_set_new(o, "transitions", transitions(e));
    json_object_set_new(o, "peers", peers(e));
    json_object_set_new(o, "loop", loop(e));
    json_object_set_new(o, "copies", copies(e, &t));
    json_object_set_new(o, "rings", rings(e));
    json_object_set_new(o, "clock", clock_section(e));
    json_object_set_new(o, "config", config(e));
    json_object_set_new(o, "hot_pages", hot_pages(e)); /* late: telemetry ends after 256 entries */
    json_object_set_new(o, "channels", channels_section(e));
    json_object_set_new(o, "threads", threads);
    json_object_set_new(o, "processes", processes);
    json_object_set_new(o, "spans", span_section(e));
    return o;
}

char *summary_text(const struct engine *e, const char *section)
{
    json_t *all = everything(e);
    json_t *part = section == NULL ? all : json_object_get(all, section);
    char *text = part == NULL ? NULL : json_dumps(part, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(all);
    return text;
}

int summary_write(const struct engine *e, const char *path)
{
    char *text = summary_text(e, NULL), temporary[512];
    if (text == NULL)
        return -ENOMEM;
    /* Whole or not at all: a reader never sees half of it. */
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *f = fopen(temporary, "w");
    int rc = f == NULL ? -errno : 0;
    if (rc == 0 && fprintf(f, "%s\n", text) < 0)
        rc = -EIO;
    if (f != NULL && fclose(f) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(temporary, path) != 0)
        rc = -errno;
    free(text);
    return rc;
}
