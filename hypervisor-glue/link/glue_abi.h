/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The contract between a dataplane and the process beside it that runs vCPUs (the VMM with
 * libpando-kvm.so, or pando-vcpud), both on one host: a control socket and one shared-memory
 * segment.
 *
 * Trust: the dataplane serves other VMs and the cluster, so it believes nothing that it reads from
 * the segment: every index, length and field is read once and checked (glue_ring.h). The VMM trusts
 * its dataplane.
 *
 * Control socket: AF_UNIX SOCK_SEQPACKET at <run_dir>/node<N>.sock, one struct glue_ctl a packet,
 * fds by SCM_RIGHTS. The connection is the life line: when either side sees it close, the VM stops.
 *
 * Segment: a memfd created by the dataplane, passed with WELCOME:
 *   struct glue_shared | channel 0..vcpus-1 (struct glue_chan) | the VM's channel (index vcpus)
 * A channel is a pair of SPSC rings of 64-byte entries; payloads over GLUE_INLINE bytes lie in side
 * slots of the same direction. For a vCPU the channel's thread is the one that runs it (at its
 * home) or that stands for it (the proxy in the VMM). Producers and consumers in the VMM process
 * that are several threads serialise among themselves; the dataplane has one thread.
 */
#ifndef PANDO_GLUE_ABI_H
#define PANDO_GLUE_ABI_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/wire/wire.h"

enum {
    GLUE_ABI_VERSION = 6,
    GLUE_RING_ENTRIES = 128, /* per direction; a power of two */
    GLUE_SIDE_SLOTS =
        8, /* per direction; a power of two: payload messages in flight in one channel */
    GLUE_SIDE_SIZE = WIRE_BYTES_MAX,
    GLUE_INLINE = 32,
    GLUE_ZAP_ENTRIES = 256, /* unmap requests to the agent thread */
    GLUE_RAM_BLOCKS = 8,
    GLUE_ERROR_TEXT = 192,
    GLUE_CPU_WORDS = 16, /* 1024 CPUs */
};

/* ---- control socket ------------------------------------------------------------------------ */

enum glue_ctl_type {
    GLUE_HELLO = 1, /* glue -> dataplane: abi, role, pid */
    GLUE_WELCOME,   /* answer: everything below; fds: segment, doorbell eventfd of the dataplane */
    GLUE_RAM,   /* glue -> dataplane: one RAM block; fds: memfd, userfaultfd registered over [hva,
                   +size) */
    GLUE_OK,    /* answer to GLUE_RAM */
    GLUE_ERROR, /* answer: text says what and which remedy */
    GLUE_BYE,   /* glue -> dataplane: the VM ended by itself; status as the VMM's exit status */
    GLUE_STOP,  /* dataplane -> glue: stop every vCPU now; text names node and reason */
};
enum glue_role { GLUE_ROLE_VMM = 1, GLUE_ROLE_VCPUD = 2 };

/* WELCOME: what the scheduler is to give to a kind of threads (host/thread.h: struct host_sched).
 */
struct glue_sched {
    uint8_t given; /* 0: they are left alone, and the rest is 0 */
    uint8_t class;
    uint8_t priority;
    int8_t nice;
    uint32_t slice_us;
};

struct glue_ctl {
    uint32_t type;
    uint32_t abi;                   /* HELLO, WELCOME */
    uint32_t role;                  /* HELLO */
    uint32_t status;                /* BYE */
    uint32_t node, nodes, vmm_node; /* WELCOME */
    uint32_t vcpus;                 /* WELCOME: vCPUs of the VM */
    uint64_t ram_pages_max;   /* WELCOME: coherence units that the cluster was configured for */
    uint64_t segment_size;    /* WELCOME */
    uint32_t block;           /* RAM: index, 0..GLUE_RAM_BLOCKS-1, each once, in order */
    uint32_t tick_rest_times; /* WELCOME, as the next: of vkvm/run.c */
    uint64_t
        base_page;  /* RAM: first coherence unit of the block: right behind the previous block */
    uint64_t pages; /* RAM */
    uint64_t hva;   /* RAM: where the glue mapped and registered it */
    uint8_t vcpu_home[256]; /* WELCOME: node of each vCPU */
    int16_t vcpu_core[256]; /* WELCOME: CPU of each vCPU at home here; -1: not pinned */
    int32_t agent_core;     /* WELCOME: CPU of the agent thread; -1: not pinned */
    uint32_t tick_rest_max_ms;
    struct glue_sched agent, vcpu, housekeeping; /* WELCOME; housekeeping: all other threads */
    uint64_t housekeeping_cpus[GLUE_CPU_WORDS];  /* WELCOME: bit by CPU; all 0: not pinned */
    char text[GLUE_ERROR_TEXT];
};

/* ---- segment ------------------------------------------------------------------------------- */

/* kind is a wire kind (WIRE_IRQ ... WIRE_VM_REP). glue -> dataplane: node is the destination;
 * dataplane -> glue: node is the source. chan is the channel at the destination. */
struct glue_entry {
    uint8_t kind;
    uint8_t node;
    uint16_t chan;
    uint16_t op;
    uint16_t len; /* payload bytes: in data[] up to GLUE_INLINE, else in a side slot;
                     0..GLUE_SIDE_SIZE */
    uint32_t seq;
    uint32_t side; /* side slot index if len > GLUE_INLINE */
    uint64_t arg;
    uint64_t stamp; /* glue -> dataplane, if the entry is sampled (seq; struct glue_span): the
                       processor's TSC when what it tells of happened; else 0 */
    uint8_t data[GLUE_INLINE];
};
_Static_assert(sizeof(struct glue_entry) == 64, "one cache line");

/* SPSC ring. head: next entry the producer writes; tail: next the consumer reads; both
 * free-running. Side slots are given out in ring order: side_head counts those written, side_tail
 * those consumed. */
struct glue_ring {
    _Alignas(64) _Atomic uint32_t head;
    _Atomic uint32_t side_head;
    _Alignas(64) _Atomic uint32_t tail;
    _Atomic uint32_t side_tail;
    _Alignas(64) struct glue_entry entry[GLUE_RING_ENTRIES];
    _Alignas(4096) uint8_t side[GLUE_SIDE_SLOTS][GLUE_SIDE_SIZE];
};

/* Where a vCPU's thread is; who publishes something for it reads this after a full fence and wakes
 * it: IN_GUEST by tgkill(GLUE_KICK_SIGNAL), SLEEPING by futex(&state), after exchanging the state
 * for AWAKE (so a wake-up between the thread's last look and its futex call is not lost, and an
 * entry gets one kick). The thread stores the state, issues a full fence, looks once more at
 * everything it consumes, and only then enters the guest or sleeps. */
enum glue_thread_state { GLUE_AWAKE = 0, GLUE_IN_GUEST = 1, GLUE_SLEEPING = 2 };

/* Posted interrupts: whoever delivers to a vCPU at its home sets bits here and wakes its thread,
 * which moves them into its LAPIC model. Bounded however many arrive, and never behind a blocked
 * thread's ring. */
struct glue_posted {
    _Atomic uint64_t irr[4];   /* fixed and lowest priority, by vector */
    _Atomic uint64_t level[4]; /* of those, level triggered */
    _Atomic uint32_t events;   /* GLUE_POST_* */
    _Atomic uint32_t sipi_vector;
    _Atomic uint64_t count; /* deliveries, for the summary */
};
enum {
    GLUE_POST_NMI = 1,
    GLUE_POST_INIT = 2,
    GLUE_POST_SIPI = 4,
    GLUE_POST_EXTINT = 8,
    GLUE_POST_KICK = 16,
    GLUE_POST_CLOCK = 32 /* the clock's map moved: apply it before entering the guest */
};

/* APIC_SET: seq = announcing channel << 16 | a 16-bit count; APIC_ACK echoes it and goes to that
 * channel. WIRE_IRQ: chan = target vCPU, op = enum glue_irq_op, arg = vector. WIRE_KICK: chan =
 * vCPU, arg = run number. IRQ, IO_EXIT: seq = 0, or the number of the sample (GLUE_SPAN_SEQ);
 * IO_DONE echoes that of the exit it answers. */
enum glue_irq_op {
    GLUE_IRQ_EDGE = 1,
    GLUE_IRQ_LEVEL,
    GLUE_IRQ_NMI,
    GLUE_IRQ_INIT,
    GLUE_IRQ_SIPI,
    GLUE_IRQ_EXTINT
};

/* What a channel's thread tells of samples (dataplane/span/span.h). The dataplane, which believes
 * none of it, looks while it waits for an answer; nobody is woken for it. Stamps: the processor's
 * TSC.
 * Memory order: [E] the dataplane stores irq before it posts the interrupt's bit (release); the
 * thread takes the bit (acquire) and sees irq. [F] the thread stores the stamp before the word
 * beside it (release); the dataplane loads the word (acquire) and sees the stamp. */
struct glue_span {
    _Atomic uint64_t irq;   /* GLUE_SPAN_IRQ of the sampled interrupt posted last; 0: none */
    _Atomic uint64_t taken; /* ... of the one that was taken into the model last */
    _Atomic uint64_t taken_stamp;
    _Atomic uint64_t turn_stamp;
    _Atomic uint32_t turn; /* seq of the IO_EXIT that was taken (proxy), or of the IO_DONE after
                              which the guest was entered (home) */
};
#define GLUE_SPAN_IRQ(seq, vector) ((uint64_t)(seq) << 8 | (uint8_t)(vector))
#define GLUE_SPAN_VECTOR(irq)      ((uint8_t)(irq))
/* The number of a sample: of the n-th by this vCPU, n not a multiple of 2^24. */
#define GLUE_SPAN_SEQ(vcpu, n) ((uint32_t)(n) << 8 | (uint8_t)(vcpu))

struct glue_chan {
    _Alignas(64) _Atomic uint32_t state; /* enum glue_thread_state; also the futex word */
    _Atomic uint32_t tid;                /* thread to signal; 0 before there is one */
    _Atomic uint32_t cpu; /* glue_cpu.h: of its thread, when it last entered the guest
                             or lay down */
    _Alignas(64) struct glue_posted posted;
    _Atomic uint64_t idles; /* times that the vCPU left the guest to wait (HLT): its thread counts,
                               the dataplane stops holding its pages */
    _Atomic uint64_t kick_run; /* highest run number that a WIRE_KICK asked to leave */
    _Alignas(64) struct glue_span span;
    struct glue_ring to_dp;
    struct glue_ring to_glue;
};

/* APIC addresses of all vCPUs as announced (WIRE_APIC_SET: chan = vCPU announced, seq = announcer's
 * channel << 16 | number, arg and op = packed announcement; the dataplane stores it here and
 * answers WIRE_APIC_ACK with the same chan, op, seq and arg, into the announcer's channel).
 * Sequence-locked. */
struct glue_apic {
    _Atomic uint32_t lock; /* odd while being written */
    uint32_t op;
    uint64_t arg;
};

/* Unmap requests, dataplane -> agent thread: SPSC; done is the agent's answer: all requests before
 * it are carried out (madvise(MADV_DONTNEED) on the registered mapping returned). After storing
 * done the agent rings the doorbell if dp_sleeping says so, as the producers of rings do. The agent
 * sleeps with FUTEX_WAIT(&sleeping, 1). */
struct glue_zap {
    uint64_t page;  /* coherence unit */
    uint64_t pages; /* contiguous units within one block */
};
struct glue_agent {
    _Alignas(64) _Atomic uint32_t head;
    _Atomic uint32_t sleeping;  /* futex word: 1 while the agent sleeps */
    _Atomic uint32_t asker_cpu; /* glue_cpu.h: of the poll loop, when it last published */
    _Alignas(64) _Atomic uint32_t done;
    _Atomic uint32_t failed; /* errno of a madvise that failed: the VM stops */
    _Atomic uint32_t cpu;    /* glue_cpu.h: of the agent, when it last lay down */
    _Alignas(64) struct glue_zap zap[GLUE_ZAP_ENTRIES];
};

/* The node's map from its host TSC to the cluster clock (dataplane/clock/clock.h), sequence-locked:
 * odd while written (glue_clock.h reads and writes it).
 * cluster = base_cluster + (host - base_host) + (((int64)(host - base_host)) * rate >> 32) */
struct glue_clock {
    _Atomic uint32_t lock;
    uint32_t state; /* enum clock_state; the map is usable from CLOCK_LOCKED on */
    uint64_t base_host, base_cluster;
    int64_t rate;         /* 2^-32 units */
    uint32_t tsc_khz;     /* of the cluster clock, nominal: the reference node's */
    uint32_t error_ticks; /* bound on the difference to the reference, as estimated, at base_host
                             (clock_map_error says how it grows); UINT32_MAX: unknown */
    uint64_t injected_offset; /* tests: what the node pretends its host TSC to be ahead by:
                                 host = rdtsc + injected_offset + drift */
    int64_t injected_rate; /* 2^-32 units; drift = (rdtsc - injected_base) * injected_rate >> 32 */
    uint64_t injected_base;
};
_Static_assert(sizeof(struct glue_clock) == 64, "one cache line");

enum { GLUE_DP_SLEEPS = 1, GLUE_DP_WAITS = 2 }; /* dp_sleeping; WAITS: for idles, too */

struct glue_shared {
    uint64_t magic; /* "PANDOGLU" */
    uint32_t abi;
    uint32_t vcpus;
    _Atomic uint32_t
        dp_sleeping;       /* not 0: write 1 to the doorbell after publishing (full fence before the
                              look);       after counting idles only if it is GLUE_DP_WAITS */
    _Atomic uint32_t stop; /* the VM stops: no vCPU enters the guest again */
    uint64_t span_below;   /* span_sampled()'s threshold, of exits; written before WELCOME */
    _Atomic uint64_t guest_epoch; /* guest TSC = cluster clock - this; 0: not known yet */
    _Alignas(64) struct glue_agent agent;
    _Alignas(64) struct glue_clock clock;
    _Alignas(64) struct glue_apic apic[256];
    _Alignas(4096) struct glue_chan chan[]; /* vcpus + 1 */
};
#define GLUE_MAGIC              UINT64_C(0x554C474F444E4150)
#define GLUE_KICK_SIGNAL_OFFSET 5 /* SIGRTMIN + 5 */

static inline size_t glue_segment_size(uint32_t vcpus)
{
    return sizeof(struct glue_shared) + ((size_t)vcpus + 1) * sizeof(struct glue_chan);
}

#endif
