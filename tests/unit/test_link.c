/* SPDX-License-Identifier: BSD-3-Clause */
/* Link headers against the golden frames (another implementation's), each verdict by name, and each
 * byte of each header set to each other value. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/base/bits.h"
#include "dataplane/wire/link.h"
#include "tests/unit/wire_golden.h"

enum { SRC = 2, DST = 9, NODES = 10, UDP_PORT = 18514, MTU = 9000, FRAME_MAX = 512 };

static const char *const golden_of[LINK_KINDS] = {"link_ether", "link_udp4", "link_udp6"};

/* Node n: MAC 02:50:41:00:00:n, 192.0.2.n, 2001:db8::n, as make.py has it. */
static struct link link_of(enum link_kind kind, uint8_t self, uint16_t mtu)
{
    static const uint8_t net4[3] = {192, 0, 2}, net6[4] = {0x20, 0x01, 0x0d, 0xb8};
    struct link_config c = {.kind = kind, .udp_port = UDP_PORT, .self = self, .nodes = NODES};
    struct link l;
    uint8_t mac[6] = {2, 'P', 'A', 0, 0, self};
    for (uint8_t n = 0; n < NODES; n++) {
        memcpy(c.ip[n], kind == LINK_UDP4 ? net4 : net6, kind == LINK_UDP4 ? 3 : 4);
        c.ip[n][kind == LINK_UDP4 ? 3 : 15] = n;
    }
    assert_int_equal(link_init(&l, &c, WIRE_ETHERTYPE, mtu, mac), 0);
    for (uint8_t n = 0; n < NODES; n++) {
        mac[5] = n;
        memcpy(l.next_hop[n], mac, 6);
        l.known |= bit64(n);
    }
    return l;
}

/* An exact copy, so that a sanitizer sees each byte read beyond the frame. */
static enum link_verdict read_exact(const struct link *l, const uint8_t *bytes, size_t len,
                                    struct link_frame *ret_frame)
{
    struct link_frame f = {0};
    uint8_t *copy = malloc(len);
    assert_true(copy != NULL || len == 0);
    if (len > 0)
        memcpy(copy, bytes, len);
    enum link_verdict v = link_read(l, copy, len, &f);
    assert_true(v < LINK_VERDICTS && (v == LINK_OK) == (f.data != NULL));
    if (v == LINK_OK) {
        assert_true(f.data == copy + link_header_bytes(l->cfg.kind) &&
                    f.data + f.len <= copy + len);
        f.data = bytes + (f.data - copy);
        *ret_frame = f;
    }
    free(copy);
    return v;
}

/* A golden RRDP frame, packed and sealed here, with its link header. Returns the length. */
static size_t carry(const struct link *l, unsigned i, uint8_t out[FRAME_MAX])
{
    static const uint8_t group[6] = {3, 'P', 'A', 0x66, 0x77, 0x88},
                         peer[6] = {2, 'P', 'A', 0, 0, 9};
    uint8_t want[FRAME_MAX], *frame = out + link_header_bytes(l->cfg.kind);
    struct wire_rrdp h = example_frame(i);
    size_t len = golden(frames[i].name, want, sizeof(want)), header = wire_rrdp_pack(&h, frame);
    memcpy(frame + header, want + header, h.data_len);
    wire_rrdp_seal(frame, header + h.data_len);
    bool lone_syn = h.syn && !h.nul && !h.ack_valid;
    const uint8_t *mac = lone_syn ? NULL : h.dst == WIRE_DST_GROUP ? group : peer;
    len += link_write(l, h.dst, mac, (uint32_t)len, out);
    while (len < 60) /* the device's */
        out[len++] = 0;
    return len;
}

static unsigned index_of(const char *name)
{
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(frames); i++)
        if (strcmp(frames[i].name, name) == 0)
            return i;
    fail_msg("no frame %s", name);
    return 0;
}

static void golden_headers(void **state)
{
    (void)state;
    for (enum link_kind k = 0; k < LINK_KINDS; k++) {
        uint8_t want[FRAME_MAX], got[FRAME_MAX], own[6];
        struct link from = link_of(k, SRC, MTU), to = link_of(k, DST, MTU);
        struct link_frame f;
        size_t len = golden(golden_of[k], want, sizeof(want));
        assert_int_equal(carry(&from, index_of("rrdp_middle"), got), len);
        assert_memory_equal(got, want, len);
        assert_int_equal(read_exact(&to, want, len, &f), LINK_OK);
        assert_int_equal(f.len, len - link_header_bytes(k));
        link_own_mac(&from, own);
        assert_memory_equal(f.src, own, 6);
    }
}

static void same_as_pcap(void **state)
{
    (void)state;
    static uint8_t want[1 << 16], got[1 << 16];
    size_t n = 24, packets = 0;
    FILE *f = fopen(PANDO_SOURCE_ROOT "/tests/golden/wire/frames.pcap", "rb");
    assert_non_null(f);
    size_t size = fread(want, 1, sizeof(want), f);
    fclose(f);
    memcpy(got, want, n); /* the file's own header */
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(frames); i++)
        for (enum link_kind k = 0; k < LINK_KINDS; k++) {
            struct link from = link_of(k, SRC, MTU);
            if (!link_reaches(&from, example_frame(i).dst))
                continue;
            size_t len = carry(&from, i, got + n + 16);
            put_le32(got + n, 0);
            put_le32(got + n + 4, (uint32_t)packets++);
            put_le32(got + n + 8, (uint32_t)len);
            put_le32(got + n + 12, (uint32_t)len);
            n += 16 + len;
        }
    assert_int_equal(packets, 3 * PANDO_ARRAY_LEN(frames) - 2);
    assert_int_equal(n, size);
    assert_memory_equal(got, want, size);
}

/* Every length, class and peer: what was written is read, and one class to one peer is one flow. */
static void round_trips(void **state)
{
    (void)state;
    static uint8_t b[LINK_BYTES_MAX + MTU + 1];
    for (enum link_kind k = 0; k < LINK_KINDS; k++) {
        unsigned ports = 0, last_port = 0;
        for (uint32_t len = 1; len <= MTU; len += len < 100 ? 1 : 89) {
            struct link from = link_of(k, SRC, MTU), to = link_of(k, (uint8_t)(3 + len % 7), MTU);
            uint32_t header = link_header_bytes(k);
            struct link_frame f;
            memset(b, (int)len, sizeof(b));
            assert_int_equal(link_write(&from, to.cfg.self, to.mac, len, b), header);
            for (uint32_t i = header; i < header + len + 1; i++)
                assert_int_equal(b[i], (uint8_t)len);
            assert_int_equal(read_exact(&to, b, header + len, &f), LINK_OK);
            assert_int_equal(f.len, len);
            if (k == LINK_ETHERNET)
                continue;
            unsigned port = (unsigned)b[header - 8] << 8 | b[header - 7];
            assert_int_equal(port, link_source_port(to.cfg.self, len > 4 ? len & 3 : 0));
            ports += port != last_port;
            last_port = port;
            assert_int_equal(read_exact(&to, b, header + len - 1, &f), LINK_LENGTH);
            assert_int_equal(read_exact(&to, b, header + len + 1, &f), LINK_OK); /* padding */
            assert_int_equal(f.len, len);
        }
        assert_true(k == LINK_ETHERNET || ports > 20);
    }
}

/* What a NIC tells classes apart by. */
static void source_ports(void **state)
{
    (void)state;
    for (uint8_t n = 0; n < WIRE_NODES_MAX; n++)
        for (uint8_t c = 0; c < WIRE_CLASSES; c++) {
            assert_true(link_source_port(n, c) >= LINK_SOURCE_PORT);
            for (uint8_t d = 0; d < c; d++)
                assert_int_not_equal(link_source_port(n, c), link_source_port(n, d));
        }
}

/* Whether a changed byte there may leave the frame as it was to us; anywhere else it must not. */
static bool may_change(enum link_kind k, size_t at, uint8_t was, uint8_t is)
{
    uint32_t udp = link_header_bytes(k) - 8;
    if (k == LINK_ETHERNET)
        return (at == 0 && (is & 1)) || (at >= 6 && at < 12); /* to a group; from somebody */
    if (at >= 6 && at < 12)
        return true; /* of the last router */
    if (at == udp || at == udp + 1 || at == udp + 6 || at == udp + 7)
        return true; /* source port, checksum */
    if (k == LINK_UDP4)
        return false;
    return (at == 14 && was >> 4 == is >> 4) || (at > 14 && at < 18) || at == 21 ||
           (at == 37 && is < NODES); /* class and label, hop limit, another node */
}

static void every_byte(void **state)
{
    (void)state;
    for (enum link_kind k = 0; k < LINK_KINDS; k++) {
        uint8_t b[FRAME_MAX];
        struct link to = link_of(k, DST, MTU);
        size_t len = golden(golden_of[k], b, sizeof(b));
        for (size_t at = 0; at < link_header_bytes(k); at++)
            for (unsigned flip = 1; flip < 256; flip++) {
                uint8_t was = b[at];
                struct link_frame f;
                b[at] ^= (uint8_t)flip;
                enum link_verdict v = read_exact(&to, b, len, &f);
                if (v == LINK_OK && !may_change(k, at, was, b[at]))
                    fail_msg("%s: byte %zu as %02x passes", golden_of[k], at, b[at]);
                if (v != LINK_OK && may_change(k, at, was, b[at]) && v != LINK_ECHO)
                    fail_msg("%s: byte %zu as %02x: %s", golden_of[k], at, b[at],
                             link_verdict_name(v));
                if (v == LINK_OK)
                    assert_int_equal(f.len, len - link_header_bytes(k));
                b[at] = was;
            }
    }
}

/* Bytes to set (the IPv4 checksum is made good behind them, if `sum`), and what that is called. */
static const struct {
    enum link_kind kind;
    enum link_verdict verdict;
    uint8_t at, n, bytes[6];
    bool sum;
} wrong[] = {
    {LINK_ETHERNET, LINK_ETHERTYPE, 12, 2, {0x88, 0xB6}, false},
    {LINK_UDP4, LINK_ETHERTYPE, 12, 2, {0x86, 0xDD}, false},
    {LINK_UDP6, LINK_ETHERTYPE, 12, 2, {0x08, 0x00}, false},
    {LINK_ETHERNET, LINK_TAGGED, 12, 2, {0x81, 0x00}, false},
    {LINK_UDP4, LINK_TAGGED, 12, 2, {0x81, 0x00}, false},
    {LINK_UDP6, LINK_TAGGED, 12, 2, {0x88, 0xA8}, false},
    {LINK_ETHERNET, LINK_MAC, 0, 6, {2, 'P', 'A', 0, 0, 8}, false},
    {LINK_UDP4, LINK_MAC, 0, 6, {2, 'P', 'A', 0, 0, 8}, false},
    {LINK_UDP4, LINK_MAC, 0, 6, {1, 0, 0x5E, 0, 0, 1}, false},
    {LINK_ETHERNET, LINK_OK, 0, 6, {3, 'P', 'A', 1, 2, 3}, false},
    {LINK_ETHERNET, LINK_OK, 0, 6, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, false},
    {LINK_UDP6, LINK_OK, 0, 6, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, false},
    {LINK_ETHERNET, LINK_ECHO, 6, 6, {2, 'P', 'A', 0, 0, 9}, false},
    {LINK_UDP4, LINK_ECHO, 29, 1, {DST}, true},
    {LINK_UDP6, LINK_ECHO, 37, 1, {DST}, false},
    {LINK_UDP4, LINK_IP_VERSION, 14, 1, {0x65}, true},
    {LINK_UDP6, LINK_IP_VERSION, 14, 1, {0x40}, false},
    {LINK_UDP4, LINK_IP_OPTIONS, 14, 1, {0x46}, true},
    {LINK_UDP4, LINK_IP_OPTIONS, 14, 1, {0x44}, true},
    {LINK_UDP6, LINK_IP_OPTIONS, 20, 1, {0}, false},
    {LINK_UDP6, LINK_IP_OPTIONS, 20, 1, {60}, false},
    {LINK_UDP4, LINK_FRAGMENT, 20, 2, {0x20, 0}, true},
    {LINK_UDP4, LINK_FRAGMENT, 20, 2, {0, 1}, true},
    {LINK_UDP4, LINK_OK, 20, 2, {0, 0}, true}, /* a router may clear DF */
    {LINK_UDP6, LINK_FRAGMENT, 20, 1, {44}, false},
    {LINK_UDP4, LINK_CHECKSUM, 22, 1, {63}, false},
    {LINK_UDP4, LINK_OK, 22, 1, {63}, true}, /* a router's time to live */
    {LINK_UDP4, LINK_PROTOCOL, 23, 1, {6}, true},
    {LINK_UDP6, LINK_PROTOCOL, 20, 1, {6}, false},
    {LINK_UDP4, LINK_PORT, 36, 2, {0x48, 0x53}, false},
    {LINK_UDP6, LINK_PORT, 56, 2, {0x48, 0x53}, false},
    {LINK_UDP4, LINK_ADDRESS, 33, 1, {8}, true},
    {LINK_UDP6, LINK_ADDRESS, 53, 1, {8}, false},
    {LINK_UDP4, LINK_LENGTH, 16, 2, {0, 27}, true},
    {LINK_UDP4, LINK_LENGTH, 16, 2, {0, 0}, true},
    {LINK_UDP4, LINK_LENGTH, 38, 2, {0, 131}, false},
    {LINK_UDP6, LINK_LENGTH, 18, 2, {0, 131}, false},
    {LINK_UDP4, LINK_STRANGER, 29, 1, {NODES}, true},
    {LINK_UDP6, LINK_STRANGER, 37, 1, {NODES}, false},
    {LINK_UDP6, LINK_STRANGER, 30, 1, {1}, false},
};

static void make_good(uint8_t *ip)
{
    uint32_t sum = 0;
    ip[10] = ip[11] = 0;
    for (unsigned i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = ~(sum + (sum >> 16));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
}

static void named(void **state)
{
    (void)state;
    uint32_t seen = 1u << LINK_SHORT; /* below */
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(wrong); i++) {
        uint8_t b[FRAME_MAX];
        struct link to = link_of(wrong[i].kind, DST, MTU);
        struct link_frame f;
        size_t len = golden(golden_of[wrong[i].kind], b, sizeof(b));
        memcpy(b + wrong[i].at, wrong[i].bytes, wrong[i].n);
        if (wrong[i].sum)
            make_good(b + LINK_ETHERNET_BYTES);
        enum link_verdict v = read_exact(&to, b, len, &f);
        if (v != wrong[i].verdict)
            fail_msg("line %u: %s, not %s", i, link_verdict_name(v),
                     link_verdict_name(wrong[i].verdict));
        seen |= 1u << v;
    }
    assert_int_equal(seen, (1u << LINK_VERDICTS) - 1);
    for (unsigned v = 0; v < LINK_VERDICTS; v++)
        for (unsigned w = 0; w < v; w++)
            assert_string_not_equal(link_verdict_name(v), link_verdict_name(w));
    assert_string_equal(link_verdict_name(LINK_VERDICTS), "?");
}

/* Each shortening; and frames that are longer than this port carries. */
static void lengths(void **state)
{
    (void)state;
    for (enum link_kind k = 0; k < LINK_KINDS; k++) {
        uint8_t b[FRAME_MAX];
        struct link_frame f;
        size_t len = golden(golden_of[k], b, sizeof(b)), header = link_header_bytes(k);
        struct link to = link_of(k, DST, MTU);
        for (size_t n = 0; n < len; n++) {
            enum link_verdict v = read_exact(&to, b, n, &f);
            if (k == LINK_ETHERNET)
                assert_int_equal(v, n <= header ? LINK_SHORT : LINK_OK);
            else
                assert_int_equal(v,
                                 n <= LINK_ETHERNET_BYTES || n < header ? LINK_SHORT : LINK_LENGTH);
        }
        struct link from = link_of(k, SRC, MTU);
        uint8_t empty[FRAME_MAX] = {0};
        link_write(&from, DST, to.mac, 0, empty);
        assert_int_equal(read_exact(&to, empty, header, &f),
                         k == LINK_ETHERNET ? LINK_SHORT : LINK_LENGTH);
        to = link_of(k, DST, (uint16_t)(len - header));
        assert_int_equal(read_exact(&to, b, len, &f), LINK_OK);
        to = link_of(k, DST, (uint16_t)(len - header - 1));
        assert_int_equal(read_exact(&to, b, len, &f), LINK_LENGTH);
    }
    /* What Ethernet pads to is not too long, whatever the MTU. */
    uint8_t b[FRAME_MAX];
    struct link_frame f;
    struct link small = link_of(LINK_ETHERNET, DST, 20);
    golden("link_ether", b, sizeof(b));
    assert_int_equal(read_exact(&small, b, 60, &f), LINK_OK);
    assert_int_equal(read_exact(&small, b, 61, &f), LINK_LENGTH);
}

static void setting_up(void **state)
{
    (void)state;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 1}, ip4[16] = {192, 0, 2, 7}, ip6[16] = {0xFE, 0x80};
    uint8_t out[6];
    struct link l;
    struct link_config c = {.kind = LINK_UDP4, .udp_port = 1, .self = 1, .nodes = 2};
    assert_int_equal(link_init(&l, NULL, WIRE_ETHERTYPE, 1500, mac), 0);
    assert_true(l.cfg.kind == LINK_ETHERNET && link_reaches(&l, WIRE_DST_GROUP));
    assert_int_equal(link_init(&l, &c, 0, 1500, mac), 0);
    assert_false(link_reaches(&l, 0));
    l.known = UINT64_MAX;
    assert_true(link_reaches(&l, 0) && !link_reaches(&l, 2) && !link_reaches(&l, WIRE_DST_GROUP));
    c.udp_port = 0;
    assert_int_equal(link_init(&l, &c, 0, 1500, mac), -EINVAL);
    c = (struct link_config){.kind = LINK_UDP6, .udp_port = 1, .self = 2, .nodes = 2};
    assert_int_equal(link_init(&l, &c, 0, 1500, mac), -EINVAL);
    c = (struct link_config){.kind = LINK_UDP6, .udp_port = 1, .nodes = WIRE_NODES_MAX + 1};
    assert_int_equal(link_init(&l, &c, 0, 1500, mac), -EINVAL);
    c = (struct link_config){.kind = LINK_KINDS, .udp_port = 1, .nodes = 2};
    assert_int_equal(link_init(&l, &c, 0, 1500, mac), -EINVAL);
    link_ip_mac(LINK_UDP4, ip4, out);
    assert_memory_equal(out, "\x02\x04\xc0\x00\x02\x07", 6);
    link_ip_mac(LINK_UDP6, ip6, out);
    assert_memory_equal(out, "\x02\x06", 2);
    assert_int_equal((uint32_t)out[2] << 24 | out[3] << 16 | out[4] << 8 | out[5], 0xE184347B);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_headers), cmocka_unit_test(same_as_pcap),
        cmocka_unit_test(round_trips),    cmocka_unit_test(source_ports),
        cmocka_unit_test(every_byte),     cmocka_unit_test(named),
        cmocka_unit_test(lengths),        cmocka_unit_test(setting_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
