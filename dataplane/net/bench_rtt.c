/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages to and fro, one at a time, in several sizes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/net.h"

#define MS UINT64_C(1000000)

enum { SECONDS_MS = 1000, WARM = 200, LOST_MS = 1000, FETCH_ASK = 64 };

static const char doc[] =
    "Round trips of messages to pando echo at NODE and back, one at a time: of every size in "
    "--sizes, and of a 64-byte request for a page. What takes longer than a second is counted as "
    "not answered. Ctrl-C ends it with what was measured.";

struct shape {
    uint32_t bytes, reply;
    uint8_t cls;
    struct hist rtt;
    uint64_t unanswered, ns;
};

struct rtt_options {
    struct net_options net;
    uint64_t length_ns;
    uint32_t shapes;
    struct shape shape[NET_SIZES_MAX + 1];
};

static void add(struct rtt_options *o, uint32_t bytes, uint32_t reply, uint8_t cls)
{
    struct shape *s = &o->shape[o->shapes++];
    s->bytes = bytes;
    s->reply = reply;
    s->cls = cls;
}

/* As the engine sends: what fits is urgent, the rest a request; pages have a class of their own. */
static void add_sizes(struct rtt_options *o, const char *list, struct argp_state *state)
{
    char copy[256], *rest = copy, *word;
    if (strlen(list) >= sizeof(copy))
        argp_error(state, "--sizes: at most %d numbers are allowed", NET_SIZES_MAX);
    strcpy(copy, list);
    o->shapes = 0;
    while ((word = strsep(&rest, ",")) != NULL) {
        uint32_t bytes =
            (uint32_t)net_number(state, "--sizes", word, PROBE_MIN, ENDPOINT_BYTES_MAX);
        if (o->shapes == NET_SIZES_MAX)
            argp_error(state, "--sizes: at most %d numbers are allowed", NET_SIZES_MAX);
        add(o, bytes, bytes,
            bytes <= ENDPOINT_URGENT_BYTES ? WIRE_CLASS_URGENT : WIRE_CLASS_REQUEST);
    }
}

static const struct argp_option option_list[] = {
    {"sizes", 's', "A,B,...", 0,
     "Bytes of messages: each 8..16384, up to 16 of them; "
     "20,32,64,128,256,512",
     0},
    {"seconds", 't', "SECONDS", 0, "Time for each size: 0.05..3600; 1", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct rtt_options *o = state->input;
    switch (key) {
    case 's':
        add_sizes(o, arg, state);
        return 0;
    case 't':
        o->length_ns = net_seconds(state, "--seconds", arg, 50, 3600000);
        return 0;
    default:
        return net_parse(key, arg, state);
    }
}

/* One round trip. 0 and *ret_ns; -EAGAIN: unanswered; as session_receive. */
static int once(struct session *s, const struct shape *of, uint32_t seq, uint64_t *ret_ns)
{
    static uint8_t message[ENDPOINT_BYTES_MAX];
    struct probe p = {.op = PROBE_PING, .reply_len = (uint16_t)of->reply, .seq = seq}, reply;
    struct endpoint_message m;
    uint64_t start = endpoint_now(), end = start + LOST_MS * MS, now;
    probe_pack(&p, message);
    int rc = session_send(s, of->cls, message, of->bytes, end);
    while (rc == 0 && (now = endpoint_now()) < end) {
        rc = session_receive(s, end - now, false, &m);
        if (rc == 0 && probe_unpack(&m, &reply) && reply.op == PROBE_PONG && reply.seq == seq &&
            m.len == of->reply) {
            *ret_ns = endpoint_now() - start;
            return 0;
        }
    }
    return rc != 0 ? rc : -EAGAIN;
}

static int measure(struct session *s, struct shape *of, uint64_t length_ns)
{
    static uint32_t seq;
    uint64_t start = 0, ns, end = UINT64_MAX;
    for (uint32_t i = 0; i <= WARM || endpoint_now() < end; i++) {
        int rc = once(s, of, ++seq, &ns);
        if (rc != 0 && rc != -EAGAIN) {
            of->ns = start != 0 ? endpoint_now() - start : 0;
            return rc;
        }
        if (i < WARM)
            continue;
        if (i == WARM) { /* the first one that counts begins when this one has ended */
            start = endpoint_now();
            end = start + length_ns;
            continue;
        }
        if (rc == 0)
            hist_add(&of->rtt, ns);
        else
            of->unanswered++;
    }
    of->ns = endpoint_now() - start;
    return 0;
}

static void print_line(const struct shape *of)
{
    printf("%7u %7u %10llu %10.1f %10.1f %10.1f %11llu\n", of->bytes, of->reply,
           (unsigned long long)of->rtt.count, net_us(hist_quantile(&of->rtt, 500)),
           net_us(hist_quantile(&of->rtt, 990)), net_us(of->rtt.max),
           (unsigned long long)of->unanswered);
    fflush(stdout);
}

static json_t *report(const struct session *s, const struct rtt_options *o)
{
    json_t *head = net_head(s, "rtt"), *sizes = json_array();
    for (uint32_t i = 0; i < o->shapes; i++) {
        const struct shape *of = &o->shape[i];
        json_t *one = net_hist(&of->rtt);
        json_object_set_new(one, "bytes", json_integer(of->bytes));
        json_object_set_new(one, "reply", json_integer(of->reply));
        json_object_set_new(one, "unanswered", json_integer((json_int_t)of->unanswered));
        json_object_set_new(one, "seconds", json_real((double)of->ns / 1e9));
        json_array_append_new(sizes, one);
    }
    json_object_set_new(head, "sizes", sizes);
    return head;
}

int bench_rtt(int argc, char **argv)
{
    static struct rtt_options o = {.net.wants_far = true, .length_ns = SECONDS_MS * MS};
    static struct session s;
    const struct argp argp = {.options = option_list,
                              .parser = parse,
                              .args_doc = "NODE",
                              .doc = doc,
                              .children = net_children};
    add_sizes(&o, "20,32,64,128,256,512", NULL);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    add(&o, FETCH_ASK, NET_PAGE, WIRE_CLASS_DATA);
    int rc = session_open(&s, "pando bench rtt", &o.net, 0);
    if (rc != 0)
        return rc;
    rc = session_join(&s);
    if (rc == 0 && !o.net.json)
        printf("from node %u (%s) to node %u (%s) and back, over %s\n%7s %7s %10s %10s %10s %10s "
               "%11s\n",
               s.self, session_name(&s, s.self), s.far, session_name(&s, s.far), s.fabric.text,
               "bytes", "answer", "messages", "median us", "p99 us", "max us", "unanswered");
    bool joined = rc == 0;
    for (uint32_t i = 0; rc == 0 && i < o.shapes; i++) {
        rc = measure(&s, &o.shape[i], o.length_ns);
        if (!o.net.json && o.shape[i].rtt.count > 0)
            print_line(&o.shape[i]);
    }
    /* Also what was measured before it was ended. */
    if (joined && o.net.json && !net_print(report(&s, &o)))
        rc = -EIO;
    session_close(&s);
    return rc == 0 ? 0 : rc == NET_CANNOT ? NET_CANNOT : 1;
}
