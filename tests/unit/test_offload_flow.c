/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * offload/flow without a NIC: fences, counters and the text over a pair of ports; and all NICs of
 * the tables as a model in front of the port (plan_apply): with the NIC, without it and with a NIC
 * that takes some rules only, the same frames are handed on.
 */
#include "fake_device.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "offload/flow/offload.h"
#include "offload/plan/classify.h"

enum { SELF = 0, NODES = 5, MTU = 1400, OLD = 0x0DD, NEW = 0x4EE };

/* ---- the whole over a pair of ports -------------------------------------------------------- */

struct world {
    struct port *port, *far;
    struct offload *o;
};

static void node_mac(uint8_t node, uint8_t out[6])
{
    const uint8_t mac[6] = {2, 0, 0, 0, 1, node};
    memcpy(out, mac, sizeof(mac));
}

static struct link_config links(enum link_kind kind)
{
    struct link_config c = {.kind = kind, .udp_port = 34997, .self = SELF, .nodes = NODES};
    for (uint8_t n = 0; n < NODES; n++) {
        c.ip[n][0] = 10;
        c.ip[n][kind == LINK_UDP6 ? 15 : 3] = (uint8_t)(n + 1);
    }
    return c;
}

static const struct nic *nic_named(const char *name)
{
    assert_non_null(nic_by_name(name));
    return nic_by_name(name);
}

static struct world begin(const struct nic *nic, bool device, enum link_kind kind)
{
    struct world w;
    assert_int_equal(port_open_pair(MTU, &w.port, &w.far), 0);
    struct offload_config c = {.port = w.port,
                               .link = links(kind),
                               .ethertype = WIRE_ETHERTYPE,
                               .order = true,
                               .count = true,
                               .nic = nic,
                               .device = device ? &fake.device : NULL};
    assert_int_equal(offload_open(&c, &w.o), 0);
    for (uint8_t n = 1; n < NODES; n++) {
        uint8_t mac[6];
        node_mac(n, mac);
        assert_int_equal(offload_peer(w.o, n, mac), 0);
    }
    while (!offload_settled(w.o))
        offload_tick(w.o);
    return w;
}

static void end(struct world *w)
{
    offload_close(w->o);
    port_close(w->port);
    port_close(w->far);
}

static size_t rrdp_frame(uint8_t node, uint8_t cls, uint32_t tag, uint32_t id, uint8_t *out)
{
    struct wire_rrdp h = {.ack_valid = true,
                          .first = true,
                          .last = true,
                          .src = node,
                          .dst = SELF,
                          .cls = cls,
                          .data_len = 40,
                          .seq = id,
                          .tag = tag};
    size_t len = wire_rrdp_pack(&h, out);
    memset(out + len, 0, h.data_len);
    wire_rrdp_seal(out, len + h.data_len);
    return len + h.data_len;
}

static void to_port(struct world *w, const uint8_t *frame, size_t len, const uint8_t src[6])
{
    memcpy(w->far->mac.addr, src, 6);
    uint8_t *b = w->far->ops->tx_reserve(w->far, SELF, NULL);
    assert_non_null(b);
    memcpy(b, frame, len);
    w->far->ops->tx_commit(w->far, (uint32_t)len);
}

/* What is handed on of one frame, a burst by itself. */
static bool passes(struct world *w, uint8_t node, uint8_t from, uint8_t cls, uint32_t tag)
{
    uint8_t frame[256], mac[6];
    struct port_frame f[PORT_BURST];
    node_mac(from, mac);
    to_port(w, frame, rrdp_frame(node, cls, tag, 1, frame), mac);
    return port_rx(w->port, f, PORT_BURST) == 1;
}

static void test_bad_nodes(void **state)
{
    static const uint8_t nodes[] = {0, 1, WIRE_NODES_MAX + 1, 200, 255};
    struct port *a, *b;
    struct offload *o = NULL;
    (void)state;
    fake_reset();
    assert_int_equal(port_open_pair(MTU, &a, &b), 0);
    struct offload_config c = {
        .port = a, .ethertype = WIRE_ETHERTYPE, .nic = nic_named("mlx5"), .device = &fake.device};
    for (unsigned k = 0; k < sizeof(nodes); k++) {
        c.link = (struct link_config){.kind = LINK_ETHERNET, .nodes = nodes[k]};
        assert_int_equal(offload_open(&c, &o), -EINVAL);
    }
    c.link = (struct link_config){.kind = LINK_ETHERNET, .self = 3, .nodes = 3};
    assert_int_equal(offload_open(&c, &o), -EINVAL);
    assert_null(o);
    port_close(a);
    port_close(b);
}

static void test_fences(void **state)
{
    (void)state;
    struct world w = begin(NULL, false, LINK_ETHERNET);
    assert_true(passes(&w, 2, 2, 1, NEW));
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    assert_false(passes(&w, 2, 2, 1, NEW) || passes(&w, 3, 2, 1, NEW) || passes(&w, 2, 3, 1, NEW));
    assert_true(passes(&w, 3, 3, 1, NEW));
    assert_int_equal(offload_fence_epoch(w.o, 3, OLD, true), 0);
    assert_false(passes(&w, 3, 3, 0, OLD));
    assert_true(passes(&w, 3, 3, 0, NEW) && passes(&w, 4, 4, 0, OLD));
    assert_int_equal(offload_dropped(w.o), 4);
    assert_int_equal(offload_fence(w.o, 2, false), 0);
    assert_int_equal(offload_fence_epoch(w.o, 3, OLD, false), 0);
    assert_true(passes(&w, 2, 2, 1, NEW) && passes(&w, 3, 3, 0, OLD));
    assert_int_equal(offload_fence(w.o, SELF, true), -EINVAL);
    assert_int_equal(offload_fence(w.o, NODES, true), -EINVAL);
    assert_int_equal(offload_fence_epoch(w.o, NODES, OLD, true), -EINVAL);
    for (uint32_t k = 0; k < PLAN_EPOCHS_MAX; k++)
        assert_int_equal(offload_fence_epoch(w.o, 1, 100 + k, true), 0);
    assert_int_equal(offload_fence_epoch(w.o, 1, 99, true), -ENOSPC);
    assert_int_equal(offload_fence_epoch(w.o, 1, 100, true), 0); /* is there */
    assert_int_equal(offload_fence_epoch(w.o, 1, 100, false), 0);
    assert_true(passes(&w, 1, 1, 0, 100) && passes(&w, 1, 1, 0, 99));
    assert_false(passes(&w, 1, 1, 0, 100 + PLAN_EPOCHS_MAX - 1)); /* has moved to the free place */
    end(&w);
}

/* The device has a rule for this value of the field. */
static bool device_uses(enum rule_field f, const uint8_t *value)
{
    for (uint32_t k = 0; k < fake.has.rules; k++)
        if ((fake.has.rule[k].fields >> f & 1) != 0 &&
            memcmp(fake.has.rule[k].value[f], value, rule_field_bytes(f, LINK_ETHERNET)) == 0)
            return true;
    return false;
}

/* The port is replaced: all that was asked for holds for the next one, addresses too. */
static void test_take_over(void **state)
{
    struct offload_wishes wishes;
    uint8_t frame[256], mac[6];
    struct port_frame f[PORT_BURST];
    (void)state;
    struct world w = begin(NULL, false, LINK_ETHERNET);
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    assert_int_equal(offload_fence_epoch(w.o, 3, OLD, true), 0);
    offload_wishes(w.o, &wishes);
    offload_close(w.o);
    assert_true(passes(&w, 2, 2, 1, NEW)); /* nobody looks */
    fake_reset();
    struct offload_config c = {.port = w.port,
                               .link = links(LINK_ETHERNET),
                               .ethertype = WIRE_ETHERTYPE,
                               .nic = nic_named("ice"),
                               .device = &fake.device,
                               .wishes = &wishes};
    assert_int_equal(offload_open(&c, &w.o), 0);
    assert_false(passes(&w, 2, 2, 1, NEW) || passes(&w, 3, 3, 1, OLD));
    assert_true(passes(&w, 3, 3, 1, NEW));
    node_mac(2, mac);
    to_port(&w, frame, rrdp_frame(4, 1, NEW, 1, frame), mac);
    assert_int_equal(port_rx(w.port, f, PORT_BURST), 0); /* from its address */
    assert_int_equal(offload_fence(w.o, 2, false), 0);
    assert_int_equal(offload_fence_epoch(w.o, 3, OLD, false), 0);
    offload_wishes(w.o, &wishes); /* without a fence, addresses alone */
    offload_close(w.o);
    fake_reset();
    struct nic by_address = *nic_named("bluefield2");
    for (unsigned k = 0; k < by_address.templates; k++)
        by_address.shape[k].may &= ~F(RRDP_SOURCE);
    c.nic = &by_address;
    c.count = true;
    assert_int_equal(offload_open(&c, &w.o), 0);
    assert_true(device_uses(RULE_ETH_SRC, mac));
    end(&w);
}

/* An address moves from node to node: who is told with it last has it. */
static void test_address_moves(void **state)
{
    struct offload_wishes now;
    uint8_t mac[6], another[6];
    static const uint8_t none[6];
    (void)state;
    fake_reset();
    struct world w = begin(nic_named("ice"), true, LINK_ETHERNET);
    node_mac(1, mac);
    assert_int_equal(offload_fence(w.o, 1, true), 0);
    assert_false(passes(&w, 2, 1, 1, NEW)); /* it comes from the address of 1 */
    assert_int_equal(offload_peer(w.o, 2, mac), 0);
    offload_wishes(w.o, &now);
    assert_memory_equal(now.peer_mac[1], none, 6);
    assert_memory_equal(now.peer_mac[2], mac, 6);
    assert_true(passes(&w, 2, 1, 1, NEW)); /* now it is the address of 2 */
    uint32_t calls = fake.calls;
    for (unsigned k = 0; k < 3; k++) { /* both are said to have it: it stays, and nothing is done */
        assert_int_equal(offload_peer(w.o, 1, mac), 0);
        assert_int_equal(offload_peer(w.o, 2, mac), 0);
    }
    offload_wishes(w.o, &now);
    assert_memory_equal(now.peer_mac[2], mac, 6);
    assert_int_equal(fake.calls, calls);
    node_mac(9, another);
    assert_int_equal(offload_peer(w.o, 2, another), 0);
    assert_int_equal(offload_peer(w.o, 1, mac), 0); /* it is free */
    offload_wishes(w.o, &now);
    assert_memory_equal(now.peer_mac[1], mac, 6);
    assert_memory_equal(now.peer_mac[2], another, 6);
    assert_int_equal(offload_peer(w.o, 1, none), 0); /* not known any more: nobody's */
    assert_int_equal(offload_peer(w.o, 2, none), 0);
    assert_int_equal(offload_peer(w.o, SELF, mac), -EINVAL);
    assert_int_equal(offload_peer(w.o, NODES, mac), -EINVAL);
    end(&w);
}

/* A port with a fence of its own. */
static struct {
    uint64_t fenced;
    unsigned calls;
    int says;
} below;

static int below_fence(struct port *p, uint8_t node, bool fenced)
{
    (void)p;
    below.calls++;
    if (below.says == 0)
        below.fenced = fenced ? below.fenced | bit64(node) : below.fenced & ~bit64(node);
    return below.says;
}

static uint64_t no_time(void)
{
    return 1;
}

/* The port is told of each fence, behind a fault filter too, and asked again until it has it. */
static void test_port_fence(void **state)
{
    struct offload_wishes wishes;
    struct port *outer;
    (void)state;
    struct world w = begin(NULL, false, LINK_ETHERNET);
    offload_close(w.o);
    struct port_ops ops = *w.port->ops;
    const struct port_ops *own = w.port->ops;
    ops.fence = below_fence;
    w.port->ops = &ops;
    assert_int_equal(port_open_faulty(w.port, &(struct port_faults){0}, no_time, &outer), 0);
    memset(&below, 0, sizeof(below));
    struct offload_config c = {
        .port = outer, .link = links(LINK_ETHERNET), .ethertype = WIRE_ETHERTYPE};
    assert_int_equal(offload_open(&c, &w.o), 0);
    below.says = -EAGAIN;
    assert_int_equal(offload_fence(w.o, 2, true), -EAGAIN);
    assert_true(below.fenced == 0 && !offload_settled(w.o));
    assert_int_equal(offload_fence(w.o, 2, true), -EAGAIN); /* no less than the first time */
    below.says = 0;
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    assert_true(below.fenced == bit64(2) && below.calls == 3 && offload_settled(w.o));
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    assert_int_equal(below.calls, 3);
    below.says = -EAGAIN;
    assert_int_equal(offload_fence(w.o, 2, false), -EAGAIN);
    assert_false(offload_settled(w.o));
    below.says = 0;
    offload_tick(w.o);
    assert_true(below.fenced == 0 && offload_settled(w.o));
    assert_int_equal(offload_fence(w.o, 3, true), 0);
    offload_wishes(w.o, &wishes);
    offload_close(w.o);
    assert_true(below.fenced == 0); /* with its fences */
    below.says = -EAGAIN;
    c.wishes = &wishes;
    assert_int_equal(offload_open(&c, &w.o), 0); /* later will do */
    assert_false(offload_settled(w.o));
    below.says = 0;
    offload_tick(w.o);
    assert_true(below.fenced == bit64(3) && offload_settled(w.o));
    offload_close(w.o);
    w.port->ops = own;
    port_close(outer);
    port_close(w.far);
}

static void test_order(void **state)
{
    static const uint8_t classes[] = {2, 0, 1, 0, 2, 3, 0}, in_order[] = {1, 3, 6, 0, 2, 4, 5};
    uint8_t frame[256], mac[6];
    struct port_frame f[PORT_BURST];
    (void)state;
    struct world w = begin(NULL, false, LINK_ETHERNET);
    node_mac(1, mac);
    for (uint32_t k = 0; k < sizeof(classes); k++)
        to_port(&w, frame, rrdp_frame(1, classes[k], NEW, k, frame), mac);
    assert_int_equal(port_rx(w.port, f, PORT_BURST), sizeof(classes));
    for (uint32_t k = 0; k < sizeof(classes); k++)
        assert_int_equal(get_le32(f[k].data + 8), in_order[k]);
    end(&w);
}

/* All pages of the text. */
static json_t *text_of(struct offload *o, uint32_t *ret_pages)
{
    static char text[OFFLOAD_TEXT_MAX];
    json_t *all = json_pack("{s:[], s:[]}", "intents", "rules");
    uint32_t from = 0;
    *ret_pages = 0;
    do {
        size_t n = offload_text(o, from, text);
        assert_true(n > 0 && n < OFFLOAD_TEXT_MAX && strlen(text) == n);
        json_t *page = json_loads(text, 0, NULL);
        assert_non_null(page);
        json_array_extend(json_object_get(all, "intents"), json_object_get(page, "intents"));
        json_array_extend(json_object_get(all, "rules"), json_object_get(page, "rules"));
        from = (uint32_t)json_integer_value(json_object_get(page, "next"));
        json_decref(page);
        (*ret_pages)++;
    } while (from != 0);
    return all;
}

static json_t *intent_of(json_t *all, const char *text)
{
    json_t *e;
    size_t k;
    json_array_foreach(json_object_get(all, "intents"), k,
                       e) if (strcmp(json_string_value(json_object_get(e, "intent")), text) ==
                              0) return e;
    fail_msg("there is no intent '%s'", text);
    return NULL;
}

static const char *word(json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static int64_t number(json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* A driver that takes no rule that drops: the fence is the poll loop's, and says so in its words.
 */
static void test_text_of_refusals(void **state)
{
    uint32_t pages;
    (void)state;
    fake_reset();
    fake.lies = DO(DROP);
    struct world w = begin(nic_named("mlx5"), true, LINK_UDP4);
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    while (!offload_settled(w.o))
        offload_tick(w.o);
    passes(&w, 2, 2, 1, NEW);
    json_t *all = text_of(w.o, &pages), *fence = intent_of(all, "fence node 2");
    assert_string_equal(word(fence, "by"), "software");
    assert_non_null(strstr(word(fence, "reason"), "no room in \"TCAM\" \\ "));
    assert_int_equal(number(fence, "frames"), 1);
    json_decref(all);
    fake.lies = 0; /* now it does, at the next change */
    assert_int_equal(offload_fence(w.o, 3, true), 0);
    while (!offload_settled(w.o))
        offload_tick(w.o);
    all = text_of(w.o, &pages);
    fence = intent_of(all, "fence node 2");
    assert_string_equal(word(fence, "by"), "hardware");
    json_decref(all);
    end(&w);
    assert_int_equal(fake.has.rules, 0);
}

/* Words that are not UTF-8, which JSON cannot hold. */
static void test_text_of_odd_words(void **state)
{
    uint32_t pages;
    (void)state;
    fake_reset();
    fake.lies = DO(DROP);
    fake.says = "bad \xff\n";
    struct world w = begin(nic_named("mlx5"), true, LINK_UDP4);
    json_t *all = text_of(w.o, &pages);
    size_t before = json_array_size(json_object_get(all, "rules"));
    assert_true(before > 0);
    json_decref(all);
    assert_int_equal(offload_fence(w.o, 2, true), 0);
    while (!offload_settled(w.o))
        offload_tick(w.o);
    all = text_of(w.o, &pages);
    assert_int_equal(json_array_size(json_object_get(all, "rules")), before + 1);
    assert_string_equal(word(intent_of(all, "fence node 2"), "reason"), "bad ??");
    json_decref(all);
    end(&w);
}

static void test_text_pages_and_counts(void **state)
{
    uint32_t pages;
    (void)state;
    fake_reset();
    fake.frames_a_rule = 7;
    struct world w = begin(nic_named("mlx5"), true, LINK_UDP4);
    for (uint8_t n = 1; n < NODES; n++)
        assert_int_equal(offload_fence(w.o, n, true), 0);
    for (uint32_t k = 0; k < 40; k++)
        assert_int_equal(offload_fence_epoch(w.o, 1, k, true), 0);
    for (unsigned k = 0; k < 500; k++)
        offload_tick(w.o);
    json_t *all = text_of(w.o, &pages), *e;
    size_t k, counted = 0;
    assert_true(pages > 1);
    assert_int_equal(json_array_size(json_object_get(all, "rules")), fake.has.rules);
    json_array_foreach(json_object_get(all, "rules"), k, e)
    {
        assert_string_equal(word(e, "state"), "installed");
        counted += number(e, "frames") == 7 && number(e, "bytes") == 700;
    }
    assert_true(counted > 0);
    json_decref(all);
    end(&w);
}

/* Somebody reads all the time while fences come and go: the answers are whole. (Under a thread
 * sanitizer this says whether what they are made of is guarded.) */
struct reading {
    struct offload *o;
    atomic_bool stop;
    unsigned answers, broken;
};

static void *read_on(void *arg)
{
    static char text[OFFLOAD_TEXT_MAX];
    struct reading *r = arg;
    while (!atomic_load(&r->stop)) {
        offload_text(r->o, 0, text);
        json_t *page = json_loads(text, 0, NULL);
        r->broken += page == NULL || json_array_size(json_object_get(page, "intents")) == 0;
        r->answers++;
        json_decref(page);
    }
    return NULL;
}

static void test_text_beside_changes(void **state)
{
    pthread_t thread;
    (void)state;
    fake_reset();
    struct world w = begin(nic_named("mlx5"), true, LINK_ETHERNET);
    struct reading r = {.o = w.o};
    assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
    for (unsigned k = 0; k < 500; k++) {
        uint8_t mac[6] = {2, 0, 0, 0, 9, (uint8_t)(k % 7)};
        assert_int_equal(offload_fence_epoch(w.o, 1, k % 5, k & 1), 0);
        assert_int_equal(offload_fence(w.o, 2, k & 1), 0);
        assert_int_equal(offload_peer(w.o, 3, mac), 0);
        offload_tick(w.o);
        if (k % 16 == 0)
            usleep(100); /* it gets the lock now and then */
    }
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
    assert_true(r.answers > 0 && r.broken == 0);
    end(&w);
}

/* ---- a NIC in front of the port ------------------------------------------------------------ */

/* Puts a frame on the wire in front of the fake NIC, which has the rules in fake.has. */
static void through_nic(struct world *w, enum link_kind kind, uint8_t node, uint8_t from,
                        uint8_t cls, uint32_t tag, uint32_t id)
{
    uint8_t bytes[320], *frame = bytes + LINK_BYTES_MAX, mac[6], own[6], src[6];
    struct link_config c = links(kind);
    struct link l;
    size_t len = rrdp_frame(node, cls, tag, id, frame), header = link_header_bytes(kind);
    node_mac(from, mac);
    node_mac(SELF, own);
    c.self = from;
    assert_int_equal(link_init(&l, &c, WIRE_ETHERTYPE, MTU, mac), 0);
    memcpy(l.next_hop[SELF], own, 6);
    l.known = bit64(SELF);
    link_write(&l, SELF, own, (uint32_t)len, frame - header);
    link_own_mac(&l, src);
    int32_t taken = plan_apply(&fake.has, kind, frame - header, len + header);
    if (taken >= 0 && fake.has.rule[taken].actions & DO(DROP))
        return;
    to_port(w, frame, len, src);
}

/* Ids of what is handed on, as a sum. */
static uint64_t run_frames(struct world *w, enum link_kind kind, uint64_t seed)
{
    struct prng r = {.state = seed};
    uint64_t sum = 1;
    struct port_frame f[PORT_BURST];
    for (uint32_t id = 0; id < 400; id++) {
        uint8_t node = (uint8_t)(1 + prng_below(&r, NODES - 1)), from = node;
        if (prng_below(&r, 8) == 0)
            from = (uint8_t)(1 + prng_below(&r, NODES - 1));
        through_nic(w, kind, prng_below(&r, 9) == 0 ? 61 : node, from,
                    (uint8_t)prng_below(&r, WIRE_CLASSES), prng_below(&r, 2) ? OLD : NEW, id);
        for (uint32_t n = port_rx(w->port, f, PORT_BURST), k = 0; k < n; k++)
            sum = (sum ^ get_le32(f[k].data + 8)) * UINT64_C(0x100000001B3);
    }
    return sum;
}

/* True: a fence was lifted, and may still be in the NIC. */
static bool change(struct world *w, struct prng *r)
{
    uint8_t node = (uint8_t)(1 + prng_below(r, NODES - 1));
    bool on = prng_below(r, 2);
    if (prng_below(r, 2))
        assert_int_equal(offload_fence(w->o, node, on), 0);
    else
        assert_int_equal(offload_fence_epoch(w->o, node, OLD, on), 0);
    return !on;
}

/* never: what the device refuses. Sums of five rounds of changes. */
static uint64_t life(const struct nic *nic, enum link_kind kind, uint32_t never, uint64_t seed)
{
    struct prng r = {.state = seed};
    uint64_t sum = 0;
    fake_reset();
    fake.never = never;
    fake.capacity = 64;
    struct world w = begin(nic, nic != NULL, kind);
    for (unsigned round = 0; round < 5; round++) {
        bool lifted = false;
        for (unsigned k = 0; k < 3; k++)
            lifted |= change(&w, &r);
        if (lifted || prng_below(&r, 2)) /* or the NIC is still behind, which nobody sees */
            while (!offload_settled(w.o))
                offload_tick(w.o);
        sum = sum * 31 + run_frames(&w, kind, seed + round);
    }
    end(&w);
    assert_int_equal(fake.has.rules, 0);
    return sum;
}

static void test_same_with_each_nic(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < LINK_KINDS; kind++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            uint64_t without = life(NULL, kind, 0, seed);
            for (unsigned k = 0; nic_at(k) != NULL; k++) {
                assert_true(life(nic_at(k), kind, 0, seed) == without);
                assert_true(life(nic_at(k), kind, DO(DROP), seed) == without);
                assert_true(life(nic_at(k), kind, DO(QUEUE), seed) == without);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_nodes),
        cmocka_unit_test(test_fences),
        cmocka_unit_test(test_take_over),
        cmocka_unit_test(test_address_moves),
        cmocka_unit_test(test_port_fence),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_text_of_refusals),
        cmocka_unit_test(test_text_of_odd_words),
        cmocka_unit_test(test_text_pages_and_counts),
        cmocka_unit_test(test_text_beside_changes),
        cmocka_unit_test(test_same_with_each_nic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
