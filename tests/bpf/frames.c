/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bpf/frames.h"

#include <arpa/inet.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/transport/rrdp.h"

enum { ETH = 14, IP4 = 20, IP6 = 40, UDP = 8 };

const uint8_t frames_mac[2][6] = {{2, 0x77, 0, 0, 0, 1}, {2, 0x77, 0, 0, 0, 2}};
const uint8_t frames_address4[FRAMES_NODES][4] = {{10, 77, 0, 1}, {10, 77, 0, 2}, {10, 77, 0, 3}};
const uint8_t frames_address6[FRAMES_NODES][16] = {
    {0xFD, 0x77, [15] = 1},
    {0xFD, 0x77, [15] = 2},
    {0xFD, 0x77, [15] = 3},
};

static void put_be16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

struct steer_config frames_config(enum steer_encapsulation e)
{
    struct steer_config c = {
        .encapsulation = e,
        .ethertype = htons(FRAMES_ETHERTYPE),
        .udp_port = htons(FRAMES_UDP_PORT),
        .self = FRAMES_SELF,
        .nodes = FRAMES_NODES,
        .cluster_tag = rrdp_cluster_tag(FRAMES_CLUSTER),
        .cluster_id = FRAMES_CLUSTER,
    };
    memcpy(c.mac, frames_mac[FRAMES_SELF], 6);
    for (unsigned n = 0; n < FRAMES_NODES; n++)
        memcpy(c.address[n], e == STEER_UDP6 ? frames_address6[n] : frames_address4[n],
               e == STEER_UDP6 ? 16 : 4);
    return c;
}

size_t frames_header_at(enum steer_encapsulation e)
{
    return e == STEER_ETHERNET ? ETH : e == STEER_UDP4 ? ETH + IP4 + UDP : ETH + IP6 + UDP;
}

static uint32_t sum_words(uint32_t sum, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)~sum;
}

uint16_t frames_ip_checksum(const uint8_t *frame)
{
    return fold(sum_words(0, frame + ETH, IP4));
}

void frames_ip_checksum_set(uint8_t *frame)
{
    put_be16(frame + ETH + 10, 0);
    put_be16(frame + ETH + 10, frames_ip_checksum(frame));
}

uint16_t frames_udp_checksum(enum steer_encapsulation e, const uint8_t *frame)
{
    size_t addresses = e == STEER_UDP4 ? 8 : 32;
    const uint8_t *udp = frame + frames_header_at(e) - UDP;
    size_t len = (size_t)udp[4] << 8 | udp[5];
    uint32_t sum = sum_words(17 + (uint32_t)len, udp - addresses, addresses);
    return fold(sum_words(sum, udp, len));
}

void frames_udp_checksum_set(enum steer_encapsulation e, uint8_t *frame)
{
    uint8_t *udp = frame + frames_header_at(e) - UDP;
    put_be16(udp + 6, 0);
    put_be16(udp + 6, frames_udp_checksum(e, frame));
}

static void put_link(enum steer_encapsulation e, size_t payload, uint8_t *out)
{
    memcpy(out, frames_mac[FRAMES_SELF], 6);
    memcpy(out + 6, frames_mac[FRAMES_PEER], 6);
    put_be16(out + 12, e == STEER_ETHERNET ? FRAMES_ETHERTYPE : e == STEER_UDP4 ? 0x0800 : 0x86DD);
    uint8_t *ip = out + ETH, *udp = out + frames_header_at(e) - UDP;
    if (e == STEER_UDP4) {
        static const uint8_t head[IP4] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, 17, 17};
        memcpy(ip, head, IP4);
        put_be16(ip + 2, IP4 + UDP + payload);
        memcpy(ip + 12, frames_address4[FRAMES_PEER], 4);
        memcpy(ip + 16, frames_address4[FRAMES_SELF], 4);
        put_be16(ip + 10, frames_ip_checksum(out));
    } else if (e == STEER_UDP6) {
        static const uint8_t head[8] = {0x60, 0, 0, 0, 0, 0, 17, 17};
        memcpy(ip, head, 8);
        put_be16(ip + 4, UDP + payload);
        memcpy(ip + 8, frames_address6[FRAMES_PEER], 16);
        memcpy(ip + 24, frames_address6[FRAMES_SELF], 16);
    }
    if (e != STEER_ETHERNET) {
        put_be16(udp, FRAMES_ENTROPY_PORT);
        put_be16(udp + 2, FRAMES_UDP_PORT);
        put_be16(udp + 4, UDP + payload);
        put_be16(udp + 6, 0);
    }
}

size_t frames_rrdp(enum steer_encapsulation e, const struct wire_rrdp *h, uint8_t *out)
{
    uint8_t *frame = out + frames_header_at(e);
    memset(out, 0, 64);
    size_t len = wire_rrdp_pack(h, frame);
    for (size_t i = 0; i < h->data_len; i++)
        frame[len + i] = (uint8_t)(i * 7 + h->seq);
    len += h->data_len;
    wire_rrdp_seal(frame, len);
    put_link(e, len, out);
    len += frames_header_at(e);
    return len < 60 ? 60 : len;
}

size_t frames_data(enum steer_encapsulation e, unsigned cls, uint16_t data_len, uint8_t *out)
{
    struct wire_rrdp h = {
        .ack_valid = true,
        .first = data_len > 0,
        .last = data_len > 0,
        .src = FRAMES_PEER,
        .dst = FRAMES_SELF,
        .cls = (uint8_t)cls,
        .cluster_tag = (uint8_t)FRAMES_CLUSTER,
        .data_len = data_len,
        .seq = 5,
    };
    return frames_rrdp(e, &h, out);
}

struct wire_rrdp frames_ping_header(uint32_t id, uint32_t stamp)
{
    return (struct wire_rrdp){
        .syn = true,
        .nul = true,
        .src = FRAMES_PEER,
        .dst = FRAMES_SELF,
        .cluster_tag = (uint8_t)FRAMES_CLUSTER,
        .seq = id,
        .ack = stamp,
        .tag = rrdp_cluster_tag(FRAMES_CLUSTER),
    };
}

size_t frames_ping(enum steer_encapsulation e, uint32_t id, uint32_t stamp, uint8_t *out)
{
    struct wire_rrdp h = frames_ping_header(id, stamp);
    return frames_rrdp(e, &h, out);
}
