/* SPDX-License-Identifier: BSD-3-Clause */
/* From what the transport wants sent to a frame in a port: the one place where frames are put
 * together and sealed. EDGE. */
#ifndef PANDO_PORT_FRAME_H
#define PANDO_PORT_FRAME_H

#include "dataplane/port/port.h"

/* Puts a frame of rrdp_transmit into the port; port flush sends it. payload: f->payload_len bytes,
 * those from f->payload_offset on of what f->payload names; not looked at if payload_len is 0. They
 * leave by reference, or are offered to be placed, where the port does that, under the rules of
 * port.h; else as a copy. They do not change during the call: of frozen pages, or the caller's own.
 *
 * False: the port has no room now. The frame is lost, and RRDP sends it again. ret_copied: payload
 * bytes that were copied. The polling thread only. */
bool port_put_frame(struct port *p, const struct rrdp_frame *f, const uint8_t *payload,
                    uint32_t *ret_copied);

#endif
