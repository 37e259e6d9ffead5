/* SPDX-License-Identifier: BSD-3-Clause */
/* dataplane/interrupt: routing against a slow reference, decoding, announcements, wire forms. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "dataplane/base/prng.h"
#include "dataplane/interrupt/interrupt.h"

#define ALL_ENABLED (IRQ_VCPU_PRESENT | IRQ_VCPU_HW_ENABLED | IRQ_VCPU_SW_ENABLED)

static struct irq_route_table table;

static struct irq_announcement entry(uint16_t vcpu, uint8_t node, uint32_t id, uint8_t logical,
                                     uint8_t dfr)
{
    return (struct irq_announcement){.apic_id = id,
                                     .ldr = (uint32_t)logical << 24,
                                     .seq = 1,
                                     .vcpu = vcpu,
                                     .node = node,
                                     .flags = ALL_ENABLED,
                                     .dfr = dfr};
}

static struct irq_announcement x2_entry(uint16_t vcpu, uint8_t node, uint32_t id)
{
    struct irq_announcement a = entry(vcpu, node, id, 0, IRQ_DFR_FLAT);
    a.flags |= IRQ_VCPU_X2APIC;
    a.ldr = (id / 16) << 16 | 1u << (id % 16);
    return a;
}

static void put(struct irq_announcement a)
{
    a.seq = table.vcpu[a.vcpu].seq + 1;
    assert_int_equal(irq_announce(&table, &a), 0);
}

static struct apic_msg msg(uint8_t delivery, uint8_t dest_mode, uint32_t dest)
{
    return (struct apic_msg){.dest = dest,
                             .source = 0,
                             .vector = 0x40,
                             .delivery = delivery,
                             .dest_mode = dest_mode,
                             .level = 1};
}

/* Routes and compares with a mask of vCPUs 0..63. */
static void expect(struct apic_msg m, uint64_t vcpus)
{
    struct irq_targets t;
    assert_int_equal(irq_route(&table, &m, &t), __builtin_popcountll(vcpus));
    assert_int_equal(t.vcpus.word[0], vcpus);
    assert_int_equal(t.vcpus.word[1] | t.vcpus.word[2] | t.vcpus.word[3], 0);
}

static void eight_flat(void)
{
    assert_int_equal(irq_table_init(&table, 0), 0);
    for (uint16_t v = 0; v < 8; v++)
        put(entry(v, (uint8_t)(v % 3), v * 2u, (uint8_t)(1u << v), IRQ_DFR_FLAT));
}

static void test_physical(void **state)
{
    (void)state;
    eight_flat();
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 6), 1u << 3);
    expect(msg(APIC_DELIVERY_NMI, APIC_DEST_PHYSICAL, 14), 1u << 7);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 7), 0);
    expect(msg(APIC_DELIVERY_INIT, APIC_DEST_PHYSICAL, 0xFF), 0xFF);
    struct apic_msg m = msg(APIC_DELIVERY_SIPI, APIC_DEST_PHYSICAL, UINT32_MAX);
    m.wide = 1;
    expect(m, 0xFF);
    m.dest = 0xFF; /* in 32 bits this is an id like any other */
    expect(m, 0);
    m.dest = 0x106;
    expect(m, 0);
    m.dest = 0x80000006;
    expect(m, 0);
}

static void test_physical_ids_above_255(void **state)
{
    (void)state;
    eight_flat();
    put(x2_entry(9, 5, 300));
    struct apic_msg m = msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 300);
    struct irq_targets t;
    assert_int_equal(irq_route(&table, &m, &t), -EINVAL); /* narrow */
    m.wide = 1;
    expect(m, 1u << 9);
    m = msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 0xFF);
    expect(m, 0x2FF);
}

static void test_flat(void **state)
{
    (void)state;
    eight_flat();
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x01), 0x01);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0xA5), 0xA5);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x00), 0);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0xFF), 0xFF);
    put(entry(2, 2, 4, 0x83, IRQ_DFR_FLAT)); /* several bits in one logical id */
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x02), 0x06);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x04), 0);
}

static void test_cluster(void **state)
{
    (void)state;
    assert_int_equal(irq_table_init(&table, 0), 0);
    for (uint16_t v = 0; v < 12; v++)
        put(entry(v, 0, v, (uint8_t)(v / 4 << 4 | 1u << v % 4), IRQ_DFR_CLUSTER));
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x01), 0x001);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x13), 0x030);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x2F), 0xF00);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x3F), 0);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x20), 0);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0xFF), 0xFFF);
}

static void test_x2apic_logical(void **state)
{
    (void)state;
    assert_int_equal(irq_table_init(&table, 0), 0);
    for (uint16_t v = 0; v < 40; v++)
        put(x2_entry(v, (uint8_t)(v % 4), v));
    struct apic_msg m = msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x00010003);
    m.wide = 1;
    expect(m, UINT64_C(3) << 16);
    m.dest = 0x0002FFFF; /* 32..39 exist */
    expect(m, UINT64_C(0xFF) << 32);
    m.dest = 0x0000FFFF;
    expect(m, 0xFFFF);
    m.dest = 0x000000FF; /* no broadcast in 32 bits: the first eight of cluster 0 */
    expect(m, 0xFF);
    m.dest = UINT32_MAX;
    expect(m, (UINT64_C(1) << 40) - 1);
    m.dest = 0x00200001; /* cluster beyond the table */
    expect(m, 0);
    m.dest = 0x00010000;
    expect(m, 0);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x81), 0x81); /* an MSI: cluster 0 */
    put(entry(17, 1, 17, 0x02, IRQ_DFR_FLAT)); /* back in xAPIC mode: not by cluster any more */
    m.dest = 0x00010003;
    expect(m, UINT64_C(1) << 16);
}

static void test_shorthands(void **state)
{
    (void)state;
    struct irq_targets t;
    eight_flat();
    struct apic_msg m = msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 0);
    m.source = 3;
    m.shorthand = APIC_SHORTHAND_SELF;
    expect(m, 1u << 3);
    m.shorthand = APIC_SHORTHAND_ALL;
    expect(m, 0xFF);
    m.shorthand = APIC_SHORTHAND_OTHERS;
    expect(m, 0xF7);
    m.source = 99;
    assert_int_equal(irq_route(&table, &m, &t), -EINVAL);
    m.source = IRQ_SOURCE_DEVICE;
    assert_int_equal(irq_route(&table, &m, &t), -EINVAL);
}

static void test_lowest_priority(void **state)
{
    (void)state;
    eight_flat();
    struct apic_msg m = msg(APIC_DELIVERY_LOWEST, APIC_DEST_LOGICAL, 0xF0);
    for (unsigned v = 0x40; v < 0x48; v++) { /* vector hashing */
        m.vector = (uint8_t)v;
        expect(m, 0x10u << (v % 4));
    }
    m.vector = 0x40;
    table.rotor = 3;
    expect(m, 0x80);
    table.rotor = 0;
    struct irq_announcement a = entry(4, 1, 8, 0x10, IRQ_DFR_FLAT);
    a.priority = 2; /* out of the race */
    put(a);
    for (unsigned v = 0x40; v < 0x43; v++) {
        m.vector = (uint8_t)v;
        expect(m, 0x20u << (v % 3));
    }
    a = entry(6, 0, 12, 0x40, IRQ_DFR_FLAT);
    a.flags &= (uint8_t)~IRQ_VCPU_SW_ENABLED; /* takes no part */
    put(a);
    m.dest = 0x40;
    expect(m, 0);
    m.delivery = APIC_DELIVERY_FIXED; /* but is reachable: NMI and INIT use the same path */
    expect(m, 0x40);
    m.delivery = APIC_DELIVERY_LOWEST;
    m.dest = 0x10; /* the only candidate wins whatever its priority */
    expect(m, 0x10);
}

static void test_nodes_and_windows(void **state)
{
    (void)state;
    struct irq_targets t;
    assert_int_equal(irq_table_init(&table, 0), 0);
    for (unsigned v = 0; v < 256; v++)
        put(x2_entry((uint16_t)v, (uint8_t)(v % 64), v * 2));
    struct apic_msg m = msg(APIC_DELIVERY_NMI, APIC_DEST_PHYSICAL, 0);
    m.shorthand = APIC_SHORTHAND_OTHERS;
    assert_int_equal(irq_route(&table, &m, &t), 255);
    assert_true(t.nodes == UINT64_MAX);
    assert_int_equal(irq_targets_window(&table, &t, 0, 0), 0);
    assert_int_equal(irq_targets_window(&table, &t, 0, 1), 1);
    assert_true(irq_targets_window(&table, &t, 63, 3) == UINT64_C(1) << 63);
    assert_int_equal(irq_targets_window(&table, &t, 64, 0), 0);
    assert_int_equal(irq_targets_window(&table, &t, 0, 4), 0);
    m = msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 2 * 200);
    m.wide = 1;
    assert_int_equal(irq_route(&table, &m, &t), 1);
    assert_true(t.nodes == UINT64_C(1) << (200 % 64));
    assert_int_equal(irq_set_next(&t.vcpus, 0), 200);
    assert_int_equal(irq_set_next(&t.vcpus, 201), IRQ_MAX_VCPUS);
}

static void test_announce_errors(void **state)
{
    (void)state;
    assert_int_equal(irq_table_init(&table, 64), -EINVAL);
    eight_flat();
    static struct irq_route_table before;
    before = table;
    struct irq_announcement a = entry(1, 1, 2, 2, IRQ_DFR_FLAT);
    assert_int_equal(irq_announce(&table, &a), -ESTALE); /* seq 1 again */
    a.seq = 0;
    assert_int_equal(irq_announce(&table, &a), -ESTALE);
    a.seq = 2;
    a.node = 2;
    assert_int_equal(irq_announce(&table, &a), -EXDEV);
    a.node = 1;
    a.apic_id = 6;
    assert_int_equal(irq_announce(&table, &a), -EEXIST);
    struct irq_announcement bad[10];
    for (unsigned i = 0; i < 10; i++) {
        bad[i] = entry(1, 1, 2, 2, IRQ_DFR_FLAT);
        bad[i].seq = 2;
    }
    bad[0].vcpu = 256;
    bad[1].node = 64;
    bad[2].apic_id = 512;
    bad[3].flags = 0x10;
    bad[4].flags = IRQ_VCPU_PRESENT | IRQ_VCPU_SW_ENABLED;
    bad[5].flags = IRQ_VCPU_PRESENT | IRQ_VCPU_X2APIC;
    bad[6].dfr = 3;
    bad[7].ldr = 1;
    bad[8].flags |= IRQ_VCPU_X2APIC;
    bad[9].priority = 16;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(irq_announce(&table, &bad[i]), -EINVAL);
    assert_memory_equal(&before, &table, sizeof(table));
}

static void test_announce_life(void **state)
{
    (void)state;
    eight_flat();
    struct irq_announcement a = entry(1, 1, 2, 2, IRQ_DFR_FLAT);
    a.seq = 2;
    a.flags = 0;
    assert_int_equal(irq_announce(&table, &a), 0);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 0xFF), 0xFD);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_LOGICAL, 0x02), 0);
    a = entry(1, 7, 2, 2, IRQ_DFR_FLAT); /* absent: may come back elsewhere */
    a.seq = 0x7FFFFFFF;
    assert_int_equal(irq_announce(&table, &a), 0);
    a.seq = 0xFFFFFFFE; /* steps of less than 2^31, across the wrap */
    a.flags = IRQ_VCPU_PRESENT;
    assert_int_equal(irq_announce(&table, &a), 0);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 2), 0);
    a.seq = 3;
    a.flags = ALL_ENABLED;
    assert_int_equal(irq_announce(&table, &a), 0);
    expect(msg(APIC_DELIVERY_FIXED, APIC_DEST_PHYSICAL, 2), 2);
    assert_int_equal(table.generation, 8 + 4);
}

static void test_eoi_route(void **state)
{
    (void)state;
    assert_int_equal(irq_table_init(&table, 5), 0);
    assert_int_equal(irq_eoi_route(&table, 0x31), 5);
    assert_int_equal(irq_eoi_set(&table, 0x31, 9), 0);
    assert_int_equal(irq_eoi_set(&table, 0x32, IRQ_NODE_NONE), 0);
    assert_int_equal(irq_eoi_set(&table, 0x33, 64), -EINVAL);
    assert_int_equal(irq_eoi_route(&table, 0x31), 9);
    assert_int_equal(irq_eoi_route(&table, 0x32), IRQ_NODE_NONE);
    assert_int_equal(irq_eoi_route(&table, 0x33), 5);
}

static void test_msi(void **state)
{
    (void)state;
    struct apic_msg m;
    assert_int_equal(irq_decode_msi(0xFEE05000, 0x0041, &m), 0);
    assert_int_equal(m.dest, 5);
    assert_int_equal(m.vector, 0x41);
    assert_int_equal(m.delivery, APIC_DELIVERY_FIXED);
    assert_int_equal(m.dest_mode, APIC_DEST_PHYSICAL);
    assert_int_equal(m.trigger, APIC_TRIGGER_EDGE);
    assert_int_equal(m.source, IRQ_SOURCE_DEVICE);
    assert_int_equal(m.wide, 0);
    assert_int_equal(irq_decode_msi(0xFEEFF00C, 0x8041, &m), 0); /* hint, logical, level */
    assert_int_equal(m.dest, 0xFF);
    assert_int_equal(m.dest_mode, APIC_DEST_LOGICAL);
    assert_int_equal(m.delivery, APIC_DELIVERY_LOWEST);
    assert_int_equal(m.trigger, APIC_TRIGGER_LEVEL);
    assert_int_equal(m.level, 1); /* QEMU's IOAPIC leaves data bit 14 clear */
    assert_int_equal(irq_decode_msi(0xFEE00008, 0x0402, &m), 0); /* NMI: vector and hint idle */
    assert_int_equal(m.delivery, APIC_DELIVERY_NMI);
    assert_int_equal(irq_decode_msi(0xFEE00010, 0x41, &m), -EOPNOTSUPP);
    assert_int_equal(irq_decode_msi(0xFED00000, 0x41, &m), -ENXIO);
    assert_int_equal(irq_decode_msi(UINT64_C(0x1FEE00000), 0x41, &m), -ENXIO);
    assert_int_equal(irq_decode_msi(0xFEE00000, 0x0F, &m), -EINVAL);
    assert_int_equal(irq_decode_msi(0xFEE00000, 0x010F, &m), -EINVAL);
    assert_int_equal(irq_decode_msi(0xFEE00000, 0x341, &m), -EINVAL);
    assert_int_equal(irq_decode_msi(0xFEE00000, 0x641, &m), -EINVAL);
    assert_int_equal(m.delivery, APIC_DELIVERY_NMI); /* untouched by errors */
}

static void test_rte(void **state)
{
    (void)state;
    struct apic_msg m;
    assert_int_equal(irq_decode_rte(UINT64_C(0x0300000000000000) | 0x8951, &m), 0);
    assert_int_equal(m.dest, 3);
    assert_int_equal(m.vector, 0x51);
    assert_int_equal(m.delivery, APIC_DELIVERY_LOWEST);
    assert_int_equal(m.dest_mode, APIC_DEST_LOGICAL);
    assert_int_equal(m.trigger, APIC_TRIGGER_LEVEL);
    assert_int_equal(irq_decode_rte(0x0700, &m), 0);
    assert_int_equal(m.delivery, APIC_DELIVERY_EXTINT);
    assert_int_equal(irq_decode_rte(0x10051, &m), -EAGAIN);
    assert_int_equal(irq_decode_rte(UINT64_C(1) << 48 | 0x51, &m), -EOPNOTSUPP);
    assert_int_equal(irq_decode_rte(0x351, &m), -EINVAL);
    assert_int_equal(irq_decode_rte(0x00F, &m), -EINVAL);
}

/* ---- Wire ---------------------------------------------------------------------------------- */

static void test_wire_layout(void **state)
{
    (void)state;
    uint8_t buf[IRQ_WIRE_ANNOUNCE_LEN], buf2[IRQ_WIRE_MSG_LEN];
    struct irq_announcement a = entry(0x12, 0x21, 0x101, 0xAB, IRQ_DFR_CLUSTER);
    a.seq = 0x11223344;
    a.priority = 7;
    static const uint8_t want[] = {1,    1,    0,    0, 0,    0, 0, 0xAB, 0x44, 0x33,
                                   0x22, 0x11, 0x12, 0, 0x21, 7, 0, 7,    0,    0};
    assert_int_equal(irq_wire_announce_pack(&a, buf), 0);
    assert_memory_equal(buf, want, sizeof(want));
    struct irq_wire_msg w = {.mask = UINT64_C(0x8000000000000001), .window = 2};
    w.msg = (struct apic_msg){.dest = 0x10203,
                              .source = 0xFE,
                              .vector = 0x55,
                              .delivery = 5,
                              .dest_mode = 1,
                              .shorthand = 2,
                              .level = 1,
                              .trigger = 1,
                              .wide = 1};
    static const uint8_t want2[] = {1, 0, 0,    0, 0,    0,    0, 0x80, 3, 2,
                                    1, 0, 0xFE, 0, 0x55, 0xED, 6, 0,    0};
    assert_int_equal(irq_wire_msg_pack(&w, buf2), 0);
    assert_memory_equal(buf2, want2, sizeof(want2));
}

static void test_wire_errors(void **state)
{
    (void)state;
    uint8_t a[IRQ_WIRE_ANNOUNCE_LEN], m[IRQ_WIRE_MSG_LEN], bad[32];
    struct irq_announcement e = entry(1, 1, 1, 1, IRQ_DFR_FLAT), re;
    struct irq_wire_msg w = {.mask = 1, .msg = msg(0, 0, 1)}, rw;
    assert_int_equal(irq_wire_announce_pack(&e, a), 0);
    assert_int_equal(irq_wire_msg_pack(&w, m), 0);
    assert_int_equal(irq_wire_announce_unpack(a, sizeof(a) - 1, &re), -EMSGSIZE);
    assert_int_equal(irq_wire_msg_unpack(m, sizeof(m) + 1, &rw), -EMSGSIZE);
    memcpy(bad, a, sizeof(a));
    bad[19] = 1;
    assert_int_equal(irq_wire_announce_unpack(bad, sizeof(a), &re), -EBADMSG);
    memcpy(bad, a, sizeof(a));
    bad[13] = 1;
    assert_int_equal(irq_wire_announce_unpack(bad, sizeof(a), &re), -EINVAL);
    memcpy(bad, m, sizeof(m));
    bad[16] |= 8;
    assert_int_equal(irq_wire_msg_unpack(bad, sizeof(m), &rw), -EBADMSG);
    memcpy(bad, m, sizeof(m));
    bad[0] = 0;
    assert_int_equal(irq_wire_msg_unpack(bad, sizeof(m), &rw), -EINVAL);
    memcpy(bad, m, sizeof(m));
    bad[15] = 3; /* reserved delivery mode */
    assert_int_equal(irq_wire_msg_unpack(bad, sizeof(m), &rw), -EINVAL);
    memcpy(bad, m, sizeof(m));
    bad[9] = 1; /* narrow dest above 255 */
    assert_int_equal(irq_wire_msg_unpack(bad, sizeof(m), &rw), -EINVAL);
    w.mask = 0;
    assert_int_equal(irq_wire_msg_pack(&w, m), -EINVAL);
    w.mask = 1;
    w.window = 4;
    assert_int_equal(irq_wire_msg_pack(&w, m), -EINVAL);
    e.node = 64;
    assert_int_equal(irq_wire_announce_pack(&e, a), -EINVAL);
}

/* Whatever unpacks must pack to the same bytes. */
static void test_wire_random(void **state)
{
    (void)state;
    struct prng r = {.state = 42};
    unsigned good_a = 0, good_m = 0;
    for (unsigned i = 0; i < 400000; i++) {
        uint8_t buf[IRQ_WIRE_ANNOUNCE_LEN], back[IRQ_WIRE_ANNOUNCE_LEN];
        struct irq_announcement a;
        struct irq_wire_msg w;
        for (unsigned b = 0; b < sizeof(buf); b++)
            buf[b] = prng_below(&r, 3) ? 0 : (uint8_t)prng_next(&r);
        if (irq_wire_announce_unpack(buf, IRQ_WIRE_ANNOUNCE_LEN, &a) == 0) {
            good_a++;
            assert_int_equal(irq_wire_announce_pack(&a, back), 0);
            assert_memory_equal(buf, back, IRQ_WIRE_ANNOUNCE_LEN);
        }
        if (irq_wire_msg_unpack(buf, IRQ_WIRE_MSG_LEN, &w) == 0) {
            good_m++;
            assert_int_equal(irq_wire_msg_pack(&w, back), 0);
            assert_memory_equal(buf, back, IRQ_WIRE_MSG_LEN);
        }
    }
    assert_true(good_a > 1000 && good_m > 1000);
}

/* ---- Differential: the slow reference asks every vCPU "is this for you?" -------------------- */

static bool ref_is_for(const struct irq_announcement *e, const struct apic_msg *m)
{
    if ((e->flags & 3) != 3)
        return false;
    if (m->shorthand == 1)
        return e->vcpu == m->source;
    if (m->shorthand == 2)
        return true;
    if (m->shorthand == 3)
        return e->vcpu != m->source;
    if (m->dest == (m->wide ? 0xFFFFFFFFu : 0xFFu))
        return true;
    if (m->dest_mode == 0)
        return e->apic_id == m->dest;
    if (e->flags & 8) { /* x2APIC */
        uint32_t cluster = e->apic_id / 16, member = e->apic_id % 16;
        return m->dest / 65536 == cluster && (m->dest >> member) % 2 == 1;
    }
    if (m->dest > 255)
        return false;
    uint32_t id = e->ldr >> 24;
    if (e->dfr == 0xF)
        return (id & m->dest) != 0;
    return id / 16 == m->dest / 16 && (id % 16 & m->dest % 16) != 0;
}

static int ref_route(const struct irq_announcement *e, unsigned n, const struct apic_msg *m,
                     uint32_t rotor, bool *is_target)
{
    unsigned count = 0, low = 16, candidates = 0;
    for (unsigned v = 0; v < n; v++) {
        is_target[v] = ref_is_for(&e[v], m) && (m->delivery != 1 || (e[v].flags & 4));
        count += is_target[v];
        if (is_target[v] && e[v].priority < low)
            low = e[v].priority;
    }
    if (m->delivery != 1 || count == 0)
        return (int)count;
    for (unsigned v = 0; v < n; v++) {
        is_target[v] = is_target[v] && e[v].priority == low;
        candidates += is_target[v];
    }
    unsigned pick = (m->vector + rotor) % candidates;
    for (unsigned v = 0; v < n; v++) {
        if (is_target[v] && pick-- != 0)
            is_target[v] = false;
    }
    return 1;
}

static struct irq_announcement random_entry(struct prng *r, uint16_t v, uint8_t node, uint32_t id,
                                            unsigned flavour)
{
    struct irq_announcement a = entry(v, node, id, (uint8_t)prng_next(r), IRQ_DFR_FLAT);
    if (prng_below(r, 3) == 0)
        a.ldr &= 0x33000000u;
    if (flavour == 1 || (flavour == 3 && prng_below(r, 2)))
        a.dfr = IRQ_DFR_CLUSTER;
    if (flavour == 2 || (flavour == 3 && prng_below(r, 2)))
        a = x2_entry(v, node, id);
    a.priority = (uint8_t)prng_below(r, prng_below(r, 2) ? 1 : 4);
    if (prng_below(r, 8) == 0)
        a.flags &= (uint8_t)~IRQ_VCPU_SW_ENABLED;
    if (prng_below(r, 16) == 0)
        a.flags = prng_below(r, 2) ? IRQ_VCPU_PRESENT : 0;
    if (!(a.flags & IRQ_VCPU_X2APIC))
        a.ldr &= 0xFF000000u;
    return a;
}

static struct apic_msg random_msg(struct prng *r, unsigned n)
{
    static const uint8_t delivery[] = {0, 0, 1, 1, 1, 2, 4, 5, 6, 7};
    struct apic_msg m = msg(delivery[prng_below(r, 10)], (uint8_t)prng_below(r, 2), 0);
    m.vector = (uint8_t)prng_next(r);
    m.source = (uint16_t)prng_below(r, n);
    m.shorthand = prng_below(r, 4) ? 0 : (uint8_t)prng_below(r, 4);
    m.wide = (uint8_t)prng_below(r, 2);
    if (!m.wide)
        m.dest = prng_below(r, 8) ? prng_below(r, 256) : 0xFF;
    else if (prng_below(r, 2))
        m.dest = prng_below(r, 40) << 16 | prng_below(r, 65536);
    else
        m.dest = prng_below(r, 8) ? prng_below(r, 600) : UINT32_MAX;
    return m;
}

static void check_route(const struct irq_announcement *e, unsigned n, const struct apic_msg *m)
{
    static bool want[IRQ_MAX_VCPUS];
    struct irq_targets t;
    uint64_t nodes = 0;
    if (m->shorthand != 0 && !(e[m->source].flags & IRQ_VCPU_PRESENT)) {
        assert_int_equal(irq_route(&table, m, &t), -EINVAL);
        return;
    }
    int count = ref_route(e, n, m, table.rotor, want);
    assert_int_equal(irq_route(&table, m, &t), count);
    for (unsigned v = 0; v < n; v++) {
        assert_int_equal(irq_set_has(&t.vcpus, v), want[v]);
        if (want[v])
            nodes |= UINT64_C(1) << e[v].node;
    }
    assert_true(nodes == t.nodes);
    for (uint8_t node = 0; node < 64; node++)
        for (uint8_t w = 0; w < 4; w++) {
            uint64_t mask = irq_targets_window(&table, &t, node, w);
            for (unsigned b = 0; b < 64 && w * 64u + b < n; b++)
                assert_int_equal(mask >> b & 1, want[w * 64u + b] && e[w * 64u + b].node == node);
        }
}

static void test_differential(void **state)
{
    (void)state;
    static struct irq_announcement e[IRQ_MAX_VCPUS];
    struct prng r = {.state = 2026};
    for (unsigned round = 0; round < 60; round++) {
        unsigned n = 1 + prng_below(&r, round % 3 ? 20 : 256), flavour = round % 4;
        unsigned spread = n <= 128 ? 1 + prng_below(&r, 4) : 1 + prng_below(&r, 2);
        assert_int_equal(irq_table_init(&table, 0), 0);
        table.rotor = prng_below(&r, 1000);
        for (unsigned v = 0; v < n; v++) {
            uint8_t node = (uint8_t)prng_below(&r, 1 + round);
            e[v] = random_entry(&r, (uint16_t)v, node, v * spread, flavour);
            put(e[v]);
        }
        for (unsigned i = 0; i < 60; i++) {
            unsigned v = prng_below(&r, n); /* change one, so that stale map bits would show */
            e[v] = random_entry(&r, (uint16_t)v, e[v].node, v * spread, flavour);
            put(e[v]);
            for (unsigned k = 0; k < 4; k++) {
                struct apic_msg m = random_msg(&r, n);
                check_route(e, n, &m);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_physical),
        cmocka_unit_test(test_physical_ids_above_255),
        cmocka_unit_test(test_flat),
        cmocka_unit_test(test_cluster),
        cmocka_unit_test(test_x2apic_logical),
        cmocka_unit_test(test_shorthands),
        cmocka_unit_test(test_lowest_priority),
        cmocka_unit_test(test_nodes_and_windows),
        cmocka_unit_test(test_announce_errors),
        cmocka_unit_test(test_announce_life),
        cmocka_unit_test(test_eoi_route),
        cmocka_unit_test(test_msi),
        cmocka_unit_test(test_rte),
        cmocka_unit_test(test_wire_layout),
        cmocka_unit_test(test_wire_errors),
        cmocka_unit_test(test_wire_random),
        cmocka_unit_test(test_differential),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
