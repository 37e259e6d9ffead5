/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzzes the link header: kind 1 | a frame as received by node 9. What is accepted lies within the
 * frame, comes from a node, and is accepted again when we write the header in front of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/wire/link.h"

enum { SELF = 9, NODES = 10, MTU = 1500 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

/* Addresses as in tests/golden/wire/make.py. */
static struct link link_of(enum link_kind kind, uint8_t self)
{
    static const uint8_t net4[3] = {192, 0, 2}, net6[4] = {0x20, 0x01, 0x0d, 0xb8};
    struct link_config c = {.kind = kind, .udp_port = 18514, .self = self, .nodes = NODES};
    struct link l;
    const uint8_t mac[6] = {2, 'P', 'A', 0, 0, self};
    for (uint8_t n = 0; n < NODES; n++) {
        memcpy(c.ip[n], kind == LINK_UDP4 ? net4 : net6, kind == LINK_UDP4 ? 3 : 4);
        c.ip[n][kind == LINK_UDP4 ? 3 : 15] = n;
    }
    PANDO_CHECK(link_init(&l, &c, WIRE_ETHERTYPE, MTU, mac) == 0);
    l.known = bit64(SELF);
    memcpy(l.next_hop[SELF], "\x02PA\0\0\x09", 6);
    return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    if (size < 1)
        return 0;
    struct link to = link_of(in[0] % LINK_KINDS, SELF);
    struct link_frame f, again;
    uint8_t *copy = malloc(size - 1); /* exact, for the sanitizer */
    if (copy == NULL)
        abort();
    if (size > 1)
        memcpy(copy, in + 1, size - 1);
    enum link_verdict v = link_read(&to, copy, size - 1, &f);
    PANDO_CHECK(v < LINK_VERDICTS && strlen(link_verdict_name(v)) > 1);
    if (v == LINK_OK) {
        uint32_t header = link_header_bytes(to.cfg.kind);
        uint8_t whole[LINK_BYTES_MAX + MTU];
        PANDO_CHECK(f.data == copy + header && f.len > 0 && f.len <= MTU &&
                    f.len <= size - 1 - header);
        struct link from = link_of(to.cfg.kind, 0);
        memcpy(whole + header, f.data, f.len);
        PANDO_CHECK(link_write(&from, SELF, to.mac, f.len, whole) == header);
        PANDO_CHECK(link_read(&to, whole, header + f.len, &again) == LINK_OK);
        PANDO_CHECK(again.data == whole + header && again.len == f.len);
    }
    free(copy);
    return 0;
}
