/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening, sending, closing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/base/bits.h"
#include "dataplane/endpoint/internal.h"

#define US UINT64_C(1000)
#define MS (1000 * US)

/* "endpoint" and a number that changes with the message's layout. */
#define CONFIG_HASH (UINT64_C(0x656e64706f696e01) | RRDP_HASH_ENDPOINT)

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

uint64_t endpoint_now(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

void endpoint_defaults(struct endpoint_config *ret_cfg, const struct port *port)
{
    *ret_cfg = (struct endpoint_config){
        .rrdp = {.nodes = 2,
                 .epoch = clock_ns(CLOCK_REALTIME),
                 .config_hash = CONFIG_HASH,
                 .mtu = port->mtu,
                 .credit = RRDP_WINDOW,
                 .rto_min_ns = 2 * MS,
                 .rto_max_ns = 100 * MS,
                 .ack_delay_ns = 50 * US,
                 .heartbeat_ns = 100 * MS,
                 .dead_ns = 1000 * MS,
                 .syn_ns = 10 * MS},
        .buffers = ENDPOINT_BUFFERS,
        .spin_ns = 50 * US,
        .wake_fd = -1,
    };
}

static void free_memory(struct endpoint *ep)
{
    free(ep->rrdp); /* it begins its memory */
    free(ep->assembly);
    free(ep->buffer_next);
    free(ep->buffer);
    free(ep);
}

static int allocate(struct endpoint *ep, const struct endpoint_config *cfg)
{
    size_t size = rrdp_size(&cfg->rrdp);
    if (size == 0 || cfg->buffers == 0 || cfg->buffers > ENDPOINT_BUFFERS_MAX)
        return -EINVAL;
    void *memory = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (memory == NULL)
        return -ENOMEM;
    ep->rrdp = rrdp_init(memory, &cfg->rrdp, endpoint_now());
    if (ep->rrdp == NULL) {
        free(memory);
        return -EINVAL;
    }
    ep->assembly = calloc((size_t)cfg->rrdp.nodes * WIRE_CLASSES, sizeof(*ep->assembly));
    ep->buffer_next = calloc(cfg->buffers, sizeof(*ep->buffer_next));
    ep->buffer = calloc(cfg->buffers, sizeof(*ep->buffer));
    if (ep->assembly == NULL || ep->buffer_next == NULL || ep->buffer == NULL)
        return -ENOMEM;
    pool_init(&ep->buffers, ep->buffer_next, cfg->buffers);
    return 0;
}

int endpoint_open(const struct endpoint_config *cfg, struct port *port,
                  struct endpoint **ret_endpoint)
{
    struct endpoint *ep = calloc(1, sizeof(*ep));
    if (ep == NULL) {
        port_close(port);
        return -ENOMEM;
    }
    int rc = cfg->rrdp.mtu <= port->mtu ? allocate(ep, cfg) : -EINVAL;
    if (rc != 0) {
        free_memory(ep);
        port_close(port);
        return rc;
    }
    ep->cfg = *cfg;
    ep->port = port;
    ep->now = ep->polled = endpoint_now();
    *ret_endpoint = ep;
    return 0;
}

static int send_bytes(struct endpoint *ep, uint8_t peer, uint8_t cls, const uint8_t *data,
                      uint32_t len)
{
    uint8_t head[RRDP_MSG_INLINE] = {ENDPOINT_KIND};
    uint32_t here = (uint32_t)min_u64(len, ENDPOINT_INLINE), rest = len - here;
    uint16_t head_len = (uint16_t)(ENDPOINT_HEADER + here);
    head[1] = (uint8_t)min_u64(len, ENDPOINT_FRAME_BYTES);
    if (here > 0)
        memcpy(head + ENDPOINT_HEADER, data, here);
    if (head_len < WIRE_MSG_HEADER)
        head_len = WIRE_MSG_HEADER;
    if (rest == 0)
        return rrdp_send(ep->rrdp, peer, cls, head, head_len, 0, 0, false, 0);
    uint32_t i = pool_get(&ep->buffers);
    if (i == POOL_NONE) {
        ep->no_buffer[cls] |= bit64(peer);
        return -EAGAIN;
    }
    memcpy(ep->buffer[i], data + here, rest);
    int rc = rrdp_send(ep->rrdp, peer, cls, head, head_len, i, rest, true, i);
    if (rc != 0)
        pool_put(&ep->buffers, i);
    return rc;
}

int endpoint_send(struct endpoint *ep, uint8_t peer, uint8_t cls, const void *data, uint32_t len,
                  bool more)
{
    if (peer >= ep->cfg.rrdp.nodes || peer == ep->cfg.rrdp.self || cls >= WIRE_CLASSES ||
        len > (cls == WIRE_CLASS_URGENT ? ENDPOINT_URGENT_BYTES : ENDPOINT_BYTES_MAX))
        return -EINVAL;
    if (!rrdp_peer_up(ep->rrdp, peer))
        return -ENOTCONN;
    int rc = send_bytes(ep, peer, cls, data, len);
    if (rc == 0)
        ep->count.sent++;
    if (rc == -EAGAIN)
        ep->blocked[cls] |= bit64(peer);
    if (!more || rc == -EAGAIN) {
        ep->now = endpoint_now();
        endpoint_transmit(ep);
    }
    return rc;
}

int endpoint_host_ping(struct endpoint *ep, uint8_t peer, uint32_t id, uint32_t stamp)
{
    int rc = rrdp_host_ping(ep->rrdp, peer, id, stamp);
    ep->now = endpoint_now();
    endpoint_transmit(ep);
    return rc;
}

bool endpoint_up(const struct endpoint *ep, uint8_t peer)
{
    return rrdp_peer_up(ep->rrdp, peer);
}

const char *endpoint_look(struct endpoint *ep)
{
    return port_look(ep->port);
}

const struct endpoint_counters *endpoint_counters(const struct endpoint *ep)
{
    return &ep->count;
}

const struct rrdp *endpoint_rrdp(const struct endpoint *ep)
{
    return ep->rrdp;
}

static bool any_up(const struct endpoint *ep)
{
    for (uint8_t n = 0; n < ep->cfg.rrdp.nodes; n++)
        if (rrdp_peer_up(ep->rrdp, n))
            return true;
    return false;
}

int endpoint_close(struct endpoint *ep, uint64_t linger_ns)
{
    struct endpoint_message m;
    int rc = 0;
    if (ep == NULL)
        return 0;
    uint64_t start = endpoint_now(), end = start;
    end = linger_ns > UINT64_MAX - start ? UINT64_MAX : start + linger_ns;
    if (linger_ns > 0)
        rrdp_close(ep->rrdp, endpoint_now());
    while (linger_ns > 0 && (any_up(ep) || !rrdp_idle(ep->rrdp))) {
        while (endpoint_next(ep, &m))
            ;
        (void)endpoint_poll(ep);
        if (endpoint_now() >= end) {
            rc = -ETIMEDOUT;
            break;
        }
        (void)endpoint_wait(ep, end);
    }
    if (linger_ns == 0 || rc != 0)
        rrdp_reset(ep->rrdp);
    ep->now = endpoint_now();
    endpoint_transmit(ep);
    port_close(ep->port);
    free_memory(ep);
    return rc;
}
