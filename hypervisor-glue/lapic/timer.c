/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The APIC timer ("APIC Timer"): one-shot, periodic, TSC-deadline.
 *
 * The only state is the absolute time of the next expiry, in ns, or none. The current count is
 * computed from it and from now; the mode, the divide value and the initial count are in registers.
 * One timer tick is divide / timer_hz. Rounding is upwards: the timer never fires early.
 */
#include "hypervisor-glue/lapic/lapic_internal.h"

#define NS_PER_S UINT64_C(1000000000)

/* The products stay below 2^64: hz is in LAPIC_MIN_HZ..LAPIC_MAX_HZ, ticks at most 2^39. */
static uint64_t ticks_to_ns(const struct lapic *l, uint64_t ticks)
{
    uint64_t hz = l->config.timer_hz;
    return ticks / hz * NS_PER_S + (ticks % hz * NS_PER_S + hz - 1) / hz;
}

static uint64_t ns_to_ticks(const struct lapic *l, uint64_t ns)
{
    uint64_t hz = l->config.timer_hz;
    return ns / NS_PER_S * hz + ns % NS_PER_S * hz / NS_PER_S;
}

static uint64_t deadline_after(uint64_t now_ns, uint64_t ns)
{
    return ns < LAPIC_NO_DEADLINE - now_ns ? now_ns + ns : LAPIC_NO_DEADLINE - 1;
}

/* "Divide Configuration Register": bits 0, 1 and 3 select 2, 4, ... 128, and 7 selects 1. */
static uint32_t divide_shift(const struct lapic *l)
{
    uint32_t tdcr = lapic_get(l, LAPIC_TDCR);
    return ((tdcr & 3u) + (tdcr >> 1 & 4u) + 1u) & 7u;
}

static uint32_t timer_mode(const struct lapic *l)
{
    return lapic_get(l, LAPIC_LVT_TIMER) >> 17 & 3u;
}

static uint64_t count_to_ns(const struct lapic *l, uint32_t count)
{
    return ticks_to_ns(l, (uint64_t)count << divide_shift(l));
}

bool lapic_timer_is_periodic(const struct lapic *l)
{
    return timer_mode(l) == LAPIC_TIMER_PERIODIC;
}

bool lapic_timer_is_tsc(const struct lapic *l)
{
    return timer_mode(l) == LAPIC_TIMER_TSC_DEADLINE;
}

void lapic_timer_stop(struct lapic *l)
{
    l->timer_deadline_ns = LAPIC_NO_DEADLINE;
    l->tsc_deadline = 0;
}

uint64_t lapic_timer_deadline(const struct lapic *l)
{
    if (lapic_get(l, LAPIC_LVT_TIMER) & LAPIC_LVT_MASKED)
        return LAPIC_NO_DEADLINE;
    if (l->timer_deadline_ns == LAPIC_NO_DEADLINE || l->timer_deadline_ns > l->timer_rest_ns)
        return l->timer_deadline_ns;
    return l->timer_rest_ns;
}

void lapic_timer_rest(struct lapic *l, uint64_t until_ns)
{
    if (until_ns > l->timer_rest_ns)
        l->timer_rest_ns = until_ns;
}

uint8_t lapic_timer_vector(const struct lapic *l)
{
    return (uint8_t)lapic_get(l, LAPIC_LVT_TIMER);
}

bool lapic_timer_waits(const struct lapic *l)
{
    return lapic_irr_holds(l, lapic_timer_vector(l));
}

/* What a periodic timer does at an expiry; with an initial count of 0 it stops. */
static void advance_periodic(struct lapic *l, uint64_t now_ns)
{
    uint64_t period = count_to_ns(l, lapic_get(l, LAPIC_TMICT));
    if (period == 0) {
        lapic_timer_stop(l);
        return;
    }
    uint64_t missed = (now_ns - l->timer_deadline_ns) / period;
    l->timer_deadline_ns = deadline_after(l->timer_deadline_ns + missed * period, period);
    if ((lapic_get(l, LAPIC_LVT_TIMER) & LAPIC_LVT_MASKED) == 0)
        l->count.timer_missed += missed;
}

void lapic_timer_fire(struct lapic *l, uint64_t now_ns, struct lapic_out *out)
{
    if (l->timer_deadline_ns == LAPIC_NO_DEADLINE || now_ns < l->timer_deadline_ns ||
        now_ns < l->timer_rest_ns)
        return;
    if (timer_mode(l) == LAPIC_TIMER_PERIODIC)
        advance_periodic(l, now_ns);
    else
        lapic_timer_stop(l);
    out->events |= LAPIC_EV_TIMER;
    if ((lapic_get(l, LAPIC_LVT_TIMER) & LAPIC_LVT_MASKED) == 0) {
        l->count.timer_fired++;
        lapic_lvt_fire(l, LAPIC_LVT_TIMER, out);
    }
}

uint32_t lapic_timer_count(const struct lapic *l, uint64_t now_ns)
{
    if (l->timer_deadline_ns == LAPIC_NO_DEADLINE || lapic_timer_is_tsc(l) ||
        now_ns >= l->timer_deadline_ns)
        return 0;
    uint32_t initial = lapic_get(l, LAPIC_TMICT);
    uint32_t shift = divide_shift(l);
    uint64_t ticks = ns_to_ticks(l, l->timer_deadline_ns - now_ns);
    uint64_t count = (ticks >> shift) + ((ticks & ((UINT64_C(1) << shift) - 1)) != 0);
    if (count == 0)
        return 1; /* it has not expired yet */
    return count < initial ? (uint32_t)count : initial;
}

/* Sets the time of expiry to `count` timer ticks from now. */
void lapic_timer_start(struct lapic *l, uint64_t now_ns, uint32_t count, struct lapic_out *out)
{
    out->events |= LAPIC_EV_TIMER;
    l->timer_deadline_ns =
        count == 0 ? LAPIC_NO_DEADLINE : deadline_after(now_ns, count_to_ns(l, count));
}

void lapic_timer_set_divide(struct lapic *l, uint64_t now_ns, uint32_t tdcr, struct lapic_out *out)
{
    uint32_t count = lapic_timer_count(l, now_ns);
    lapic_put(l, LAPIC_TDCR, tdcr);
    if (count != 0)
        lapic_timer_start(l, now_ns, count, out);
}

/* "TSC-Deadline Mode": a change to or from it disarms the timer. */
void lapic_timer_set_lvt(struct lapic *l, uint32_t lvt, struct lapic_out *out)
{
    bool was_tsc = lapic_timer_is_tsc(l);
    lapic_put(l, LAPIC_LVT_TIMER, lvt);
    if (was_tsc != lapic_timer_is_tsc(l)) {
        lapic_timer_stop(l);
        lapic_put(l, LAPIC_TMICT, 0);
    }
    out->events |= LAPIC_EV_TIMER;
}

void lapic_tsc_deadline_read(struct lapic *l, uint64_t now_ns, uint64_t *ret_value,
                             struct lapic_out *out)
{
    if (!l->config.tsc_deadline) {
        out->events |= LAPIC_EV_GP;
        return;
    }
    lapic_timer_fire(l, now_ns, out);
    *ret_value = l->tsc_deadline;
}

void lapic_tsc_deadline_write(struct lapic *l, uint64_t now_ns, uint64_t tsc_now, uint64_t value,
                              struct lapic_out *out)
{
    if (!l->config.tsc_deadline) {
        out->events |= LAPIC_EV_GP;
        return;
    }
    lapic_timer_fire(l, now_ns, out);
    if (!lapic_timer_is_tsc(l))
        return;
    lapic_timer_stop(l);
    out->events |= LAPIC_EV_TIMER;
    if (value == 0)
        return;
    uint64_t khz = l->config.tsc_khz;
    uint64_t tsc = value > tsc_now ? value - tsc_now : 0;
    uint64_t ms = tsc / khz;
    uint64_t ns = ms < UINT64_MAX / 2000000u
                      ? ms * 1000000u + (tsc % khz * 1000000u + khz - 1) / khz
                      : UINT64_MAX;
    l->tsc_deadline = value;
    l->timer_deadline_ns = deadline_after(now_ns, ns);
    lapic_timer_fire(l, now_ns, out);
}
