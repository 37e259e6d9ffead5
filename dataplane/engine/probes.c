/* SPDX-License-Identifier: BSD-3-Clause */
/* The counters of who attached. */
#include "dataplane/engine/probes.h"

#define X(name, args, cost) USDT_DEFINE(pando, name)
PROBE_LIST(X)
#undef X
