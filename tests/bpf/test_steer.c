/* SPDX-License-Identifier: BSD-3-Clause */
/* The steering program, frame by frame, in the kernel but on no interface (BPF_PROG_TEST_RUN): each
 * reason, and HOST-PING to the last bit. As root; exit status 77: skipped. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <cmocka.h>
#include <linux/if_xdp.h>

#include "bpf/steer.h"
#include "dataplane/base/bits.h"
#include "dataplane/base/prng.h"
#include "dataplane/transport/rrdp.h"
#include "tests/bpf/frames.h"

enum { SKIP = 77, PASS = XDP_PASS, DROP = XDP_DROP, TX = XDP_TX, REDIRECT = XDP_REDIRECT };

static const enum steer_encapsulation all[] = {STEER_ETHERNET, STEER_UDP4, STEER_UDP6};
static char err[XDP_ERROR_MAX];
static uint8_t in[FRAMES_MAX], out[FRAMES_MAX];
static struct steer *steer;
static int sockets[STEER_SOCKETS] = {-1, -1};

static void begin(enum steer_encapsulation e)
{
    struct steer_config c = frames_config(e);
    int entries = 64;
    if (steer_open(&c, &steer, err) != 0)
        fail_msg("%s", err);
    for (unsigned i = 0; i < STEER_SOCKETS; i++) {
        sockets[i] = socket(44, SOCK_RAW, 0);
        assert_true(sockets[i] >= 0);
        assert_int_equal(setsockopt(sockets[i], 283, XDP_RX_RING, &entries, sizeof(entries)), 0);
        assert_int_equal(steer_set_socket(steer, 0, i, sockets[i]), 0);
    }
}

static void end(void)
{
    steer_close(steer);
    steer = NULL;
    for (unsigned i = 0; i < STEER_SOCKETS; i++)
        close(sockets[i]);
}

/* One frame: the action, and exactly one count, under that reason. Returns the output's length. */
static uint32_t expect(uint32_t action, enum steer_reason reason, size_t len)
{
    uint64_t before[STEER_REASONS], after[STEER_REASONS];
    struct bpf_test_run_opts o = {.sz = sizeof(o),
                                  .data_in = in,
                                  .data_size_in = (uint32_t)len,
                                  .data_out = out,
                                  .data_size_out = sizeof(out),
                                  .repeat = 1};
    steer_counters(steer, before);
    assert_int_equal(bpf_prog_test_run_opts(steer_program_fd(steer), &o), 0);
    steer_counters(steer, after);
    for (unsigned i = 0; i < STEER_REASONS; i++)
        if (after[i] - before[i] != (i == reason))
            fail_msg("counted %s %d times, expected %s", steer_reason_name(i),
                     (int)(after[i] - before[i]), steer_reason_name(reason));
    assert_int_equal(o.retval, action);
    return o.data_size_out;
}

/* What is not answered leaves as it came. */
static void expect_unchanged(uint32_t action, enum steer_reason reason, size_t len)
{
    assert_int_equal(expect(action, reason, len), len);
    assert_memory_equal(in, out, len);
}

static void classes_go_to_their_sockets(void **state)
{
    (void)state;
    static const uint16_t lengths[] = {0, 22, 200, 1400, 8900};
    for (unsigned k = 0; k < PANDO_ARRAY_LEN(all); k++) {
        begin(all[k]);
        for (unsigned cls = 0; cls < WIRE_CLASSES; cls++)
            for (unsigned i = 0; i < PANDO_ARRAY_LEN(lengths); i++) {
                size_t len = frames_data(all[k], cls, lengths[i], in);
                expect_unchanged(REDIRECT, cls < 2 ? STEER_CONTROL : STEER_PAGES, len);
            }
        /* To everybody, and for the group: control; another version too, whatever its class. */
        size_t len = frames_data(all[k], 0, 22, in);
        memset(in, 0xFF, 6);
        in[frames_header_at(all[k]) + 3] = WIRE_DST_GROUP;
        expect_unchanged(REDIRECT, STEER_CONTROL, len);
        len = frames_data(all[k], 2, 22, in);
        in[frames_header_at(all[k])] ^= 3;
        expect_unchanged(REDIRECT, STEER_CONTROL, len);
        end();
    }
}

static void without_a_socket_frames_are_dropped(void **state)
{
    (void)state;
    begin(STEER_ETHERNET);
    size_t len = frames_data(STEER_ETHERNET, 2, 22, in);
    for (unsigned i = 0; i < STEER_SOCKETS; i++)
        close(sockets[i]); /* takes it out of the map */
    usleep(50000);
    expect_unchanged(DROP, STEER_NO_SOCKET, len);
    len = frames_data(STEER_ETHERNET, 0, 22, in);
    expect_unchanged(DROP, STEER_NO_SOCKET, len);
    assert_int_equal(steer_set_socket(steer, STEER_QUEUES_MAX, 0, 0), -EINVAL);
    assert_true(steer_set_socket(steer, 0, STEER_CONTROL_SOCKET, 0) < 0); /* no AF_XDP socket */
    steer_close(steer);
}

static void others_go_to_the_kernel(void **state)
{
    (void)state;
    begin(STEER_ETHERNET);
    size_t len = frames_data(STEER_UDP4, 0, 22, in);
    expect_unchanged(PASS, STEER_OTHER, len);
    len = frames_data(STEER_ETHERNET, 0, 22, in);
    in[13]++;
    expect_unchanged(PASS, STEER_OTHER, len);
    for (unsigned i = 0; i < 2; i++) { /* 802.1Q and 802.1ad in front of our EtherType */
        len = frames_data(STEER_ETHERNET, 0, 22, in);
        memmove(in + 16, in + 12, len - 12);
        memcpy(in + 12, i == 0 ? "\x81\x00\x00\x05" : "\x88\xA8\x00\x05", 4);
        expect_unchanged(PASS, STEER_TAGGED, len + 4);
    }
    len = frames_data(STEER_ETHERNET, 0, 22, in);
    in[5]++;
    expect_unchanged(PASS, STEER_ADDRESS, len);
    end();
    begin(STEER_UDP4);
    len = frames_data(STEER_ETHERNET, 0, 22, in);
    expect_unchanged(PASS, STEER_OTHER, len);
    len = frames_data(STEER_UDP6, 0, 22, in);
    expect_unchanged(PASS, STEER_OTHER, len);
    end();
}

/* One byte of a good datagram is another; what it is then. */
static void ip_datagrams_that_are_not_ours(void **state)
{
    (void)state;
    static const struct {
        enum steer_encapsulation e;
        unsigned at;
        uint8_t value;
        enum steer_reason reason;
    } cases[] = {
        {STEER_UDP4, 14, 0x46, STEER_OPTIONS},  {STEER_UDP4, 14, 0x55, STEER_OTHER},
        {STEER_UDP4, 20, 0x20, STEER_FRAGMENT}, {STEER_UDP4, 21, 0x01, STEER_FRAGMENT},
        {STEER_UDP4, 23, 6, STEER_OTHER},       {STEER_UDP4, 33, 9, STEER_OTHER},
        {STEER_UDP4, 37, 1, STEER_OTHER},       {STEER_UDP4, 5, 9, STEER_ADDRESS},
        {STEER_UDP6, 14, 0x40, STEER_OTHER},    {STEER_UDP6, 20, 44, STEER_FRAGMENT},
        {STEER_UDP6, 20, 0, STEER_OPTIONS},     {STEER_UDP6, 20, 43, STEER_OPTIONS},
        {STEER_UDP6, 20, 60, STEER_OPTIONS},    {STEER_UDP6, 20, 6, STEER_OTHER},
        {STEER_UDP6, 53, 9, STEER_OTHER},       {STEER_UDP6, 38, 9, STEER_OTHER},
        {STEER_UDP6, 57, 1, STEER_OTHER},       {STEER_UDP6, 5, 9, STEER_ADDRESS},
        {STEER_UDP4, 0, 3, STEER_ADDRESS},      {STEER_UDP6, 0, 3, STEER_ADDRESS}, /* a group */
    };
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(cases); i++) {
        begin(cases[i].e);
        size_t len = frames_data(cases[i].e, 0, 22, in);
        in[cases[i].at] = cases[i].value;
        expect_unchanged(PASS, cases[i].reason, len);
        end();
    }
}

/* Cut at every length: never read behind the end (the kernel would refuse the program, or the count
 * would be another). */
static void short_frames(void **state)
{
    (void)state;
    for (unsigned k = 0; k < PANDO_ARRAY_LEN(all); k++) {
        size_t at = frames_header_at(all[k]);
        begin(all[k]);
        frames_data(all[k], 2, 22, in);
        for (size_t len = 14; len < at + WIRE_RRDP_HEADER; len++) {
            bool whole = len >= at; /* the link header is */
            expect_unchanged(whole ? DROP : PASS, whole ? STEER_SHORT : STEER_OTHER, len);
        }
        expect_unchanged(REDIRECT, STEER_PAGES, at + WIRE_RRDP_HEADER);
        end();
    }
}

static void other_clusters_and_fenced_nodes(void **state)
{
    (void)state;
    for (unsigned k = 0; k < PANDO_ARRAY_LEN(all); k++) {
        size_t at = frames_header_at(all[k]);
        begin(all[k]);
        size_t len = frames_data(all[k], 0, 22, in);
        in[at + 7]++;
        expect_unchanged(DROP, STEER_CLUSTER, len);
        len = frames_data(all[k], 2, 22, in);
        assert_int_equal(steer_fence(steer, FRAMES_PEER, true), 0);
        assert_int_equal(steer_fence(steer, FRAMES_PEER + 2, true), 0);
        expect_unchanged(DROP, STEER_FENCED, len);
        len = frames_ping(all[k], 1, 2, in); /* a fenced node learns nothing */
        expect_unchanged(DROP, STEER_FENCED, len);
        len = frames_data(all[k], 2, 22, in);
        assert_int_equal(steer_fence(steer, FRAMES_PEER, false), 0);
        expect_unchanged(REDIRECT, STEER_PAGES, len);
        in[at + 2] = FRAMES_PEER + 2;
        expect_unchanged(DROP, STEER_FENCED, len);
        assert_int_equal(steer_fence(steer, 63, true), 0);
        in[at + 2] = 63;
        expect_unchanged(DROP, STEER_FENCED, len);
        in[at + 2] = 63 + 64; /* no node: not anybody's bit */
        expect_unchanged(REDIRECT, STEER_PAGES, len);
        assert_int_equal(steer_fence(steer, 64, true), -EINVAL);
        end();
    }
}

/* A header of each other version, with a class and whatever else: what is the same in all of them
 * holds for it too. */
static void the_fence_holds_for_every_version(void **state)
{
    (void)state;
    for (unsigned k = 0; k < PANDO_ARRAY_LEN(all); k++) {
        size_t at = frames_header_at(all[k]);
        begin(all[k]);
        for (unsigned version = 0; version < 4; version++) {
            bool own = version == WIRE_VERSION;
            size_t len = frames_data(all[k], 2, 22, in);
            in[at] = (uint8_t)((in[at] & ~3u) | version);
            in[at + 2] = FRAMES_PEER + 2;
            expect_unchanged(REDIRECT, own ? STEER_PAGES : STEER_CONTROL, len);
            assert_int_equal(steer_fence(steer, FRAMES_PEER + 2, true), 0);
            expect_unchanged(DROP, STEER_FENCED, len);
            in[at + 2] = FRAMES_PEER; /* another node's goes on */
            expect_unchanged(REDIRECT, own ? STEER_PAGES : STEER_CONTROL, len);
            in[at + 2] = FRAMES_PEER + 2;
            in[at + 7]++;
            expect_unchanged(DROP, STEER_CLUSTER, len);
            in[at + 7]--;
            assert_int_equal(steer_fence(steer, FRAMES_PEER + 2, false), 0);
        }
        end();
    }
}

/* ---- HOST-PING ----------------------------------------------------------------------------- */

static void check_answer(enum steer_encapsulation e, size_t len, bool checksum)
{
    size_t at = frames_header_at(e);
    const uint8_t *data;
    struct wire_rrdp h;
    assert_int_equal(expect(TX, STEER_PING, len), len);
    assert_memory_equal(out, frames_mac[FRAMES_PEER], 6);
    assert_memory_equal(out + 6, frames_mac[FRAMES_SELF], 6);
    assert_memory_equal(out + 12, in + 12, 2);
    assert_int_equal(wire_rrdp_unpack(out + at, len - at, (uint8_t)FRAMES_CLUSTER, &h, &data),
                     WIRE_OK);
    assert_true(wire_rrdp_is_ping(&h) && h.ack_valid);
    assert_int_equal(h.src, FRAMES_SELF);
    assert_int_equal(h.dst, FRAMES_PEER);
    assert_int_equal(h.credit, WIRE_PING_BY_KERNEL);
    assert_int_equal(h.seq, 0xA1B2C3D4);
    assert_int_equal(h.ack, 0xFFFF0001);
    assert_int_equal(h.tag, get_le32(in + at + 16));
    if (e == STEER_ETHERNET)
        return;
    size_t size = e == STEER_UDP4 ? 4 : 16, first = at - 8 - 2 * size;
    assert_memory_equal(out + first, in + first + size, size); /* the addresses changed places */
    assert_memory_equal(out + first + size, in + first, size);
    assert_memory_equal(out + at - 8, in + at - 8, 6); /* ports and length are what they were */
    /* Nothing else of the IP header either, but time to live and checksum. */
    assert_memory_equal(out + 14, in + 14, e == STEER_UDP4 ? 8 : 7);
    assert_int_equal(out[e == STEER_UDP4 ? 23 : 20], 17);
    assert_int_equal(out[e == STEER_UDP4 ? 22 : 21], 64);
    if (e == STEER_UDP4)
        assert_int_equal(frames_ip_checksum(out), 0);
    if (checksum)
        assert_int_equal(frames_udp_checksum(e, out), 0);
    else
        assert_int_equal(out[at - 2] | out[at - 1], 0);
}

static void ping_is_answered(void **state)
{
    (void)state;
    for (unsigned k = 0; k < PANDO_ARRAY_LEN(all); k++) {
        begin(all[k]);
        size_t len = frames_ping(all[k], 0xA1B2C3D4, 0xFFFF0001, in);
        check_answer(all[k], len, false);
        if (all[k] != STEER_ETHERNET) {
            frames_udp_checksum_set(all[k], in);
            check_answer(all[k], len, true);
        }
        memset(in, 0xFF, 6); /* by broadcast: whoever has no address of ours yet */
        check_answer(all[k], len, all[k] != STEER_ETHERNET);
        end();
    }
}

/* Each bit of the header turned over: whoever is asked then, it is not answered by the kernel. */
static void spoiled_pings_are_not_answered(void **state)
{
    (void)state;
    for (unsigned k = 0; k < PANDO_ARRAY_LEN(all); k++) {
        size_t at = frames_header_at(all[k]);
        begin(all[k]);
        for (unsigned bit = 0; bit < WIRE_RRDP_HEADER * 8; bit++) {
            size_t len = frames_ping(all[k], 7, 8, in);
            in[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
            bool cluster = bit / 8 == 7, version = bit < 2, page = bit == 33;
            expect_unchanged(cluster && !version ? DROP : REDIRECT,
                             cluster ? STEER_CLUSTER
                             : page  ? STEER_PAGES
                                     : STEER_CONTROL,
                             len);
        }
        end();
    }
}

static void wrong_pings_go_to_the_process(void **state)
{
    (void)state;
    begin(STEER_ETHERNET);
    for (unsigned i = 0; i < 9; i++) {
        struct wire_rrdp h = frames_ping_header(7, 8);
        h.dst = i == 0 ? FRAMES_SELF + 1 : h.dst;
        h.src = i == 1 ? FRAMES_SELF : i == 2 ? FRAMES_NODES : h.src;
        h.tag ^= i == 3;
        h.credit = i == 4;
        h.ack_valid = i == 5; /* an answer: no ball is played */
        h.rst = i == 6;
        h.data_len = i == 7 ? 22 : 0;
        h.first = i == 8;
        expect_unchanged(REDIRECT, STEER_CONTROL, frames_rrdp(STEER_ETHERNET, &h, in));
    }
    frames_ping(STEER_ETHERNET, 7, 8, in);
    expect_unchanged(REDIRECT, STEER_CONTROL, 61); /* more than the padding that Ethernet needs */
    expect(TX, STEER_PING, 60);
    end();
}

/* A good HOST-PING behind a link header that is not: nobody is answered, in the name of whom it was
 * sent. `size` bytes at `at` are others. mend: IPv4's checksum is made right again. */
static void pings_behind_a_wrong_link_header(void **state)
{
    (void)state;
    enum { IP = 14, UDP4 = IP + 20, UDP6 = IP + 40 };
    static const struct {
        enum steer_encapsulation e;
        bool mend;
        unsigned at, size;
        uint8_t bytes[16];
        enum steer_reason reason;
    } cases[] = {
        {STEER_ETHERNET, false, 6, 1, {3}, STEER_PING_SOURCE}, /* a group as sender */
        {STEER_ETHERNET, false, 6, 6, {2, 0x77, 0, 0, 0, 2}, STEER_PING_SOURCE}, /* ourselves */
        {STEER_UDP4, false, 6, 1, {3}, STEER_PING_SOURCE},
        {STEER_UDP6, false, 6, 6, {2, 0x77, 0, 0, 0, 2}, STEER_PING_SOURCE},
        {STEER_UDP4, false, IP + 10, 2, {0, 0}, STEER_PING_CHECKSUM},
        {STEER_UDP4, false, IP + 4, 1, {9}, STEER_PING_CHECKSUM},  /* identification */
        {STEER_UDP4, false, IP + 15, 1, {9}, STEER_PING_CHECKSUM}, /* another address by mistake */
        {STEER_UDP4, true, IP + 2, 2, {0, 51}, STEER_PING_LENGTH}, /* total length */
        {STEER_UDP4, true, IP + 2, 2, {0, 53}, STEER_PING_LENGTH},
        {STEER_UDP4, true, IP + 2, 2, {1, 52}, STEER_PING_LENGTH},
        {STEER_UDP4, true, UDP4 + 4, 2, {0, 31}, STEER_PING_LENGTH},
        {STEER_UDP4, true, UDP4 + 4, 2, {0, 33}, STEER_PING_LENGTH},
        {STEER_UDP6, false, IP + 4, 2, {0, 31}, STEER_PING_LENGTH}, /* payload length */
        {STEER_UDP6, false, IP + 4, 2, {0, 0}, STEER_PING_LENGTH},  /* a jumbogram */
        {STEER_UDP6, false, UDP6 + 4, 2, {0, 33}, STEER_PING_LENGTH},
        {STEER_UDP4, true, IP + 12, 4, {10, 77, 0, 9}, STEER_PING_SOURCE}, /* a stranger */
        {STEER_UDP4, true, IP + 12, 4, {10, 77, 0, 3}, STEER_PING_SOURCE}, /* another node */
        {STEER_UDP4, true, IP + 12, 4, {10, 77, 0, 2}, STEER_PING_SOURCE}, /* ourselves */
        {STEER_UDP4, true, IP + 12, 4, {224, 0, 0, 1}, STEER_PING_SOURCE}, /* a group */
        {STEER_UDP4, true, IP + 12, 4, {255, 255, 255, 255}, STEER_PING_SOURCE},
        {STEER_UDP4, true, IP + 12, 4, {127, 0, 0, 1}, STEER_PING_SOURCE},
        {STEER_UDP6, false, IP + 8, 16, {0xFD, 0x77, [15] = 9}, STEER_PING_SOURCE},
        {STEER_UDP6, false, IP + 8, 16, {0xFD, 0x77, [15] = 3}, STEER_PING_SOURCE},
        {STEER_UDP6, false, IP + 8, 16, {0xFD, 0x77, [5] = 1, [15] = 1}, STEER_PING_SOURCE},
        {STEER_UDP6, false, IP + 8, 16, {0xFF, 2, [15] = 1}, STEER_PING_SOURCE},
        {STEER_UDP4, true, IP + 6, 1, {0x20}, STEER_FRAGMENT}, /* more of them follow */
        {STEER_UDP4, true, IP + 7, 1, {1}, STEER_FRAGMENT},    /* not the first one */
        {STEER_UDP6, false, IP + 6, 1, {44}, STEER_FRAGMENT},
    };
    for (unsigned i = 0; i < PANDO_ARRAY_LEN(cases); i++) {
        begin(cases[i].e);
        size_t len = frames_ping(cases[i].e, 7, 8, in);
        expect(TX, STEER_PING, len);
        memcpy(in + cases[i].at, cases[i].bytes, cases[i].size);
        if (cases[i].mend)
            frames_ip_checksum_set(in);
        expect_unchanged(PASS, cases[i].reason, len);
        end();
    }
    /* The address is the one of the node that the RRDP header names. */
    for (unsigned k = 1; k < PANDO_ARRAY_LEN(all); k++) {
        struct wire_rrdp h = frames_ping_header(7, 8);
        h.src = FRAMES_PEER + 2;
        begin(all[k]);
        expect_unchanged(PASS, STEER_PING_SOURCE, frames_rrdp(all[k], &h, in));
        size_t len = frames_rrdp(all[k], &h, in);
        if (all[k] == STEER_UDP4)
            memcpy(in + IP + 12, frames_address4[h.src], 4);
        else
            memcpy(in + IP + 8, frames_address6[h.src], 16);
        if (all[k] == STEER_UDP4)
            frames_ip_checksum_set(in);
        expect(TX, STEER_PING, len);
        end();
    }
}

/* Headers with a byte or two changed and a CRC that is right again: the kernel answers exactly
 * those that the process would take for a question to itself. */
static void kernel_and_process_agree_on_pings(void **state)
{
    (void)state;
    struct prng rng = {.state = 20};
    size_t at = frames_header_at(STEER_ETHERNET);
    unsigned answered = 0;
    begin(STEER_ETHERNET);
    for (unsigned i = 0; i < 4000; i++) {
        const uint8_t *data;
        struct wire_rrdp h;
        size_t len = frames_ping(STEER_ETHERNET, 7, 8, in);
        for (unsigned k = prng_below(&rng, 2) + 1; k > 0; k--) {
            uint8_t *b = &in[at + prng_below(&rng, WIRE_RRDP_CRC_OFFSET)];
            *b = prng_below(&rng, 2) ? (uint8_t)(*b ^ 1u << prng_below(&rng, 8))
                                     : (uint8_t)prng_next(&rng);
        }
        wire_rrdp_seal(in + at, WIRE_RRDP_HEADER);
        bool ping =
            wire_rrdp_unpack(in + at, len - at, (uint8_t)FRAMES_CLUSTER, &h, &data) == WIRE_OK &&
            wire_rrdp_is_ping(&h) && !h.ack_valid && h.dst == FRAMES_SELF && h.src != FRAMES_SELF &&
            h.src < FRAMES_NODES && h.tag == rrdp_cluster_tag(FRAMES_CLUSTER);
        struct bpf_test_run_opts o = {.sz = sizeof(o),
                                      .data_in = in,
                                      .data_size_in = (uint32_t)len,
                                      .data_out = out,
                                      .data_size_out = sizeof(out),
                                      .repeat = 1};
        assert_int_equal(bpf_prog_test_run_opts(steer_program_fd(steer), &o), 0);
        assert_int_equal(o.retval == TX, ping);
        answered += ping;
    }
    assert_in_range(answered, 400, 3600);
    end();
}

static void another_contract_passes_everything(void **state)
{
    (void)state;
    if (steer_open(NULL, &steer, err) != 0)
        fail_msg("%s", err);
    size_t len = frames_data(STEER_ETHERNET, 0, 22, in);
    struct bpf_test_run_opts o = {
        .sz = sizeof(o), .data_in = in, .data_size_in = (uint32_t)len, .repeat = 1};
    assert_int_equal(bpf_prog_test_run_opts(steer_program_fd(steer), &o), 0);
    assert_int_equal(o.retval, PASS);
    steer_close(steer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_go_to_their_sockets),
        cmocka_unit_test(without_a_socket_frames_are_dropped),
        cmocka_unit_test(others_go_to_the_kernel),
        cmocka_unit_test(ip_datagrams_that_are_not_ours),
        cmocka_unit_test(short_frames),
        cmocka_unit_test(other_clusters_and_fenced_nodes),
        cmocka_unit_test(the_fence_holds_for_every_version),
        cmocka_unit_test(ping_is_answered),
        cmocka_unit_test(spoiled_pings_are_not_answered),
        cmocka_unit_test(wrong_pings_go_to_the_process),
        cmocka_unit_test(pings_behind_a_wrong_link_header),
        cmocka_unit_test(kernel_and_process_agree_on_pings),
        cmocka_unit_test(another_contract_passes_everything),
    };
    if (geteuid() != 0) {
        printf("skipped: BPF programs need root\n");
        return SKIP;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
