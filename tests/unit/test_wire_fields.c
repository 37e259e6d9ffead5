/* SPDX-License-Identifier: BSD-3-Clause */
/* The lists of fields against the packers: each member of random headers and messages is found
 * where its list says, and each bit of a layout is listed once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/transport/rrdp.h"
#include "dataplane/wire/fields.h"

enum { TRIES = 2000, MTU = 9000 };

static struct prng rng = {.state = 7};

static uint64_t bits_of(const struct wire_field *f, uint64_t value)
{
    return f->bits == 64 ? value : value & ((UINT64_C(1) << f->bits) - 1);
}

static void expect(const struct wire_field *f, const uint8_t *bytes, uint64_t value)
{
    if (wire_field_get(f, bytes) != bits_of(f, value))
        fail_msg("%s: %llx in its bits, %llx packed", f->name,
                 (unsigned long long)wire_field_get(f, bytes), (unsigned long long)value);
}

/* For a struct `s` packed into `bytes`. */
#define EXPECT_MEMBER(name)   expect(f, bytes, (uint64_t)s.name);
#define EXPECT_RESERVED(name) expect(f, bytes, 0);
#define EXPECT_MADE(name)
#define EXPECT(role, name, at, bits, show, text)                                                   \
    EXPECT_##role(name);                                                                           \
    f++;
#define EXPECT_LAYOUT(ID)                                                                          \
    do {                                                                                           \
        const struct wire_field *f = wire_layout(WIRE_LAYOUT_##ID)->field;                         \
        WIRE_##ID##_FIELDS(EXPECT);                                                                \
    } while (0)

static uint8_t random_kind(enum wire_family family)
{
    for (;;) {
        uint8_t k = (uint8_t)prng_below(&rng, WIRE_KIND_LIMIT);
        if (wire_kind_info(k)->name != NULL && wire_kind_info(k)->family == family)
            return k;
    }
}

static bool flip(void)
{
    return prng_next(&rng) & 1;
}

static void covered(void **state)
{
    (void)state;
    for (unsigned id = 0; id < WIRE_LAYOUTS; id++) {
        const struct wire_layout *l = wire_layout((enum wire_layout_id)id);
        uint8_t seen[64] = {0};
        assert_true(l->from < l->end && l->end <= sizeof(seen));
        for (unsigned i = 0; i < l->fields; i++) {
            const struct wire_field *f = &l->field[i];
            assert_true(f->bits >= 1 && f->at % 8 + f->bits <= 64);
            for (unsigned bit = f->at; bit < f->at + f->bits; bit++) {
                if (bit / 8 >= l->end || seen[bit / 8] >> bit % 8 & 1)
                    fail_msg("%s.%s: bit %u is listed twice or outside", l->name, f->name, bit);
                seen[bit / 8] |= (uint8_t)(1u << bit % 8);
            }
        }
        for (unsigned i = 0; i < sizeof(seen); i++)
            if (seen[i] != (i >= l->from && i < l->end ? 0xFF : 0))
                fail_msg("%s: byte %u is not listed as it should", l->name, i);
    }
    assert_null(wire_layout(WIRE_LAYOUT_NONE));
}

/* Each family has its layouts, each kind a family. */
static void families(void **state)
{
    (void)state;
    unsigned n;
    const struct wire_family_info *all = wire_families(&n);
    for (unsigned k = 0; k < WIRE_KIND_LIMIT; k++) {
        const struct wire_kind_info *info = wire_kind_info((uint8_t)k);
        if (info->name == NULL)
            continue;
        assert_true(info->family < n && all[info->family].name != NULL);
        assert_int_equal(wire_layout(all[info->family].header)->end, WIRE_MSG_HEADER);
    }
}

static const struct wire_field *field(enum wire_layout_id id, const char *name)
{
    const struct wire_layout *l = wire_layout(id);
    for (unsigned i = 0; i < l->fields; i++)
        if (strcmp(l->field[i].name, name) == 0)
            return &l->field[i];
    fail_msg("%s has no field %s", l->name, name);
    return NULL;
}

static void rrdp_headers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TRIES; i++) {
        uint8_t all[WIRE_RRDP_HEADER_MAX], *bytes = all;
        struct wire_rrdp s = {
            .syn = flip(),
            .ack_valid = flip(),
            .eack = flip(),
            .rst = flip(),
            .nul = flip(),
            .first = flip(),
            .last = flip(),
            .src = (uint8_t)prng_next(&rng),
            .dst = (uint8_t)prng_next(&rng),
            .cls = (uint8_t)prng_below(&rng, WIRE_CLASSES),
            .credit = (uint8_t)prng_next(&rng),
            .cluster_tag = (uint8_t)prng_next(&rng),
            .data_len = (uint16_t)prng_below(&rng, WIRE_RRDP_DATA_MAX + 1),
            .part_at = (uint16_t)prng_next(&rng),
            .part_of = (uint16_t)prng_next(&rng),
            .seq = (uint32_t)prng_next(&rng),
            .ack = (uint32_t)prng_next(&rng),
            .tag = (uint32_t)prng_next(&rng),
            .eack_bits = prng_next(&rng),
        };
        s.part = !s.eack && flip();
        size_t len = wire_rrdp_pack(&s, all);
        EXPECT_LAYOUT(RRDP);
        assert_int_equal(wire_field_get(field(WIRE_LAYOUT_RRDP, "version"), all), WIRE_VERSION);
        assert_int_equal(wire_field_get(field(WIRE_LAYOUT_RRDP, "words"), all), len / 4);
        bytes = all + WIRE_RRDP_HEADER;
        if (s.eack)
            EXPECT_LAYOUT(EACK);
        if (s.part)
            EXPECT_LAYOUT(PART);
    }
}

static void groups(void **state)
{
    (void)state;
    static struct wire_group g;
    static uint8_t all[WIRE_GROUP_MAX];
    const uint8_t msg[WIRE_MSG_HEADER] = {WIRE_INV};
    for (unsigned i = 0; i < TRIES; i++) {
        const uint8_t *bytes = all;
        g.members = prng_next(&rng) | 1;
        for (unsigned n = 0; n < WIRE_NODES_MAX; n++) {
            g.seq[n] = (uint32_t)prng_next(&rng);
            g.tag[n] = (uint32_t)prng_next(&rng);
        }
        size_t len = wire_group_pack(&g, msg, sizeof(msg), all);
        struct {
            uint64_t members;
            uint32_t seq, tag;
        } s = {.members = g.members};
        EXPECT_LAYOUT(GROUP);
        bytes += wire_layout(WIRE_LAYOUT_GROUP)->end;
        for (uint64_t left = g.members; left != 0; left &= left - 1) {
            s.seq = g.seq[bit64_first(left)];
            s.tag = g.tag[bit64_first(left)];
            EXPECT_LAYOUT(ENTRY);
            bytes += wire_layout(WIRE_LAYOUT_ENTRY)->end;
        }
        assert_int_equal(len, bytes - all + WIRE_MSG_HEADER);
    }
}

static void coherence_messages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TRIES; i++) {
        uint8_t bytes[WIRE_MSG_HEADER];
        struct wire_msg s = {
            .kind = random_kind(WIRE_FAMILY_COH),
            .vm = (uint8_t)prng_next(&rng),
            .requester = (uint8_t)prng_below(&rng, WIRE_NODES_MAX),
            .acks = (uint8_t)prng_below(&rng, 64),
            .zero = flip(),
            .exclusive = flip(),
            .page = prng_next(&rng) >> 28,
            .txn = prng_next(&rng) >> 16,
            .version = prng_next(&rng) >> 16,
            .age = (uint16_t)prng_below(&rng, WIRE_AGE_MAX + 1),
        };
        wire_msg_pack(&s, bytes);
        EXPECT_LAYOUT(MSG);
        EXPECT_LAYOUT(COH);
    }
}

static void glue_messages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TRIES; i++) {
        uint8_t bytes[WIRE_MSG_HEADER];
        struct wire_glue s = {
            .kind = random_kind(WIRE_FAMILY_GLUE),
            .vm = (uint8_t)prng_next(&rng),
            .chan = (uint16_t)prng_next(&rng),
            .op = (uint16_t)prng_next(&rng),
            .seq = (uint32_t)prng_next(&rng),
            .arg = prng_next(&rng),
        };
        wire_glue_pack(&s, bytes);
        EXPECT_LAYOUT(MSG);
        EXPECT_LAYOUT(GLUE);
    }
}

static void clock_messages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TRIES; i++) {
        uint8_t all[WIRE_TIME_MAX];
        const uint8_t *bytes = all;
        struct wire_time s = {
            .kind = random_kind(WIRE_FAMILY_CLOCK),
            .vm = (uint8_t)prng_next(&rng),
            .seq = (uint32_t)prng_next(&rng),
            .khz = (uint32_t)prng_next(&rng) | 1,
            .rate = (int32_t)prng_next(&rng),
            .stamp = prng_next(&rng),
            .received = prng_next(&rng),
            .base_ref = prng_next(&rng),
            .base_c = prng_next(&rng),
            .generation = (uint32_t)prng_next(&rng),
        };
        size_t len = wire_time_pack(&s, all);
        EXPECT_LAYOUT(MSG);
        EXPECT_LAYOUT(CLOCK);
        if (len == WIRE_MSG_HEADER)
            continue;
        bytes += WIRE_MSG_HEADER;
        EXPECT_LAYOUT(TIME_REP);
    }
}

static void span_messages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TRIES; i++) {
        uint8_t all[WIRE_SPAN_MAX];
        const uint8_t *bytes = all;
        struct wire_span m = {
            .kind = random_kind(WIRE_FAMILY_SPAN),
            .vm = (uint8_t)prng_next(&rng),
            .what = (uint8_t)prng_below(&rng, WIRE_SPAN_WHATS),
            .flags = (uint8_t)prng_below(&rng, WIRE_SPAN_FLAGS + 1),
            .chan = (uint16_t)prng_next(&rng),
            .points = (uint16_t)(1u << prng_below(&rng, 16) | 1u << prng_below(&rng, 16)),
            .error = (uint32_t)prng_next(&rng),
            .id = prng_next(&rng) | 1,
            .stamp = {prng_next(&rng), prng_next(&rng)},
        };
        size_t len = wire_span_pack(&m, all);
        {
            struct wire_span s = m;
            EXPECT_LAYOUT(MSG);
            EXPECT_LAYOUT(SPAN);
        }
        for (unsigned k = 0; WIRE_MSG_HEADER + 8 * k < len; k++) {
            const struct {
                uint64_t stamp;
            } s = {m.stamp[k]};
            bytes = all + WIRE_MSG_HEADER + (size_t)8 * k;
            EXPECT_LAYOUT(STAMP);
        }
    }
}

/* ---- the SYN: only a transport makes it ----------------------------------------------------- */

struct node {
    struct rrdp_config cfg;
    struct rrdp *r;
    struct rrdp_segments segments;
    uint16_t padded; /* length of its last SYN that was filled up */
};

static struct node *node_new(uint8_t self)
{
    struct node *n = calloc(1, sizeof(*n));
    n->cfg = (struct rrdp_config){
        .self = self,
        .nodes = 2,
        .cluster_id = UINT64_C(0x1122334455667788),
        .epoch = UINT64_C(0x0102030405060708) + self,
        .config_hash = UINT64_C(0x7B2A394857665544),
        .mtu = (uint16_t)(MTU - self),
        .credit = (uint8_t)(32 + self),
        .rto_min_ns = 1000000,
        .rto_max_ns = 50000000,
        .ack_delay_ns = 50000,
        .heartbeat_ns = 5000000,
        .dead_ns = 100000000,
        .syn_ns = 1000000,
    };
    n->r = rrdp_init(aligned_alloc(64, (rrdp_size(&n->cfg) + 63) / 64 * 64), &n->cfg, 0);
    assert_non_null(n->r);
    return n;
}

static void node_free(struct node *n)
{
    free(n->r);
    free(n);
}

/* Its frames now, to the other; how many SYNs with an echoed epoch, and with a length heard. */
static void node_talk(struct node *n, struct node *to, uint64_t now, unsigned *echoes,
                      unsigned *heard)
{
    struct rrdp_frame out;
    rrdp_tick(n->r, now);
    while (rrdp_transmit(n->r, now, &out)) {
        static uint8_t frame[MTU];
        struct rrdp_mac mac = {{2, 0, 0, 0, 0, n->cfg.self}};
        memcpy(frame, out.header, out.header_len);
        memcpy(frame + out.header_len, out.inline_data, out.inline_len);
        uint32_t len = (uint32_t)out.header_len + out.inline_len;
        wire_rrdp_seal(frame, len);
        const uint8_t *bytes = out.inline_data;
        bool echo = (out.header[0] & 8) != 0;
        if ((out.header[0] & 4) != 0) {
            struct rrdp_syn s = {.revision = WIRE_REVISION,
                                 .nodes = n->cfg.nodes,
                                 .credit = n->cfg.credit,
                                 .mtu = n->cfg.mtu,
                                 .cluster_id = n->cfg.cluster_id,
                                 .epoch = n->cfg.epoch,
                                 .echo_epoch = echo ? to->cfg.epoch : 0,
                                 .config_hash = n->cfg.config_hash};
            s.heard = (uint16_t)(bytes[6] | bytes[7] << 8); /* none, or what the other padded to */
            assert_true(s.heard == 0 || s.heard == to->padded);
            assert_int_equal(out.inline_len, wire_layout(WIRE_LAYOUT_SYN)->end);
            EXPECT_LAYOUT(SYN);
            *echoes += echo;
            *heard += s.heard != 0;
        }
        if (out.pad_to != 0)
            n->padded = out.pad_to;
        len = rrdp_frame_pad(&out, frame, len);
        rrdp_receive(to->r, now, mac, frame, len, &to->segments);
    }
    struct rrdp_event ev;
    while (rrdp_event(n->r, &ev)) {
    }
}

static void syns(void **state)
{
    (void)state;
    struct node *a = node_new(0), *b = node_new(1);
    unsigned echoes = 0, heard = 0;
    for (uint64_t now = 1; now < 100000000; now += 100000) {
        node_talk(a, b, now, &echoes, &heard);
        node_talk(b, a, now, &echoes, &heard);
    }
    assert_true(rrdp_peer_up(a->r, 1) && echoes > 0 && heard > 0);
    node_free(a);
    node_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(covered),
        cmocka_unit_test(families),
        cmocka_unit_test(rrdp_headers),
        cmocka_unit_test(groups),
        cmocka_unit_test(coherence_messages),
        cmocka_unit_test(glue_messages),
        cmocka_unit_test(clock_messages),
        cmocka_unit_test(span_messages),
        cmocka_unit_test(syns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
