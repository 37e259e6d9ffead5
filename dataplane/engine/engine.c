/* SPDX-License-Identifier: BSD-3-Clause */
/* Start-up as an ordered table, the poll loop on one page, the end. */
#include "dataplane/engine/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/memory/uffd.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

enum {
    LATE_MAX = 1 << 22,
};

static volatile sig_atomic_t interrupted;

void engine_interrupt(void)
{
    interrupted = 1;
}

bool engine_interrupted(void)
{
    return interrupted != 0;
}

uint64_t engine_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* Zeroed and aligned to a page. What is never touched costs nothing; it lives as long as the
 * process. */
static void *allocate(struct engine *e, size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p != MAP_FAILED)
        return p;
    snprintf(e->err, sizeof(e->err), "%zu bytes of memory: %s", size, strerror(errno));
    return NULL;
}

static uint32_t next_pow2(uint64_t n)
{
    uint32_t p = 64;
    while (p < n)
        p *= 2;
    return p;
}

/* ---- start-up ------------------------------------------------------------------------------ */

static struct coh_config coherence_config(const struct engine *e)
{
    const struct pando_config *cfg = e->cfg;
    uint64_t deferred = max_u64(64, (uint64_t)e->nodes * cfg->coherence.txn_max), end = 0;
    struct coh_config c = {
        .self = e->self,
        .nodes = e->nodes,
        .home_mode = cfg->vm.homes == CONFIG_HOME_RANGE ? COH_HOME_RANGE : COH_HOME_INTERLEAVE,
        .interleave_shift = cfg->vm.interleave_shift,
        .pages = cfg->vm.ram_pages,
        /* When a node leaves, the VM ends: ids of two boots never meet. The clock tells them apart
           in traces. */
        .epoch_txn = 1 + (wall_ns() >> 14) % (UINT64_C(1) << 46),
        .txn_max = cfg->coherence.txn_max,
        .deferred_max = (uint32_t)deferred,
        .hold_ns = cfg->coherence.hold_us * US,
        .hold_max_ns = cfg->coherence.hold_max_us * US,
        .zero_ahead = cfg->coherence.zero_ahead,
    };
    for (uint32_t i = 0; i < cfg->node_count; i++) {
        if (cfg->node[i].id == e->self)
            c.resident_max = cfg->node[i].resident_pages;
        c.range_end[cfg->node[i].id] = cfg->node[i].range_pages;
    }
    for (uint8_t n = 0; n < e->nodes; n++)
        c.range_end[n] = end += c.range_end[n];
    return c;
}

static int start_probe(struct engine *e)
{
    char err[UFFD_ERROR_MAX];
    int rc = uffd_probe(err);
    if (rc != 0)
        snprintf(e->err, sizeof(e->err), "%s", err);
    return rc;
}

static int start_coherence(struct engine *e)
{
    struct coh_config c = coherence_config(e);
    uint64_t open = (uint64_t)c.txn_max + c.deferred_max + COH_EVICT_MAX + COH_HOLD_RECORDS;
    size_t size = coh_size(&c);
    if (size == 0) {
        snprintf(e->err, sizeof(e->err), "coherence: the configuration is out of its range");
        return -EINVAL;
    }
    void *mem = allocate(e, size);
    e->actions = allocate(e, sizeof(*e->actions));
    e->done_mask = next_pow2(open) - 1;
    e->done = allocate(e, ((size_t)e->done_mask + 1) * sizeof(*e->done));
    if (mem == NULL || e->actions == NULL || e->done == NULL)
        return -ENOMEM;
    e->coh = coh_init(mem, &c);
    PANDO_CHECK(e->coh != NULL);
    /* Above what coherence may exceed the limit by (its slack, where it stops the VM if nothing
     * moves any more), faults wait in the kernel until evictions have caught up: they need peers,
     * local grants do not. */
    e->resident_pause = c.resident_max == 0
                            ? UINT64_MAX
                            : c.resident_max + c.resident_max / 8 + c.txn_max + 64 + COH_EVICT_MAX;
    return 0;
}

static int start_transport(struct engine *e)
{
    struct rrdp_config c;
    fabric_transport(&e->fabric, &c);
    size_t size = rrdp_size(&c);
    if (size == 0) {
        snprintf(e->err, sizeof(e->err), "transport: the configuration is out of its range");
        return -EINVAL;
    }
    void *mem = allocate(e, size);
    e->segments = allocate(e, sizeof(*e->segments));
    if (mem == NULL || e->segments == NULL)
        return -ENOMEM;
    e->rrdp = rrdp_init(mem, &c, engine_now());
    PANDO_CHECK(e->rrdp != NULL);
    return 0;
}

/* Messages under way belong to transactions: as home, owner or sharer this node owes at most one
 * message for each to each peer, and each payload is one of a transaction or an eviction, or one
 * that is not yet acknowledged. */
static int start_pools(struct engine *e)
{
    uint64_t each = e->cfg->coherence.txn_max + COH_EVICT_MAX;
    uint32_t late = (uint32_t)min_u64((uint64_t)e->nodes * each * (e->nodes + 2u), LATE_MAX);
    uint32_t pins = freeze_pins(e->nodes, (uint32_t)each);
    uint8_t *bytes = allocate(e, (size_t)e->nodes * WIRE_CLASSES * WIRE_BYTES_MAX);
    void *frozen = allocate(e, freeze_size(pins));
    uint32_t *next = allocate(e, (size_t)late * sizeof(uint32_t));
    e->late = allocate(e, (size_t)late * sizeof(*e->late));
    e->buffer = allocate(e, (size_t)ENGINE_BUFFERS * WIRE_BYTES_MAX);
    uint32_t zaps = e->done_mask + 1;
    uint64_t *zap = allocate(e, (size_t)zaps * sizeof(uint64_t));
    if (bytes == NULL || frozen == NULL || next == NULL || e->late == NULL || e->buffer == NULL ||
        zap == NULL)
        return -ENOMEM;
    freeze_init(&e->freeze, frozen, pins);
    pool_init(&e->late_pool, next, late);
    pool_init(&e->buffers, e->buffer_next, ENGINE_BUFFERS);
    zap_init(&e->zap, &e->shared->agent, zap, zaps);
    for (uint8_t n = 0; n < e->nodes; n++)
        for (uint8_t c = 0; c < WIRE_CLASSES; c++) {
            e->rx[n][c].bytes = bytes + ((size_t)n * WIRE_CLASSES + c) * WIRE_BYTES_MAX;
            e->backlog[n][c] = (struct engine_fifo){POOL_NONE, POOL_NONE};
        }
    return 0;
}

/* The socket says who uses it in words of its own. The claim holds against those who have none. */
static int start_dpdk(struct engine *e)
{
    int rc = fabric_claim(&e->fabric, e->err);
    return rc == 0 ? fabric_start_eal(&e->fabric, true, e->err) : rc;
}

static int start_fabric(struct engine *e)
{
    int rc = fabric_open(&e->fabric, e->err);
    e->port = e->fabric.port;
    if (rc == 0)
        fabric_open_offload(&e->fabric, NULL);
    return rc;
}

/* The order matters: the socket shows that no other process is this node, before the fabric's files
 * are touched; and it exists before the join, so that the VMM can be started at any time. */
static const struct {
    const char *name;
    int (*start)(struct engine *e);
} start_up[] = {
    {"clock", clock_open},      {"CPUs", place_check},          {"userfaultfd", start_probe},
    {"descriptors", idle_open}, {"glue socket", control_open},  {"DPDK", start_dpdk},
    {"fabric", start_fabric},   {"coherence", start_coherence}, {"transport", start_transport},
    {"pools", start_pools},     {"spans", span_open},           {"telemetry", telemetry_open},
    {"threads", place_threads}, {"idle", idle_measure},
};

int engine_start(struct engine *e, const struct pando_config *cfg, uint8_t self,
                 const char *config_path, bool verbose)
{
    *e = (struct engine){.cfg = cfg,
                         .self = self,
                         .nodes = (uint8_t)cfg->node_count,
                         .verbose = verbose,
                         .config_path = config_path,
                         .segment_fd = -1,
                         .doorbell_fd = -1,
                         .listen_fd = -1,
                         .conn_fd = -1,
                         .epoll_fd = -1};
    char who[FABRIC_WHO_MAX];
    snprintf(who, sizeof(who), "pando-dataplane: node %u", self);
    fabric_init(&e->fabric, cfg, self, who);
    e->fabric.verbose = verbose;
    e->ram.pages_max = cfg->vm.ram_pages;
    e->ram.numa_node = config_node_of(cfg, self)->ram_node;
    e->ram.bound = e->ram.numa_node >= 0;
    for (size_t i = 0; i < PANDO_ARRAY_LEN(start_up); i++) {
        int rc = start_up[i].start(e);
        if (verbose)
            fprintf(stderr, "pando-dataplane: node %u: %s: %s\n", self, start_up[i].name,
                    rc == 0 ? "ready" : "failed");
        if (rc != 0)
            return rc;
    }
    e->started_at = e->now = engine_now();
    e->deadline = e->now + cfg->transport.join_timeout_ms * MS;
    return 0;
}

/* ---- the loop ------------------------------------------------------------------------------ */

static bool found(struct engine *e, enum engine_step_id step, bool useful)
{
    e->count.found[step] += useful;
    return useful;
}

/* The time of this round. Who did not run himself has not heard his peers: no sign of their death.
 */
static void tell_time(struct engine *e)
{
    uint64_t now = engine_now();
    if (now - e->now > ENGINE_STALL_MS * MS) {
        e->count.stalls++;
        rrdp_stalled(e->rrdp, now - e->now);
    }
    e->now = now;
    loop_time_round(&e->time, now);
}

int engine_run(struct engine *e)
{
    while (!peers_finished(e)) {
        tell_time(e);
        /* 1. Frames from peers: acknowledgements, pages into guest frames, messages into coherence
         * steps. */
        bool useful = found(e, ENGINE_STEP_FRAMES, receive_frames(e));
        /* 2. Peers that came, went or were refused; payloads that are acknowledged and may change
         * again. */
        useful |= found(e, ENGINE_STEP_PEERS, peers_events(e));
        /* 3. Page faults of the guest, and the glue's control socket. */
        useful |= found(e, ENGINE_STEP_FDS, idle_poll_fds(e, 0));
        /* 4. Entries of the glue's rings: interrupts, remote I/O, vCPU commands. */
        useful |= found(e, ENGINE_STEP_GLUE, glue_poll(e));
        /* 5. The clock: a request to the reference, the map in the segment. */
        useful |= found(e, ENGINE_STEP_CLOCK, clock_poll(e));
        /* 6. Unmappings that the agent finished; new ones for it, in one batch. vCPUs that
         * wait and keep pages from others. */
        useful |= found(e, ENGINE_STEP_UNMAPPED, faults_unmapped(e));
        useful |= found(e, ENGINE_STEP_IDLES, faults_idle(e));
        /* 7. Coherence's timers: residency, deferred work, eviction. */
        useful |= found(e, ENGINE_STEP_TICK, engine_tick(e));
        /* 8. The transport's timers: retransmission, lone acknowledgements, heartbeats, dead peers.
         */
        rrdp_tick(e->rrdp, e->now);
        /* 9. Everything that this round produced leaves, most urgent class first. */
        useful |= found(e, ENGINE_STEP_BACKLOG, transmit_backlog(e));
        useful |= found(e, ENGINE_STEP_SEND, transmit_frames(e));
        /* 10. Join time-out, the last peer's arrival, signals. */
        peers_watch(e);
        /* 11. Nothing to do: spin, give the core away, or sleep until a descriptor or a deadline.
         */
        e->count.rounds++;
        e->count.rounds_useful += useful;
        e->time.useful = useful;
        idle_round(e, useful);
    }
    loop_time_round(&e->time, engine_now());
    return e->status;
}

void engine_close(struct engine *e)
{
    telemetry_close();
    span_telemetry(NULL);
    fabric_close(&e->fabric);
    control_close(e);
    ram_close(&e->ram);
    if (e->epoll_fd >= 0)
        close(e->epoll_fd);
}

const char *engine_step_name(enum engine_step_id s)
{
    static const char *const names[ENGINE_STEPS] = {
#define X(ID, name) name,
        ENGINE_STEP_LIST(X)
#undef X
    };
    return (unsigned)s < ENGINE_STEPS ? names[s] : "?";
}

const char *engine_drop_name(enum engine_drop d)
{
    static const char *const names[ENGINE_DROPS] = {
#define X(ID, name) name,
        ENGINE_DROP_LIST(X)
#undef X
    };
    return (unsigned)d < ENGINE_DROPS ? names[d] : "?";
}
