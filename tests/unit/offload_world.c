/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload_world.h"

#include <stdlib.h>
#include <string.h>

enum { MTU = 1500, UDP_PORT = 18514, TAG_AT = 12 };

struct world w;

/* ---- seeds --------------------------------------------------------------------------------- */

double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

uint64_t first_seed(void)
{
    static uint64_t first;
    const char *s = getenv("PANDO_SEED");
    if (s != NULL)
        return strtoull(s, NULL, 0);
    struct prng r = {.state = (uint64_t)(now(CLOCK_REALTIME) * 1e6)};
    if (first == 0) /* far from the last run's */
        first = prng_next(&r) >> 32;
    return first;
}

unsigned families_known(void)
{
    unsigned n = 0;
    while (nic_at(n) != NULL)
        n++;
    return n;
}

static const uint8_t sizes[SIZES] = {2, 3, 16, 64};

enum link_kind seeded(uint64_t seed, uint8_t *ret_nodes, const struct nic **ret_nic)
{
    w.seed = seed;
    w.r.state = seed;
    *ret_nodes = sizes[seed / LINK_KINDS % SIZES];
    *ret_nic = nic_at((unsigned)(seed / WORLDS % families_known()));
    return (enum link_kind)(seed % LINK_KINDS);
}

void fail_here(const char *what, int32_t rule)
{
    char text[PLAN_TEXT_MAX] = "no rule";
    if (rule >= 0)
        plan_rule_text(w.nic, &w.in, &w.plan.rule[rule], text, sizeof(text));
    fail_msg("%s: seed %llu, %s, %s, %u nodes: %s", what, (unsigned long long)w.seed, w.nic->name,
             link_kind_name(w.in.link.kind), w.in.link.nodes, text);
}

bool chance(unsigned percent)
{
    return prng_below(&w.r, 100) < percent;
}

uint8_t any_peer(void)
{
    uint8_t n = (uint8_t)prng_below(&w.r, w.in.link.nodes - 1u);
    return n >= w.in.link.self ? (uint8_t)(n + 1) : n;
}

/* ---- inputs -------------------------------------------------------------------------------- */

static void make_addresses(void)
{
    for (uint8_t n = 0; n < w.in.link.nodes; n++) {
        const uint8_t mac[6] = {2, 'P', 'A', 0, 1, n};
        memcpy(w.mac[n], mac, 6);
        for (unsigned i = 0; i < 16; i++)
            w.in.link.ip[n][i] = (uint8_t)(10 + i);
        w.in.link.ip[n][3] = w.in.link.ip[n][15] = n;
        if (chance(90))
            memcpy(w.in.peer_mac[n], mac, 6);
    }
}

void make_intents(void)
{
    w.in.fenced = 0;
    w.in.epochs = 0;
    for (unsigned i = prng_below(&w.r, 4); i > 0; i--)
        w.in.fenced |= bit64(any_peer());
    for (unsigned i = prng_below(&w.r, 4); i > 0; i--) {
        w.in.epoch[w.in.epochs].node = any_peer();
        w.in.epoch[w.in.epochs++].tag = (uint32_t)prng_next(&w.r);
    }
    if (chance(3)) /* all that fit */
        for (w.in.epochs = 0; w.in.epochs < PLAN_EPOCHS_MAX; w.in.epochs++) {
            w.in.epoch[w.in.epochs].node = any_peer();
            w.in.epoch[w.in.epochs].tag = 1000 + w.in.epochs;
        }
}

void make_input(enum link_kind kind, uint8_t nodes)
{
    memset(&w.in, 0, sizeof(w.in));
    w.in.link.kind = kind;
    w.in.link.udp_port = UDP_PORT;
    w.in.link.nodes = nodes;
    w.in.link.self = (uint8_t)prng_below(&w.r, nodes);
    w.in.ethertype = WIRE_ETHERTYPE;
    make_addresses();
    const uint8_t group[6] = {3, 'P', 'A', 1, 2, 3};
    memcpy(w.in.group_mac, group, 6);
    w.in.vlan_priority = chance(15);
    w.in.queues = (uint16_t)(1 + prng_below(&w.r, 6));
    plan_class_queues(w.in.queues, w.in.class_queue);
    for (unsigned c = 0; chance(30) && c < WIRE_CLASSES; c++)
        w.in.class_queue[c] = (uint16_t)prng_below(&w.r, w.in.queues);
    w.in.count = chance(50);
    w.in.mark = chance(50);
    w.in.replicate = chance(30);
    w.in.checksum = chance(30);
    w.in.crypto = chance(10);
    w.in.xdp = chance(10);
    if (chance(20))
        w.in.local = bit64(any_peer()) | bit64(any_peer());
    w.in.refused_intents = chance(10) ? bit64(prng_below(&w.r, INTENTS)) & UINT32_MAX : 0;
    w.in.refused_shapes = chance(10) ? prng_below(&w.r, 8) : 0;
    make_intents();
    assert_int_equal(link_init(&w.own, &w.in.link, w.in.ethertype, MTU, w.mac[w.in.link.self]), 0);
}

void make_up_nic(struct nic *nic)
{
    static const uint32_t fields[] = {
        FIELD(ETH_TYPE),
        FIELD(ETH_TYPE) | FIELD(ETH_SRC),
        FIELD(IP_DST) | FIELD(UDP_DST) | FIELD(IP_PROTO),
        FIELD(UDP_DST) | FIELD(UDP_SRC),
        FIELD(IP_SRC) | FIELD(IP_DST) | FIELD(UDP_SRC) | FIELD(UDP_DST),
        FIELD(RRDP_SOURCE),
        FIELD(RRDP_CLASS),
        FIELD(RRDP_TAG),
        FIELD(VLAN_PCP),
    };
    *nic = (struct nic){.name = "made up", .drivers = "", .title = "", .notes = "", .source = ""};
    nic->priorities = chance(50);
    nic->priority_max = (uint16_t)prng_below(&w.r, 3);
    nic->group = (uint16_t)prng_below(&w.r, 2);
    nic->flex = (enum nic_flex)(1 + prng_below(&w.r, 3));
    nic->mac_filter = chance(50);
    nic->templates = 1 + prng_below(&w.r, NIC_TEMPLATES_MAX);
    for (unsigned s = 0; s < nic->templates; s++) {
        struct nic_template *t = &nic->shape[s];
        *t = (struct nic_template){.name = "shape", .source = ""};
        t->kinds = 1 + prng_below(&w.r, (1 << LINK_KINDS) - 1);
        for (unsigned f = 0; f < PANDO_ARRAY_LEN(fields); f++) {
            t->must |= chance(20) ? fields[f] : 0;
            t->may |= chance(60) ? fields[f] : 0;
        }
        t->fates = prng_below(&w.r, 8) & (DO(QUEUE) | DO(RSS) | DO(DROP));
        t->with = (chance(50) ? DO(COUNT) : 0) | (chance(50) ? DO(MARK) : 0);
        t->tagged = chance(50);
        t->capacity = chance(50) ? 0 : (uint16_t)(1 + prng_below(&w.r, 40));
        t->flex_bytes = (uint8_t)prng_below(&w.r, 8);
        t->flex_until = (uint8_t)prng_below(&w.r, 30);
        t->flex_bits = chance(60);
    }
}

/* ---- frames -------------------------------------------------------------------------------- */

static void make_header(struct frame *f, uint8_t *h)
{
    for (unsigned i = 0; i < WIRE_RRDP_HEADER + BEHIND_HEADER; i++)
        h[i] = (uint8_t)prng_next(&w.r);
    h[0] = (uint8_t)((h[0] & ~3) | WIRE_VERSION);
    h[2] = f->node;
    h[3] = chance(20) ? WIRE_DST_GROUP : w.in.link.self;
    h[4] = (uint8_t)((h[4] & ~3) | f->cls);
    if (w.in.epochs > 0 && chance(50)) {
        unsigned e = prng_below(&w.r, w.in.epochs);
        put_le32(h + 16, w.in.epoch[e].tag);
        if (chance(80))
            h[2] = w.in.epoch[e].node;
    }
    f->node = h[2];
}

static void put_tag(struct frame *f, uint8_t pcp)
{
    memmove(f->b + TAG_AT + 4, f->b + TAG_AT, f->len - TAG_AT);
    const uint8_t tag[4] = {0x81, 0x00, (uint8_t)(pcp << 5), 0};
    memcpy(f->b + TAG_AT, tag, 4);
    f->len += 4;
}

void make_proper(struct frame *f)
{
    struct link_config cfg = w.in.link;
    struct link from;
    uint32_t header = link_header_bytes(cfg.kind), all = WIRE_RRDP_HEADER + BEHIND_HEADER;
    bool udp = cfg.kind != LINK_ETHERNET;
    uint32_t len = udp && chance(10) ? 1 + prng_below(&w.r, all) : all;
    static const uint8_t broadcast[6] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    f->proper = len >= WIRE_RRDP_HEADER;
    f->node = any_peer();
    f->cls = (uint8_t)prng_below(&w.r, WIRE_CLASSES);
    make_header(f, f->b + header);
    cfg.self = f->node;
    assert_int_equal(link_init(&from, &cfg, w.in.ethertype, MTU, w.mac[f->node]), 0);
    for (uint8_t n = 0; n < cfg.nodes; n++)
        memcpy(from.next_hop[n], w.mac[n], 6);
    from.known = UINT64_MAX;
    const uint8_t *to = chance(10)   ? broadcast
                        : chance(20) ? w.in.group_mac
                                     : w.mac[w.in.link.self];
    if (chance(50)) /* else padding that looks like a header */
        memset(f->b + header + len, 0, all - len);
    link_write(&from, w.in.link.self, to, len, f->b);
    f->len = header + all;
    if (w.in.vlan_priority)
        put_tag(f, (uint8_t)(7 - f->cls));
}

bool spoil(struct frame *f)
{
    size_t link = f->len - WIRE_RRDP_HEADER - BEHIND_HEADER;
    bool udp = w.in.link.kind != LINK_ETHERNET;
    uint8_t *h = f->b + link;
    switch (prng_below(&w.r, 12)) {
    case 0: /* version */
        h[0] ^= (uint8_t)(1 + prng_below(&w.r, 3));
        return true;
    case 1: /* says to be another, or nobody */
        h[2] = (uint8_t)prng_below(&w.r, w.in.link.nodes + 10u);
        return true;
    case 2: /* class and what stands for it disagree */
        h[4] ^= (uint8_t)(1 + prng_below(&w.r, 3));
        return true;
    case 3: /* a plain UDP socket */
        if (udp)
            h[-7] ^= (uint8_t)(1 + prng_below(&w.r, 255));
        return udp;
    case 4: /* another's port */
        h[udp ? -5 : 2] ^= 1;
        return true;
    case 5: /* EtherType */
        f->b[link - (udp ? link_header_bytes(w.in.link.kind) : 14) + 13] ^= 1;
        return true;
    case 6: /* tagged, or not: with a priority tag it becomes a frame with two */
        put_tag(f, (uint8_t)prng_below(&w.r, 8));
        return true;
    case 7: /* cut off */
        f->len = prng_below(&w.r, (uint32_t)f->len + 1);
        return true;
    case 8: /* to another address */
        if (udp)
            h[-9] ^= 1;
        else
            f->b[4] ^= 1;
        return true;
    case 9: /* from another address */
        f->b[11] ^= 1;
        if (udp)
            h[w.in.link.kind == LINK_UDP4 ? -13 : -25] ^= 1;
        return true;
    case 10: /* any byte */
        f->b[prng_below(&w.r, (uint32_t)f->len)] ^= (uint8_t)(1 + prng_below(&w.r, 255));
        return true;
    default: /* nothing of ours */
        for (size_t i = 0; i < f->len; i++)
            f->b[i] = (uint8_t)prng_next(&w.r);
        return true;
    }
}

size_t strip(const struct frame *f, uint8_t out[FRAME_MAX])
{
    memcpy(out, f->b, f->len);
    if (!w.in.vlan_priority || f->len < 18 || out[12] != 0x81 || out[13] != 0 ||
        (out[14] & 15) != 0 || out[15] != 0)
        return f->len;
    memmove(out + 12, out + 16, f->len - 16);
    return f->len - 4;
}
