/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A capture of random frames made by the production packers, and what the production unpackers say
 * of each: what a dissector has to say as well. "damaged": half of the frames are, most of those
 * sealed again, behind messages with each bit of the header changed once. "whole": none is, and
 * some come twice.
 *
 * usage: pando-capture whole|damaged SEED FRAMES PCAP EXPECTED
 * EXPECTED: a line a frame, tab-separated: verdict | of whole frames: src dst cls data_len credit
 * seq ack tag crc | message's verdict, kind, vm | its line | frame in which its message begins,
 * offset there | the frame that it repeats (all three: of "whole" only). Empty: not said here
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/wire/fields.h"
#include "dataplane/wire/link.h"

enum {
    UDP_PORT = 34997,
    PAGE_IN_ONE = 9000, /* MTU of half of the frames; else: */
    MTU = 1500,
    FRAME_MAX = LINK_BYTES_MAX + 9200,
};

static struct prng rng;
static FILE *pcap, *expected;
static struct link links[LINK_KINDS];
static bool damaged, spoil;
static uint32_t number; /* of the frame before, from 1 on */

/* Where the segment that is written now lies in its message. */
static struct {
    uint32_t begins, offset;
} place;

static uint64_t bits(unsigned n)
{
    return prng_next(&rng) >> (64 - n);
}

static bool flip(void)
{
    return bits(1) != 0;
}

/* ---- messages ------------------------------------------------------------------------------ */

static uint8_t random_kind(void)
{
    for (;;) {
        uint8_t k = (uint8_t)bits(8);
        if (wire_kind_info(k)->name != NULL)
            return k;
    }
}

static void pack_coh(uint8_t kind, uint8_t *out)
{
    bool flags = kind == WIRE_GRANT || kind == WIRE_DATA || kind == WIRE_FWD_GETM;
    struct wire_msg m = {
        .kind = kind,
        .vm = (uint8_t)bits(8),
        .requester = (uint8_t)bits(6),
        .acks = flags ? (uint8_t)bits(6) : 0,
        .zero = flags && flip(),
        .exclusive = (flags || kind == WIRE_INV_ACK) && flip(),
        .page = bits(36) >> bits(5),
        .txn = bits(48) >> bits(5),
        .version = bits(48) >> bits(5),
        .age = wire_has_age(kind) ? (uint16_t)(bits(12) >> bits(3)) : 0,
    };
    wire_msg_pack(&m, out);
}

static void pack_glue(uint8_t kind, uint8_t *out)
{
    struct wire_glue m = {
        .kind = kind,
        .vm = (uint8_t)bits(8),
        .chan = flip() ? WIRE_CHAN_VM : (uint16_t)prng_below(&rng, WIRE_VCPUS_MAX),
        .op = (uint16_t)bits(16),
        .seq = (uint32_t)bits(32),
        .arg = bits(64) >> bits(5),
    };
    wire_glue_pack(&m, out);
}

static void pack_time(uint8_t kind, uint8_t *out)
{
    struct wire_time m = {
        .kind = kind,
        .vm = (uint8_t)bits(8),
        .seq = (uint32_t)bits(32),
        .khz = (uint32_t)bits(32) | 1,
        .rate = (int32_t)bits(32),
        .stamp = bits(64),
        .received = bits(64),
        .base_ref = bits(64),
        .base_c = bits(64),
        .generation = (uint32_t)bits(32),
    };
    wire_time_pack(&m, out);
}

static size_t pack_span(uint8_t kind, uint8_t *out)
{
    struct wire_span m = {
        .kind = kind,
        .vm = (uint8_t)bits(8),
        .what = (uint8_t)prng_below(&rng, WIRE_SPAN_WHATS),
        .flags = (uint8_t)prng_below(&rng, WIRE_SPAN_FLAGS + 1),
        .chan = flip() ? WIRE_CHAN_VM : (uint16_t)prng_below(&rng, WIRE_VCPUS_MAX),
        .error = (uint32_t)bits(32),
        .id = bits(64) | 1,
    };
    unsigned n = 1 + (unsigned)prng_below(&rng, WIRE_SPAN_STAMPS);
    while (bit64_count(m.points) < n)
        m.points |= (uint16_t)(1u << prng_below(&rng, 16));
    m.stamp[0] = bits(64);
    for (unsigned i = 1; i < n; i++)
        m.stamp[i] = m.stamp[i - 1] + (flip() ? bits(40) : 0);
    if (bits(4) == 0) /* one that goes back */
        m.stamp[n - 1] -= bits(62) + 1;
    return wire_span_pack(&m, out);
}

/* A message with its payload; returns its length. */
static size_t random_message(uint8_t kind, uint8_t *out)
{
    const struct wire_kind_info *info = wire_kind_info(kind);
    size_t payload = info->payload == WIRE_NONE   ? 0
                     : info->payload == WIRE_PAGE ? WIRE_PAGE_SIZE
                                                  : prng_below(&rng, 3000);
    for (size_t i = 0; i < payload; i++)
        out[WIRE_MSG_HEADER + i] = (uint8_t)bits(8);
    if (info->family == WIRE_FAMILY_CLOCK) {
        pack_time(kind, out);
        return WIRE_MSG_HEADER + (info->payload == WIRE_NONE ? 0 : WIRE_TIME_BYTES);
    }
    if (info->family == WIRE_FAMILY_SPAN)
        return pack_span(kind, out);
    if (info->family == WIRE_FAMILY_COH)
        pack_coh(kind, out);
    else
        pack_glue(kind, out);
    return WIRE_MSG_HEADER + payload;
}

/* ---- what production code says ------------------------------------------------------------- */

static enum wire_error say_message(const uint8_t *m, size_t len, unsigned cls, char *line,
                                   size_t size)
{
    const uint8_t *payload = m + WIRE_MSG_HEADER;
    size_t payload_len = len < WIRE_MSG_HEADER ? 0 : len - WIRE_MSG_HEADER;
    if (len < WIRE_MSG_HEADER)
        return WIRE_E_SHORT;
    struct wire_msg coh;
    struct wire_glue glue;
    struct wire_time time;
    struct wire_span span;
    enum wire_error e;
    switch (wire_kind_info(m[0])->family) {
    case WIRE_FAMILY_GLUE:
        e = wire_glue_unpack(m, WIRE_MSG_HEADER, cls, payload_len, &glue);
        if (e == WIRE_OK)
            wire_glue_print(&glue, line, size);
        return e;
    case WIRE_FAMILY_CLOCK:
        e = wire_time_unpack(m, WIRE_MSG_HEADER, cls, payload, payload_len, &time);
        if (e == WIRE_OK)
            wire_time_print(&time, line, size);
        return e;
    case WIRE_FAMILY_SPAN:
        e = wire_span_unpack(m, WIRE_MSG_HEADER, cls, payload, payload_len, &span);
        if (e == WIRE_OK)
            wire_span_print(&span, line, size);
        return e;
    default:
        e = wire_msg_unpack(m, WIRE_MSG_HEADER, cls, payload_len, &coh);
        if (e == WIRE_OK)
            wire_msg_print(&coh, line, size);
        return e;
    }
}

/* Of a whole frame: its message, if one begins and ends in it. */
static void say_segment(struct wire_rrdp *h, const uint8_t *data)
{
    char line[256] = "";
    enum wire_error e;
    if (h->dst == WIRE_DST_GROUP) {
        uint64_t members = 0;
        for (unsigned i = 0; i < 8 && h->data_len >= 8; i++)
            members |= (uint64_t)data[i] << 8 * i;
        e = members == 0 ? WIRE_E_LENGTH
                         : wire_group_open(h, (uint8_t)__builtin_ctzll(members), &data);
        if (e != WIRE_OK) {
            fprintf(expected, "%s\t\t\t", wire_error_name(e));
            return;
        }
    } else if (h->syn || h->data_len == 0 || !h->first || (h->part && h->part_at > 0)) {
        fprintf(expected, "\t\t\t");
        return;
    }
    if (data[0] == 0x40) { /* an endpoint's: not the dataplane's business */
        fprintf(expected, "endpoint\t\t\t");
        return;
    }
    /* Of one whose end is not in this frame, the length that it may have. */
    size_t len = h->part ? h->part_of : h->data_len;
    if (!h->last && len >= WIRE_MSG_HEADER)
        len = wire_kind_info(data[0])->payload == WIRE_NONE   ? WIRE_MSG_HEADER + 1
              : wire_kind_info(data[0])->payload == WIRE_PAGE ? WIRE_MSG_HEADER + WIRE_PAGE_SIZE
                                                              : len;
    e = say_message(data, len, h->cls, line, sizeof(line));
    if (e == WIRE_E_SHORT || e == WIRE_E_KIND)
        fprintf(expected, "%s\t\t\t", wire_error_name(e));
    else
        fprintf(expected, "%s\t%u\t%u\t%s", wire_error_name(e), data[0], data[1], line);
}

static void say(const uint8_t *frame, size_t len)
{
    struct wire_rrdp h;
    const uint8_t *data;
    enum wire_error e = wire_rrdp_unpack(frame, len, len > 7 ? frame[7] : 0, &h, &data);
    fprintf(expected, "%s\t", wire_error_name(e));
    if (e != WIRE_OK) {
        fprintf(expected, "\t\t\t\t\t\t\t\t\t\t\t\t");
        return;
    }
    uint32_t crc = (uint32_t)frame[20] | (uint32_t)frame[21] << 8 | (uint32_t)frame[22] << 16 |
                   (uint32_t)frame[23] << 24;
    fprintf(expected, "%u\t%u\t%u\t%u\t%u\t%u\t%u\t0x%08x\t0x%08x\t", h.src, h.dst, h.cls,
            h.data_len, h.credit, h.seq, h.ack, h.tag, crc);
    say_segment(&h, data);
}

/* ---- frames -------------------------------------------------------------------------------- */

static void put(const void *p, size_t n)
{
    fwrite(p, 1, n, pcap);
}

/* A frame, sealed or damaged, with a link header, into the capture. */
static void put_frame(uint8_t *frame, size_t len, uint32_t repeats)
{
    static uint8_t packet[FRAME_MAX];
    const struct link *l = &links[prng_below(&rng, LINK_KINDS)];
    if (damaged && spoil && flip()) {
        for (uint32_t n = 1 + prng_below(&rng, 3); n > 0; n--)
            frame[prng_below(&rng, (uint32_t)(flip() && len > 46 ? 46 : len))] ^=
                (uint8_t)(1u << bits(3));
        if (prng_below(&rng, 4) != 0)
            wire_rrdp_seal(frame, len);
    }
    memset(packet, 0, 64);
    uint8_t to = frame[3] < WIRE_NODES_MAX ? frame[3] : 1;
    uint32_t header = link_header_bytes(l->cfg.kind);
    memcpy(packet + header, frame, len);
    link_write(l, to, l->cfg.kind == LINK_ETHERNET ? l->mac : NULL, (uint32_t)len, packet);
    uint32_t all = header + (uint32_t)len;
    if (l->cfg.kind == LINK_ETHERNET && all < 60)
        all = 60;
    uint32_t record[4] = {0, ++number, all, all};
    put(record, sizeof(record));
    put(packet, all);
    say(packet + header, l->cfg.kind == LINK_ETHERNET ? all - header : len);
    if (!damaged && place.begins != 0)
        fprintf(expected, "\t%u\t%u", place.begins, place.offset);
    else
        fprintf(expected, "\t\t");
    if (repeats != 0)
        fprintf(expected, "\t%u\n", repeats);
    else
        fprintf(expected, "\t\n");
}

static struct wire_rrdp random_header(void)
{
    return (struct wire_rrdp){
        .ack_valid = true,
        .src = (uint8_t)bits(6),
        .dst = (uint8_t)bits(6),
        .credit = (uint8_t)bits(7),
        .cluster_tag = (uint8_t)bits(8),
        .seq = (uint32_t)bits(32),
        .ack = (uint32_t)bits(32),
        .tag = (uint32_t)bits(32),
    };
}

static void put_segment(struct wire_rrdp *h, const uint8_t *data, size_t len)
{
    static uint8_t frame[FRAME_MAX];
    h->data_len = (uint16_t)len;
    size_t header = wire_rrdp_pack(h, frame);
    memcpy(frame + header, data, len);
    wire_rrdp_seal(frame, header + len);
    put_frame(frame, header + len, 0);
    if (!damaged && len > 0 && !h->syn && !h->part && h->dst != WIRE_DST_GROUP &&
        prng_below(&rng, 8) == 0)
        put_frame(frame, header + len, number);
}

static void message_frames(void)
{
    static uint8_t m[WIRE_MSG_MAX];
    uint8_t kind = random_kind();
    uint32_t begins = 0;
    struct wire_rrdp h = random_header();
    size_t len = random_message(kind, m);
    size_t room = flip() ? PAGE_IN_ONE - WIRE_RRDP_HEADER_MAX : MTU - WIRE_RRDP_HEADER_MAX;
    h.cls = wire_kind_info(kind)->cls;
    h.eack = flip();
    h.eack_bits = bits(64);
    for (size_t at = 0; at < len; at += room, h.seq++) {
        size_t n = len - at < room ? len - at : room;
        h.first = at == 0;
        h.last = at + n == len;
        place.offset = (uint32_t)at;
        place.begins = at == 0 ? 0 : begins;
        if (at == 0)
            begins = number + 1;
        put_segment(&h, m + at, n);
    }
    place.begins = 0;
}

/* Each kind of message with each bit of its header changed. */
static void every_bit(void)
{
    static uint8_t m[WIRE_MSG_MAX];
    for (unsigned kind = 0; kind < WIRE_KIND_LIMIT; kind++) {
        const struct wire_kind_info *info = wire_kind_info((uint8_t)kind);
        for (unsigned bit = 0; info->name != NULL && bit < 8 * WIRE_MSG_HEADER; bit++) {
            struct wire_rrdp h = random_header();
            random_message((uint8_t)kind, m);
            m[bit / 8] ^= (uint8_t)(1u << bit % 8);
            h.cls = info->cls;
            h.first = true;
            h.last = info->payload != WIRE_PAGE;
            put_segment(&h, m, kind == WIRE_TIME_REP ? WIRE_TIME_MAX : WIRE_MSG_HEADER);
        }
    }
}

static void part_frame(void)
{
    static uint8_t m[WIRE_MSG_MAX];
    struct wire_rrdp h = random_header();
    h.part = h.first = h.last = true;
    h.cls = WIRE_CLASS_DATA;
    h.part_of = (uint16_t)random_message(WIRE_DATA, m);
    h.part_at = (uint16_t)(prng_below(&rng, 2) * 1400);
    put_segment(&h, m + h.part_at, 1400);
}

static void group_frame(void)
{
    static struct wire_group g;
    uint8_t m[WIRE_GROUP_MSG_MAX], data[WIRE_GROUP_MAX];
    struct wire_rrdp h = random_header();
    pack_coh(WIRE_INV, m);
    g.members = bits(64) & bits(64) & bits(64);
    g.members |= 1u << bits(4);
    for (unsigned n = 0; n < WIRE_NODES_MAX; n++) {
        g.seq[n] = (uint32_t)bits(32);
        g.tag[n] = (uint32_t)bits(32);
    }
    h.ack_valid = false;
    h.first = h.last = true;
    h.dst = WIRE_DST_GROUP;
    h.seq = h.ack = h.credit = 0;
    put_segment(&h, data, wire_group_pack(&g, m, WIRE_MSG_HEADER, data));
}

static void control_frame(void)
{
    static uint8_t syn[48]; /* struct rrdp_syn's bytes: nobody looks into them here */
    struct wire_rrdp h = random_header();
    switch (prng_below(&rng, 5)) {
    case 0: /* HOST-PING and its answer */
        h.syn = h.nul = true;
        h.ack_valid = flip();
        h.credit = h.ack_valid ? (uint8_t)(1 + bits(1)) : 0;
        break;
    case 1:
        h.eack = flip();
        h.cls = (uint8_t)bits(2);
        break;
    case 2:
        h.nul = true;
        break;
    case 3:
        h.rst = true;
        h.nul = flip();
        h.ack_valid = flip();
        break;
    default:
        h.syn = h.first = h.last = true;
        h.ack_valid = flip();
        put_segment(&h, syn, sizeof(syn));
        return;
    }
    put_segment(&h, syn, 0);
}

static void open_links(void)
{
    static struct link_config c = {.udp_port = UDP_PORT, .self = 0, .nodes = WIRE_NODES_MAX};
    const uint8_t mac[6] = {2, 'P', 'A', 0, 0, 1};
    for (unsigned k = 0; k < LINK_KINDS; k++) {
        c.kind = (enum link_kind)k;
        for (unsigned n = 0; n < WIRE_NODES_MAX; n++) {
            memset(c.ip[n], 0, sizeof(c.ip[n]));
            memcpy(c.ip[n], k == LINK_UDP4 ? "\xC0\x00\x02" : "\x20\x01\x0D\xB8",
                   k == LINK_UDP4 ? 3 : 4);
            c.ip[n][k == LINK_UDP4 ? 3 : 15] = (uint8_t)(n + 1);
        }
        if (link_init(&links[k], &c, WIRE_ETHERTYPE, 9100, mac) != 0)
            abort();
        links[k].known = UINT64_MAX;
    }
}

int main(int argc, char **argv)
{
    static const uint32_t head[6] = {0xA1B2C3D4, 2 | 4 << 16, 0, 0, 65535, 1};
    if (argc != 6) {
        fprintf(stderr, "usage: pando-capture whole|damaged SEED FRAMES PCAP EXPECTED\n");
        return 2;
    }
    damaged = strcmp(argv[1], "whole") != 0;
    rng.state = strtoull(argv[2], NULL, 10);
    pcap = fopen(argv[4], "w");
    expected = fopen(argv[5], "w");
    if (pcap == NULL || expected == NULL) {
        fprintf(stderr, "pando-capture: %s, %s: %s\n", argv[4], argv[5], strerror(errno));
        return 1;
    }
    open_links();
    put(head, sizeof(head));
    if (damaged)
        every_bit();
    spoil = true;
    for (unsigned long i = strtoul(argv[3], NULL, 10); i > 0; i--) {
        uint32_t what = prng_below(&rng, 10);
        if (what < 6)
            message_frames();
        else if (what < 7)
            group_frame();
        else if (what < 8)
            part_frame();
        else
            control_frame();
    }
    return fclose(pcap) == 0 && fclose(expected) == 0 ? 0 : 1;
}
