/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames as they are on the wire, built by the production code and by hand where it has none, for
 * tests of the XDP programs. */
#ifndef PANDO_TESTS_BPF_FRAMES_H
#define PANDO_TESTS_BPF_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/contract.h"
#include "dataplane/wire/wire.h"

enum {
    FRAMES_ETHERTYPE = 0x88B5,
    FRAMES_UDP_PORT = 4791,
    FRAMES_ENTROPY_PORT = 0xC123,
    FRAMES_SELF = 1,
    FRAMES_PEER = 0,
    FRAMES_NODES = 3,
    FRAMES_CLUSTER = 0x7788,
    FRAMES_MAX = 9216,
};

extern const uint8_t frames_mac[2][6];                 /* by node: FRAMES_PEER, FRAMES_SELF */
extern const uint8_t frames_address4[FRAMES_NODES][4]; /* 10.77.0.1, and so on */
extern const uint8_t frames_address6[FRAMES_NODES][16];

/* What the program is told, for FRAMES_SELF. */
struct steer_config frames_config(enum steer_encapsulation e);

/* A header with data_len bytes behind it, sealed, in the encapsulation, from FRAMES_PEER to
 * FRAMES_SELF. Returns the length, at least 60. */
size_t frames_rrdp(enum steer_encapsulation e, const struct wire_rrdp *h, uint8_t *out);
/* The same for a message of this class, or HOST-PING with this id and stamp. */
size_t frames_data(enum steer_encapsulation e, unsigned cls, uint16_t data_len, uint8_t *out);
struct wire_rrdp frames_ping_header(uint32_t id, uint32_t stamp);
size_t frames_ping(enum steer_encapsulation e, uint32_t id, uint32_t stamp, uint8_t *out);

/* Where the RRDP header is. */
size_t frames_header_at(enum steer_encapsulation e);

/* The checksums of IP header and UDP datagram, both as they would have to be: 0 if they are right.
 * ..._set store the right ones (UDP's is zero in the frames that are built). */
uint16_t frames_ip_checksum(const uint8_t *frame);
uint16_t frames_udp_checksum(enum steer_encapsulation e, const uint8_t *frame);
void frames_ip_checksum_set(uint8_t *frame);
void frames_udp_checksum_set(enum steer_encapsulation e, uint8_t *frame);

#endif
