/* SPDX-License-Identifier: BSD-3-Clause */
/* What a small message costs on the wire: frames of real messages, as captured on rtt0. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/transport/rrdp.h"
#include "perf/rtt.h"

enum { WIRE_TIMES = 100, WIRE_ETH = 14, WIRE_WAIT_US = 2000 };

enum { REQUEST, INVALIDATE, ACK, KINDS };
static const char *const kind_names[KINDS] = {"request", "invalidate", "ack"};
static struct {
    uint32_t n, min, max;
} seen[KINDS];

static int open_capture(void)
{
    struct sockaddr_ll a = {.sll_family = AF_PACKET,
                            .sll_protocol = htons(ETH_P_ALL),
                            .sll_ifindex = (int)if_nametoindex("rtt0")};
    int s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
    if (s >= 0 && bind(s, (struct sockaddr *)&a, sizeof(a)) == 0)
        return s;
    if (s >= 0)
        close(s);
    return -1;
}

/* Which of the three a frame is; KINDS: another. */
static unsigned kind_of(const uint8_t *frame, size_t len)
{
    struct wire_rrdp h;
    const uint8_t *data;
    if (len < WIRE_ETH || frame[12] != RTT_ETHERTYPE >> 8 || frame[13] != (RTT_ETHERTYPE & 0xFF) ||
        wire_rrdp_unpack(frame + WIRE_ETH, len - WIRE_ETH, RTT_CLUSTER, &h, &data) != WIRE_OK)
        return KINDS;
    if (h.data_len > 0)
        return data[0] == WIRE_GETM ? REQUEST : data[0] == WIRE_INV ? INVALIDATE : KINDS;
    return h.ack_valid && !h.syn && !h.rst && !h.nul ? ACK : KINDS;
}

static void look(int capture)
{
    uint8_t frame[2048];
    ssize_t n;
    while ((n = recv(capture, frame, sizeof(frame), 0)) > 0) {
        unsigned k = kind_of(frame, (size_t)n);
        if (k == KINDS)
            continue;
        if (seen[k].n++ == 0 || (uint32_t)n < seen[k].min)
            seen[k].min = (uint32_t)n;
        if ((uint32_t)n > seen[k].max)
            seen[k].max = (uint32_t)n;
    }
}

static void say(struct rtt_side *s, struct rtt_port *r, uint8_t kind, uint8_t cls, uint64_t page)
{
    struct wire_msg m = {
        .kind = kind, .vm = 0, .requester = s->side, .page = page, .txn = page + 1, .version = 1};
    uint8_t b[WIRE_MSG_HEADER];
    wire_msg_pack(&m, b);
    if (rrdp_send(rtt_port_rrdp(r), !s->side, cls, b, sizeof(b), 0, 0, false, 0) != 0)
        rtt_fail(s, "wire: a message was refused");
    for (uint64_t until = rtt_now() + WIRE_WAIT_US * UINT64_C(1000); rtt_now() < until;)
        rtt_rrdp_poll(s, r);
}

static void print(unsigned k)
{
    printf("{\"name\": \"wire/%s\", \"unit\": \"bytes\", \"n\": %u, \"min\": %u, \"max\": %u}\n",
           kind_names[k], seen[k].n, seen[k].min, seen[k].max);
}

/* Frames are looked at where they arrive: a socket that bypasses the queueing discipline, as
 * af_packet's does, is not seen by others when it sends. */
void rtt_wire(struct rtt_side *s, struct rtt_port *r)
{
    int capture = open_capture();
    if (capture < 0)
        rtt_fail(s, "wire: no packet socket on rtt0");
    if (s->side == 0)
        atomic_store(&s->shared->asking, 1);
    rtt_twin_barrier(s);
    for (uint64_t i = 0; s->side == 0 && i < WIRE_TIMES; i++) {
        say(s, r, WIRE_GETM, WIRE_CLASS_REQUEST, i);
        say(s, r, WIRE_INV, WIRE_CLASS_URGENT, i);
        look(capture);
    }
    while (s->side == 1 && atomic_load(&s->shared->asking)) {
        rtt_rrdp_poll(s, r); /* acknowledges, and has nothing to say */
        look(capture);
    }
    close(capture);
    fflush(stdout); /* one side after the other */
    if (s->side == 0)
        atomic_store(&s->shared->asking, 0);
    rtt_twin_barrier(s);
    for (unsigned k = 0; k < ACK && s->side == 1; k++)
        print(k);
    fflush(stdout);
    rtt_twin_barrier(s);
    if (s->side == 0)
        print(ACK);
}
