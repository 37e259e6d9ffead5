/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A faulty wire: what comes in on this device goes out on another, or is lost, repeated or spoiled
 * on the way. For tests, on kernels without netem; contract.h has the maps. For the BPF target.
 *
 * The draws of frame n are a hash of seed and n, so a run repeats as far as the frames come in the
 * same order. Corruption turns over one bit behind the Ethernet header: what a checksum must find.
 */
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

#include "bpf/contract.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct fault_config);
} config SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP);
    __uint(max_entries, FAULT_COPIES);
    __type(key, __u32);
    __type(value, __u32);
} target SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, FAULT_REASONS);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 why)
{
    __u64 *n = bpf_map_lookup_elem(&counters, &why);
    if (n != NULL)
        ++*n;
}

/* splitmix64, as dataplane/base/prng.h. */
static __always_inline __u64 draw(__u64 *state)
{
    __u64 z = (*state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static __always_inline int happens(__u64 *state, __u32 ppm)
{
    return draw(state) % FAULT_PPM < ppm;
}

static __always_inline int spoil(struct xdp_md *ctx, __u64 r)
{
    __u32 len = (__u32)bpf_xdp_get_buff_len(ctx);
    __u8 byte;
    if (len <= sizeof(struct ethhdr))
        return 0;
    __u32 at = sizeof(struct ethhdr) + (__u32)(r >> 3) % (len - (__u32)sizeof(struct ethhdr));
    if (bpf_xdp_load_bytes(ctx, at, &byte, 1) != 0)
        return 0;
    byte ^= 1u << (r & 7);
    return bpf_xdp_store_bytes(ctx, at, &byte, 1) == 0;
}

SEC("xdp.frags")
int pando_fault(struct xdp_md *ctx)
{
    __u32 zero = 0;
    struct fault_config *c = bpf_map_lookup_elem(&config, &zero);
    if (c == NULL || c->version != FAULT_VERSION) {
        count(FAULT_UNCONFIGURED);
        return XDP_DROP;
    }
    __u64 state = c->seed + (__sync_fetch_and_add(&c->frames, 1) << 32);
    int lost = happens(&state, c->drop_ppm), repeated = happens(&state, c->duplicate_ppm);
    if (lost) {
        count(FAULT_LOST);
        return XDP_DROP;
    }
    if (happens(&state, c->corrupt_ppm) && spoil(ctx, draw(&state)))
        count(FAULT_CORRUPTED);
    if (repeated && bpf_xdp_get_buff_len(ctx) != ctx->data_end - ctx->data) {
        count(FAULT_LARGE);
        repeated = 0;
    }
    long action = bpf_redirect_map(&target, 0, XDP_DROP);
    if (action == XDP_REDIRECT && repeated)
        action = bpf_redirect_map(&target, 0, BPF_F_BROADCAST);
    if (action == XDP_REDIRECT && repeated)
        count(FAULT_REPEATED);
    count(action == XDP_REDIRECT ? FAULT_FORWARDED : FAULT_UNCONFIGURED);
    return (int)action;
}

char _license[] SEC("license") = "BSD-3-Clause"; /* it calls no helper that asks for more */
