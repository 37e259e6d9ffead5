/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions of bench rtt: one at a time, or at times that are fixed before. */
#include <errno.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/net/net.h"

#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)

enum { WARM = 200, LOST_MS = 1000, PENDING = 1 << 16, ROOM_US = 10 };

static uint8_t *question(const struct bench_shape *of, uint32_t seq)
{
    static uint8_t message[ENDPOINT_BYTES_MAX];
    struct probe p = {.op = PROBE_PING, .reply_len = (uint16_t)of->reply, .seq = seq};
    probe_pack(&p, message);
    return message;
}

/* The answer of this shape that a message is, if it is one. */
static bool answer_of(const struct bench_shape *of, const struct endpoint_message *m,
                      uint32_t *ret_seq)
{
    struct probe reply;
    if (!probe_unpack(m, &reply) || reply.op != PROBE_PONG || m->len != of->reply)
        return false;
    *ret_seq = reply.seq;
    return true;
}

/* One round trip. 0 and *ret_ns; -EAGAIN: unanswered; as session_receive. */
static int once(struct session *s, const struct bench_shape *of, uint64_t *ret_ns)
{
    struct endpoint_message m;
    uint64_t start = endpoint_now(), end = start + LOST_MS * MS, now;
    uint32_t seq = ++s->seq, got;
    int rc = session_send(s, of->cls, question(of, seq), of->bytes, end);
    while (rc == 0 && (now = endpoint_now()) < end) {
        rc = session_receive(s, end - now, false, &m);
        if (rc == 0 && answer_of(of, &m, &got) && got == seq) {
            *ret_ns = endpoint_now() - start;
            return 0;
        }
    }
    return rc != 0 ? rc : -EAGAIN;
}

/* What is not counted. */
static int warm_up(struct session *s, const struct bench_shape *of)
{
    uint64_t ns;
    for (uint32_t i = 0; i < WARM; i++) {
        int rc = once(s, of, &ns);
        if (rc != 0 && rc != -EAGAIN)
            return rc;
    }
    return 0;
}

int bench_closed(struct session *s, struct bench_shape *of, uint64_t length_ns)
{
    int rc = warm_up(s, of);
    uint64_t start = endpoint_now(), ns;
    while (rc == 0 && endpoint_now() < start + length_ns) {
        rc = once(s, of, &ns);
        if (rc == 0)
            hist_add(&of->rtt, ns);
        of->unanswered += rc == -EAGAIN;
        rc = rc == -EAGAIN ? 0 : rc;
    }
    of->ns = endpoint_now() - start;
    return rc;
}

/* An open loop under way. */
struct open_loop {
    uint32_t first;              /* seq of message 0 */
    uint64_t start, interval_ns; /* message i is due at start + i * interval_ns */
    uint64_t total, sent, oldest, answered;
};

static uint64_t due_at(const struct open_loop *l, uint64_t i)
{
    return l->start + i * l->interval_ns;
}

/* All that are due and have room. 0, or endpoint_send's error. */
static int send_due(struct session *s, const struct bench_shape *of, struct open_loop *l,
                    uint8_t *pending)
{
    while (l->sent < l->total && l->sent - l->oldest < PENDING &&
           due_at(l, l->sent) <= endpoint_now()) {
        uint32_t seq = l->first + (uint32_t)l->sent;
        int rc = endpoint_send(s->ep, s->far, of->cls, question(of, seq), of->bytes, false);
        if (rc == -EAGAIN || rc == -ENOTCONN) /* no room: it leaves later, and is late by that */
            return 0;
        if (rc != 0)
            return rc;
        pending[l->sent++ % PENDING] = 1;
    }
    return 0;
}

static void take_answer(struct bench_shape *of, struct open_loop *l, uint8_t *pending, uint32_t seq)
{
    uint64_t i = l->oldest + (uint32_t)(seq - l->first - (uint32_t)l->oldest);
    if (i >= l->sent || !pending[i % PENDING])
        return; /* of a shape before this one */
    pending[i % PENDING] = 0;
    l->answered++;
    hist_add(&of->rtt, endpoint_now() - due_at(l, i));
    while (l->oldest < l->sent && !pending[l->oldest % PENDING])
        l->oldest++;
}

/* Until when to wait for an answer now. What is due and did not leave waits for room. */
static uint64_t wait_until(const struct open_loop *l, uint64_t now, uint64_t last_chance)
{
    if (l->sent == l->total || l->sent - l->oldest >= PENDING)
        return last_chance;
    uint64_t due = due_at(l, l->sent);
    return due > now ? due : now + ROOM_US * MS / 1000;
}

int bench_open_loop(struct session *s, struct bench_shape *of, uint64_t length_ns, uint64_t rate)
{
    static uint8_t pending[PENDING];
    struct endpoint_message m;
    uint32_t seq;
    int rc = warm_up(s, of);
    struct open_loop l = {.first = s->seq + 1,
                          .start = endpoint_now(),
                          .interval_ns = SEC / rate,
                          .total = max_u64(length_ns * rate / SEC, 1)};
    uint64_t last_chance = due_at(&l, l.total) + LOST_MS * MS;
    memset(pending, 0, sizeof(pending));
    while (rc == 0 && l.answered < l.total && endpoint_now() < last_chance) {
        rc = send_due(s, of, &l, pending);
        if (rc != 0)
            break;
        uint64_t now = endpoint_now();
        rc = session_receive(s, wait_until(&l, now, last_chance) - now, false, &m);
        if (rc == 0 && answer_of(of, &m, &seq))
            take_answer(of, &l, pending, seq);
        rc = rc == -EAGAIN ? 0 : rc;
    }
    s->seq += (uint32_t)l.total;
    of->unanswered = rc == 0 ? l.total - l.answered : l.sent - l.answered;
    of->ns = endpoint_now() - l.start;
    return rc;
}
