/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK telemetry: `dpdk-telemetry.py`, then /pando/... . The callbacks run in DPDK's own thread and
 * only read counters, which may be a few events apart from each other. DPDK's own value tree is one
 * level deep and ends after 256 entries, so the sections of the summary are flattened to "a/b/c"
 * for people who look with DPDK's tools; programs take /pando/all, which has everything:
 *
 *   /pando/all            a new snapshot, its first page
 *   /pando/all,ID,FROM    the snapshot ID, from byte FROM of its text on
 *
 * Both answer a string, "1 ID SIZE FROM TEXT": the format's number, the snapshot's, the bytes of
 * its JSON (ASCII), where this page begins, and the page; or "ended", when there is nothing to show
 * any more. The last TELEMETRY_SNAPSHOTS are kept,
 * more than DPDK has clients (10), so that a client reads one moment however long it takes.
 */
#include <ctype.h>
#include <jansson.h>
#include <inttypes.h>
#include <pthread.h>
#include <rte_telemetry.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/engine/engine.h"

enum {
    TELEMETRY_SNAPSHOTS = 16,
    /* DPDK cuts a string after 8191 bytes and an answer after 16 KiB, in which each quotation mark
     * of JSON takes two. */
    PAGE_TEXT = 7900,
    PAGE_MAX = PAGE_TEXT + 80,
    HOLD_BACK_MS = 100,
};
_Static_assert((int)PAGE_MAX < (int)RTE_TEL_MAX_SINGLE_STRING_LEN, "a page is one string");

/* rte_telemetry has no user pointer in 22.11. NULL: nothing to show, any more. */
static const struct engine *shown;
/* The engine's port may be closed under a reader's hands. Counters need no lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The poll loop waits for nobody: it says that it wants the lock and tries again, and readers stay
 * out for a while. */
static atomic_bool wanted;

bool telemetry_try_hold(void)
{
    bool got = pthread_mutex_trylock(&lock) == 0;
    atomic_store_explicit(&wanted, !got, memory_order_relaxed);
    return got;
}

void telemetry_hold(void)
{
    static const struct timespec ms = {0, 1000000};
    for (int i = 0; i < HOLD_BACK_MS && atomic_load_explicit(&wanted, memory_order_relaxed); i++)
        nanosleep(&ms, NULL);
    pthread_mutex_lock(&lock);
}

void telemetry_release(void)
{
    pthread_mutex_unlock(&lock);
}

static void flatten(struct rte_tel_data *d, const char *prefix, json_t *o)
{
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value)
    {
        char name[RTE_TEL_MAX_STRING_LEN];
        snprintf(name, sizeof(name), "%s%s%s", prefix, prefix[0] ? "/" : "", key);
        for (char *c = name; *c != '\0'; c++)
            if (!isalnum((unsigned char)*c) && *c != '/')
                *c = '_';
        if (json_is_object(value))
            flatten(d, name, value);
        else if (json_is_integer(value))
            rte_tel_data_add_dict_u64(d, name, (uint64_t)json_integer_value(value));
        else if (json_is_real(value))
            rte_tel_data_add_dict_u64(d, name, (uint64_t)(json_real_value(value) + 0.5));
        else if (json_is_boolean(value))
            rte_tel_data_add_dict_u64(d, name, json_is_true(value));
        else if (json_is_string(value))
            rte_tel_data_add_dict_string(d, name, json_string_value(value));
    }
}

static int show(struct rte_tel_data *d, const char *section)
{
    char *text = summary_text(shown, section);
    json_t *o = text == NULL ? NULL : json_loads(text, 0, NULL);
    free(text);
    if (o == NULL)
        return -1;
    rte_tel_data_start_dict(d);
    flatten(d, "", o);
    json_decref(o);
    return 0;
}

static int on_command(const char *cmd, const char *params, struct rte_tel_data *d)
{
    static const struct {
        const char *cmd, *section;
    } map[] = {
        {"/pando/faults", "faults"},     {"/pando/peers", "peers"},
        {"/pando/rings", "rings"},       {"/pando/coherence", "coherence"},
        {"/pando/classes", "classes"},   {"/pando/drops", "drops"},
        {"/pando/counters", "loop"},     {"/pando/clock", "clock"},
        {"/pando/hot", "hot_pages"},     {"/pando/port", "port"},
        {"/pando/messages", "messages"}, {"/pando/transitions", "transitions"},
        {"/pando/keys", "config"},       {"/pando/channels", "channels"},
        {"/pando/threads", "threads"},   {"/pando/summary", NULL},
    };
    (void)params;
    int rc = -1;
    telemetry_hold();
    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]) && shown != NULL; i++)
        if (strcmp(cmd, map[i].cmd) == 0)
            rc = show(d, map[i].section);
    telemetry_release();
    return rc;
}

/* ---- everything, in pages -------------------------------------------------------------------- */

static struct snapshot {
    uint64_t id, used; /* 0: none; when it was last read */
    char *text;
    size_t size;
} snapshots[TELEMETRY_SNAPSHOTS];
static pthread_mutex_t snapshots_lock = PTHREAD_MUTEX_INITIALIZER; /* among DPDK's threads */
static uint64_t reads, last_id;

static struct snapshot *take_snapshot(void)
{
    struct snapshot *s = &snapshots[0];
    telemetry_hold();
    char *text = shown != NULL ? summary_text(shown, NULL) : NULL;
    telemetry_release();
    if (text == NULL)
        return NULL;
    for (size_t i = 1; i < TELEMETRY_SNAPSHOTS; i++)
        if (snapshots[i].used < s->used)
            s = &snapshots[i];
    free(s->text);
    *s = (struct snapshot){.id = ++last_id, .text = text, .size = strlen(text)};
    return s;
}

static struct snapshot *find_snapshot(uint64_t id)
{
    for (size_t i = 0; id != 0 && i < TELEMETRY_SNAPSHOTS; i++)
        if (snapshots[i].id == id)
            return &snapshots[i];
    return NULL;
}

static int on_all(const char *cmd, const char *params, struct rte_tel_data *d)
{
    uint64_t id = 0, from = 0;
    (void)cmd;
    if (params != NULL && params[0] != '\0' &&
        sscanf(params, "%" SCNu64 ",%" SCNu64, &id, &from) != 2)
        return -1;
    telemetry_hold();
    bool over = shown == NULL;
    telemetry_release();
    if (over)
        return rte_tel_data_string(d, "ended");
    pthread_mutex_lock(&snapshots_lock);
    struct snapshot *s = id == 0 ? take_snapshot() : find_snapshot(id);
    int rc = -1;
    if (s != NULL && from <= s->size) {
        char page[PAGE_MAX];
        s->used = ++reads;
        snprintf(page, sizeof(page), "1 %" PRIu64 " %zu %" PRIu64 " %.*s", s->id, s->size, from,
                 PAGE_TEXT, s->text + from);
        rc = rte_tel_data_string(d, page);
    }
    pthread_mutex_unlock(&snapshots_lock);
    return rc;
}

/* JSON in one string, in pages: the parameter is the number of the first intent or rule. */
static int on_offload(const char *cmd, const char *params, struct rte_tel_data *d)
{
    static char text[OFFLOAD_TEXT_MAX]; /* by DPDK's thread for clients only, under the lock */
    unsigned long from = params != NULL ? strtoul(params, NULL, 10) : 0;
    size_t n = 0;
    (void)cmd;
    telemetry_hold();
    if (shown != NULL && shown->fabric.offload != NULL && from <= UINT32_MAX)
        n = offload_text(shown->fabric.offload, (uint32_t)from, text);
    else if (shown != NULL && shown->nodes == 1)
        n = offload_text_alone(shown->self, text);
    if (n > 0)
        rte_tel_data_string(d, text);
    telemetry_release();
    return n > 0 ? 0 : -1;
}

static int on_config(const char *cmd, const char *params, struct rte_tel_data *d)
{
    telemetry_hold();
    const struct pando_config *c = shown != NULL ? shown->cfg : NULL;
    telemetry_release();
    (void)cmd;
    (void)params;
    if (c == NULL)
        return -1;
    rte_tel_data_start_dict(d);
    rte_tel_data_add_dict_string(d, "cluster", c->cluster);
    rte_tel_data_add_dict_u64(d, "hash", c->hash);
    rte_tel_data_add_dict_u64(d, "nodes", c->node_count);
    rte_tel_data_add_dict_u64(d, "vcpus", c->vm.vcpus);
    rte_tel_data_add_dict_u64(d, "ram_pages", c->vm.ram_pages);
    rte_tel_data_add_dict_u64(d, "mtu", c->fabric.mtu);
    rte_tel_data_add_dict_u64(d, "credit", c->transport.credit);
    return 0;
}

int telemetry_open(struct engine *e)
{
    static const struct {
        const char *cmd, *help;
    } list[] = {
        {"/pando/summary", "Everything that is counted"},
        {"/pando/counters", "The poll loop: rounds, sleeps, unmappings"},
        {"/pando/faults", "Page faults by kind: count and latency in microseconds"},
        {"/pando/peers",
         "Peers: up, round-trip time, messages, bytes, frames; the first ten (all: /pando/all)"},
        {"/pando/rings", "Rings of the VM's process, interrupts, wake-ups"},
        {"/pando/channels",
         "Entries that wait in the rings of vCPUs and of the VM, the first 256 (all: /pando/all)"},
        {"/pando/threads", "CPU time of the agent and of the vCPUs' threads"},
        {"/pando/coherence", "Resident pages, evictions, checks"},
        {"/pando/classes", "Messages, frames and bytes by class"},
        {"/pando/hot", "The pages that this node faults on most"},
        {"/pando/clock", "The guest clock: state, rate, bounds"},
        {"/pando/drops", "Why frames and messages were refused"},
        {"/pando/messages", "Messages by kind: sent, received"},
        {"/pando/transitions", "Changes of pages' states, those that were seen"},
        {"/pando/keys", "The configuration: keys that are not the default"},
        {"/pando/port", "The fabric's port: frames, refusals, the XDP program"},
    };
    (void)pthread_getcpuclockid(pthread_self(), &e->cpu_clock); /* the loop's thread */
    e->loop_tid = gettid();
    if (!e->fabric.eal)
        return 0;
    telemetry_hold();
    shown = e;
    telemetry_release();
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        rte_telemetry_register_cmd(list[i].cmd, on_command, list[i].help);
    rte_telemetry_register_cmd(
        "/pando/offload", on_offload,
        "Who steers, fences and counts: NIC, XDP or software; ,FROM: goes on");
    rte_telemetry_register_cmd("/pando/all", on_all,
                               "Everything, as JSON in pages; ,ID,FROM: goes on");
    rte_telemetry_register_cmd("/pando/config", on_config, "The cluster's configuration");
    return 0;
}

void telemetry_close(void)
{
    atomic_store_explicit(&wanted, false, memory_order_relaxed);
    pthread_mutex_lock(&lock); /* the loop is over: this may wait */
    shown = NULL;
    telemetry_release();
}
