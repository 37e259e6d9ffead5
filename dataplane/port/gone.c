/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/bits.h"
#include "dataplane/port/port.h"

void port_tell_gone(struct port *p, struct rrdp *r, uint8_t nodes, uint64_t now, uint64_t silent_ns,
                    uint64_t *seen)
{
    uint64_t gone = 0;
    for (uint8_t n = 0; n < nodes; n++)
        if (rrdp_peer_up(r, n) && now - rrdp_peer_last_rx(r, n) > silent_ns && port_peer_gone(p, n))
            gone |= bit64(n);
    for (uint64_t twice = gone & *seen; twice != 0; twice &= twice - 1)
        rrdp_gone(r, (uint8_t)bit64_first(twice));
    *seen = gone;
}
