/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages to the far end, as many as go. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/net/net.h"

#define MS UINT64_C(1000000)

enum { SECONDS_MS = 3000, WARM_MS = 100, WAIT_MS = 1, MARK_MS = 2000 };

static const char doc[] =
    "Pages of 4 KiB to pando echo at NODE, as many as go: how many a second arrived, and CPU time "
    "of both ends. In poll modes busy and yield a core counts whole, whether it has work or not. "
    "Ctrl-C ends it with what was measured.";

struct stream_options {
    struct net_options net;
    uint64_t length_ns;
};

/* Both ends, at one time. */
struct mark {
    uint64_t at, pages, far_cpu_ns, cpu_ns;
};

static const struct argp_option option_list[] = {
    {"seconds", 't', "SECONDS", 0, "How long: 0.05..3600; 3", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct stream_options *o = state->input;
    if (key != 't')
        return net_parse(key, arg, state);
    o->length_ns = net_seconds(state, "--seconds", arg, 50, 3600000);
    return 0;
}

/* Behind all pages before it: they are of one class. */
static int take_mark(struct session *s, struct mark *ret)
{
    static uint32_t seq;
    uint8_t message[PROBE_MIN];
    struct probe p = {.op = PROBE_MARK, .seq = ++seq}, reply;
    struct endpoint_message m;
    uint64_t end = endpoint_now() + MARK_MS * MS, now;
    int rc;
    probe_pack(&p, message);
    rc = session_send(s, WIRE_CLASS_DATA, message, sizeof(message), end);
    while (rc == 0 && (now = endpoint_now()) < end) {
        rc = session_receive(s, end - now, false, &m);
        if (rc == 0 && probe_unpack(&m, &reply) && reply.op == PROBE_MARK_REPLY &&
            reply.seq == seq) {
            *ret = (struct mark){endpoint_now(), reply.count, reply.cpu_ns, net_cpu_ns()};
            return 0;
        }
    }
    return rc == 0 || rc == -EAGAIN ? -ETIMEDOUT : rc;
}

static int send_pages(struct session *s, uint64_t length_ns)
{
    static uint8_t page[NET_PAGE];
    struct probe p = {.op = PROBE_PAGE};
    struct endpoint_message m;
    uint64_t end = endpoint_now() + length_ns;
    while (endpoint_now() < end) {
        int rc = 0;
        while (rc == 0) {
            p.seq++;
            probe_pack(&p, page);
            rc = endpoint_send(s->ep, s->far, WIRE_CLASS_DATA, page, sizeof(page), true);
        }
        /* Not connected: the words for that are on their way. */
        rc = session_receive(s, WAIT_MS * MS, false, &m);
        if (rc != 0 && rc != -EAGAIN)
            return rc;
    }
    return 0;
}

static void print_result(const struct session *s, const struct mark *a, const struct mark *b)
{
    double seconds = (double)(b->at - a->at) / 1e9, pages = (double)(b->pages - a->pages);
    double here = (double)(b->cpu_ns - a->cpu_ns) / 1e9;
    double there = (double)(b->far_cpu_ns - a->far_cpu_ns) / 1e9;
    const struct rrdp_counters *c = rrdp_counters(endpoint_rrdp(s->ep), s->far);
    printf("from node %u (%s) to node %u (%s) over %s\n", s->self, session_name(s, s->self), s->far,
           session_name(s, s->far), s->fabric.text);
    printf("%.0f pages in %.2f s: %.0f a second, %.2f Gbit/s\n", pages, seconds, pages / seconds,
           pages * NET_PAGE * 8 / seconds / 1e9);
    printf("CPU: here %.2f s, there %.2f s; frames sent again: %llu\n", here, there,
           (unsigned long long)c->retransmit[WIRE_CLASS_DATA]);
}

static json_t *report(const struct session *s, const struct mark *a, const struct mark *b)
{
    json_t *head = net_head(s, "stream");
    double seconds = (double)(b->at - a->at) / 1e9;
    json_object_set_new(head, "seconds", json_real(seconds));
    json_object_set_new(head, "pages", json_integer((json_int_t)(b->pages - a->pages)));
    json_object_set_new(head, "pages_per_second",
                        json_real((double)(b->pages - a->pages) / seconds));
    json_object_set_new(head, "cpu_seconds", json_real((double)(b->cpu_ns - a->cpu_ns) / 1e9));
    json_object_set_new(head, "far_cpu_seconds",
                        json_real((double)(b->far_cpu_ns - a->far_cpu_ns) / 1e9));
    return head;
}

int bench_stream(int argc, char **argv)
{
    static struct session s;
    struct stream_options o = {.net.wants_far = true, .length_ns = SECONDS_MS * MS};
    const struct argp argp = {.options = option_list,
                              .parser = parse,
                              .args_doc = "NODE",
                              .doc = doc,
                              .children = net_children};
    struct mark before, after;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int rc = session_open(&s, "pando bench stream", &o.net, 0);
    if (rc != 0)
        return rc;
    rc = session_join(&s);
    if (rc == 0 && (rc = send_pages(&s, WARM_MS * MS)) == 0 && (rc = take_mark(&s, &before)) == 0) {
        rc = send_pages(&s, o.length_ns);
        if (rc == -EINTR)
            session_go_on();
        if (rc == 0 || rc == -EINTR)
            rc = take_mark(&s, &after);
    }
    if (rc == -ETIMEDOUT)
        fprintf(stderr, "pando bench stream: node %u (%s) does not say how many pages came\n",
                s.far, session_name(&s, s.far));
    if (rc == 0 && o.net.json && !net_print(report(&s, &before, &after)))
        rc = -EIO;
    else if (rc == 0 && !o.net.json)
        print_result(&s, &before, &after);
    session_close(&s);
    return rc == 0 ? 0 : rc == NET_CANNOT ? NET_CANNOT : 1;
}
