/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ports of hosts between two processes: ethdev, each with its own EAL, over memif, or over
 * af_packet on a veth pair between two network namespaces, which live and die with the processes
 * (nothing is left even by SIGKILL); and af_xdp on such a pair. On a pair also over UDP, with next
 * hops that the kernel finds out.
 *
 * usage: test_port_ethdev memif|af_packet|af_xdp|udp|udp+af_packet|udp+af_xdp|memif-restart|
 * memif-kill [MTU [COUNT [ethernet|udp4|udp6 [link-local]]]] memif-restart: one side is killed and
 * started anew while the other does not look. memif-kill: COUNT times one side is killed in
 * mid-stream; the other must live. Exit status 77: skipped.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_ethdev.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/port/eal.h"
#include "dataplane/port/ethdev_ext.h"
#include "dataplane/port/port.h"

enum {
    FRAMES = 20000,
    WINDOW = 48,
    ETHERTYPE = 0x88B5,
    UDP_PORT = 18514,
    HEADER = WIRE_RRDP_HEADER,
    SKIP = 77,
    SOURCES = 3,
    EXT_LEAST = 512,
    SLEEPS = 6000
};

struct shared {
    _Atomic uint32_t ready, open, got[2], go_on, foreign_sent;
    _Atomic uint8_t mac[2][6];
};
static struct shared *sh;
static char dir[64], err[PORT_ERROR_MAX];
static const char *fabric;
static uint16_t mtu;
static enum link_kind kind;
static bool link_local; /* the IP addresses */
static uint32_t receive_max = PORT_BURST;

#define REQUIRE(e)                                                                                 \
    do {                                                                                           \
        if (!(e)) {                                                                                \
            printf("FAIL %s:%d: %s (%s)\n", __FILE__, __LINE__, #e, err);                          \
            fflush(stdout);                                                                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Another version of RRDP, so that the af_xdp port's program hands all to one socket, in order; of
 * our cluster (the eighth byte, 0), as it looks at that in every version. */
static uint32_t magic_of(uint8_t side)
{
    return UINT32_C(0xABCD0000) + 4u * side;
}

static bool on_veth(void)
{
    return strncmp(fabric, "memif", 5) != 0;
}

static bool is_dpdk(void)
{
    return strcmp(fabric, "af_packet") == 0 || !on_veth();
}

/* Of "udp+af_xdp" each side takes one. */
static void choose_fabric(uint8_t side)
{
    const char *plus = strchr(fabric, '+');
    if (plus != NULL)
        fabric = side == 1 ? plus + 1 : "udp";
}

/* Node n has 192.0.2.n+1 or fd00::n+1, or link-local 169.254.2.n+1 or fe80::n+1, and the MAC of
 * interface_mac. */
static struct link_config link_for(uint8_t self, uint8_t nodes)
{
    static const uint8_t net6[2] = {0xFD, 0}, net6_local[2] = {0xFE, 0x80};
    const uint8_t net4[3] = {link_local ? 169 : 192, link_local ? 254 : 0, 2};
    struct link_config c = {.kind = kind, .udp_port = UDP_PORT, .self = self, .nodes = nodes};
    for (uint8_t n = 0; n < nodes; n++) {
        if (kind == LINK_UDP4)
            memcpy(c.ip[n], net4, sizeof(net4));
        else
            memcpy(c.ip[n], link_local ? net6_local : net6, sizeof(net6));
        c.ip[n][kind == LINK_UDP4 ? 3 : 15] = (uint8_t)(n + 1);
    }
    return c;
}

/* Errors of the socket, and what it says of itself. */
static void check_udp(uint8_t side)
{
    struct link_config c = link_for(side, 2);
    struct port *p = NULL, *second = NULL;
    struct port_udp_counters failed;
    REQUIRE(port_open_udp(&c, mtu, RRDP_WINDOW, &p, err) == 0 && port_udp_notice(p) == NULL);
    REQUIRE(port_open_udp(&c, mtu, RRDP_WINDOW, &second, err) == -EADDRINUSE);
    uint8_t *b = p->ops->tx_reserve(p, !side, NULL);
    REQUIRE(b != NULL && p->ops->tx_reserve(p, 2, NULL) == NULL && p->counters.tx_unresolved == 1);
    if (mtu < RRDP_MTU_MAX) /* 9,000 bytes fit into no 1,500; nothing is stuck */
        p->ops->tx_commit(p, RRDP_MTU_MAX);
    p->ops->flush(p);
    REQUIRE(port_udp_counters(p, &failed) == 0);
    REQUIRE(failed.failed[PORT_UDP_TOO_LONG] == (mtu < RRDP_MTU_MAX) && p->ops->wait_fd(p) >= 0);
    port_close(p);
    c = link_for(2, 3);
    REQUIRE(port_open_udp(&c, mtu, RRDP_WINDOW, &second, err) == -EADDRNOTAVAIL && second == NULL);
    c.kind = LINK_ETHERNET;
    REQUIRE(port_open_udp(&c, mtu, RRDP_WINDOW, &second, err) == -EINVAL && second == NULL);
}

static void interface_mac(uint8_t side, uint8_t out[6])
{
    const uint8_t mac[6] = {2, 0, 0, 0, 0x10, side};
    memcpy(out, mac, sizeof(mac));
}

static int open_link(const char *interface, uint16_t size, uint8_t side, struct link_config link,
                     struct port **ret_port)
{
    if (strcmp(fabric, "udp") == 0)
        return port_open_udp(&link, size, RRDP_WINDOW, ret_port, err);
#ifdef PANDO_HAVE_AF_XDP
    if (strcmp(fabric, "af_xdp") == 0) {
        struct port_af_xdp c = {.interface = interface,
                                .ethertype = ETHERTYPE,
                                .mtu = size,
                                .self = side,
                                .nodes = 2,
                                .link = kind == LINK_ETHERNET ? NULL : &link};
        return port_open_af_xdp(&c, ret_port, err);
    }
#endif
    return port_open_af_packet(interface, kind == LINK_ETHERNET ? NULL : &link, ETHERTYPE, size,
                               ret_port, err);
}

static int open_on(const char *interface, uint16_t size, uint8_t side, struct port **ret_port)
{
    return open_link(interface, size, side, link_for(side, 2), ret_port);
}

/* An address that is not ours; a port that somebody has. */
static void check_addresses(uint8_t side)
{
    struct link_config c = link_for(2, 3);
    struct port *p = NULL, *holder;
    REQUIRE(open_link("veth0", mtu, side, c, &p) == -EADDRNOTAVAIL && p == NULL);
    REQUIRE(strstr(err, "ip addr add") != NULL);
    c = link_for(side, 2);
    if (link_local && kind == LINK_UDP6) { /* a socket does not know of which interface */
        REQUIRE(port_open_udp(&c, mtu, RRDP_WINDOW, &holder, err) == -EINVAL);
        return;
    }
    REQUIRE(port_open_udp(&c, mtu, RRDP_WINDOW, &holder, err) == 0);
    REQUIRE(open_link("veth0", mtu, side, c, &p) == -EADDRINUSE && p == NULL);
    REQUIRE(strstr(err, "fabric.udp_port") != NULL);
    port_close(holder);
}

/* Datagrams for which this namespace had no socket: the kernel answers each with an error. */
static uint64_t datagrams_without_port(void)
{
    char line[512];
    unsigned long long n4 = 0, n6 = 0, in;
    FILE *f = fopen("/proc/self/net/snmp", "r");
    REQUIRE(f != NULL);
    while (fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "Udp: %llu %llu", &in, &n4) == 2)
            break;
    fclose(f);
    f = fopen("/proc/self/net/snmp6", "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "Udp6NoPorts %llu", &n6) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return n4 + n6;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Others could write to it; a process that was refused leaves it as it was. */
static void check_directory(uint8_t side)
{
    char open_to_all[80];
    struct port *p = NULL;
    snprintf(open_to_all, sizeof(open_to_all), "%s-%u", dir, side);
    REQUIRE(mkdir(open_to_all, 0700) == 0 && chmod(open_to_all, 0777) == 0);
    REQUIRE(port_open_memif(open_to_all, side, 2, ETHERTYPE, mtu, &p, err) == -EPERM);
    REQUIRE(p == NULL && strstr(err, "chmod go-w") != NULL);
    REQUIRE(rmdir(open_to_all) == 0);
}

/* The peer's next hop gets another MAC, as when a router hands its address on. */
static void check_next_hop(struct port *p, uint8_t side)
{
    static const uint8_t others[2][6] = {{2, 0, 0, 0, 0x77, 1}, {2, 0, 0, 0, 0x77, 2}};
    struct link_config c = link_for(side, 2);
    uint64_t before = 0;
    for (unsigned i = 0; i < 3; i++) { /* the last one stays: it is the right one */
        char ip[INET6_ADDRSTRLEN], line[160];
        uint8_t mac[6];
        interface_mac(!side, mac);
        if (i < 2)
            memcpy(mac, others[i], sizeof(mac));
        inet_ntop(kind == LINK_UDP4 ? AF_INET : AF_INET6, c.ip[!side], ip, sizeof(ip));
        snprintf(line, sizeof(line),
                 "ip neigh replace %s lladdr %02x:%02x:%02x:%02x:%02x:%02x dev veth0 nud permanent",
                 ip, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        REQUIRE(system(line) == 0 && port_look(p) == NULL && port_look(p) == NULL);
        REQUIRE(i == 0 || p->counters.hops_changed == before + 1);
        before = p->counters.hops_changed;
    }
}

static struct port *open_side(uint8_t side)
{
    struct port *p;
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "pando-test-%d-%u", getppid(), side);
    bool huge =
        port_eal_hugepages() && side == 1; /* both kinds of memory, if there are hugepages */
    if (is_dpdk())
        REQUIRE(port_eal_init(huge, PORT_EAL_ANY_CORE, NULL, prefix, side == 1, err) == 0);
    if (strncmp(fabric, "memif", 5) == 0) {
        if (strcmp(fabric, "memif") == 0)
            check_directory(side);
        REQUIRE(port_open_memif(dir, side, 2, ETHERTYPE, mtu, &p, err) == 0);
    } else if (strcmp(fabric, "udp") == 0) {
        check_udp(side);
        REQUIRE(open_on("", mtu, side, &p) == 0);
    } else {
        struct port *none = NULL;
        REQUIRE(open_on("no-such-if", mtu, side, &none) == -ENODEV && none == NULL);
        REQUIRE(open_on("lo", mtu, side, &none) == -ENETDOWN && none == NULL);
        REQUIRE(open_on("veth0", (uint16_t)(mtu + 1), side, &none) == -EMSGSIZE || mtu == 9000);
        if (kind != LINK_ETHERNET)
            check_addresses(side);
        REQUIRE(open_on("veth0", mtu, side, &p) == 0);
        REQUIRE(p->reaches_all == (kind == LINK_ETHERNET));
        if (kind != LINK_ETHERNET)
            check_next_hop(p, side);
    }
    memcpy((void *)&sh->mac[side], p->mac.addr, 6);
    atomic_fetch_add(&sh->open, 1);
    return p;
}

/* Which devices get bytes by reference, by what they say of themselves; a stranger gets copies. */
static void devices_are_asked(void)
{
    struct rte_eth_dev_info i = {.driver_name = "net_memif"};
    REQUIRE(eth_ext_of(&i) == PORT_EXT_SEGMENTS);
    i.tx_offload_capa = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    REQUIRE(eth_ext_of(&i) == PORT_EXT_TAKEN);
    i.driver_name = "net_ice"; /* sends by DMA, after tx_burst has returned */
    REQUIRE(eth_ext_of(&i) == PORT_EXT_DRIVER);
    i.driver_name = NULL;
    REQUIRE(eth_ext_of(&i) == PORT_EXT_DRIVER);
    REQUIRE(strcmp(port_ext_name(PORT_EXT_DRIVER), "driver_holds") == 0);
}

static uint32_t length_of(uint32_t number)
{
    struct prng r = {.state = number};
    uint32_t most = prng_below(&r, 3) ? 200 : mtu;
    return HEADER + prng_below(&r, most - HEADER + 1);
}

/* Long frames go by reference, from fewer places than frames wait between two flushes: each place
 * is filled anew while an earlier frame still points to it, unless settling it works. */
static void commit_by_reference(struct port *p, uint8_t side, uint32_t number, uint32_t head,
                                uint32_t len)
{
    static uint8_t source[SOURCES][9000 + 5];
    uint8_t *ext = source[number % SOURCES] + number % 5; /* not aligned, mostly */
    port_settle(p, source[number % SOURCES], sizeof(source[0]));
    memset(ext, (int)(number + side), len - head);
    p->ops->tx_commit_ext(p, head, ext, len - head);
}

static bool send_frame(struct port *p, uint8_t side, uint32_t number, const struct rrdp_mac *mac)
{
    uint8_t *b = p->ops->tx_reserve(p, !side, mac);
    if (b == NULL)
        return false;
    uint32_t len = length_of(number), head = HEADER + number % 40;
    bool ext = len > head && port_takes_ext(p, len - head);
    memset(b, (int)(number + side), ext ? head : len);
    put_le32(b, magic_of(side));
    put_le32(b + 4, number & 0xFFFF); /* all classes */
    put_le32(b + 8, number);
    put_le32(b + 12, len);
    if (ext)
        commit_by_reference(p, side, number, head, len);
    else
        p->ops->tx_commit(p, len);
    return true;
}

/* Receives what is there; every frame must be the peer's, whole, the next one, from its address. */
static void receive(struct port *p, uint8_t side, uint32_t *next)
{
    struct port_frame f[PORT_BURST];
    uint32_t n = port_rx(p, f, receive_max);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t number = get_le32(f[i].data + 8), len = get_le32(f[i].data + 12);
        REQUIRE(get_le32(f[i].data) == magic_of(!side));
        REQUIRE(number == *next || number == UINT32_MAX);
        REQUIRE(len == length_of(number) && f[i].len >= len && (f[i].len == len || f[i].len == 46));
        for (uint32_t k = HEADER; k < len; k++)
            REQUIRE(f[i].data[k] == (uint8_t)(number + !side));
        REQUIRE(memcmp(f[i].src.addr, (void *)&sh->mac[!side], 6) == 0);
        if (number != UINT32_MAX)
            ++*next;
    }
    if (n == 0)
        sched_yield();
}

/* Until a frame has come each way: a link needs a moment to come up. Frames with number UINT32_MAX
 * are greetings. */
static void greet(struct port *p, uint8_t side)
{
    double limit = seconds() + 20;
    uint32_t next = 0;
    while (atomic_load(&sh->open) < 2 || atomic_load(&sh->got[!side]) == 0 ||
           atomic_load(&sh->got[side]) == 0) {
        REQUIRE(seconds() < limit);
        send_frame(p, side, UINT32_MAX, NULL);
        p->ops->flush(p);
        uint64_t before = p->counters.rx_frames;
        receive(p, side, &next);
        if (p->counters.rx_frames > before)
            atomic_store(&sh->got[side], 1);
        usleep(1000);
    }
}

/* What the port would take if its sender were a node. Returns the length; 0 over Ethernet, where
 * anybody is. */
static size_t write_stranger(uint8_t *out, const uint8_t *to)
{
    static const uint8_t from[6] = {2, 9, 9, 9, 9, 9};
    struct link_config c = link_for(2, 3);
    struct link l;
    if (kind == LINK_ETHERNET)
        return 0;
    REQUIRE(link_init(&l, &c, ETHERTYPE, mtu, from) == 0);
    memcpy(l.next_hop[1], to, 6);
    l.known = bit64(1);
    put_le32(out + link_header_bytes(kind), magic_of(0));
    return HEADER + link_write(&l, 1, NULL, HEADER, out);
}

/* Frames that must not be handed up, put on the wire beside the port. */
static void send_foreign(void)
{
    uint8_t to[6];
    static const uint8_t other[6] = {2, 9, 9, 9, 9, 9};
    uint8_t f[200] = {0};
    struct sockaddr_ll a = {
        .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("veth0"), .sll_halen = 6};
    int s = socket(AF_PACKET, SOCK_RAW, 0);
    REQUIRE(s >= 0);
    interface_mac(1, to);
    for (unsigned i = 0; i < 5; i++) {
        size_t len = sizeof(f);
        memcpy(f, i == 1 ? other : to, 6);
        memcpy(f + 6, other, 6);
        put_le16(f + 12, htons(ETHERTYPE));
        if (i == 0) /* another protocol */
            put_le16(f + 12, htons(0x88B6));
        if (i == 2) { /* tagged */
            put_le16(f + 12, htons(0x8100));
            put_le16(f + 14, htons(5));
            put_le16(f + 16, htons(ETHERTYPE));
        }
        if (i == 3) /* our own address as source: an echo */
            memcpy(f + 6, to, 6);
        if (i == 4) { /* no payload at all */
            len = 14;
            put_le16(f + 12, htons(0x88B7));
        }
        REQUIRE(sendto(s, f, len, 0, (struct sockaddr *)&a, sizeof(a)) == (ssize_t)len);
    }
    size_t len = write_stranger(f, to);
    REQUIRE(len == 0 || sendto(s, f, len, 0, (struct sockaddr *)&a, sizeof(a)) == (ssize_t)len);
    close(s);
    atomic_store(&sh->foreign_sent, 1);
}

/* Sleeps until frames have come: a wake-up that is lost ends the test. */
static bool sleep_for_frames(struct port *p)
{
    struct pollfd fd = {.fd = p->ops->wait_fd(p), .events = POLLIN};
    REQUIRE(fd.fd >= 0);
    if (!p->ops->arm(p))
        return false;
    REQUIRE(poll(&fd, 1, 3000) > 0);
    p->ops->disarm(p);
    return true;
}

/* Three frames to and fro, received two at a time; both sides sleep whenever nothing is there, and
 * at times find all three there when they are about to. */
static void sleep_and_wake(struct port *p, uint8_t side, uint32_t *next,
                           const struct rrdp_mac *peer)
{
    struct pollfd quiet = {.fd = -1, .events = POLLIN};
    uint32_t sent = FRAMES, slept = 0, last = FRAMES + SLEEPS;
    double limit = seconds() + 20;
    while (p->ops->wait_fd(p) < 0) { /* while frames wait to be sent there is none */
        REQUIRE(seconds() < limit);
        p->ops->flush(p);
        receive(p, side, next);
    }
    receive_max = 2;
    while (*next < last || sent < last) {
        if (sent < last && sent + 3 * side <= *next) { /* side 0 begins, side 1 answers */
            if (sent % 8 == 0)
                usleep(200); /* the other side is asleep by then */
            for (unsigned i = 0; i < 3; i++)
                REQUIRE(send_frame(p, side, sent++, peer));
            p->ops->flush(p);
            if (sent % 8 == 1)
                usleep(200); /* the answer is there by then */
            if (*next < last)
                slept += sleep_for_frames(p);
        }
        uint32_t before = *next;
        receive(p, side, next);
        if (*next == before && *next < last)
            slept += sleep_for_frames(p);
    }
    receive_max = PORT_BURST;
    REQUIRE(slept > SLEEPS / 32);
    /* What was rung for in vain does not keep awake, and quiet is quiet. */
    usleep(200000);
    p->ops->disarm(p);
    receive(p, side, next);
    quiet.fd = p->ops->wait_fd(p);
    /* Over UDP the kernel looks after its neighbours at times, and a packet socket sees it. */
    unsigned tries = kind == LINK_ETHERNET ? 1 : 50;
    for (bool heard = true; heard; tries--) {
        REQUIRE(tries > 0);
        heard = !p->ops->arm(p) || poll(&quiet, 1, 100) != 0;
        p->ops->disarm(p);
        if (heard)
            receive(p, side, next);
    }
    atomic_fetch_add(&sh->go_on, 1);
    while (atomic_load(&sh->go_on) < 6) {
        REQUIRE(seconds() < limit);
        usleep(1000);
    }
}

/* Of the five, the af_xdp port's program leaves four to the kernel, or all if ours is UDP. The one
 * over UDP that is from no node is the last. */
static void await_foreign(struct port *p, uint8_t side, uint32_t *next)
{
    const uint64_t *refused = p->counters.rx_refused;
    bool xdp = strcmp(fabric, "af_packet") != 0, udp = kind != LINK_ETHERNET;
    uint64_t foreign = udp + (xdp ? !udp : 5u), sum = 0;
    double limit = seconds() + 20;
    while (side == 1 && (p->counters.rx_foreign < foreign || (udp && !refused[LINK_STRANGER]))) {
        REQUIRE(seconds() < limit);
        receive(p, side, next);
    }
    for (unsigned v = 0; v < LINK_VERDICTS; v++)
        sum += refused[v];
    REQUIRE(sum == p->counters.rx_foreign && refused[LINK_OK] == 0);
    REQUIRE(refused[LINK_STRANGER] == (side == 1 && udp));
    REQUIRE(side == 0 || udp || refused[LINK_ECHO] == 1);
    if (side == 1 && !xdp) {
        REQUIRE(refused[LINK_TAGGED] == 1 && (udp || refused[LINK_MAC] == 1));
        REQUIRE(udp ? refused[LINK_ETHERTYPE] >= 3
                    : refused[LINK_SHORT] + refused[LINK_ETHERTYPE] == 2);
    }
}

static void exchange(struct port *p, uint8_t side)
{
    struct rrdp_mac peer;
    uint32_t sent = 0, next = 0, most = FRAMES;
    uint64_t before = datagrams_without_port(); /* greetings from before we were open */
    memcpy(peer.addr, (void *)&sh->mac[!side], 6);
    atomic_fetch_add(&sh->go_on, 1);
    while (atomic_load(&sh->go_on) < 2)
        receive(p, side, &next);
    atomic_store(&sh->got[side], 0);
    atomic_fetch_add(&sh->go_on, 1);
    while (atomic_load(&sh->go_on) < 4)
        receive(p, side, &next);
    double limit = seconds() + 60;
    while (sent < most || next < most || atomic_load(&sh->got[!side]) < most) {
        REQUIRE(seconds() < limit);
        for (unsigned i = 0; i < 8 && sent < most && sent - atomic_load(&sh->got[!side]) < WINDOW;
             i++)
            if (send_frame(p, side, sent, &peer))
                sent++;
        p->ops->flush(p);
        receive(p, side, &next);
        atomic_store(&sh->got[side], next);
    }
    sleep_and_wake(p, side, &next, &peer);
    if (strcmp(fabric, "af_xdp") != 0) {
        /* Both devices take references, no driver kept one, and the rule was needed. */
        REQUIRE(p->ext == PORT_EXT_TAKEN && p->counters.tx_ext_frames > FRAMES / 5);
        REQUIRE(p->counters.ext_settled > 100 &&
                p->counters.ext_settled < p->counters.tx_ext_frames);
        REQUIRE(p->counters.tx_ext_bytes >= (uint64_t)p->counters.tx_ext_frames * EXT_LEAST);
    }
    if (!on_veth()) {
        REQUIRE(p->counters.rx_foreign == 0);
        return;
    }
    if (side == 0)
        send_foreign();
    await_foreign(p, side, &next);
    REQUIRE(next == most + SLEEPS);
    REQUIRE(datagrams_without_port() < before + 200); /* to the discard port */
}

/* ---- a peer that is started anew ------------------------------------------------------------ */

enum { RESTART_MET = 1, RESTART_AGAIN, RESTART_ASLEEP, RESTART_WAKES = 3 };

static void await(uint32_t step)
{
    double limit = seconds() + 20;
    while (atomic_load(&sh->go_on) < step) {
        REQUIRE(seconds() < limit);
        usleep(1000);
    }
}

/* Does not look at its links while the peer dies and comes back, so that it cannot see them go
 * down: it must wake it all the same. */
static void outlive(struct port *p)
{
    uint32_t next = 0, polls = 0;
    p->ops->disarm(p);              /* has his bell */
    REQUIRE(!port_peer_gone(p, 1)); /* a look; the next one is 512 receives away */
    atomic_store(&sh->go_on, RESTART_MET);
    await(RESTART_AGAIN);
    for (; atomic_load(&sh->go_on) < RESTART_ASLEEP; usleep(10000)) { /* his dummies need room */
        REQUIRE(++polls < 400);
        receive(p, 0, &next);
    }
    for (uint32_t wake = 0; wake < RESTART_WAKES; wake++) {
        await(RESTART_ASLEEP + wake);
        REQUIRE(send_frame(p, 0, UINT32_MAX, NULL));
        p->ops->flush(p);
        for (unsigned i = 0; i < 1000 && wake == 0; i++)
            receive(p, 0, &next);
    }
    await(RESTART_ASLEEP + RESTART_WAKES); /* he is awake: no bell for this one */
    REQUIRE(send_frame(p, 0, UINT32_MAX, NULL));
    p->ops->flush(p);
    REQUIRE(p->counters.rx_foreign == 0);
    await(RESTART_ASLEEP + RESTART_WAKES + 1);
}

static void come_again(struct port *p)
{
    double limit = seconds() + 20;
    uint32_t next = 0;
    atomic_store(&sh->go_on, RESTART_AGAIN);
    for (; p->ops->wait_fd(p) < 0; usleep(100)) {
        REQUIRE(seconds() < limit);
        p->ops->flush(p);
        receive(p, 1, &next);
    }
    for (uint32_t wake = 0; wake < RESTART_WAKES; wake++) {
        struct pollfd fd = {.fd = p->ops->wait_fd(p), .events = POLLIN};
        uint64_t before = p->counters.rx_frames;
        REQUIRE(fd.fd >= 0 && p->ops->arm(p));
        atomic_store(&sh->go_on, RESTART_ASLEEP + wake);
        while (p->counters.rx_frames == before) { /* an answer of his bell wakes as well */
            REQUIRE(poll(&fd, 1, 3000) > 0);
            p->ops->disarm(p);
            receive(p, 1, &next);
            if (p->counters.rx_frames == before && !p->ops->arm(p))
                receive(p, 1, &next);
        }
    }
    struct pollfd bell = {.fd = p->ops->wait_fd(p), .events = POLLIN};
    uint64_t before = p->counters.rx_frames;
    REQUIRE(bell.fd >= 0 && poll(&bell, 1, 0) == 0);
    for (atomic_store(&sh->go_on, RESTART_ASLEEP + RESTART_WAKES); p->counters.rx_frames == before;
         receive(p, 1, &next))
        REQUIRE(seconds() < limit);
    REQUIRE(poll(&bell, 1, 0) == 0);
    atomic_store(&sh->go_on, RESTART_ASLEEP + RESTART_WAKES + 1);
}

static void restart(struct port *p, uint8_t side, bool again)
{
    if (side == 0)
        outlive(p);
    else if (again)
        come_again(p);
    else
        for (uint32_t next = 0;; receive(p, side, &next)) /* until it is killed */
            usleep(1000);
}

static void set_up_interface(uint8_t side)
{
    char line[256], address[64] = "true";
    if (kind == LINK_UDP4)
        snprintf(address, sizeof(address), "ip addr add %s.2.%u/24 dev veth0",
                 link_local ? "169.254" : "192.0", side + 1);
    if (kind == LINK_UDP6)
        snprintf(address, sizeof(address), "ip addr add %s::%u/64 dev veth0 nodad",
                 link_local ? "fe80" : "fd00", side + 1);
    snprintf(line, sizeof(line),
             "sysctl -qw net.ipv6.conf.all.disable_ipv6=%d && ip link set veth0 address "
             "02:00:00:00:10:0%u && ip link set veth0 up && %s",
             kind != LINK_UDP6, side, address);
    REQUIRE(system(line) == 0);
}

static void run_side(uint8_t side)
{
    choose_fabric(side);
    if (on_veth())
        REQUIRE(unshare(CLONE_NEWNET) == 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    atomic_fetch_add(&sh->ready, 1);
    while (on_veth() && if_nametoindex("veth0") == 0)
        usleep(1000);
    if (on_veth())
        set_up_interface(side);
    usleep((side ^ (mtu < 9000)) *
           300000u); /* memif's server before its client, or the other way round */
    bool again = atomic_load(&sh->go_on) != 0;
    struct port *p = open_side(side);
    if (!again)
        greet(p, side);
    if (strcmp(fabric, "memif-kill") == 0)
        for (uint32_t next = 0;; receive(p, side, &next)) {
            next = 0;
            send_frame(p, side, UINT32_MAX, NULL);
            p->ops->flush(p);
            atomic_fetch_add(&sh->got[side], 1);
        }
    if (strcmp(fabric, "memif-restart") == 0)
        restart(p, side, again);
    else
        exchange(p, side);
    char run[128];
    struct stat st;
    snprintf(run, sizeof(run), "/run/dpdk/pando-test-%d-%u", getppid(), side);
    p = port_close(p);
    if (is_dpdk())
        port_eal_close();
    REQUIRE(stat(run, &st) != 0);
    _exit(0);
}

static int make_link(const pid_t *pid)
{
    char line[200];
    while (atomic_load(&sh->ready) < 2)
        usleep(1000);
    if (!on_veth())
        return 0;
    snprintf(line, sizeof(line),
             "ip link add veth0 mtu %u netns %d type veth peer name veth0 mtu %u netns %d",
             mtu + link_ip_bytes(kind), pid[0], mtu + link_ip_bytes(kind), pid[1]);
    return system(line);
}

static bool kill_one(pid_t *pid, unsigned victim)
{
    int status;
    double limit = seconds() + 20;
    while ((atomic_load(&sh->got[0]) < 1000 || atomic_load(&sh->got[1]) < 1000) &&
           seconds() < limit)
        usleep(1000);
    REQUIRE(seconds() < limit);
    kill(pid[victim], SIGKILL);
    waitpid(pid[victim], &status, 0);
    usleep(300000);
    bool lives = waitpid(pid[!victim], &status, WNOHANG) == 0;
    if (!lives)
        printf("the survivor died of signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    kill(pid[!victim], SIGKILL);
    waitpid(pid[!victim], &status, 0);
    return lives;
}

static bool run(unsigned victim)
{
    pid_t pid[2];
    bool good = true;
    memset(sh, 0, sizeof(*sh));
    snprintf(dir, sizeof(dir), "/dev/shm/pando-eth-%d", getpid());
    for (unsigned i = 0; i < 2; i++)
        if ((pid[i] = fork()) == 0)
            run_side((uint8_t)i);
    if (make_link(pid) != 0) {
        printf("FAIL: no veth pair\n");
        kill(pid[0], SIGKILL);
        kill(pid[1], SIGKILL);
        good = false;
    }
    if (strcmp(fabric, "memif-kill") == 0)
        return kill_one(pid, victim);
    if (strcmp(fabric, "memif-restart") == 0) {
        await(RESTART_MET);
        kill(pid[1], SIGKILL);
        waitpid(pid[1], NULL, 0);
        if ((pid[1] = fork()) == 0)
            run_side(1);
    }
    for (unsigned i = 0; i < 2; i++) {
        int status;
        waitpid(pid[i], &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            printf("FAIL: side %u: %s %d\n", i, WIFSIGNALED(status) ? "signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            good = false;
            kill(pid[!i], SIGKILL);
        }
    }
    struct stat st;
    if (stat(dir, &st) == 0) {
        printf("FAIL: something was left in %s\n", dir);
        good = false;
    }
    return good;
}

int main(int argc, char **argv)
{
    fabric = argc > 1 ? argv[1] : "memif";
    mtu = (uint16_t)(argc > 2 ? atoi(argv[2]) : 9000);
    unsigned count = argc > 3 ? (unsigned)atoi(argv[3]) : 1, bad = 0;
    while (argc > 4 && strcmp(link_kind_name(kind), argv[4]) != 0)
        if (++kind == LINK_KINDS)
            return 2;
    link_local = argc > 5 && strcmp(argv[5], "link-local") == 0;
    if (geteuid() != 0) {
        printf("SKIPPED: network namespaces and packet sockets need root\n");
        return SKIP;
    }
    devices_are_asked();
    sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sh == MAP_FAILED)
        return 1;
    for (unsigned i = 0; i < count; i++)
        bad += !run(i % 2);
    if (strcmp(fabric, "memif-kill") == 0) {
        char line[160];
        snprintf(line, sizeof(line), "rm -rf %s /run/dpdk/pando-test-%d-*", dir, getpid());
        (void)!system(line);
    }
    printf("%s: %s, %s, MTU %u, %u runs, %u bad\n", bad ? "FAIL" : "ok", fabric,
           link_kind_name(kind), mtu, count, bad);
    return bad ? 1 : 0;
}
