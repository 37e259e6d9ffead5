/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One conformance test for all who serve an intent: the poll loop (an af_packet port on a veth
 * pair), the XDP program (an af_xdp port on it), a NIC's rules (net_tap, whose rules are the
 * kernel's, with cls_flower; without it none is taken and software serves it all). Frames are put
 * on the wire by hand, the same for all. What is delivered, its order within a class of a sender
 * (frames of another version of the header: in none) and what is counted must be what `expected`
 * says, which shares no code with who is tested.
 *
 * usage: pando-offload-conformance software|xdp|hardware ethernet|udp4 [--rules]
 * In a network namespace of its own, as root. --rules: some drops and some queues must have been
 * the NIC's. A line of JSON on success, of which "sum" is the same for all backends; 77: skipped.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wundef" /* DPDK's headers ask for GCC_VERSION under clang */
#include <rte_ethdev.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/port/dpdk.h"
#include "dataplane/port/eal.h"
#include "dataplane/port/ethdev.h"
#include "dataplane/transport/rrdp.h"
#include "offload/flow/offload.h"

enum {
    SKIP = 77,
    SELF = 0,
    NODES = 5,
    UDP_PORT = 34997,
    MTU = 1400,
    CLUSTER = 0x1234,
    OLD_TAG = 0x0DD0,
    NEW_TAG = 0x4EE4,
    STRANGER = 61,
    FRAMES = 320, /* a phase */
    CHUNK = 16,   /* frames on the wire before they are taken */
    WAIT_MS = 3000,
    SETTLE_MS = 20000,
};

struct sent {
    uint8_t node, from, cls; /* the header's source; whose address it comes from */
    uint32_t tag;
    bool foreign; /* another EtherType, or UDP port */
    bool other_version;
};

static const char *backend;
static enum link_kind kind;
static char err[PORT_ERROR_MAX];
static struct link_config link_cfg;
static struct link writer[NODES + 1]; /* link headers as each node writes them */
static uint8_t own_mac[6];
static int wire;
static const char *injected_at;

#define REQUIRE(e)                                                                                 \
    do {                                                                                           \
        if (!(e)) {                                                                                \
            fprintf(stderr, "FAIL %s:%d: %s (%s)\n", __FILE__, __LINE__, #e, err);                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- the intents --------------------------------------------------------------------------- */

/* What holds in each phase: bits of nodes; of nodes whose OLD_TAG is fenced. */
static const struct phase {
    uint64_t fenced, old;
} phases[] = {
    {0, 0}, {1 << 2, 0}, {1 << 2, 1 << 3}, {0, 1 << 3 | 1 << 1}, {1 << 2 | 1 << 3 | 1 << 4, 0},
    {0, 0}};
enum { PHASES = sizeof(phases) / sizeof(phases[0]) };

/* True: it is handed on. */
static bool expected(const struct phase *p, const struct sent *s)
{
    if (s->foreign)
        return false;
    for (uint8_t n = 1; n < NODES; n++) {
        if (s->node != n && s->from != n)
            continue;
        if (p->fenced >> n & 1 || (p->old >> n & 1 && s->tag == OLD_TAG))
            return false;
    }
    return true;
}

static void apply(struct offload *o, const struct phase *from, const struct phase *to)
{
    for (uint8_t n = 1; n < NODES; n++) {
        if ((from->fenced ^ to->fenced) >> n & 1)
            REQUIRE(offload_fence(o, n, to->fenced >> n & 1) == 0);
        if ((from->old ^ to->old) >> n & 1)
            REQUIRE(offload_fence_epoch(o, n, OLD_TAG, to->old >> n & 1) == 0);
    }
}

/* ---- frames -------------------------------------------------------------------------------- */

static void node_mac(uint8_t node, uint8_t out[6])
{
    const uint8_t mac[6] = {2, 0, 0, 0, 1, node};
    memcpy(out, mac, sizeof(mac));
}

/* Link headers of each node towards us; the last writer's are foreign. */
static void make_writers(void)
{
    static const uint8_t net[3] = {192, 0, 2};
    link_cfg =
        (struct link_config){.kind = kind, .udp_port = UDP_PORT, .self = SELF, .nodes = NODES};
    for (uint8_t n = 0; n < NODES; n++) {
        memcpy(link_cfg.ip[n], net, sizeof(net));
        link_cfg.ip[n][3] = (uint8_t)(n + 1);
    }
    for (uint8_t n = 1; n <= NODES; n++) {
        struct link_config c = link_cfg;
        uint8_t mac[6];
        c.self = n < NODES ? n : 1;
        c.udp_port = n < NODES ? UDP_PORT : UDP_PORT + 1;
        node_mac(c.self, mac);
        REQUIRE(link_init(&writer[n], &c, n < NODES ? WIRE_ETHERTYPE : 0x88B6, MTU, mac) == 0);
        memcpy(writer[n].next_hop[SELF], own_mac, 6);
        writer[n].known = bit64(SELF);
    }
}

static struct sent draw(struct prng *r)
{
    struct sent s = {.node = (uint8_t)(1 + prng_below(r, NODES - 1)),
                     .cls = (uint8_t)prng_below(r, WIRE_CLASSES),
                     .tag = prng_below(r, 3) == 0 ? OLD_TAG : NEW_TAG};
    s.from = s.node;
    switch (prng_below(r, 10)) {
    case 0: /* says that it is another one */
        s.node = (uint8_t)(1 + prng_below(r, NODES - 1));
        break;
    case 1:
        s.node = STRANGER;
        break;
    case 2:
        s.foreign = true;
        break;
    default:
        break;
    }
    s.other_version = prng_below(r, 8) == 0;
    return s;
}

static void put_on_wire(const struct sent *s, uint32_t id)
{
    uint8_t bytes[256] = {0}, *frame = bytes + LINK_BYTES_MAX;
    struct wire_rrdp h = {.ack_valid = true,
                          .first = true,
                          .last = true,
                          .src = s->node,
                          .dst = SELF,
                          .cls = s->cls,
                          .cluster_tag = (uint8_t)CLUSTER,
                          .data_len = 40,
                          .seq = id,
                          .tag = s->tag};
    size_t len = wire_rrdp_pack(&h, frame) + h.data_len;
    if (s->other_version)
        frame[0] ^= 3; /* of the version, both bits */
    wire_rrdp_seal(frame, len);
    const struct link *l = &writer[s->foreign ? NODES : s->from];
    uint8_t *start = frame - link_header_bytes(kind);
    len += link_write(l, SELF, own_mac, (uint32_t)len, start);
    REQUIRE(send(wire, start, len, 0) == (ssize_t)len);
}

/* ---- backends ------------------------------------------------------------------------------ */

static void command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void command(const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    snprintf(err, sizeof(err), "%s", line);
    REQUIRE(system(line) == 0);
}

static void open_wire(const char *interface)
{
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
    wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    REQUIRE(wire >= 0 && bind(wire, (struct sockaddr *)&a, sizeof(a)) == 0);
}

static struct port *open_af_xdp(const struct link_config *link)
{
#ifdef PANDO_HAVE_AF_XDP
    struct port *p = NULL;
    struct port_af_xdp c = {.interface = "veth0",
                            .ethertype = WIRE_ETHERTYPE,
                            .mtu = MTU,
                            .self = SELF,
                            .nodes = NODES,
                            .cluster_id = CLUSTER,
                            .link = link};
    REQUIRE(port_open_af_xdp(&c, &p, err) == 0);
    return p;
#else
    (void)link;
    fprintf(stderr, "skipped: this build has no AF_XDP\n");
    exit(SKIP);
#endif
}

static struct port *open_backend(void)
{
    const struct link_config *link = kind == LINK_ETHERNET ? NULL : &link_cfg;
    bool tap = strcmp(backend, "hardware") == 0;
    const char *name = tap ? "ptap0" : "veth0";
    struct port *p = NULL;
    if (tap) /* before the port is there: over UDP it asks for the address */
        command("ip tuntap add dev ptap0 mode tap multi_queue");
    else
        command("ip link add veth0 type veth peer name veth1 && ip link set veth1 up");
    command("ip addr add 192.0.2.1/24 dev %s && ip link set %s up", name, name);
    if (strcmp(backend, "xdp") == 0) {
        p = open_af_xdp(link);
    } else {
        char prefix[32];
        struct port_dpdk c = {.device = "net_tap0,iface=ptap0",
                              .queues = WIRE_CLASSES + 1,
                              .ethertype = WIRE_ETHERTYPE,
                              .mtu = MTU,
                              .link = link};
        snprintf(prefix, sizeof(prefix), "conformance-%d", (int)getpid());
        REQUIRE(port_eal_init(false, PORT_EAL_ANY_CORE, NULL, prefix, false, err) == 0);
        REQUIRE((tap ? port_open_dpdk(&c, &p, err)
                     : port_open_af_packet("veth0", link, WIRE_ETHERTYPE, MTU, &p, err)) == 0);
    }
    injected_at = tap ? "ptap0" : "veth1";
    open_wire(injected_at);
    return p;
}

/* The address that frames to us bear: the port's over Ethernet, else the interface's. */
static void learn_own_mac(const struct port *p)
{
    struct ifreq r = {0};
    struct ethdev_info info;
    struct rte_ether_addr a;
    if (ethdev_info(p, &info) == 0 && rte_eth_macaddr_get(info.id, &a) == 0) {
        memcpy(own_mac, a.addr_bytes, 6);
        return;
    }
    snprintf(r.ifr_name, sizeof(r.ifr_name), "veth0");
    REQUIRE(ioctl(wire, SIOCGIFHWADDR, &r) == 0);
    memcpy(own_mac, r.ifr_hwaddr.sa_data, 6);
}

static struct offload *open_offload(struct port *p)
{
    struct offload_config c = {
        .port = p, .link = link_cfg, .ethertype = WIRE_ETHERTYPE, .order = true, .count = true};
    struct offload *o = NULL;
    REQUIRE(offload_open(&c, &o) == 0);
    for (uint8_t n = 1; n < NODES; n++) {
        uint8_t mac[6];
        node_mac(n, mac);
        REQUIRE(offload_peer(o, n, mac) == 0);
    }
    return o;
}

/* ---- a phase ------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void settle(struct offload *o)
{
    uint64_t until = now_ms() + SETTLE_MS;
    while (!offload_settled(o) && now_ms() < until)
        offload_tick(o);
    REQUIRE(offload_settled(o));
}

/* Frames that keep their order: of one class from one sender; the last class: another version. */
enum { STREAMS = WIRE_CLASSES + 1 };

struct result {
    uint32_t order[NODES][STREAMS][FRAMES], n[NODES][STREAMS];
    uint64_t frames[NODES][WIRE_CLASSES], dropped;
};

static unsigned stream_of(const struct sent *s)
{
    return s->other_version ? WIRE_CLASSES : s->cls;
}

static void take(struct port *p, const struct sent *s, uint32_t first_id, uint32_t last_id,
                 uint32_t awaited, struct result *r)
{
    struct port_frame f[PORT_BURST];
    uint64_t until = now_ms() + WAIT_MS;
    uint32_t more = 0, got = 0;
    /* Frames that must not come have no time of their own to come: a few looks after the last. */
    while (now_ms() < until && (got < awaited || more++ < 200)) {
        uint32_t n = port_rx(p, f, PORT_BURST);
        bool below = false;
        for (uint32_t i = 0; i < n; i++) {
            REQUIRE(f[i].len >= WIRE_RRDP_HEADER);
            uint32_t id = get_le32(f[i].data + 8);
            uint8_t cls = f[i].data[RULE_RRDP_CLASS_AT] & RULE_RRDP_CLASS_MASK;
            REQUIRE(id >= first_id && id < last_id && s[id].cls == cls);
            REQUIRE(!(below && cls == WIRE_CLASS_URGENT)); /* urgent ones come first */
            below |= cls != WIRE_CLASS_URGENT;
            uint8_t from = s[id].from;
            unsigned stream = stream_of(&s[id]);
            r->order[from][stream][r->n[from][stream]++] = id;
            got++;
        }
    }
    if (got != awaited)
        snprintf(err, sizeof(err), "%u of %u frames between %u and %u", got, awaited, first_id,
                 last_id);
    REQUIRE(got == awaited);
}

static void run_phase(struct port *p, const struct phase *ph, struct prng *rng, struct result *r)
{
    static struct sent s[FRAMES];
    uint32_t next[NODES][STREAMS] = {0};
    *r = (struct result){0};
    for (uint32_t id = 0; id < FRAMES; id += CHUNK) {
        uint32_t awaited = 0;
        for (uint32_t k = id; k < id + CHUNK; k++) {
            s[k] = draw(rng);
            awaited += expected(ph, &s[k]);
            r->dropped += !s[k].foreign && !expected(ph, &s[k]);
            put_on_wire(&s[k], k);
        }
        take(p, s, id, id + CHUNK, awaited, r);
    }
    for (uint32_t id = 0; id < FRAMES; id++) { /* all of them, and none twice */
        uint8_t from = s[id].from;
        unsigned stream = stream_of(&s[id]);
        if (!expected(ph, &s[id]))
            continue;
        REQUIRE(next[from][stream] < r->n[from][stream]);
        uint32_t got = r->order[from][stream][next[from][stream]++];
        REQUIRE(got == id || s[id].other_version);
        if (s[id].node < NODES)
            r->frames[s[id].node][s[id].cls]++;
    }
}

/* ---- what is counted ----------------------------------------------------------------------- */

/* Member of an intent with this text; NULL: there is none. */
static json_t *all_of(struct offload *o)
{
    static char text[OFFLOAD_TEXT_MAX];
    json_t *all = json_pack("{s:[], s:[]}", "intents", "rules");
    uint32_t from = 0;
    do {
        REQUIRE(offload_text(o, from, text) > 0);
        json_t *page = json_loads(text, 0, NULL);
        REQUIRE(page != NULL);
        json_array_extend(json_object_get(all, "intents"), json_object_get(page, "intents"));
        json_array_extend(json_object_get(all, "rules"), json_object_get(page, "rules"));
        from = (uint32_t)json_integer_value(json_object_get(page, "next"));
        json_decref(page);
    } while (from != 0);
    return all;
}

/* Each count intent has what was delivered, over all phases so far. */
static void check_counts(struct offload *o, uint64_t frames[NODES][WIRE_CLASSES])
{
    struct intent i = {.type = INTENT_COUNT};
    json_t *all = all_of(o), *e;
    size_t k, seen = 0;
    json_array_foreach(json_object_get(all, "intents"), k, e)
    {
        for (uint8_t n = 1; n < NODES; n++)
            for (uint8_t c = 0; c < WIRE_CLASSES; c++) {
                char text[PLAN_TEXT_MAX];
                i.node = n;
                i.cls = c;
                plan_intent_text(&i, text, sizeof(text));
                if (strcmp(text, json_string_value(json_object_get(e, "intent"))) != 0)
                    continue;
                seen++;
                REQUIRE((uint64_t)json_integer_value(json_object_get(e, "frames")) == frames[n][c]);
            }
    }
    REQUIRE(seen == (NODES - 1) * WIRE_CLASSES);
    json_decref(all);
}

/* Frames that were dropped below the port, by whom they could be: the rules on the tap, by tc; the
 * XDP program, by its own count. */
static uint64_t dropped_below(const struct port *p)
{
#ifdef PANDO_HAVE_AF_XDP
    struct port_af_xdp_counters c;
    for (unsigned i = 0; port_af_xdp_counters(p, &c) == 0 && port_af_xdp_reason(i).name; i++)
        if (strcmp(port_af_xdp_reason(i).name, "fenced") == 0)
            return c.steered[i];
#else
    (void)p;
#endif
    if (strcmp(backend, "hardware") != 0)
        return 0;
    char line[512];
    unsigned long long n, sum = 0;
    FILE *f = popen("tc -s filter show dev ptap0", "r");
    REQUIRE(f != NULL);
    while (fgets(line, sizeof(line), f) != NULL) {
        const char *at = strstr(line, "(dropped ");
        if (at != NULL && sscanf(at, "(dropped %llu", &n) == 1)
            sum += n;
    }
    pclose(f);
    return sum;
}

static uint64_t on_queue(const struct port *p, uint16_t queue)
{
    struct ethdev_info info;
    struct rte_eth_stats stats = {0};
    REQUIRE(ethdev_info(p, &info) == 0 && queue < info.rx_queues &&
            rte_eth_stats_get(info.id, &stats) == 0);
    return stats.q_ipackets[queue];
}

/* Frames of each class by themselves: all come in on the queue that the class is wanted on. Where
 * addresses are all that the NIC can look at, that is one queue for all of them. */
static void check_queues(struct port *p)
{
    struct sent s[CHUNK];
    struct result r = {0};
    struct ethdev_info info;
    uint16_t queue[WIRE_CLASSES];
    REQUIRE(ethdev_info(p, &info) == 0);
    plan_class_queues(info.rx_queues, queue);
    for (uint8_t cls = 0; cls < WIRE_CLASSES; cls++) {
        uint16_t q = kind == LINK_ETHERNET ? queue[WIRE_CLASS_URGENT] : queue[cls];
        if (q == 0) /* what no rule takes; the kernel puts it where it likes */
            continue;
        uint64_t before = on_queue(p, q);
        for (uint32_t k = 0; k < CHUNK; k++) {
            uint8_t node = (uint8_t)(1 + k % (NODES - 1));
            s[k] = (struct sent){.node = node, .from = node, .cls = cls, .tag = NEW_TAG};
            put_on_wire(&s[k], k);
        }
        take(p, s, 0, CHUNK, CHUNK, &r);
        snprintf(err, sizeof(err), "class %u, queue %u: %llu", cls, q,
                 (unsigned long long)(on_queue(p, q) - before));
        REQUIRE(on_queue(p, q) - before == CHUNK);
    }
}

/* The longest that a call of the driver took. */
static double slowest_us(struct offload *o)
{
    static char text[OFFLOAD_TEXT_MAX];
    REQUIRE(offload_text(o, 0, text) > 0);
    json_t *page = json_loads(text, 0, NULL);
    double us = json_real_value(json_object_get(json_object_get(page, "calls"), "slowest_us"));
    json_decref(page);
    return us;
}

static uint32_t installed(struct offload *o)
{
    json_t *all = all_of(o), *e;
    uint32_t n = 0;
    size_t k;
    json_array_foreach(json_object_get(all, "rules"), k, e)
    {
        const char *state = json_string_value(json_object_get(e, "state"));
        n += strcmp(state, "installed") == 0;
    }
    json_decref(all);
    return n;
}

/* FNV over what was delivered; but for the last stream, whose order is nobody's promise. */
static uint64_t add_to_sum(uint64_t sum, const struct result *r)
{
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned c = 0; c < STREAMS; c++) {
            sum = (sum ^ r->n[n][c]) * UINT64_C(0x100000001B3);
            for (uint32_t i = 0; i < r->n[n][c] && c < WIRE_CLASSES; i++)
                sum = (sum ^ r->order[n][c][i]) * UINT64_C(0x100000001B3);
        }
    return sum;
}

int main(int argc, char **argv)
{
    static struct result r;
    static uint64_t frames[NODES][WIRE_CLASSES];
    uint64_t sum = UINT64_C(0xCBF29CE484222325), below = 0;
    uint32_t rules = 0;
    struct prng rng = {.state = 7};
    const struct phase none = {0, 0};
    if (argc < 3) {
        fprintf(stderr, "usage: pando-offload-conformance software|xdp|hardware ethernet|udp4 "
                        "[--rules]\n");
        return 2;
    }
    backend = argv[1];
    kind = strcmp(argv[2], "udp4") == 0 ? LINK_UDP4 : LINK_ETHERNET;
    bool need_rules = argc > 3 && strcmp(argv[3], "--rules") == 0;
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
        fprintf(stderr, "skipped: no network namespace: %s\n", strerror(errno));
        return SKIP;
    }
    make_writers(); /* addresses; again when ours is known */
    struct port *p = open_backend();
    learn_own_mac(p);
    make_writers();
    struct offload *o = open_offload(p);
    settle(o);
    for (unsigned k = 0; k < PHASES; k++) {
        apply(o, k > 0 ? &phases[k - 1] : &none, &phases[k]);
        settle(o);
        uint64_t above_before = offload_dropped(o), below_before = dropped_below(p);
        run_phase(p, &phases[k], &rng, &r);
        sum = add_to_sum(sum, &r);
        for (unsigned n = 0; n < NODES; n++)
            for (unsigned c = 0; c < WIRE_CLASSES; c++)
                frames[n][c] += r.frames[n][c];
        check_counts(o, frames);
        /* Each frame that a fence holds back was dropped once, by somebody. */
        uint64_t above = offload_dropped(o) - above_before, now = dropped_below(p) - below_before;
        snprintf(err, sizeof(err), "phase %u: %llu above, %llu below, of %llu", k,
                 (unsigned long long)above, (unsigned long long)now, (unsigned long long)r.dropped);
        if (above + now != r.dropped && strcmp(backend, "hardware") == 0 &&
            system("tc -s qdisc show dev ptap0 >&2; tc -s filter show dev ptap0 >&2") != 0)
            fprintf(stderr, "tc says nothing\n");
        REQUIRE(above + now == r.dropped);
        below += now;
        rules = installed(o) > rules ? installed(o) : rules;
    }
    printf("{\"backend\":\"%s\",\"link\":\"%s\",\"rules\":%u,\"dropped_above\":%llu,"
           "\"dropped_below\":%llu,\"slowest_call_us\":%.0f,\"sum\":\"%016llx\"}\n",
           backend, link_kind_name(kind), rules, (unsigned long long)offload_dropped(o),
           (unsigned long long)below, slowest_us(o), (unsigned long long)sum);
    REQUIRE(strcmp(backend, "xdp") != 0 || below > 0);
    if (need_rules) {
        REQUIRE(rules > 0 && below > 0);
        check_queues(p);
    }
    offload_close(o);
    port_close(p);
    port_eal_close();
    close(wire);
    return 0;
}
