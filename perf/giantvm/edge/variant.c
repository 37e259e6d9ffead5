/* SPDX-License-Identifier: BSD-3-Clause */
/* Compiled once for each of the two programs. */
#include "perf/giantvm/edge/tcp.h"

const bool tcp_receiver_sleeps = GIANTVM_SLEEPS;
