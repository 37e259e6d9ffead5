/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the AF_XDP port; also for its tests. EDGE.
 *
 * One queue, one UMEM, two sockets (bpf/contract.h: control and pages). They share the fill and the
 * completion ring; each has a receive ring of its own, so that what waits in the pages' ring is
 * never in front of an interrupt. The fill ring holds more than both rings can take: pages that
 * nobody reads are dropped when their ring is full, and buffers are left for control.
 *
 * Receive. The kernel puts a frame into one buffer after the other, each filled to its end, behind
 * a headroom of AF_XDP_HEADROOM bytes that it leaves alone. No buffer may be larger than a page, so
 * a frame of 9000 bytes takes three. Buffers may lie anywhere (unaligned mode): here they overlap
 * by that headroom, buffer n + 1 begins AF_XDP_STRIDE bytes behind n, and the bytes of neighbours
 * are contiguous. Buffers are given back in ascending runs, so the three are neighbours nearly
 * always; if not, the frame is copied into one piece (counted).
 *
 *     n      |headroom|data................|
 *     n + 1                       |headroom|data................|
 *
 * Send. A slot holds a whole frame; descriptors name it in parts of at most a page. It is free when
 * all its descriptors have been completed, in whatever order.
 */
#ifndef PANDO_PORT_AF_XDP_H
#define PANDO_PORT_AF_XDP_H

#include <linux/if_xdp.h>

#include "bpf/steer.h"
#include "dataplane/port/neighbour.h"
#include "dataplane/port/port.h"

/* Since Linux 6.6; Debian 12's headers are older. Names and values are the kernel's. */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif

enum {
    AF_XDP_CHUNK = 4096,   /* what the kernel allows at most: a page */
    AF_XDP_HEADROOM = 256, /* XDP_PACKET_HEADROOM */
    AF_XDP_STRIDE = AF_XDP_CHUNK - AF_XDP_HEADROOM,
    AF_XDP_RING_CONTROL = 1024,
    AF_XDP_RING_PAGES = 2048,
    AF_XDP_FILL = 4096,
    AF_XDP_CHUNKS = 3584, /* both rings, a burst in the caller's hands, a batch, and some */
    AF_XDP_BATCH = 64,    /* given back together, so that neighbours stay neighbours */
    AF_XDP_FRAME_CHUNKS = 4,
    AF_XDP_SLOTS = 256,
    AF_XDP_SLOT = 9216, /* the largest frame with its link header, cache-line aligned */
    AF_XDP_SLOT_DESCS = 3,
    AF_XDP_TX = 1024,  /* descriptors: more than all slots have */
    AF_XDP_KICKS = 16, /* system calls of one flush at most; each sends 32 frames */
    AF_XDP_RX_BYTES = (AF_XDP_CHUNKS * AF_XDP_STRIDE + AF_XDP_HEADROOM + 4095) / 4096 * 4096,
    AF_XDP_UMEM_BYTES = AF_XDP_RX_BYTES + AF_XDP_SLOTS * AF_XDP_SLOT,
    AF_XDP_HUGEPAGE = 2 << 20,
    AF_XDP_BIND_TRIES = 100, /* 10 ms apart */
};
_Static_assert(AF_XDP_CHUNKS - AF_XDP_BATCH - PORT_BURST * AF_XDP_FRAME_CHUNKS >=
                   AF_XDP_RING_CONTROL + AF_XDP_RING_PAGES,
               "full rings leave buffers in the fill ring");
_Static_assert(AF_XDP_CHUNKS <= AF_XDP_FILL && AF_XDP_SLOTS * AF_XDP_SLOT_DESCS <= AF_XDP_TX,
               "neither ring is ever full");
_Static_assert(AF_XDP_CHUNKS % 64 == 0, "whole words of the bitmap");

/* One side of a ring in shared memory; the other side is the kernel. */
struct xsk_ring {
    uint32_t *producer, *consumer, *flags;
    void *entries;  /* struct xdp_desc or u64 */
    uint32_t size;  /* a power of two */
    uint32_t index; /* ours: the next entry that we produce or consume */
    void *map;
    size_t map_bytes;
};

struct xsk {
    int fd[STEER_SOCKETS];
    struct xsk_ring rx[STEER_SOCKETS], fill, completion, tx;
    uint8_t *umem;
    size_t umem_bytes;
    bool hugepages, zero_copy, multi_buffer;
};

/* Makes UMEM, sockets and rings on a queue. single: a kernel without XDP_USE_SG will do. 0, or
 * -errno and a sentence. xsk_close undoes what was done, also after an error. */
int xsk_open(struct xsk *x, const char *interface, uint32_t queue, bool single,
             char err[PORT_ERROR_MAX]);
void xsk_close(struct xsk *x);

/* True where a range of the UMEM is not contiguous for a device: over the end of a hugepage. */
static inline bool xsk_crosses(uint64_t at, uint64_t len)
{
    return at / AF_XDP_HUGEPAGE != (at + len - 1) / AF_XDP_HUGEPAGE;
}

/* Entries that the kernel has put into a ring for us. */
static inline uint32_t xsk_ready(const struct xsk_ring *r)
{
    /* Acquire: pairs with the kernel's release of the producer index; entries and, behind a
     * receive ring, the bytes of the frames are there. */
    return __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) - r->index;
}

/* Gives entries that were read back to the kernel, up to index. */
static inline void xsk_consumed(struct xsk_ring *r)
{
    /* Release: our reads of the entries come before the kernel may write new ones there. */
    __atomic_store_n(r->consumer, r->index, __ATOMIC_RELEASE);
}

/* Shows the kernel entries that were written, up to index. */
static inline void xsk_produced(struct xsk_ring *r)
{
    /* Release: pairs with the kernel's acquire; entries and frames come before the index. */
    __atomic_store_n(r->producer, r->index, __ATOMIC_RELEASE);
    /* Before the flags are read: the kernel sets NEED_WAKEUP, then looks at the index once more. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline bool xsk_needs_wakeup(const struct xsk_ring *r)
{
    /* Relaxed: a wake-up that is missed now is given at the next flush. */
    return (__atomic_load_n(r->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) != 0;
}

static inline struct xdp_desc *xsk_desc(struct xsk_ring *r, uint32_t i)
{
    return (struct xdp_desc *)r->entries + (i & (r->size - 1));
}

static inline uint64_t *xsk_addr(struct xsk_ring *r, uint32_t i)
{
    return (uint64_t *)r->entries + (i & (r->size - 1));
}

struct af_xdp_port {
    struct port port;
    struct xsk xsk;
    struct steer *steer;
    struct link link;
    struct neighbours *hops; /* NULL: plain Ethernet */
    int epoll;
    int error;              /* of the last wake-up, -errno; 0: it worked */
    uint32_t queue, header; /* header: link_header_bytes */
    uint32_t next_chunk, free_chunks;
    uint64_t chunk_free[AF_XDP_CHUNKS / 64];
    uint32_t free_slots, reserved; /* reserved: slot + 1, 0 none */
    uint8_t reserved_peer, reserved_mac[6];
    uint16_t slot_free[AF_XDP_SLOTS];
    uint8_t slot_descs[AF_XDP_SLOTS]; /* not completed yet */
    uint64_t rx_by_socket[STEER_SOCKETS];
    uint64_t assembled; /* frames that had to be copied into one piece */
    char mode[160];
    uint8_t piece[PORT_BURST][AF_XDP_FRAME_CHUNKS * AF_XDP_STRIDE];
};

extern const struct port_ops af_xdp_ops;

/* Marks all usable buffers and slots free and fills the fill ring. */
void af_xdp_begin(struct af_xdp_port *a);

#endif
