/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulator: 2 to 64 nodes of production coherence and transport code over an adversarial
 * network and an adversarial MMU, in virtual time, from one seed. The same object code runs in
 * pando-dataplane.
 *
 * A run has a safety phase (everything that the seed's swarm options allow goes wrong) and a
 * liveness phase (the network heals; every vCPU must finish its program, everything must become
 * idle). Checkers are in check.c and look only at what a guest could see, plus the directory's
 * versions.
 *
 * Exit status: 0 all seeds passed; 2 a safety violation; 3 a liveness violation; 4 a usage error; 5
 * something that the protocol can do was never reached (--reach-all); a failed assertion of the
 * production code traps, after its line and the seed were printed.
 */
#ifndef PANDO_SIM_H
#define PANDO_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "dataplane/base/hist.h"
#include "dataplane/base/prng.h"
#include "dataplane/coherence/coherence.h"
#include "dataplane/interrupt/interrupt.h"
#include "dataplane/transport/freeze.h"
#include "dataplane/transport/rrdp.h"

enum {
    SIM_NODES_MAX = 64,
    SIM_VCPUS_MAX = 4, /* per node */
    SIM_PAGES_MAX = 64,
    SIM_INSN_PAGES_MAX = 8,
    SIM_FRAME_MAX = RRDP_MTU_MAX + 64,
    SIM_LIVES = 2,
};

enum sim_result {
    SIM_PASS = 0,
    SIM_SAFETY = 2,
    SIM_LIVENESS = 3,
    SIM_USAGE = 4,
    SIM_UNREACHED = 5
};

/* Swarm options: drawn from the seed, so that each run stresses another mix. Times in ns. */
struct sim_options {
    uint32_t nodes, vcpus, pages, insns;
    uint32_t insn_pages_max, write_pct;
    uint32_t loss_ppm, dup_ppm, corrupt_ppm, junk_ppm;
    uint32_t lies_ppm;                 /* a message or frame has a twisted twin (liar.c) */
    uint32_t ping_ppm;                 /* a node asks for another's host, each time it runs */
    uint64_t latency_min, latency_max; /* reordering is the spread */
    uint32_t clog_ppm;                 /* a link stands still for clog_ns */
    uint64_t clog_ns;
    uint32_t partition_ppm; /* one direction of a link loses everything for clog_ns */
    uint32_t slow_ppm;      /* a node does nothing for slow_ns */
    uint64_t slow_ns;
    uint64_t edge_max;     /* an edge action completes after up to this time */
    uint64_t exec_max;     /* a woken vCPU looks again after up to this time */
    uint32_t spurious_ppm; /* a fault is reported twice, or without need */
    uint32_t resident_pct; /* of the pages; 0: no limit */
    uint64_t hold, hold_max;
    uint32_t zero_ahead;
    uint32_t idle_ppm; /* instructions after which the vCPU waits */
    uint16_t mtu;
    uint8_t group_min; /* rrdp_config */
    uint32_t path_mtu; /* of the network: longer frames vanish */
    uint64_t cut_at;   /* until then it carries mtu; 0: never did */
    bool places;       /* pages of whole frames are written into the receiver's memory */
    uint8_t credit;
    bool range_homes;
    uint32_t txn_max;
    uint32_t ipi_ppm;  /* instructions after which the vCPU sends an IPI */
    uint64_t crash_at; /* 0: none */
    bool rejoin;       /* after a crash all nodes start again, each when it likes */
};

#define SIM_FAULT_MAX UINT64_C(20000000000) /* ns: a fault takes, or nobody retires anything */

enum map_mode { MAP_NONE, MAP_RO, MAP_RW };

struct sim_insn {
    uint32_t n;
    uint32_t page[SIM_INSN_PAGES_MAX];
    bool write[SIM_INSN_PAGES_MAX];
};

struct sim_vcpu {
    struct sim_insn insn;
    uint32_t done; /* instructions retired */
    bool blocked;  /* waits for a fault on block_page */
    uint32_t block_page;
    bool block_write;
    bool scheduled; /* an EV_VCPU is queued */
    bool handles;   /* insn is an interrupt's handler */
    uint64_t irr;   /* IPIs that came: for each page one, whose handler reads the page */
    uint64_t faulted_at;
};

struct sim_backlog {
    uint8_t header[WIRE_MSG_HEADER];
    uint8_t cls;
    bool paged;
    uint32_t pin;
};

struct sim_queue { /* FIFO, grows */
    struct sim_backlog *item;
    uint32_t head, tail, size;
};

/* Assembly of an incoming message. */
struct sim_rx {
    struct wire_msg msg;
    struct wire_glue irq;
    enum { RX_NONE, RX_CONTROL, RX_IN_PLACE, RX_STAGED, RX_REFUSED, RX_IRQ } mode;
    uint8_t staged[WIRE_PAGE_SIZE];
};

struct sim_node {
    uint8_t id;
    uint8_t life; /* 0, or 1: it has started again */
    bool dead, stopped, restarts;
    uint64_t busy_until;
    struct coh *coh;
    struct rrdp *rrdp;
    void *coh_mem, *rrdp_mem;
    uint8_t (*frame)[WIRE_PAGE_SIZE];
    enum map_mode map[SIM_PAGES_MAX];
    bool edge_open[SIM_PAGES_MAX];
    struct freeze freeze;
    void *freeze_mem;
    struct sim_queue backlog[SIM_NODES_MAX][WIRE_CLASSES];
    struct sim_rx rx[SIM_NODES_MAX][WIRE_CLASSES];
    struct sim_vcpu vcpu[SIM_VCPUS_MAX];
    uint64_t next_wake;
    uint64_t last_txn;            /* of the requests that left this node */
    uint64_t ping[SIM_NODES_MAX]; /* the last question to each peer's host; 0: answered */
    struct irq_route_table *routes;
};

enum sim_event_type {
    EV_FRAME, /* flag: its last bytes were placed, as page */
    EV_PLACE, /* a page that a peer's device writes */
    EV_EFFECT,
    EV_DONE,
    EV_WAKE,
    EV_VCPU,
    EV_FAULT,
    EV_CHAOS,
    EV_HEAL,
    EV_CRASH,
    EV_START
};

struct sim_event {
    uint64_t time, order;
    enum sim_event_type type;
    uint8_t node, src, arg;
    uint8_t life; /* of the node, when this was queued */
    bool flag;
    uint32_t page;
    uint32_t len;
    uint8_t *bytes;
};

/* Mistakes that the checks must find: --plant. */
/* clang-format off */
#define SIM_PLANT_LIST(X) \
    X(NONE, "none") \
    X(ZAP, "zap")        /* in some seeds no page is ever unmapped */ \
    X(LATE, "late")      /* what is written in place may come later than what was sent behind it */
/* clang-format on */
#define X(ID, name) PLANT_##ID,
enum sim_plant { SIM_PLANT_LIST(X) PLANTS };
#undef X

struct sim_world {
    uint64_t seed, now, order, events, hash;
    struct prng rng;
    struct sim_options opt;
    bool healed, trace;
    enum sim_plant plant;
    struct sim_node node[SIM_NODES_MAX];
    struct sim_event *heap;
    uint32_t heap_n, heap_size;
    uint64_t link_clear[SIM_NODES_MAX][SIM_NODES_MAX]; /* clogged until */
    uint64_t link_cut[SIM_NODES_MAX][SIM_NODES_MAX];   /* cut until */
    uint64_t link_last[SIM_NODES_MAX][SIM_NODES_MAX];  /* places: arrival of the last page frame */
    uint8_t life;                                      /* that the VM is in */
    bool running;                                      /* the vCPUs are */
    uint64_t running_at, retired_at;                   /* since; the last instruction */
    uint64_t latest[SIM_LIVES][SIM_PAGES_MAX];         /* the value that every read must see */
    uint64_t last_version[SIM_LIVES][SIM_PAGES_MAX];
    uint64_t ipis_sent, ipis_taken;
    uint64_t write_count;
    struct coh_actions actions;
    struct rrdp_segments segments;
    enum sim_result result;
    char why[256];
    void (*adjust)(struct sim_world *w); /* of the options that were drawn; NULL: as they are */
    FILE *transitions;                   /* observe.c; NULL: nobody reads them */
    char observed[64];                   /* the message of the step that is being observed */
};

/* Sums over all seeds of one process: the coverage table. */
struct sim_coverage {
    uint64_t transitions[COH_STATES][COH_STATES];
    uint64_t coh_drop[COH_DROPS], rrdp_drop[RRDP_DROPS];
    uint64_t kinds[WIRE_KIND_LIMIT];
    uint64_t faults[COH_FAULT_KINDS];
    uint64_t retransmit, retransmit_probe, retransmit_timeout, out_of_order, credit_stall;
    uint64_t deferred, held, hold_expired, hold_wounded, punches, put_stale, evict[3];
    uint64_t group_tx, group_rx, group_lost, mtu_falls, parts, placed;
    uint64_t unfreeze, pongs, lies, events, virtual_ns, insns, crashes, rejoins, ipis, passed,
        failed;
    struct hist fault_ns;
};

extern struct sim_coverage sim_coverage;

/* options.c */
void sim_draw_options(struct sim_world *w);
void sim_enough_frames(struct sim_options *o);
void sim_print_options(const struct sim_world *w, FILE *f);
/* world.c */
enum sim_result sim_run(struct sim_world *w);
void sim_push(struct sim_world *w, struct sim_event ev);
void sim_trace(struct sim_world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* node.c */
void node_create(struct sim_world *w, uint8_t id);
void node_destroy(struct sim_node *n);
void node_step(struct sim_world *w, struct sim_node *n, struct coh_event *ev);
void node_frame(struct sim_world *w, struct sim_node *n, const struct sim_event *ev);
void node_place(struct sim_node *n, uint32_t page, const uint8_t *bytes);
void node_pump(struct sim_world *w, struct sim_node *n);
void node_effect(struct sim_world *w, struct sim_node *n, uint32_t page, enum coh_action_type type,
                 bool writable);
void node_send(struct sim_node *n, uint8_t dst, const struct sim_backlog *b);
/* irq.c */
void irq_start(struct sim_world *w, struct sim_node *n);
void irq_send(struct sim_world *w, struct sim_node *n, uint32_t v, uint32_t page);
void irq_arrives(struct sim_world *w, struct sim_node *n, const struct wire_glue *m);
/* network.c */
void net_send(struct sim_world *w, uint8_t src, const struct rrdp_frame *f, uint8_t *bytes,
              uint32_t len);
void net_chaos(struct sim_world *w);
/* liar.c: around the event of a true message; of a node that stopped; the twin of a frame */
void liar_before(struct sim_world *w, struct sim_node *n, const struct coh_event *truth);
void liar_after(struct sim_world *w, struct sim_node *n, const struct coh_event *truth);
void liar_stopped(struct sim_world *w, struct sim_node *n);
uint32_t liar_frame(struct sim_world *w, uint8_t src, uint8_t dst, const uint8_t *frame,
                    uint32_t len, uint8_t *out, uint8_t *ret_from);
/* vcpu.c */
void vcpu_run(struct sim_world *w, struct sim_node *n, uint32_t v);
void vcpu_wake(struct sim_world *w, struct sim_node *n, uint32_t page);
void vcpu_schedule(struct sim_world *w, struct sim_node *n, uint32_t v, uint64_t delay);
/* observe.c */
void observe_before(struct sim_world *w, struct sim_node *n, const struct coh_event *ev);
void observe_after(struct sim_world *w, struct sim_node *n, const struct coh_event *ev);
/* check.c */
void check_fail(struct sim_world *w, enum sim_result kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void check_mapping(struct sim_world *w, uint32_t page, uint8_t life);
void check_read(struct sim_world *w, struct sim_node *n, uint32_t page);
void check_write(struct sim_world *w, struct sim_node *n, uint32_t page);
void check_request(struct sim_world *w, struct sim_node *n, const struct wire_msg *m);
void check_node(struct sim_world *w, struct sim_node *n, uint64_t page);
void check_end(struct sim_world *w);
void coverage_node(const struct sim_world *w, const struct sim_node *n);
void coverage_add(struct sim_world *w);
void coverage_print(FILE *f, bool json, double seconds);
/* What the protocol can do and no seed did: their names, each behind a space; how many. */
uint32_t coverage_missing(char *out, size_t size);

#endif
