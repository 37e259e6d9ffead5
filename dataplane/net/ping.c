/* SPDX-License-Identifier: BSD-3-Clause */
/* Is a node's host there, who answers for it, and does the transport reach it? */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/base/bits.h"
#include "dataplane/net/net.h"

#define MS UINT64_C(1000000)

enum { SPIN_US = 2000, COUNT = 5, INTERVAL_MS = 1000, MESSAGE_BYTES = ENDPOINT_FRAME_BYTES };

static const char doc[] =
    "Asks a node's host for a sign of life (HOST-PING), which its kernel answers where Pando's XDP "
    "program is attached, else its dataplane or pando echo; and sends a message through the "
    "transport, which pando echo answers.\vExit status: 0 if something was answered, 1 if nothing "
    "was, 2 if nothing could be asked: the command line, the configuration, this node's own side.";

struct ping_options {
    struct net_options net;
    uint64_t count, interval_ns;
};

struct ping {
    struct session session;
    struct hist host, message;
    uint64_t asked, sent, by_kernel, by_process;
};

enum { KEY_COUNT = 'c', KEY_INTERVAL = 'i' };

static const struct argp_option option_list[] = {
    {"count", KEY_COUNT, "N", 0, "Ask N times: 1..1000000; 5", 0},
    {"interval", KEY_INTERVAL, "SECONDS", 0, "Between two questions: 0.01..60; 1", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct ping_options *o = state->input;
    switch (key) {
    case KEY_COUNT:
        o->count = net_number(state, "--count", arg, 1, 1000000);
        return 0;
    case KEY_INTERVAL:
        o->interval_ns = net_seconds(state, "--interval", arg, 10, 60000);
        return 0;
    default:
        return net_parse(key, arg, state);
    }
}

/* One question, and its answers until the next is due. False: no more. */
static bool ask(struct ping *g, uint32_t id, uint64_t interval_ns, bool last, bool json)
{
    struct session *s = &g->session;
    uint8_t message[MESSAGE_BYTES] = {0};
    struct probe p = {.op = PROBE_PING, .reply_len = MESSAGE_BYTES, .seq = id}, reply;
    struct endpoint_message m;
    uint64_t start = endpoint_now(), end = start + interval_ns, host = 0, through = 0;
    const char *by = "";
    int rc = endpoint_host_ping(s->ep, s->far, id, (uint32_t)(start / 1000));
    g->asked += rc == 0;
    probe_pack(&p, message);
    uint64_t sent_at = endpoint_now();
    bool sent =
        endpoint_send(s->ep, s->far, WIRE_CLASS_URGENT, message, sizeof(message), false) == 0;
    g->sent += sent;
    while ((rc = session_receive(s, end - min_u64(end, endpoint_now()), false, &m)) != -EAGAIN) {
        uint64_t now = endpoint_now();
        if (rc == -EINTR || rc == -ENETDOWN)
            break;
        if (rc == 0 && m.type == ENDPOINT_PONG && (uint32_t)m.value == id && host == 0) {
            host = now - start;
            bool kernel = m.by == WIRE_PING_BY_KERNEL;
            by = kernel ? "kernel" : "process";
            g->by_kernel += kernel;
            g->by_process += !kernel;
            hist_add(&g->host, host);
        } else if (rc == 0 && probe_unpack(&m, &reply) && reply.op == PROBE_PONG &&
                   reply.seq == id && through == 0) {
            through = now - sent_at;
            hist_add(&g->message, through);
        }
        if (now >= end || (last && host != 0 && (through != 0 || !sent)))
            break;
    }
    if (json)
        return rc != -EINTR && rc != -ENETDOWN;
    printf("%u: host ", id);
    if (host != 0)
        printf("answers in %.1f us (its %s)", net_us(host), by);
    else
        printf("does not answer");
    if (through != 0)
        printf("; message and answer %.1f us\n", net_us(through));
    else
        printf(sent ? "; message not answered\n" : "; not connected\n");
    return fflush(stdout) == 0 && rc != -EINTR && rc != -ENETDOWN;
}

static void summary(const struct ping *g)
{
    printf("%llu asked, %llu answered (kernel %llu, process %llu)", (unsigned long long)g->asked,
           (unsigned long long)g->host.count, (unsigned long long)g->by_kernel,
           (unsigned long long)g->by_process);
    if (g->host.count > 0)
        printf(": median %.1f us, max %.1f us", net_us(hist_quantile(&g->host, 500)),
               net_us(g->host.max));
    printf("\n%llu messages sent, %llu answered", (unsigned long long)g->sent,
           (unsigned long long)g->message.count);
    if (g->message.count > 0)
        printf(": median %.1f us, max %.1f us", net_us(hist_quantile(&g->message, 500)),
               net_us(g->message.max));
    printf("\n");
}

int ping_main(int argc, char **argv)
{
    static struct ping g; /* large */
    struct ping_options o = {
        .net.wants_far = true, .count = COUNT, .interval_ns = INTERVAL_MS * MS};
    const struct argp argp = {.options = option_list,
                              .parser = parse,
                              .args_doc = "NODE",
                              .doc = doc,
                              .children = net_children};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    struct session *s = &g.session;
    int rc = session_open(s, "pando ping", &o.net, SPIN_US * UINT64_C(1000));
    if (rc != 0)
        return rc;
    if (!o.net.json)
        printf("pando ping: node %u (%s) from node %u (%s) over %s\n", s->far,
               session_name(s, s->far), s->self, session_name(s, s->self), s->fabric.text);
    /* A moment for the connection, so that the first question is not about it. */
    struct endpoint_message m;
    (void)session_receive(s, min_u64(o.interval_ns, 200 * MS), false, &m);
    uint32_t next = 1;
    while (next <= o.count && ask(&g, next, o.interval_ns, next == o.count, o.net.json))
        next++;
    bool good = g.host.count > 0 || g.message.count > 0;
    if (o.net.json) {
        json_t *report = net_head(s, "ping");
        json_object_set_new(report, "asked", json_integer((json_int_t)g.asked));
        json_object_set_new(report, "by_kernel", json_integer((json_int_t)g.by_kernel));
        json_object_set_new(report, "by_process", json_integer((json_int_t)g.by_process));
        json_object_set_new(report, "host", net_hist(&g.host));
        json_object_set_new(report, "sent", json_integer((json_int_t)g.sent));
        json_object_set_new(report, "message", net_hist(&g.message));
        good &= net_print(report);
    } else {
        summary(&g);
    }
    session_close(s);
    return good ? 0 : 1;
}
