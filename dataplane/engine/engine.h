/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine: one polling thread that joins guest memory (userfaultfd), coherence, transport, port
 * and glue. APP.
 *
 *   main.c       options, signals
 *   engine.c     start-up table, the poll loop
 *   act.c        carries out coherence's actions
 *   faults.c     userfaultfd and agent -> events
 *   receive.c    frames -> segments -> messages
 *   transmit.c   messages -> frames; the backlog
 *   peers.c      join, refusals, losses, the end of the VM
 *   control.c    the glue's socket
 *   glue.c       the glue's rings, interrupts, waking
 *   clock.c      TSC stamps, exchanges, the published clock
 *   span.c       spans: the hooks that stamp;  span_json.c  what they add up to
 *   idle.c       descriptors, poll modes; loop_time.h: where the loop's time goes
 *   place.c      CPUs and classes of threads
 *   summary.c    counters as JSON;  glue_json.c  what rings and threads do at the moment
 *   telemetry.c  DPDK telemetry
 *   probes.c     places for bpftrace and others to attach to
 *
 * One thread owns all of it (telemetry reads counters). Everything is allocated before the glue is
 * welcomed.
 */
#ifndef PANDO_ENGINE_ENGINE_H
#define PANDO_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "dataplane/base/gap.h"
#include "dataplane/base/hist.h"
#include "dataplane/base/topk.h"
#include "dataplane/base/pool.h"
#include "dataplane/clock/clock.h"
#include "dataplane/coherence/coherence.h"
#include "dataplane/config/config.h"
#include "dataplane/engine/loop_time.h"
#include "dataplane/fabric/fabric.h"
#include "dataplane/memory/ram.h"
#include "dataplane/memory/zap.h"
#include "dataplane/port/port.h"
#include "dataplane/span/span.h"
#include "dataplane/transport/freeze.h"
#include "dataplane/transport/rrdp.h"
#include "hypervisor-glue/link/glue_abi.h"

/* Payload handle and cookie of a message of the glue: a transmit buffer. */
#define ENGINE_BUFFER (UINT64_C(1) << 63)

enum {
    ENGINE_ERROR_MAX = FABRIC_TEXT_MAX,
    ENGINE_TICKS = 8,            /* coherence ticks a round */
    ENGINE_BUFFERS = 64,         /* payloads of the glue on their way to peers */
    ENGINE_FDS = 16,             /* descriptors ready at a time */
    ENGINE_GONE_MS = 100,        /* between two looks for peers whose process has ended */
    ENGINE_STALL_MS = 250,       /* a round that took longer: this node did not run */
    ENGINE_LINGER_MS = 300,      /* at the end: for peers to hear of it, at most */
    ENGINE_LOW_FRAMES = 1 << 20, /* guest page frames below 4 GiB: RAM, devices, holes */
    ENGINE_LAST_MS = 20,         /* after the last frame, beyond a heartbeat (peers_finished) */
};

/* Why something that the glue or a peer said changed nothing (the transport and the coherence core
 * count their own). */
/* clang-format off */
#define ENGINE_DROP_LIST(X) \
    X(MSG_LENGTH, "message_length") \
    X(MSG_KIND, "message_kind") \
    X(MSG_CLASS, "message_class") \
    X(MSG_RESERVED, "message_reserved") \
    X(MSG_RANGE, "message_range") \
    X(MSG_NO_PEER, "message_peer_down") /* ours, to a peer that is gone */ \
    X(MSG_ENDED, "message_after_end")   /* a peer's, complete, when the VM has ended here */ \
    X(NO_FRAME, "no_frame") \
    X(GLUE_KIND, "glue_kind") \
    X(GLUE_NODE, "glue_node") \
    X(GLUE_CHAN, "glue_chan") \
    X(GLUE_FIELD, "glue_field") \
    X(GLUE_LENGTH, "glue_length") \
    X(GLUE_PEER, "glue_peer_down") \
    X(UFFD_RANGE, "uffd_range") \
    X(CONTROL, "control")
/* clang-format on */
#define X(ID, name) ENGINE_DROP_##ID,
enum engine_drop { ENGINE_DROP_LIST(X) ENGINE_DROPS };
#undef X
const char *engine_drop_name(enum engine_drop d);

/* The steps of a round that can find work. */
/* clang-format off */
#define ENGINE_STEP_LIST(X) \
    X(FRAMES, "frames") \
    X(PEERS, "peers") \
    X(FDS, "descriptors") \
    X(GLUE, "glue") \
    X(CLOCK, "clock") \
    X(UNMAPPED, "unmapped") \
    X(IDLES, "idle_vcpus") \
    X(TICK, "tick") \
    X(BACKLOG, "backlog") \
    X(SEND, "send")
/* clang-format on */
#define X(ID, name) ENGINE_STEP_##ID,
enum engine_step_id { ENGINE_STEP_LIST(X) ENGINE_STEPS };
#undef X
const char *engine_step_name(enum engine_step_id s);

struct engine_counters {
    uint64_t drop[ENGINE_DROPS];
    uint64_t rounds, rounds_useful, sleeps, yields, crowded, made_way, stalls, found[ENGINE_STEPS];
    uint64_t uffd_messages, fault_pauses, kicks, futex_wakes, irqs;
    uint64_t to_glue, from_glue, buffer_stalls;
    /* Bytes of pages that left, again ones included, and that came to their guest page; and what of
     * it we copied between guest page and the port's buffers. */
    uint64_t page_bytes_out, page_copied_out, page_bytes_in, page_copied_in;
    uint64_t fabric_changes; /* the port was replaced by the next rung's */
    uint64_t puts_not_copied, data_not_copied, glue_bytes, backlog_high, tx_no_room, violations;
    uint64_t page_tables[COH_FAULT_KINDS]; /* faults whose page is laid out like a page table */
    /* Messages that are not the coherence core's, by kind: that one counts its own. */
    uint64_t tx[WIRE_KIND_LIMIT], rx[WIRE_KIND_LIMIT];
};

/* A message under way from one (peer, class). */
enum engine_rx_mode {
    RX_NONE,
    RX_CONTROL,
    RX_IN_PLACE,
    RX_STAGED,
    RX_GLUE,
    RX_CLOCK,
    RX_SPAN,
    RX_SWALLOW
};
struct engine_rx {
    enum engine_rx_mode mode;
    struct wire_msg msg;
    uint8_t header[WIRE_MSG_HEADER];
    uint8_t *bytes;      /* WIRE_BYTES_MAX, collected */
    const uint8_t *page; /* of an evicted page: in bytes, or in its frame */
};

/* A coherence message that the transport had no room for. */
struct engine_late {
    uint8_t header[WIRE_MSG_HEADER];
    bool paged;
    uint32_t pin, next;
};
struct engine_fifo {
    uint32_t first, last;
};

struct engine_done { /* an edge action carried out at once: the event follows after the present step
                      */
    uint64_t page;
    uint8_t type;
};

struct engine_clock {
    bool known; /* the frequency is measured and core initialised */
    uint64_t tsc_start, ns_start;
    struct glue_clock injected; /* our own copy of what the tests inject */
    struct clock core;
    uint64_t told; /* the correction that vCPUs know of */
    uint64_t wakes, unsent;
};

/* What a vCPU's channel is awaited for (span.c). */
struct engine_waits {
    uint64_t irq;  /* GLUE_SPAN_IRQ; 0: nothing */
    uint32_t turn; /* seq; 0: nothing */
    struct span_key irq_key, turn_key;
};
struct engine_span {
    uint64_t below;             /* of spans->below: what every hook looks at */
    uint64_t read_tsc, read_ns; /* of the last userfaultfd messages, the same moment */
    uint64_t unsent;            /* SPAN messages that the transport had no room for */
    uint32_t cost_ticks;        /* of a stamp, as measured at the start */
    bool any_waiting;
    uint64_t waiting[4]; /* channels with waits */
    struct engine_waits waits[WIRE_VCPUS_MAX + 1];
};

enum engine_phase { ENGINE_JOINING, ENGINE_RUNNING, ENGINE_LEAVING };
enum engine_conn { CONN_NONE, CONN_NEW, CONN_HELLO, CONN_WELCOMED };

struct engine {
    const struct pando_config *cfg;
    uint8_t self, nodes;
    bool verbose;
    const char *config_path;            /* for messages; NULL: unknown */
    uint64_t now, started_at, deadline; /* deadline: of joining, or of leaving */
    uint64_t received_at;               /* when the last burst of frames was taken from the port */
    enum engine_phase phase;
    int status;
    bool orderly, refused;
    char stop_text[GLUE_ERROR_TEXT];
    char err[ENGINE_ERROR_MAX]; /* of start-up */

    struct coh *coh;
    struct coh_actions *actions;
    struct rrdp *rrdp;
    struct rrdp_segments *segments;
    struct fabric fabric;
    struct port *port; /* fabric.port */
    struct ram ram;
    struct zap zap;
    struct freeze freeze;
    struct engine_clock clock;
    struct spans *spans;
    struct engine_span span;
    bool all_here; /* joining: all peers are up, the clock is not locked */

    struct engine_done *done;
    uint32_t done_head, done_tail, done_mask;

    struct engine_rx rx[WIRE_NODES_MAX][WIRE_CLASSES];
    struct engine_late *late;
    struct pool late_pool;
    struct engine_fifo backlog[WIRE_NODES_MAX][WIRE_CLASSES];
    struct pool buffers;
    uint32_t buffer_next[ENGINE_BUFFERS];
    uint8_t (*buffer)[WIRE_BYTES_MAX];

    /* glue */
    struct glue_shared *shared;
    size_t shared_size;
    int segment_fd, doorbell_fd, listen_fd, conn_fd;
    enum engine_conn conn;
    pid_t glue_pid;
    uint32_t next_chan;
    char socket_path[160];
    bool socket_bound;

    int epoll_fd;
    bool wait_fd_known;
    uint32_t empty_rounds;
    bool make_way;   /* since it last gave the CPU away a thread of this CPU was made runnable */
    uint64_t way_ns; /* what is left of the sleep for such a thread; 0: it has had its way */
    bool beside;     /* since the last mapping a vCPU has faulted on this loop's CPU */
    uint64_t idles[COH_VCPUS_MAX]; /* glue_chan.idles, as last looked at */
    uint64_t resident_pause;       /* new faults wait while this node holds more pages */
    uint64_t gone_at;              /* peers.c: next look for peers whose process has ended */
    uint64_t gone;                 /* ... and those that the last look found */
    uint64_t pings;                /* HOST-PINGs asked */
    uint64_t endpoints;            /* joining: nodes that are none yet, RRDP_REFUSE_PURPOSE */
    uint64_t host_alive;           /* silent peers whose host's kernel has answered */
    bool paused;                   /* ... as they did in the last look at the descriptors */
    uint64_t idle_since;
    struct gap gap;         /* adaptive */
    bool slept;             /* since idle_since */
    uint64_t crowded_until; /* idle.c */

    struct engine_counters count;
    struct loop_time time;
    clockid_t cpu_clock; /* of the loop's thread */
    pid_t loop_tid;
    struct hist latency[COH_FAULT_KINDS];
    struct topk hot; /* pages, by faults that ended with a mapping here */
    char violation[256];
};

/* engine.c. Starts everything but the join; 0, or -errno with a sentence in e->err. */
int engine_start(struct engine *e, const struct pando_config *cfg, uint8_t self,
                 const char *config_path, bool verbose);
/* Polls until the VM has ended or cannot go on; the exit status: 0 after an orderly end. */
int engine_run(struct engine *e);
void engine_close(struct engine *e);
uint64_t engine_now(void);
/* Asynchronous-signal-safe: makes engine_run end. */
void engine_interrupt(void);
bool engine_interrupted(void);

/* act.c */
void engine_step(struct engine *e, struct coh_event *ev);
bool engine_tick(struct engine *e);

/* faults.c */
void faults_read(struct engine *e, uint32_t block);
bool faults_unmapped(struct engine *e);
bool faults_idle(struct engine *e);
bool faults_idle_pending(const struct engine *e);

/* receive.c */
bool receive_frames(struct engine *e);

/* transmit.c */
void transmit_message(struct engine *e, uint8_t dst, const struct wire_msg *m);
void transmit_sent(struct engine *e, uint64_t cookie);
bool transmit_backlog(struct engine *e);
bool transmit_frames(struct engine *e);
/* The bytes of the page's frame are about to change. */
void thaw(struct engine *e, uint64_t page);
/* A glue message with its payload; 0, -EAGAIN (try later), or -errno (dropped). */
int transmit_glue(struct engine *e, uint8_t dst, const struct wire_glue *m, const uint8_t *payload,
                  uint32_t len);

int transmit_time(struct engine *e, uint8_t dst, const struct wire_time *m);
int transmit_span(struct engine *e, uint8_t dst, const struct wire_span *m);

/* peers.c */
bool peers_events(struct engine *e);
void peers_watch(struct engine *e);
bool peers_finished(struct engine *e);
const char *node_name(const struct engine *e, uint8_t node);
/* The VM ends here and everywhere; the first call decides. orderly: it ended by itself. */
void engine_stop(struct engine *e, bool orderly, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* control.c */
int control_open(struct engine *e);
void control_ready(struct engine *e, int fd);
void control_welcome(struct engine *e); /* all peers are up, the clock is locked */
void control_stop(struct engine *e);    /* tells the glue */
void control_new_port(
    struct engine *e); /* e->port is another one: guest RAM is opened to its peers */
void control_close(struct engine *e);

/* glue.c */
bool glue_poll(struct engine *e);
bool glue_pending(struct engine *e); /* something to take: for who is about to sleep */
void glue_deliver(struct engine *e, uint8_t src, const struct wire_glue *m, const uint8_t *payload,
                  uint32_t len);
void glue_wake(struct engine *e, uint32_t chan);

/* clock.c */
int clock_open(struct engine *e);
bool clock_poll(struct engine *e);
void clock_message(struct engine *e, uint8_t src, const struct wire_time *m);
bool clock_locked(const struct engine *e);
void clock_why_not(const struct engine *e, char *buf, size_t size);
uint64_t clock_wait_ns(const struct engine *e);

/* place.c */
int place_check(struct engine *e);
int place_threads(struct engine *e);

/* span.c */
int span_open(struct engine *e);
uint64_t span_stamp_now(const struct engine *e);
void span_faults_read(struct engine *e);
void span_asked(struct engine *e, const struct wire_msg *m);
void span_received(struct engine *e, uint8_t src, const struct wire_msg *m);
uint64_t span_mapping(const struct engine *e, const struct coh_action *a);
void span_mapped(struct engine *e, const struct coh_action *a, uint64_t asked);
void span_frame(struct engine *e, const struct rrdp_frame *f);
void span_entry(struct engine *e, const struct glue_entry *entry);
void span_delivering(struct engine *e, uint8_t src, const struct wire_glue *m);
void span_delivered(struct engine *e, uint8_t src, const struct wire_glue *m);
void span_poll(struct engine *e);
void span_message_in(struct engine *e, uint8_t src, const struct wire_span *m);

/* span_json.c */
struct json_t; /* jansson's */
struct json_t *span_section(const struct engine *e);
int span_records_write(const struct engine *e, const char *path); /* 0 or -errno */
void span_telemetry(const struct engine *e);                      /* NULL: no more, from here on */

/* glue_json.c. Snapshots: nothing of it is counted on the way. */
struct json_t *channels_section(const struct engine *e);
struct json_t *threads_section(const struct engine *e);
struct json_t *processes_section(const struct engine *e);

/* idle.c */
int idle_open(struct engine *e);
int idle_measure(struct engine *e);
int idle_watch(struct engine *e, int fd, uint64_t tag);
bool idle_poll_fds(struct engine *e, uint64_t timeout_ns);
void idle_round(struct engine *e, bool useful);

/* summary.c, telemetry.c */
int summary_write(const struct engine *e, const char *path);
char *summary_text(const struct engine *e,
                   const char *section); /* malloc'd JSON; NULL section: all */
int telemetry_open(struct engine *e);
void telemetry_close(void);
/* No reader between them: around what closes things that are shown. The loop never waits for a
 * reader: false, if there is one; it is to try again soon, and no further reader begins until then.
 */
bool telemetry_try_hold(void);
/* For readers, and before and after the loop: waits. */
void telemetry_hold(void);
void telemetry_release(void);

/* Tags of watched descriptors: a kind and, for blocks, an index. */
enum { WATCH_DOORBELL = 1, WATCH_LISTEN, WATCH_CONN, WATCH_PORT, WATCH_BLOCK = 16 };

static inline void engine_drop(struct engine *e, enum engine_drop why)
{
    e->count.drop[why]++;
}

#endif
