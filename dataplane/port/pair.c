/* SPDX-License-Identifier: BSD-3-Clause */
/* Two ports joined in memory, for tests of one process; what all ports have in common. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/port/port.h"

enum { PAIR_SLOTS = 256 };

struct pair_port {
    struct port port;
    struct pair_port *other; /* NULL after it was closed */
    uint8_t *bytes;          /* PAIR_SLOTS frames towards this end */
    uint32_t len[PAIR_SLOTS];
    uint32_t head, tail, given;
};

static uint8_t *frame_at(struct pair_port *p, uint32_t i)
{
    return p->bytes + (size_t)(i % PAIR_SLOTS) * p->port.mtu;
}

static uint32_t pair_rx(struct port *port, struct port_frame *out, uint32_t max)
{
    struct pair_port *p = (struct pair_port *)port;
    p->tail += p->given;
    p->given = 0;
    while (p->given < max && p->tail + p->given != p->head) {
        uint32_t i = p->tail + p->given;
        out[p->given++] = (struct port_frame){.data = frame_at(p, i),
                                              .len = p->len[i % PAIR_SLOTS],
                                              .src = p->other ? p->other->port.mac : port->mac};
    }
    port->counters.rx_frames += p->given;
    return p->given;
}

static uint8_t *pair_tx_reserve(struct port *port, uint8_t peer, const struct rrdp_mac *mac)
{
    struct pair_port *p = (struct pair_port *)port;
    (void)peer;
    (void)mac;
    if (p->other == NULL || p->other->head - p->other->tail >= PAIR_SLOTS) {
        port->counters.tx_full++;
        return NULL;
    }
    return frame_at(p->other, p->other->head);
}

static void pair_tx_commit(struct port *port, uint32_t len)
{
    struct pair_port *p = (struct pair_port *)port;
    p->other->len[p->other->head++ % PAIR_SLOTS] = len;
    port->counters.tx_frames++;
    port->counters.tx_bytes += len;
}

static void pair_flush(struct port *port)
{
    (void)port;
}

static int pair_wait_fd(struct port *port)
{
    (void)port;
    return -1;
}

static bool pair_arm(struct port *port)
{
    struct pair_port *p = (struct pair_port *)port;
    return p->tail + p->given == p->head;
}

static void pair_close(struct port *port)
{
    struct pair_port *p = (struct pair_port *)port;
    if (p->other != NULL)
        p->other->other = NULL;
    free(p->bytes);
    free(p);
}

static const struct port_ops pair_ops = {
    .name = "pair",
    .rx = pair_rx,
    .tx_reserve = pair_tx_reserve,
    .tx_commit = pair_tx_commit,
    .flush = pair_flush,
    .wait_fd = pair_wait_fd,
    .arm = pair_arm,
    .disarm = pair_flush,
    .close = pair_close,
};

int port_open_pair(uint16_t mtu, struct port **ret_a, struct port **ret_b)
{
    struct pair_port *end[2] = {calloc(1, sizeof(*end[0])), calloc(1, sizeof(*end[0]))};
    for (unsigned i = 0; i < 2; i++) {
        if (end[i] == NULL)
            goto fail;
        end[i]->bytes = malloc((size_t)PAIR_SLOTS * mtu);
        if (end[i]->bytes == NULL)
            goto fail;
        end[i]->port = (struct port){.ops = &pair_ops,
                                     .name = "pair",
                                     .mtu = mtu,
                                     .mac = {.addr = {2, 0, 0, 0, 0, (uint8_t)i}}};
    }
    end[0]->other = end[1];
    end[1]->other = end[0];
    *ret_a = &end[0]->port;
    *ret_b = &end[1]->port;
    return 0;
fail:
    for (unsigned i = 0; i < 2; i++)
        if (end[i] != NULL) {
            free(end[i]->bytes);
            free(end[i]);
        }
    return -ENOMEM;
}

const char *port_ext_name(enum port_ext e)
{
    static const char *const names[PORT_EXTS] = {
#define X(ID, name) name,
        PORT_EXT_LIST(X)
#undef X
    };
    return (unsigned)e < PORT_EXTS ? names[e] : "?";
}

struct port *port_close(struct port *p)
{
    if (p != NULL)
        p->ops->close(p);
    return NULL;
}
