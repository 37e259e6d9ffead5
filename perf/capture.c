/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes down the frames that arrive on interfaces of this namespace: a line a frame, until SIGTERM
 * or SIGINT, then a line "lost N": frames that the kernel had no room for.
 *
 *   BYTES SRC DST CLASS NEW KIND REQUESTER TXN DATA
 *
 * BYTES: from the Ethernet header on, as captured. NEW: 0: sent again. KIND: of the message that
 * the frame begins, or whose later segment it is, with that message's REQUESTER and TXN (0 where it
 * is none of coherence's); "ack", "nul", "syn", "rst", "ping", "part" for what is no whole segment.
 * DATA: bytes of it that are payload. Only frames of Pando's EtherType whose CRC is right; others
 * are "refused REASON".
 *
 * usage: pando-frames INTERFACE...
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/wire/link.h"
#include "dataplane/wire/wire.h"

enum { INTERFACES_MAX = 16, FRAME_MAX = LINK_ETHERNET_BYTES + 9216, ROOM = 64 << 20 };

/* What a class from one node to another was last seen to carry. */
static struct flow {
    uint32_t tag, next; /* connection; the sequence number after the highest seen */
    struct wire_msg msg;
    const char *kind;
} flows[WIRE_NODES_MAX][WIRE_NODES_MAX][WIRE_CLASSES];

static volatile sig_atomic_t ended;

static void on_end(int sig)
{
    (void)sig;
    ended = 1;
}

/* All protocols: a bridge takes what arrives at its ports before sockets of a single one see it. */
static int open_interface(const char *name)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), room = ROOM;
    struct sockaddr_ll a = {.sll_family = AF_PACKET,
                            .sll_protocol = htons(ETH_P_ALL),
                            .sll_ifindex = (int)if_nametoindex(name)};
    if (fd < 0 || a.sll_ifindex == 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) != 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        fprintf(stderr, "pando-frames: %s: %s\n", name, strerror(errno));
        exit(1);
    }
    return fd;
}

/* A message begins: what it is, and for whom. */
static void begin(struct flow *f, const uint8_t *m, size_t len, unsigned cls)
{
    const struct wire_kind_info *info = wire_kind_info(len > 0 ? m[0] : 0);
    size_t payload = info->payload == WIRE_PAGE ? WIRE_PAGE_SIZE : 0;
    f->kind = info->name != NULL ? info->name : "unknown";
    if (len < WIRE_MSG_HEADER ||
        wire_msg_unpack(m, WIRE_MSG_HEADER, cls, payload, &f->msg) != WIRE_OK)
        f->msg = (struct wire_msg){0};
}

static void print(size_t bytes, const struct wire_rrdp *h, bool is_new, const struct flow *f,
                  size_t data)
{
    printf("%zu %u %u %u %d %s %u %llu %zu\n", bytes, h->src, h->dst, h->cls, is_new, f->kind,
           f->msg.requester, (unsigned long long)f->msg.txn, data);
}

static void look(const uint8_t *packet, size_t len)
{
    struct wire_rrdp h;
    struct flow lone = {0}, *f = &lone;
    const uint8_t *data, *frame = packet + LINK_ETHERNET_BYTES;
    if (len < LINK_ETHERNET_BYTES + 8 || packet[12] != WIRE_ETHERTYPE >> 8 ||
        packet[13] != (WIRE_ETHERTYPE & 0xFF))
        return;
    enum wire_error e = wire_rrdp_unpack(frame, len - LINK_ETHERNET_BYTES, frame[7], &h, &data);
    if (e != WIRE_OK) {
        printf("refused %s\n", wire_error_name(e));
        return;
    }
    uint8_t to = h.dst;
    if (h.dst == WIRE_DST_GROUP) {
        uint8_t first = 0;
        while (first < WIRE_NODES_MAX && wire_group_open(&h, first, &data) != WIRE_OK)
            first++;
        begin(f, data, h.data_len, h.cls);
        h.dst = to;
        print(len, &h, true, f, 0);
        return;
    }
    lone.kind = h.syn && h.nul ? "ping"
                : h.syn        ? "syn"
                : h.rst        ? "rst"
                : h.nul        ? "nul"
                : h.part       ? "part"
                               : "ack";
    if (h.syn || h.data_len == 0 || h.part) {
        print(len, &h, true, f, 0);
        return;
    }
    f = &flows[h.src][h.dst][h.cls];
    bool is_new = f->tag != h.tag || (int32_t)(h.seq - f->next) >= 0;
    if (!is_new) { /* which message's is not known any more */
        lone.kind = "again";
        print(len, &h, false, &lone, 0);
        return;
    }
    f->tag = h.tag;
    f->next = h.seq + 1;
    if (h.first)
        begin(f, data, h.data_len, h.cls);
    print(len, &h, true, f, h.first ? h.data_len - (size_t)WIRE_MSG_HEADER : h.data_len);
}

static void drain(int fd)
{
    static uint8_t packet[FRAME_MAX];
    struct sockaddr_ll from;
    socklen_t size = sizeof(from);
    ssize_t n;
    while ((n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&from, &size)) > 0) {
        if (from.sll_pkttype != PACKET_OUTGOING)
            look(packet, (size_t)n);
        size = sizeof(from);
    }
}

int main(int argc, char **argv)
{
    struct pollfd fds[INTERFACES_MAX];
    nfds_t n = (nfds_t)argc - 1;
    unsigned lost = 0;
    if (argc < 2 || argc > INTERFACES_MAX + 1) {
        fprintf(stderr, "usage: pando-frames INTERFACE... (at most %d)\n", INTERFACES_MAX);
        return 2;
    }
    struct sigaction end = {.sa_handler = on_end};
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGINT, &end, NULL);
    for (nfds_t i = 0; i < n; i++)
        fds[i] = (struct pollfd){.fd = open_interface(argv[i + 1]), .events = POLLIN};
    printf("ready\n");
    fflush(stdout);
    while (!ended) {
        poll(fds, n, 100);
        for (nfds_t i = 0; i < n; i++)
            drain(fds[i].fd);
    }
    for (nfds_t i = 0; i < n; i++) {
        struct tpacket_stats s = {0};
        socklen_t size = sizeof(s);
        drain(fds[i].fd);
        if (getsockopt(fds[i].fd, SOL_PACKET, PACKET_STATISTICS, &s, &size) == 0)
            lost += s.tp_drops;
    }
    printf("lost %u\n", lost);
    return 0;
}
