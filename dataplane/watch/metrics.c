/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prometheus' text exposition format, version 0.0.4. One row a family; a family's samples of all
 * nodes stand together, as the format demands.
 *
 * Labels: cluster and node (its number) everywhere, and by family kind, class, reason, step, state,
 * peer (a node's number), from and to, stage, channel (a vCPU's number, or vm), thread, process.
 * Counters begin at 0 when a dataplane starts, which is what Prometheus expects of a restart.
 * Buckets of histograms are base/hist.h's, 16 of them added up at a time: two to a power of two,
 * each edge exact.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dataplane/watch/find.h"
#include "dataplane/watch/watch.h"

static const char title[] = "pando metrics";

enum {
    BUCKETS_FROM = 512,                   /* ns: the first edge ... */
    BUCKETS_TO = 1 << 30,                 /* ... and the last power of two that has one: 1 s; ... */
    BUCKETS_LONG = 16,                    /* ... times this. What is above counts in +Inf */
    LABELS_MAX = 4 * COUNT_NAME_MAX + 64, /* of a node; each byte of a name can take two */
};

struct family {
    const char *name, *type, *help;
    void (*print)(FILE *to, const struct family *f, const char *labels, const struct node *n);
    const char *path;  /* of the number, or of the table's object */
    const char *label; /* of a table's key; "peer": the member node */
    const char *of;    /* member of each entry; "": the entry itself */
    double scale;      /* of the number; 0: 1 */
};

/* ---- values
 * --------------------------------------------------------------------------------------- */

/* A label's value: another's word, in ASCII, as the format escapes it. */
static void put_label(FILE *to, const char *s)
{
    for (size_t n = 0; s[n] != '\0' && n < COUNT_NAME_MAX; n++) {
        if (s[n] == '"' || s[n] == '\\')
            fputc('\\', to);
        fputc(s[n] >= ' ' && s[n] <= '~' ? s[n] : '?', to);
    }
}

static void labels_of(char out[LABELS_MAX], const struct node *n)
{
    FILE *to = fmemopen(out, LABELS_MAX, "w");
    out[0] = '\0';
    if (to == NULL)
        return;
    fprintf(to, "cluster=\"");
    put_label(to, count_text(n->now, "cluster"));
    fprintf(to, "\",node=\"%u\"", n->number);
    fclose(to);
}

static void put_value(FILE *to, uint64_t v, double scale)
{
    if (scale == 0)
        fprintf(to, " %" PRIu64 "\n", v);
    else
        fprintf(to, " %.17g\n", (double)v * scale);
}

static void print_one(FILE *to, const struct family *f, const char *labels, const struct node *n)
{
    if (count_at(n->now, f->path) == NULL)
        return;
    fprintf(to, "%s{%s}", f->name, labels);
    put_value(to, count_of(n->now, f->path), f->scale);
}

static void print_flag(FILE *to, const struct family *f, const char *labels, const struct node *n)
{
    fprintf(to, "%s{%s} %d\n", f->name, labels, count_true(n->now, f->path));
}

/* The names that dataplanes have. Others are left out: once escaped and cut, two could be the same.
 */
static bool is_name(const char *s)
{
    size_t n = 0;
    while (s[n] > ' ' && s[n] <= '~' && n < COUNT_NAME_MAX)
        n++;
    return n > 0 && s[n] == '\0';
}

/* Another entry with the same number before this one. */
static bool is_repeated(json_t *table, const json_t *entry)
{
    const char *key;
    json_t *v;
    json_object_foreach(table, key, v)
    {
        if (v == entry)
            return false;
        if (count_of(v, "node") == count_of(entry, "node"))
            return true;
    }
    return false;
}

static void print_table(FILE *to, const struct family *f, const char *labels, const struct node *n)
{
    const char *key;
    json_t *v, *table = (json_t *)count_at(n->now, f->path);
    size_t i = 0;
    json_object_foreach(table, key, v)
    {
        char peer[24];
        bool by_number = strcmp(f->label, "peer") == 0;
        if (i++ == COUNT_ENTRIES_MAX)
            break;
        if (!json_is_integer(count_at(v, f->of)) || !is_name(key) ||
            (by_number && is_repeated(table, v)))
            continue;
        snprintf(peer, sizeof(peer), "%" PRIu64, count_of(v, "node"));
        fprintf(to, "%s{%s,%s=\"", f->name, labels, f->label);
        put_label(to, by_number ? peer : key);
        fprintf(to, "\"}");
        put_value(to, count_of(v, f->of), f->scale);
    }
}

/* Entries that wait in rings: what cannot be is no sample. */
static void print_rings(FILE *to, const struct family *f, const char *labels, const struct node *n)
{
    const char *channel;
    json_t *v;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, f->path), channel, v)
    {
        uint64_t waiting;
        (void)v;
        if (i++ == COUNT_ENTRIES_MAX)
            break;
        if (!is_name(channel) || !node_ring(n, f->path, channel, &waiting))
            continue;
        fprintf(to, "%s{%s,channel=\"", f->name, labels);
        put_label(to, channel);
        fprintf(to, "\"} %" PRIu64 "\n", waiting);
    }
}

static void print_unmap(FILE *to, const struct family *f, const char *labels, const struct node *n)
{
    uint64_t waiting;
    if (node_unmap_ring(n, &waiting))
        fprintf(to, "%s{%s} %" PRIu64 "\n", f->name, labels, waiting);
}

static void print_implausible(FILE *to, const struct family *f, const char *labels,
                              const struct node *n)
{
    struct node_rings rings;
    node_rings(n, &rings);
    fprintf(to, "%s{%s} %" PRIu64 "\n", f->name, labels, rings.implausible);
}

/* "IS_D>IS_P" in two labels. */
static void print_transitions(FILE *to, const struct family *f, const char *labels,
                              const struct node *n)
{
    const char *key;
    json_t *v;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, f->path), key, v)
    {
        char from[COUNT_NAME_MAX];
        size_t len = strcspn(key, ">");
        if (i++ == COUNT_ENTRIES_MAX)
            break;
        if (key[len] == '\0' || !is_name(key))
            continue;
        memcpy(from, key, len);
        from[len] = '\0';
        fprintf(to, "%s{%s,from=\"", f->name, labels);
        put_label(to, from);
        fprintf(to, "\",to=\"");
        put_label(to, key + len + 1);
        fprintf(to, "\"}");
        put_value(to, count_of(v, ""), 0);
    }
}

static void print_loop_time(FILE *to, const struct family *f, const char *labels,
                            const struct node *n)
{
    static const char *const states[] = {"useful", "empty", "yield", "sleep"};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        char path[32];
        snprintf(path, sizeof(path), "loop/%s_ns", states[i]);
        fprintf(to, "%s{%s,state=\"%s\"}", f->name, labels, states[i]);
        put_value(to, count_of(n->now, path), 1e-9);
    }
}

static void print_clock_error(FILE *to, const struct family *f, const char *labels,
                              const struct node *n)
{
    uint64_t khz = count_of(n->now, "clock/khz");
    if (khz > 0)
        fprintf(to, "%s{%s} %.17g\n", f->name, labels,
                (double)count_of(n->now, f->path) / (double)khz / 1e3);
}

static void print_info(FILE *to, const struct family *f, const char *labels, const struct node *n)
{
    static const char *const member[][2] = {{"name", "name"},
                                            {"vm", "vm"},
                                            {"phase", "phase"},
                                            {"fabric", "port/name"},
                                            {"config_hash", "config/hash"}};
    fprintf(to, "%s{%s", f->name, labels);
    for (size_t i = 0; i < sizeof(member) / sizeof(member[0]); i++) {
        fprintf(to, ",%s=\"", member[i][0]);
        put_label(to, count_text(n->now, member[i][1]));
        fputc('"', to);
    }
    fprintf(to, "} 1\n");
}

static void print_offload(FILE *to, const struct family *f, const char *labels,
                          const struct node *n)
{
    static const char *const who[] = {"hardware", "xdp", "software"};
    const json_t *list = count_at(n->offload, "intents");
    for (size_t i = 0; json_is_array(list) && i < sizeof(who) / sizeof(who[0]); i++) {
        size_t sum = 0;
        for (size_t k = 0; k < json_array_size(list); k++)
            sum += strcmp(count_text(json_array_get(list, k), "by"), who[i]) == 0;
        fprintf(to, "%s{%s,by=\"%s\"} %zu\n", f->name, labels, who[i], sum);
    }
}

/* ---- histograms
 * ----------------------------------------------------------------------------------- */

static void put_buckets(FILE *to, const char *name, const char *labels, const struct hist *h)
{
    uint64_t seen = 0, edge = BUCKETS_FROM;
    uint32_t i = 0;
    while (edge / BUCKETS_LONG <= BUCKETS_TO) {
        while (hist_upper(i) < edge)
            seen += h->bucket[i++];
        fprintf(to, "%s_bucket{%s,le=\"%.9f\"} %" PRIu64 "\n", name, labels,
                (double)(edge - 1) / 1e9, seen);
        edge = (edge & (edge - 1)) == 0 ? edge + edge / 2 : edge / 3 * 4;
    }
    fprintf(to, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, h->count);
    fprintf(to, "%s_sum{%s} %.9f\n", name, labels, (double)h->sum / 1e9);
    fprintf(to, "%s_count{%s} %" PRIu64 "\n", name, labels, h->count);
}

/* Labels of a node, and up to two more: "" stands for none. */
static void put_hist(FILE *to, const char *name, const char *labels, const char *kind,
                     const char *stage, const json_t *o)
{
    static struct hist h;
    char all[2 * LABELS_MAX];
    if (!count_hist(o, &h))
        return;
    FILE *out = fmemopen(all, sizeof(all), "w");
    if (out == NULL)
        return;
    fprintf(out, "%s,kind=\"", labels);
    put_label(out, kind);
    if (stage[0] != '\0') {
        fprintf(out, "\",stage=\"");
        put_label(out, stage);
    }
    fprintf(out, "\"");
    fclose(out);
    put_buckets(to, name, all, &h);
}

static void print_faults(FILE *to, const struct family *f, const char *labels, const struct node *n)
{
    const char *kind;
    json_t *v;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, f->path), kind, v)
    {
        if (i++ == COUNT_ENTRIES_MAX)
            break;
        if (is_name(kind))
            put_hist(to, f->name, labels, kind, "", v);
    }
}

/* engine/span.c: where the time of sampled faults, interrupts and exits goes. */
static void print_spans(FILE *to, const struct family *f, const char *labels, const struct node *n)
{
    const char *kind, *stage;
    json_t *k, *s;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, f->path), kind, k)
    {
        if (i++ == COUNT_ENTRIES_MAX)
            break;
        if (!is_name(kind))
            continue;
        if (f->of[0] == 't') /* total */
            put_hist(to, f->name, labels, kind, "", count_at(k, f->of));
        else
            json_object_foreach((json_t *)count_at(k, f->of), stage, s)
            {
                if (i++ == COUNT_ENTRIES_MAX)
                    return;
                if (is_name(stage))
                    put_hist(to, f->name, labels, kind, stage, s);
            }
    }
}

static void put_reason(FILE *to, const char *name, const char *labels, const char *kind,
                       const char *reason, uint64_t v)
{
    fprintf(to, "%s{%s,kind=\"", name, labels);
    put_label(to, kind);
    fprintf(to, "\",reason=\"");
    put_label(to, reason);
    fprintf(to, "\"} %" PRIu64 "\n", v);
}

static void print_incomplete(FILE *to, const struct family *f, const char *labels,
                             const struct node *n)
{
    const char *kind, *reason;
    json_t *k, *v;
    size_t i = 0;
    json_object_foreach((json_t *)count_at(n->now, f->path), kind, k)
    {
        json_object_foreach((json_t *)count_at(k, f->of), reason, v)
        {
            if (i++ == COUNT_ENTRIES_MAX)
                return;
            if (is_name(kind) && is_name(reason))
                put_reason(to, f->name, labels, kind, reason, count_of(v, ""));
        }
    }
}

/* ---- the families
 * ----------------------------------------------------------------------------------- */

/* clang-format off */
#define ONE(name, type, path, scale, help) {name, type, help, print_one, path, "", "", scale},
#define TABLE(name, type, path, label, of, scale, help) {name, type, help, print_table, path, label, of, scale},
static const struct family families[] = {
    {"pando_node_info", "gauge", "1; what the node is, in labels.", print_info, "", "", "", 0},
    {"pando_vmm", "gauge", "1: the VMM runs on this node's host.", print_flag, "vmm", "", "", 0},
    TABLE("pando_peer_up", "gauge", "peers", "peer", "up", 0, "1: the peer is up.")
    TABLE("pando_peer_rtt_seconds", "gauge", "peers", "peer", "rtt_ns", 1e-9,
        "Smoothed round-trip time; 0: not measured yet.")
    TABLE("pando_peer_messages_sent_total", "counter", "peers", "peer", "tx_messages", 0,
        "Messages given to the transport for the peer.")
    TABLE("pando_peer_messages_received_total", "counter", "peers", "peer", "rx_messages", 0,
        "Messages of the peer, complete and in order.")
    TABLE("pando_peer_bytes_sent_total", "counter", "peers", "peer", "tx_bytes", 0,
        "Bytes of frames sent to the peer, without the fabric's headers; one for several counts for each.")
    TABLE("pando_peer_bytes_received_total", "counter", "peers", "peer", "rx_bytes", 0,
        "Bytes of frames received of the peer, without the fabric's headers.")
    TABLE("pando_peer_retransmissions_total", "counter", "peers", "peer", "retransmit", 0,
        "Frames sent to the peer again.")
    TABLE("pando_peer_out_of_order_total", "counter", "peers", "peer", "out_of_order", 0,
        "Frames that came before their turn.")
    TABLE("pando_peer_congestion_total", "counter", "peers", "peer", "congestion", 0,
        "Times that the window to the peer was reduced.")
    TABLE("pando_faults_total", "counter", "faults", "kind", "n", 0, "Page faults that ended.")
    {"pando_fault_seconds", "histogram",
     "Time from a page fault's message to the mapping.",
     print_faults, "faults", "", "", 0},
    TABLE("pando_messages_sent_total", "counter", "messages", "kind", "tx", 0, "Messages sent to other nodes.")
    TABLE("pando_messages_received_total", "counter", "messages", "kind", "rx", 0,
        "Messages received from other nodes.")
    TABLE("pando_class_messages_sent_total", "counter", "classes", "class", "tx_messages", 0,
        "Messages sent, by traffic class.")
    TABLE("pando_class_messages_received_total", "counter", "classes", "class", "rx_messages", 0,
        "Messages received, by traffic class.")
    TABLE("pando_class_frames_sent_total", "counter", "classes", "class", "tx_frames", 0,
        "Frames sent, those sent again included.")
    TABLE("pando_class_frames_received_total", "counter", "classes", "class", "rx_frames", 0, "Frames received.")
    TABLE("pando_class_bytes_sent_total", "counter", "classes", "class", "tx_bytes", 0, "Bytes of frames sent.")
    TABLE("pando_class_bytes_received_total", "counter", "classes", "class", "rx_bytes", 0,
        "Bytes of frames received.")
    TABLE("pando_class_retransmissions_total", "counter", "classes", "class", "retransmit", 0, "Frames sent again.")
    TABLE("pando_class_credit_stalls_total", "counter", "classes", "class", "credit_stall", 0,
        "Times that a class had no credit left.")
    TABLE("pando_drops_total", "counter", "drops", "reason", "", 0,
        "Frames and messages refused; a reason appears when it is first seen.")
    {"pando_transitions_total", "counter",
     "Changes of pages' states; a pair appears when it is first seen.",
     print_transitions, "transitions", "", "", 0},
    ONE("pando_resident_pages", "gauge", "coherence/resident", 0,
        "Pages of 4 KiB of guest memory that the node holds.")
    ONE("pando_resident_pages_high", "gauge", "coherence/resident_high", 0, "The most that it held.")
    ONE("pando_evictions_shared_total", "counter", "coherence/evict_puts", 0, "Copies given up for lack of room.")
    ONE("pando_evictions_modified_total", "counter", "coherence/evict_putm", 0,
        "Sole copies given back for lack of room.")
    ONE("pando_evictions_owned_total", "counter", "coherence/evict_puto", 0,
        "Owned pages with sharers given back for lack of room.")
    ONE("pando_deferred_messages_total", "counter", "coherence/deferred", 0,
        "Messages that waited for a page to be free.")
    ONE("pando_invariant_checks_total", "counter", "coherence/checks", 0,
        "Runs of the invariants' check (coherence.check).")
    ONE("pando_invariant_violations_total", "counter", "coherence/violations", 0, "Invariants found broken: a bug.")
    {"pando_loop_seconds_total", "counter",
     "Where the poll loop's time went: every second is in one state.",
     print_loop_time, "", "", "", 0},
    ONE("pando_loop_cpu_seconds_total", "counter", "loop/cpu_ns", 1e-9, "CPU time of the poll loop's thread.")
    ONE("pando_loop_rounds_total", "counter", "loop/rounds", 0, "Rounds of the poll loop.")
    ONE("pando_loop_rounds_useful_total", "counter", "loop/useful", 0, "Rounds that found work.")
    TABLE("pando_loop_found_total", "counter", "loop/found", "step", "", 0, "Rounds in which a step found work.")
    ONE("pando_loop_sleeps_total", "counter", "loop/sleeps", 0, "Times that the loop blocked.")
    ONE("pando_loop_yields_total", "counter", "loop/yields", 0, "Times that it gave its CPU away.")
    ONE("pando_loop_crowded_total", "counter", "loop/crowded", 0, "Yields that took long: others fill the CPU.")
    ONE("pando_loop_core", "gauge", "loop/core", 0, "The CPU that the poll loop's thread is on.")
    ONE("pando_loop_made_way_total", "counter", "loop/made_way", 0, "Times that it made way for one of its CPU.")
    ONE("pando_loop_stalls_total", "counter", "loop/stalls", 0, "Rounds that took longer than 250 ms.")
    ONE("pando_uffd_messages_total", "counter", "loop/uffd_messages", 0, "Messages read from userfaultfds.")
    ONE("pando_unmapped_pages_total", "counter", "loop/unmap_pages", 0, "Pages that the agent unmapped.")
    ONE("pando_backlog_messages", "gauge", "rings/backlog", 0, "Messages that wait for room in the transport.")
    ONE("pando_interrupts_total", "counter", "rings/irqs", 0, "Interrupts given to vCPUs here.")
    ONE("pando_kicks_total", "counter", "rings/kicks", 0, "vCPUs called out of the guest.")
    ONE("pando_glue_entries_read_total", "counter", "rings/from_glue", 0,
        "Entries taken from the VM process's rings.")
    ONE("pando_glue_entries_written_total", "counter", "rings/to_glue", 0,
        "Entries put into the VM process's rings.")
    {"pando_ring_to_dataplane_entries", "gauge",
     "Entries of a channel that wait for the dataplane.",
     print_rings, "channels/to_dp", "", "", 0},
    {"pando_ring_to_vm_entries", "gauge",
     "Entries of a channel that wait for the VM's process.",
     print_rings, "channels/to_glue", "", "", 0},
    ONE("pando_ring_capacity_entries", "gauge", "channels/capacity", 0, "Entries that a ring has room for.")
    {"pando_ring_unmap_entries", "gauge", "Unmap requests that wait for the agent.", print_unmap, "", "", "", 0},
    {"pando_rings_implausible", "gauge",
     "Rings of the VM's process whose indices are impossible.",
     print_implausible, "", "", "", 0},
    TABLE("pando_thread_cpu_seconds_total", "counter", "threads", "thread", "cpu_ns", 1e-9,
        "CPU time of the VM process's threads: agent, vcpuN, and proxyN for a vCPU of another node.")
    TABLE("pando_thread_core", "gauge", "threads", "thread", "core", 0, "The CPU that the thread is on.")
    TABLE("pando_process_cpu_seconds_total", "counter", "processes", "process", "cpu_ns", 1e-9,
        "CPU time of all threads of the dataplane, and of the VM's process.")
    ONE("pando_page_bytes_sent_total", "counter", "copies/page_out_bytes", 0,
        "Bytes of pages that left, those sent again included.")
    ONE("pando_page_bytes_received_total", "counter", "copies/page_in_bytes", 0,
        "Bytes of pages that came to their guest page.")
    ONE("pando_port_frames_sent_total", "counter", "port/tx_frames", 0, "Frames given to the fabric.")
    ONE("pando_port_frames_received_total", "counter", "port/rx_frames", 0, "Frames taken from the fabric.")
    ONE("pando_port_bytes_sent_total", "counter", "port/tx_bytes", 0, "Bytes given to the fabric.")
    ONE("pando_port_bytes_received_total", "counter", "port/rx_bytes", 0, "Bytes taken from the fabric.")
    ONE("pando_port_full_total", "counter", "port/tx_full", 0, "Times that the fabric had no room.")
    ONE("pando_fabric_changes_total", "counter", "port/fabric_changes", 0,
        "Times that the fabric was replaced by the next one.")
    {"pando_clock_error_seconds", "gauge",
     "Bound of the guest clock's error.",
     print_clock_error, "clock/error_ticks", "", "", 0},
    ONE("pando_clock_requests_total", "counter", "clock/requests", 0, "Exchanges asked of the reference.")
    ONE("pando_clock_accepted_total", "counter", "clock/accepted", 0, "Answers that were accepted.")
    {"pando_offload_intents", "gauge", "Wishes to the NIC, by who does them.", print_offload, "", "", "", 0},
    TABLE("pando_spans_total", "counter", "spans/kinds", "kind", "n", 0, "Sampled spans that were complete.")
    {"pando_spans_incomplete_total", "counter", "Sampled spans that were not, by what they lack.",
     print_incomplete, "spans/kinds", "", "incomplete", 0},
    {"pando_span_seconds", "histogram",
     "Whole time of sampled faults, interrupts and exits.",
     print_spans, "spans/kinds", "", "total", 0},
    {"pando_span_stage_seconds", "histogram",
     "Time of each stage of sampled faults, interrupts and exits.",
     print_spans, "spans/kinds", "", "stages", 0},
};
/* clang-format on */

static void print_head(FILE *to, const char *name, const char *type, const char *help)
{
    fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_ups(FILE *to, const struct node *const *node, size_t n, double now_unix)
{
    char labels[LABELS_MAX];
    print_head(to, "pando_up", "gauge", "1: the dataplane answers; 0: it ended, or is silent.");
    for (size_t i = 0; i < n; i++) {
        labels_of(labels, node[i]);
        fprintf(to, "pando_up{%s} %d\n", labels, node_is_up(node[i]));
    }
    print_head(to, "pando_start_time_seconds", "gauge", "When the dataplane started, Unix time.");
    for (size_t i = 0; i < n; i++)
        if (node_is_up(node[i])) {
            labels_of(labels, node[i]);
            fprintf(to, "pando_start_time_seconds{%s} %.3f\n", labels,
                    now_unix - count_real(node[i]->now, "seconds"));
        }
}

/* Two dataplanes that say to be the same node of the same cluster would make one sample twice. */
static bool is_new(const struct node *const *node, size_t n, const struct node *one)
{
    char mine[LABELS_MAX], other[LABELS_MAX];
    labels_of(mine, one);
    for (size_t i = 0; i < n; i++) {
        labels_of(other, node[i]);
        if (strcmp(mine, other) == 0)
            return false;
    }
    return true;
}

void metrics_print(FILE *to, const struct nodes *all, double now_unix)
{
    const struct node *node[NODES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        if (is_new(node, n, &all->node[i]))
            node[n++] = &all->node[i];
    print_ups(to, node, n, now_unix);
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        print_head(to, families[f].name, families[f].type, families[f].help);
        for (size_t i = 0; i < n; i++) {
            char labels[LABELS_MAX];
            if (!node_is_up(node[i]))
                continue;
            labels_of(labels, node[i]);
            families[f].print(to, &families[f], labels, node[i]);
        }
    }
}

/* ---- the command
 * ------------------------------------------------------------------------------------ */

struct options {
    struct place place;
    const char *listen;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->place;
        break;
    case 'l':
        o->listen = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option option_list[] = {
    {"listen", 'l', "[ADDRESS:]PORT", 0,
     "Answer GET /metrics there by HTTP; without ADDRESS on 127.0.0.1 only. Whoever reaches it can "
     "read: there is no authentication",
     0},
    {0},
};
static const struct argp_child children[] = {{.argp = &place_argp}, {0}};
static const struct argp argp = {
    .options = option_list,
    .parser = parse,
    .children = children,
    .doc = "What the running dataplanes of this machine count, in Prometheus' text format: once to "
           "standard output, or by HTTP.",
};

int metrics_main(int argc, char **argv)
{
    struct options o = {0};
    static struct nodes all;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    all = (struct nodes){.title = title, .limits = ASK_PATIENT, .offload = true};
    if (!place_of(title, &o.place, &all.run_dir))
        return EXIT_USAGE;
    if (o.listen != NULL)
        return http_serve(title, o.listen, &all);
    size_t up = nodes_look(&all);
    if (all.found == 0) {
        struct find nobody = {.title = title, .run_dir = all.run_dir};
        find_say_nobody(&nobody);
    }
    metrics_print(stdout, &all, (double)time(NULL));
    bool ok = up > 0 && up == all.found;
    nodes_release(&all);
    return out_written(title) && ok ? 0 : 1;
}
