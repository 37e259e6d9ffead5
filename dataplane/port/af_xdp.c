/* SPDX-License-Identifier: BSD-3-Clause */
/* The AF_XDP port at work; how its memory is laid out and why: af_xdp.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/af_xdp.h"

static struct af_xdp_port *self_of(struct port *p)
{
    return (struct af_xdp_port *)p;
}

/* ---- buffers for receiving ----------------------------------------------------------------- */

static void free_chunk(struct af_xdp_port *a, uint64_t base)
{
    uint32_t n = (uint32_t)(base / AF_XDP_STRIDE);
    if (n >= AF_XDP_CHUNKS || a->chunk_free[n / 64] & bit64(n % 64))
        return; /* the kernel's word, yet not to be believed blindly */
    a->chunk_free[n / 64] |= bit64(n % 64);
    a->free_chunks++;
}

/* The next free one at or behind next_chunk, going round; there is one. */
static uint32_t take_chunk(struct af_xdp_port *a)
{
    uint32_t word = a->next_chunk / 64;
    uint64_t here = a->chunk_free[word] & ~(bit64(a->next_chunk % 64) - 1);
    while (here == 0) {
        word = (word + 1) % (AF_XDP_CHUNKS / 64);
        here = a->chunk_free[word];
    }
    uint32_t n = word * 64 + bit64_first(here);
    a->chunk_free[word] &= ~bit64(n % 64);
    a->free_chunks--;
    a->next_chunk = (n + 1) % AF_XDP_CHUNKS;
    return n;
}

static void refill(struct af_xdp_port *a)
{
    struct xsk_ring *fill = &a->xsk.fill;
    while (a->free_chunks > 0) {
        *xsk_addr(fill, fill->index) = (uint64_t)take_chunk(a) * AF_XDP_STRIDE;
        fill->index++;
    }
    xsk_produced(fill);
    if (xsk_needs_wakeup(fill))
        (void)!recvfrom(a->xsk.fd[0], NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* ---- receive ------------------------------------------------------------------------------- */

static uint8_t *bytes_of(struct af_xdp_port *a, const struct xdp_desc *d)
{
    uint64_t at =
        (d->addr & XSK_UNALIGNED_BUF_ADDR_MASK) + (d->addr >> XSK_UNALIGNED_BUF_OFFSET_SHIFT);
    return at + d->len <= a->xsk.umem_bytes ? a->xsk.umem + at : NULL;
}

/* The frame that begins at entry `at` of the ring, in one piece; `piece` is where, if it must be
 * copied for that. Returns its entries, 0: it is not whole yet. *ret_data NULL: cannot be ours. */
static uint32_t take_frame(struct af_xdp_port *a, struct xsk_ring *rx, uint32_t ready,
                           uint8_t *piece, uint8_t **ret_data, uint32_t *ret_len)
{
    uint8_t *data = NULL, *end = NULL;
    uint32_t n = 0, len = 0;
    bool good = true, more = true, whole = true;
    for (; more && n < ready; n++) {
        const struct xdp_desc *d = xsk_desc(rx, rx->index + n);
        uint8_t *part = bytes_of(a, d);
        more = (d->options & XDP_PKT_CONTD) != 0;
        good = good && part != NULL && n < AF_XDP_FRAME_CHUNKS && d->len <= AF_XDP_STRIDE;
        if (n == 0)
            data = part;
        whole = whole && (n == 0 || part == end);
        end = good ? part + d->len : NULL;
        len += d->len;
    }
    if (more)
        return 0;
    *ret_data = good ? data : NULL;
    *ret_len = len;
    if (!good || whole)
        return n;
    for (uint32_t i = 0, at = 0; i < n; i++) {
        const struct xdp_desc *d = xsk_desc(rx, rx->index + i);
        memcpy(piece + at, bytes_of(a, d), d->len);
        at += d->len;
    }
    *ret_data = piece;
    a->port.counters.rx_copied_bytes += len;
    a->assembled++;
    return n;
}

static uint32_t receive_from(struct af_xdp_port *a, unsigned socket, struct port_frame *out,
                             uint32_t n, uint32_t max)
{
    struct xsk_ring *rx = &a->xsk.rx[socket];
    uint32_t ready = n < max ? xsk_ready(rx) : 0, entries;
    if (ready == 0)
        return n;
    for (; n < max && ready > 0; ready -= entries) {
        uint8_t *data;
        uint32_t len;
        entries = take_frame(a, rx, ready, a->piece[n], &data, &len);
        if (entries == 0)
            break;
        for (uint32_t i = 0; i < entries; i++, rx->index++)
            free_chunk(a, xsk_desc(rx, rx->index)->addr & XSK_UNALIGNED_BUF_ADDR_MASK);
        /* The program in the kernel has looked at addresses, EtherType and port, but not at all
         * that link_read does, and believes no length. */
        struct link_frame frame;
        enum link_verdict v = data != NULL ? link_read(&a->link, data, len, &frame) : LINK_LENGTH;
        if (v != LINK_OK) {
            a->port.counters.rx_foreign++;
            a->port.counters.rx_refused[v]++;
            continue;
        }
        struct port_frame *f = &out[n++];
        *f = (struct port_frame){.data = frame.data, .len = frame.len};
        memcpy(f->src.addr, frame.src, 6);
        a->rx_by_socket[socket]++;
        a->port.counters.rx_bytes += f->len;
    }
    xsk_consumed(rx);
    return n;
}

/* Buffers of the last burst are marked free already, but go back to the kernel only here. */
static uint32_t af_xdp_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    struct af_xdp_port *a = self_of(p);
    if (max > PORT_BURST)
        max = PORT_BURST;
    if (a->free_chunks >= AF_XDP_BATCH)
        refill(a);
    uint32_t n = receive_from(a, STEER_CONTROL_SOCKET, out, 0, max);
    n = receive_from(a, STEER_PAGES_SOCKET, out, n, max);
    p->counters.rx_frames += n;
    return n;
}

/* ---- send ---------------------------------------------------------------------------------- */

static void reap(struct af_xdp_port *a)
{
    struct xsk_ring *done = &a->xsk.completion;
    uint32_t ready = xsk_ready(done);
    for (uint32_t i = 0; i < ready; i++, done->index++) {
        uint64_t at = *xsk_addr(done, done->index) - AF_XDP_RX_BYTES;
        if (at >= (uint64_t)AF_XDP_SLOTS * AF_XDP_SLOT)
            continue;
        uint32_t slot = (uint32_t)(at / AF_XDP_SLOT);
        if (a->slot_descs[slot] > 0 && --a->slot_descs[slot] == 0)
            a->slot_free[a->free_slots++] = (uint16_t)slot;
    }
    if (ready > 0)
        xsk_consumed(done);
}

static uint64_t slot_at(uint32_t slot)
{
    return AF_XDP_RX_BYTES + (uint64_t)slot * AF_XDP_SLOT;
}

static uint8_t *af_xdp_tx_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    static const uint8_t broadcast[6] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    struct af_xdp_port *a = self_of(p);
    if (!neighbours_reach(a->hops, &a->link, peer, mac != NULL, &p->counters))
        return NULL;
    if (a->reserved == 0)
        reap(a); /* each time: a slot that was just sent from is still in the cache */
    if (a->reserved == 0 && a->free_slots == 0) {
        p->counters.tx_full++;
        return NULL;
    }
    if (a->reserved == 0)
        a->reserved = a->slot_free[--a->free_slots] + 1u;
    a->reserved_peer = peer;
    memcpy(a->reserved_mac, mac != NULL ? mac->addr : broadcast, 6);
    return a->xsk.umem + slot_at(a->reserved - 1) + a->header;
}

static void af_xdp_tx_commit(struct port *p, uint32_t len)
{
    struct af_xdp_port *a = self_of(p);
    struct xsk_ring *tx = &a->xsk.tx;
    uint32_t slot = a->reserved - 1, left = a->header + len;
    uint64_t at = slot_at(slot);
    link_write(&a->link, a->reserved_peer, a->reserved_mac, len, a->xsk.umem + at);
    a->reserved = 0;
    while (left > 0) {
        uint32_t part = left < AF_XDP_CHUNK ? left : AF_XDP_CHUNK;
        left -= part;
        *xsk_desc(tx, tx->index++) =
            (struct xdp_desc){.addr = at, .len = part, .options = left > 0 ? XDP_PKT_CONTD : 0};
        at += part;
        a->slot_descs[slot]++;
    }
    p->counters.tx_frames++;
    p->counters.tx_bytes += len;
}

/* What the kernel does not take now (-EAGAIN: 32 frames a call, or the socket's share of memory is
 * out) it is asked again for, here or at the next flush; RRDP never waits for it. */
static void af_xdp_flush(struct port *p)
{
    struct af_xdp_port *a = self_of(p);
    struct xsk_ring *tx = &a->xsk.tx;
    if (*tx->producer != tx->index) /* ours alone; the poll loop comes here without frames, too */
        xsk_produced(tx);
    for (unsigned i = 0; i < AF_XDP_KICKS; i++) {
        /* Relaxed: how far the kernel is decides only about another call. */
        if (__atomic_load_n(tx->consumer, __ATOMIC_RELAXED) == tx->index || !xsk_needs_wakeup(tx))
            break;
        int rc = sendto(a->xsk.fd[0], NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
        bool busy = rc == -EAGAIN || rc == -EBUSY || rc == -ENOBUFS;
        a->error = busy ? 0 : rc;
        if (rc != 0 && rc != -EAGAIN)
            break;
    }
}

/* ---- sleep --------------------------------------------------------------------------------- */

/* While the kernel has not taken all frames, somebody must come back and flush; where it refuses
 * them for good, nobody. */
static int af_xdp_wait_fd(struct port *p)
{
    const struct af_xdp_port *a = self_of(p);
    const struct xsk_ring *tx = &a->xsk.tx;
    bool waiting = __atomic_load_n(tx->consumer, __ATOMIC_RELAXED) != tx->index;
    return waiting && a->error == 0 ? -1 : a->epoll;
}

/* The sockets are readable while their rings are not empty, so nothing has to be switched on. */
static bool af_xdp_arm(struct port *p)
{
    struct af_xdp_port *a = self_of(p);
    for (unsigned i = 0; i < STEER_SOCKETS; i++)
        if (xsk_ready(&a->xsk.rx[i]) > 0)
            return false;
    return true;
}

static void af_xdp_disarm(struct port *p)
{
    (void)p;
}

/* ---- begin and end ------------------------------------------------------------------------- */

void af_xdp_begin(struct af_xdp_port *a)
{
    for (uint32_t n = 0; n < AF_XDP_CHUNKS; n++) /* the others are never used */
        if (!a->xsk.zero_copy || !xsk_crosses((uint64_t)n * AF_XDP_STRIDE, AF_XDP_CHUNK))
            free_chunk(a, (uint64_t)n * AF_XDP_STRIDE);
    for (uint32_t n = AF_XDP_SLOTS; n-- > 0;)
        if (!a->xsk.zero_copy || !xsk_crosses(slot_at(n), AF_XDP_SLOT))
            a->slot_free[a->free_slots++] = (uint16_t)n;
    refill(a);
}

/* The program in the kernel drops what bears the node as its source, of whatever version of the
 * header. */
static int af_xdp_fence(struct port *p, uint8_t node, bool fenced)
{
    return steer_fence(self_of(p)->steer, node, fenced);
}

static const char *af_xdp_look(struct port *p)
{
    neighbours_refresh(self_of(p)->hops, &p->counters);
    return steer_lost(self_of(p)->steer);
}

static void af_xdp_close(struct port *p)
{
    struct af_xdp_port *a = self_of(p);
    steer_close(a->steer);
    neighbours_close(a->hops);
    if (a->epoll >= 0)
        close(a->epoll);
    xsk_close(&a->xsk);
    free(a);
}

const struct port_ops af_xdp_ops = {
    .name = "af_xdp",
    .rx = af_xdp_rx,
    .tx_reserve = af_xdp_tx_reserve,
    .tx_commit = af_xdp_tx_commit,
    .flush = af_xdp_flush,
    .wait_fd = af_xdp_wait_fd,
    .arm = af_xdp_arm,
    .disarm = af_xdp_disarm,
    .fence = af_xdp_fence,
    .look = af_xdp_look,
    .close = af_xdp_close,
};
