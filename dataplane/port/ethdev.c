/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports over DPDK devices. The frame is built in the mbuf that goes out, a page's bytes are a
 * second segment of it (ethdev_ext.h), and what came in is read in its mbuf; we copy nothing.
 *
 * Frames to a device gather in `out` until flush. What the device does not take then is offered
 * again at the next flush, while its link is up; RRDP never waits for it.
 *
 * memif makes the pages of its rings on first touch, so each device sends one lap of full-size
 * dummies (link address 0) when its link comes up; the receiver of those is the same code and
 * ignores them.
 *
 * memif's driver works in EAL's interrupt thread too (connections come and go), without locking out
 * who starts, stops or removes the device. So these are done in that thread, by an alarm. Its
 * munmap when a peer dies can still meet a burst of ours: a loop that yields between bursts has not
 * been seen to crash, and shm has no such gap.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_alarm.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "dataplane/base/bits.h"
#include "dataplane/port/ethdev.h"
#include "dataplane/port/ethdev_device.h"
#include "dataplane/port/ethdev_ext.h"
#include "dataplane/port/neighbour.h"

enum {
    ETH_DEVICES = WIRE_NODES_MAX,
    ETH_OUT = 64, /* frames that wait for flush, per device */
    ETH_MBUFS_DEVICE = ETH_OUT + PORT_BURST * 2,
    ETH_MBUFS = 1023, /* a power of two less one: what the mempool stores best */
    ETH_CACHE = 128,
    ETH_DUMMIES = 512,    /* a lap of memif's ring */
    ETH_LINK_POLLS = 512, /* receives between two looks at the links */
    /* The largest frame (AF_PACKET's 9,216 bytes less its header) fits into one segment. A little
     * more than a buffer of memif's ring: where mbufs are not larger than those, newer drivers put
     * each segment of a frame into a buffer of its own. */
    ETH_DATA_ROOM = RTE_PKTMBUF_HEADROOM + 9216 + 64,
    ETH_RETRY_MS = 300, /* between two attempts of a memif client to connect */
};

struct eth_device {
    uint16_t id, rx_queues, next_queue;
    const char *bus;
    char name[RTE_DEV_NAME_MAX_LEN];
    bool started, up, once_up;
    bool client; /* of memif: it connects when it is started, and only then */
    uint8_t peer;
    uint64_t next_try_ms;
    uint32_t dummies; /* still to be sent */
    uint32_t waiting;
    struct ethdev_flow flow;
    struct rte_mbuf *out[ETH_OUT];
};

struct eth_port {
    struct port port;
    struct link link;
    uint32_t header;         /* link_header_bytes */
    struct neighbours *hops; /* NULL: plain Ethernet */
    struct rte_mempool *pool;
    struct eth_ext ext;
    uint32_t devices, rotor, polls;
    uint16_t urgent_queue; /* of each device: looked at before the others */
    bool one_per_peer;
    int8_t device_of[WIRE_NODES_MAX]; /* -1: none */
    struct rte_mbuf *reserved;
    struct eth_device *reserved_for;
    uint8_t reserved_peer, reserved_mac[6];
    uint32_t held;  /* mbufs of the last receive: the caller reads them until the next */
    uint32_t early; /* of them: arm found them, and they are for the next receive */
    int wait_fd;    /* -1: none */
    struct bell *bell;
    uint64_t bell_refused; /* of it, what is counted already */
    bool all_up;
    struct rte_mbuf *in[PORT_BURST];
    char dir[128]; /* of the sockets; removed by the last to leave */
    struct eth_device dev[];
};

static struct eth_port *self_of(struct port *p)
{
    return (struct eth_port *)p;
}

static uint8_t *bytes_of(struct rte_mbuf *m)
{
    return rte_pktmbuf_mtod(m, uint8_t *);
}

/* ---- receive ------------------------------------------------------------------------------- */

static bool is_dummy(const struct eth_port *e, const uint8_t *bytes)
{
    static const uint8_t none[6];
    return e->one_per_peer && memcmp(bytes, none, sizeof(none)) == 0;
}

/* NICs whose buffers have a size of their own choice (e1000: a power of two) put a long frame into
 * two; a buffer of ours has room for all of it. */
static bool in_one_piece(struct eth_port *e, struct rte_mbuf *m)
{
    if (m->nb_segs == 1)
        return true;
    e->port.counters.rx_copied_bytes += m->pkt_len - m->data_len;
    return rte_pktmbuf_linearize(m) == 0;
}

static bool frame_for_us(struct eth_port *e, struct rte_mbuf *m, struct link_frame *ret_frame)
{
    enum link_verdict v =
        in_one_piece(e, m) ? link_read(&e->link, bytes_of(m), m->data_len, ret_frame) : LINK_LENGTH;
    if (v == LINK_OK)
        return true;
    if (v == LINK_MAC && is_dummy(e, bytes_of(m)))
        return false;
    e->port.counters.rx_foreign++;
    e->port.counters.rx_refused[v]++;
    return false;
}

/* ---- starting and stopping ----------------------------------------------------------------- */

struct job {
    void (*run)(struct eth_device *d);
    struct eth_device *device;
    sem_t done;
};

static void job_alarm(void *arg)
{
    struct job *j = arg;
    j->run(j->device);
    sem_post(&j->done);
}

/* Runs it in EAL's interrupt thread and waits for it. */
static void in_interrupt_thread(void (*run)(struct eth_device *d), struct eth_device *d)
{
    struct job j = {.run = run, .device = d};
    sem_init(&j.done, 0, 0);
    if (rte_eal_alarm_set(1, job_alarm, &j) != 0) {
        run(d);
        return;
    }
    while (sem_wait(&j.done) != 0)
        ;
    sem_destroy(&j.done);
}

static void start(struct eth_device *d)
{
    if (d->started)
        rte_eth_dev_stop(d->id);
    d->started = rte_eth_dev_start(d->id) == 0;
}

static void take_down(struct eth_device *d)
{
    if (d->started)
        rte_eth_dev_stop(d->id);
    d->started = false;
    ethdev_detach(d->bus, d->name, d->id);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void look_at_links(struct eth_port *e)
{
    uint64_t now = 0;
    e->polls = 0;
    e->all_up = true;
    if (e->bell != NULL) { /* it knows peers that were started anew while their links came back */
        bell_look(e->bell);
        e->port.counters.rx_foreign += bell_refused(e->bell) - e->bell_refused;
        e->bell_refused = bell_refused(e->bell);
    }
    for (uint32_t i = 0; i < e->devices; i++) {
        struct eth_device *d = &e->dev[i];
        struct rte_eth_link link = {0};
        bool up = rte_eth_link_get_nowait(d->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
        if (up && !d->up && e->one_per_peer)
            d->dummies = ETH_DUMMIES;
        if (up && !d->up && e->bell != NULL)
            bell_meet(e->bell, d->peer);
        d->up = up;
        e->all_up &= up;
        d->once_up |= up;
        if (!d->client || d->once_up)
            continue;
        /* Again, until the server is there: it may not have been started, or turned us away while
         * it started. */
        now = now != 0 ? now : now_ms();
        if (now >= d->next_try_ms) {
            d->next_try_ms = now + ETH_RETRY_MS;
            in_interrupt_thread(start, d);
        }
    }
}

/* The urgent queue at each look, and first; of the others one after the other goes on where room
 * ended. */
static void take_from(struct eth_port *e, struct eth_device *d, uint32_t max)
{
    uint16_t urgent = e->urgent_queue < d->rx_queues ? e->urgent_queue : 0;
    e->held += rte_eth_rx_burst(d->id, urgent, e->in + e->held, (uint16_t)(max - e->held));
    for (uint16_t i = 1; i < d->rx_queues && e->held < max; i++) {
        d->next_queue = (uint16_t)((d->next_queue + 1) % d->rx_queues);
        if (d->next_queue == urgent)
            d->next_queue = (uint16_t)((d->next_queue + 1) % d->rx_queues);
        e->held +=
            rte_eth_rx_burst(d->id, d->next_queue, e->in + e->held, (uint16_t)(max - e->held));
    }
}

/* Takes frames from the devices, each in turn first. */
static void take(struct eth_port *e, uint32_t max)
{
    if (e->held > 0)
        rte_pktmbuf_free_bulk(e->in, e->held);
    e->held = 0;
    for (uint32_t i = 0; i < e->devices && e->held < max; i++) {
        struct eth_device *d = &e->dev[(e->rotor + i) % e->devices];
        if (d->started)
            take_from(e, d, max);
    }
    e->rotor++;
}

static uint32_t eth_rx(struct port *p, struct port_frame *out, uint32_t max)
{
    struct eth_port *e = self_of(p);
    uint32_t n = 0, first = 0;
    if (++e->polls >= ETH_LINK_POLLS)
        look_at_links(e);
    if (e->early == 0) {
        take(e, max < PORT_BURST ? max : PORT_BURST);
        e->early = e->held;
    }
    first = e->held - e->early;
    for (uint32_t k = first; k < e->held && k - first < max; k++, e->early--) {
        struct link_frame frame;
        if (!frame_for_us(e, e->in[k], &frame))
            continue;
        struct port_frame *f = &out[n++];
        *f = (struct port_frame){.data = frame.data, .len = frame.len};
        memcpy(f->src.addr, frame.src, 6);
        p->counters.rx_bytes += f->len;
    }
    p->counters.rx_frames += n;
    return n;
}

/* ---- send ---------------------------------------------------------------------------------- */

static void burst(struct eth_port *e, struct eth_device *d)
{
    uint32_t sent = d->started ? rte_eth_tx_burst(d->id, 0, d->out, (uint16_t)d->waiting) : 0;
    d->waiting -= sent;
    if (d->waiting > 0 && !d->up) { /* nobody will ever take them */
        rte_pktmbuf_free_bulk(d->out + sent, d->waiting);
        e->port.counters.tx_full += d->waiting;
        d->waiting = 0;
    }
    memmove(d->out, d->out + sent, d->waiting * sizeof(d->out[0]));
}

static struct eth_device *device_for(struct eth_port *e, uint8_t peer)
{
    if (!e->one_per_peer)
        return &e->dev[0];
    return peer < WIRE_NODES_MAX && e->device_of[peer] >= 0 ? &e->dev[e->device_of[peer]] : NULL;
}

static uint8_t *eth_tx_reserve(struct port *p, uint8_t peer, const struct rrdp_mac *mac)
{
    static const uint8_t broadcast[6] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    struct eth_port *e = self_of(p);
    struct eth_device *d = device_for(e, peer);
    if (d == NULL || !neighbours_reach(e->hops, &e->link, peer, mac != NULL, &p->counters))
        return NULL;
    if (d->waiting == ETH_OUT)
        burst(e, d);
    if (d->waiting == ETH_OUT ||
        (e->reserved == NULL && (e->reserved = rte_pktmbuf_alloc(e->pool)) == NULL)) {
        p->counters.tx_full++;
        return NULL;
    }
    e->reserved_for = d;
    e->reserved_peer = peer;
    memcpy(e->reserved_mac, mac != NULL ? mac->addr : broadcast, 6);
    return bytes_of(e->reserved) + e->header;
}

/* len bytes are in the reserved buffer, ext_len more follow by reference. */
static void commit(struct eth_port *e, uint32_t len, const uint8_t *ext, uint32_t ext_len)
{
    struct eth_device *d = e->reserved_for;
    struct rte_mbuf *m = e->reserved;
    link_write(&e->link, e->reserved_peer, e->reserved_mac, len + ext_len, bytes_of(m));
    m->data_len = (uint16_t)(e->header + len);
    m->pkt_len = m->data_len;
    if (ext_len > 0 && !eth_ext_append(&e->ext, m, ext, ext_len)) {
        e->port.counters.tx_full++; /* the buffer is still reserved, for the next one */
        return;
    }
    e->reserved = NULL;
    d->out[d->waiting++] = m;
    e->port.counters.tx_frames++;
    e->port.counters.tx_bytes += len + ext_len;
    e->port.counters.tx_ext_frames += ext_len > 0;
    e->port.counters.tx_ext_bytes += ext_len;
}

static void eth_tx_commit(struct port *p, uint32_t len)
{
    commit(self_of(p), len, NULL, 0);
}

static void eth_tx_commit_ext(struct port *p, uint32_t len, const uint8_t *ext, uint32_t ext_len)
{
    commit(self_of(p), len, ext, ext_len);
}

static void eth_settle(struct port *p, const uint8_t *bytes, size_t len)
{
    struct eth_port *e = self_of(p);
    for (uint32_t i = 0; i < e->devices && e->ext.live > 0; i++)
        eth_ext_settle(e->dev[i].out, e->dev[i].waiting, bytes, len, &p->counters);
}

/* A reference that is in no queue of ours is one that a driver kept: it is taken at its deeds, and
 * gets none any more. */
static void distrust(struct eth_port *e)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < e->devices; i++)
        held += eth_ext_held(e->dev[i].out, e->dev[i].waiting);
    if (held != e->ext.live)
        e->port.ext = PORT_EXT_DRIVER;
}

static void send_dummies(struct eth_port *e, struct eth_device *d)
{
    static const uint8_t none[6];
    while (d->dummies > 0 && d->waiting < ETH_OUT / 2) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(e->pool);
        if (m == NULL)
            return;
        memset(bytes_of(m) + e->header, 0, e->port.mtu);
        link_write(&e->link, d->peer, none, e->port.mtu, bytes_of(m));
        m->data_len = (uint16_t)(e->header + e->port.mtu);
        m->pkt_len = m->data_len;
        d->out[d->waiting++] = m;
        d->dummies--;
    }
}

static void eth_flush(struct port *p)
{
    struct eth_port *e = self_of(p);
    uint64_t published = 0;
    bool new_link = false;
    for (uint32_t i = 0; i < e->devices; i++) {
        struct eth_device *d = &e->dev[i];
        if (d->waiting > 0) {
            burst(e, d);
            published |= bit64(d->peer);
            new_link |= !d->up;
        }
        if (d->dummies > 0)
            send_dummies(e, d);
    }
    if (new_link) /* the peer may sleep before we notice the link, and with it his bell */
        look_at_links(e);
    if (published != 0 && e->bell != NULL)
        bell_ring(e->bell, published);
    if (e->ext.live > 0)
        distrust(e);
}

/* ---- sleep --------------------------------------------------------------------------------- */

/* Something that only polling moves on: a link that is not there yet, an offer of our bell, frames
 * that the device had no room for, dummies. */
static bool must_poll(const struct eth_port *e)
{
    bool must = !e->all_up || (e->bell != NULL && bell_owes(e->bell));
    for (uint32_t i = 0; i < e->devices; i++)
        must |= e->dev[i].waiting > 0 || e->dev[i].dummies > 0;
    return must;
}

static int eth_wait_fd(struct port *p)
{
    const struct eth_port *e = self_of(p);
    if (must_poll(e))
        return -1;
    return e->bell != NULL ? bell_fd(e->bell) : e->wait_fd;
}

/* Behind [D] (bell.h) frames are looked for by taking them: no device here can tell how many it
 * has. A descriptor of the driver needs nothing, it is readable while frames are there. */
static bool eth_arm(struct port *p)
{
    struct eth_port *e = self_of(p);
    if (e->early > 0)
        return false;
    if (e->bell == NULL)
        return true;
    bell_asleep(e->bell);
    take(e, PORT_BURST);
    e->early = e->held;
    if (e->early == 0)
        return true;
    bell_awake(e->bell);
    return false;
}

static void eth_disarm(struct port *p)
{
    struct eth_port *e = self_of(p);
    int error;
    socklen_t len = sizeof(error);
    if (e->bell != NULL)
        bell_awake(e->bell);
    else if (e->wait_fd >= 0) /* an interface that went down makes it readable until it is asked */
        (void)getsockopt(e->wait_fd, SOL_SOCKET, SO_ERROR, &error, &len);
}

/* ---- open and close ------------------------------------------------------------------------ */

static const char *eth_look(struct port *p)
{
    neighbours_refresh(self_of(p)->hops, &p->counters);
    return NULL;
}

static void eth_close(struct port *p)
{
    struct eth_port *e = self_of(p);
    if (e->held > 0)
        rte_pktmbuf_free_bulk(e->in, e->held);
    rte_pktmbuf_free(e->reserved);
    for (uint32_t i = 0; i < e->devices; i++) {
        struct eth_device *d = &e->dev[i];
        rte_pktmbuf_free_bulk(d->out, d->waiting);
        in_interrupt_thread(take_down, d);
    }
    eth_ext_close(&e->ext);
    rte_mempool_free(e->pool);
    if (e->wait_fd >= 0)
        close(e->wait_fd);
    bell_close(e->bell);
    neighbours_close(e->hops);
    if (e->dir[0] != 0)
        rmdir(e->dir);
    free(e);
}

void ethdev_own_dir(struct port *p, const char *dir)
{
    snprintf(self_of(p)->dir, sizeof(self_of(p)->dir), "%s", dir);
}

void ethdev_wait_on(struct port *p, int fd)
{
    self_of(p)->wait_fd = fd;
}

void ethdev_own_bell(struct port *p, struct bell *b)
{
    struct eth_port *e = self_of(p);
    e->bell = b;
    for (uint32_t i = 0; i < e->devices; i++)
        if (e->dev[i].up)
            bell_meet(b, e->dev[i].peer);
}

int ethdev_resolve_over(struct port *p, const char *interface, char err[PORT_ERROR_MAX])
{
    struct eth_port *e = self_of(p);
    if (e->link.cfg.kind == LINK_ETHERNET)
        return 0;
    return neighbours_open(interface, &e->link, &e->hops, err);
}

/* Only a connection of our own with the peer tells: a carrier is not a process. */
static bool eth_gone(struct port *p, uint8_t peer)
{
    struct eth_port *e = self_of(p);
    int8_t i = e->one_per_peer && peer < WIRE_NODES_MAX ? e->device_of[peer] : -1;
    if (i < 0 || !e->dev[i].once_up)
        return false;
    look_at_links(e);
    return !e->dev[i].up;
}

static const struct port_ops eth_ops;

int ethdev_info(const struct port *p, struct ethdev_info *ret_info)
{
    const struct eth_port *e = (const struct eth_port *)p;
    if (p == NULL || p->ops != &eth_ops || e->one_per_peer)
        return -EOPNOTSUPP;
    const struct eth_device *d = &e->dev[0];
    *ret_info = (struct ethdev_info){d->id, d->rx_queues, d->flow.queue, d->flow.why};
    return 0;
}

void ethdev_urgent_queue(const struct port *p, uint16_t queue)
{
    self_of((struct port *)(uintptr_t)p)->urgent_queue = queue;
}

static const struct port_ops eth_ops = {
    .name = "ethdev",
    .rx = eth_rx,
    .tx_reserve = eth_tx_reserve,
    .tx_commit = eth_tx_commit,
    .tx_commit_ext = eth_tx_commit_ext,
    .settle = eth_settle,
    .flush = eth_flush,
    .wait_fd = eth_wait_fd,
    .arm = eth_arm,
    .disarm = eth_disarm,
    .gone = eth_gone,
    .look = eth_look,
    .close = eth_close,
};

static int start_device(struct eth_port *e, struct eth_device *d, const struct ethdev_wish *w,
                        const char *devargs, char err[PORT_ERROR_MAX])
{
    enum port_ext ext;
    int rc = ethdev_attach(w, devargs, d->name, &d->id, err);
    if (rc != 0)
        return rc;
    d->bus = w->bus;
    e->devices++; /* from here on eth_close undoes it */
    rc = ethdev_set_up(w, devargs, d->id, e->pool, &d->rx_queues, &ext, err);
    if (rc != 0)
        return rc;
    if (ext != PORT_EXT_TAKEN)
        e->port.ext = ext; /* one device that does not, and the port does not */
    if (w->mtu != 0)       /* a device that carries frames itself */
        ethdev_flow_queue(d->id, &d->flow);
    d->client = strstr(devargs, "role=client") != NULL;
    in_interrupt_thread(start, d);
    d->next_try_ms = now_ms() + ETH_RETRY_MS;
    if (!d->started && !d->client) {
        snprintf(err, PORT_ERROR_MAX, "device %s does not start; DPDK's own message is above",
                 devargs);
        return -EIO;
    }
    return 0;
}

static int check_arguments(uint32_t count, const uint8_t *peer_of, const struct link_config *link,
                           uint16_t mtu, char err[PORT_ERROR_MAX])
{
    bool udp = link != NULL && link->kind != LINK_ETHERNET;
    if (count == 0 || count > ETH_DEVICES || (peer_of == NULL && count != 1) ||
        (peer_of != NULL && udp) || mtu > RRDP_MTU_MAX) {
        snprintf(err, PORT_ERROR_MAX,
                 "ethdev fabric: %u devices, MTU %u%s; one device, or one per peer and no UDP",
                 count, mtu, udp ? ", UDP" : "");
        return -EINVAL;
    }
    return 0;
}

/* The addresses, once the first device tells its own. */
static int begin_link(struct eth_port *e, const struct link_config *link, uint16_t ethertype,
                      char err[PORT_ERROR_MAX])
{
    struct rte_ether_addr mac;
    int rc = rte_eth_macaddr_get(e->dev[0].id, &mac);
    if (rc == 0)
        rc = link_init(&e->link, link, ethertype, e->port.mtu, mac.addr_bytes);
    if (rc != 0) {
        snprintf(err, PORT_ERROR_MAX,
                 "ethdev fabric: link header of node %u of %u, UDP port %u: %s",
                 link != NULL ? link->self : 0, link != NULL ? link->nodes : 0,
                 link != NULL ? link->udp_port : 0, strerror(-rc));
        return rc;
    }
    e->header = link_header_bytes(e->link.cfg.kind);
    e->port.reaches_all = !e->one_per_peer && e->link.cfg.kind == LINK_ETHERNET;
    link_own_mac(&e->link, e->port.mac.addr);
    return 0;
}

/* Packet memory: for what waits here, and for what a NIC holds in its rings. */
static int open_pool(struct eth_port *e, const struct ethdev_wish *w, uint32_t count,
                     char err[PORT_ERROR_MAX])
{
    static unsigned pools;
    char name[RTE_MEMPOOL_NAMESIZE];
    unsigned mbufs = ETH_MBUFS + ETH_CACHE + count * ETH_MBUFS_DEVICE;
    if (w->mtu != 0) /* a device that carries frames itself */
        mbufs += count * (w->rx_queues + 1u) * ETH_RING;
    snprintf(name, sizeof(name), "pando%u", pools++);
    e->pool = rte_pktmbuf_pool_create(name, mbufs, ETH_CACHE, 0, ETH_DATA_ROOM, SOCKET_ID_ANY);
    int rc = e->pool == NULL ? -rte_errno : 0;
    snprintf(name, sizeof(name), "pandox%u", pools++);
    if (rc == 0)
        rc = eth_ext_open(&e->ext, name, count * ETH_OUT);
    if (rc != 0)
        snprintf(err, PORT_ERROR_MAX, "packet memory: %u buffers of %d bytes: %s", mbufs,
                 ETH_DATA_ROOM, strerror(-rc));
    return rc;
}

int ethdev_open(const struct ethdev_wish *wish, const char *const *devargs, uint32_t count,
                const uint8_t *peer_of, const struct link_config *link, uint16_t ethertype,
                uint16_t mtu, struct port **ret_port, char err[PORT_ERROR_MAX])
{
    if (check_arguments(count, peer_of, link, mtu, err) != 0)
        return -EINVAL;
    struct eth_port *e = calloc(1, sizeof(*e) + count * sizeof(e->dev[0]));
    if (e == NULL)
        return -ENOMEM;
    e->port = (struct port){.ops = &eth_ops,
                            .name = "ethdev",
                            .mtu = mtu,
                            .ext = PORT_EXT_TAKEN,
                            .ext_min = ETH_EXT_MIN};
    e->one_per_peer = peer_of != NULL;
    e->wait_fd = -1;
    int rc = open_pool(e, wish, count, err);
    memset(e->device_of, -1, sizeof(e->device_of));
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = start_device(e, &e->dev[i], wish, devargs[i], err);
        if (rc == 0 && peer_of != NULL && peer_of[i] < WIRE_NODES_MAX) {
            e->device_of[peer_of[i]] = (int8_t)i;
            e->dev[i].peer = peer_of[i];
        }
    }
    if (rc == 0)
        rc = begin_link(e, link, ethertype, err);
    if (rc == 0) {
        look_at_links(e);
        *ret_port = &e->port;
        return 0;
    }
    eth_close(&e->port);
    return rc;
}

int port_open_ethdev(const char *const *devargs, uint32_t count, const uint8_t *peer_of,
                     const struct link_config *link, uint16_t ethertype, uint16_t mtu,
                     struct port **ret_port, char err[PORT_ERROR_MAX])
{
    static const struct ethdev_wish virtual_one = {.bus = "vdev", .rx_queues = 1};
    return ethdev_open(&virtual_one, devargs, count, peer_of, link, ethertype, mtu, ret_port, err);
}
