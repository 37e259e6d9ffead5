/* SPDX-License-Identifier: BSD-3-Clause */
/* The far end: answers what ping and bench ask, of every node, until it is ended. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/net/net.h"

static const char doc[] =
    "Answers pando ping and pando bench of the other nodes, until it is ended. In place of the "
    "node's dataplane: before a cluster is put to use, or to find out what is wrong with one.";

struct echo {
    struct session session;
    struct {
        uint64_t pages, messages;
    } peer[WIRE_NODES_MAX];
    uint64_t answered, unanswered, strange;
};

static void answer(struct echo *e, const struct endpoint_message *m, const struct probe *p)
{
    static uint8_t reply[ENDPOINT_BYTES_MAX];
    struct probe r = {.op = PROBE_PONG, .seq = p->seq};
    uint32_t len = p->reply_len;
    if (p->op == PROBE_MARK) {
        r = (struct probe){.op = PROBE_MARK_REPLY,
                           .seq = p->seq,
                           .count = e->peer[m->peer].pages,
                           .cpu_ns = net_cpu_ns()};
        len = PROBE_MARK_BYTES;
    }
    memset(reply, 0, PROBE_MARK_BYTES);
    probe_pack(&r, reply);
    /* Who asks for more than it takes gets fewer answers, and sees that. */
    if (endpoint_send(e->session.ep, m->peer, m->cls, reply, len, false) == 0)
        e->answered++;
    else
        e->unanswered++;
}

static void take(struct echo *e, const struct endpoint_message *m)
{
    struct session *s = &e->session;
    struct probe p;
    switch (m->type) {
    case ENDPOINT_UP:
        memset(&e->peer[m->peer], 0, sizeof(e->peer[0]));
        fprintf(stderr, "pando echo: node %u (%s) is here\n", m->peer, session_name(s, m->peer));
        return;
    case ENDPOINT_DOWN:
        fprintf(stderr, "pando echo: node %u (%s) went away, after %llu messages%s\n", m->peer,
                session_name(s, m->peer), (unsigned long long)e->peer[m->peer].messages,
                s->cfg.fabric.type == CONFIG_FABRIC_MEMIF
                    ? "; memif connects once: start pando echo again"
                    : "");
        return;
    case ENDPOINT_DATA:
        if (!probe_unpack(m, &p)) {
            e->strange++;
            return;
        }
        e->peer[m->peer].messages++;
        if (p.op == PROBE_PAGE)
            e->peer[m->peer].pages++;
        else if (p.op == PROBE_PING || p.op == PROBE_MARK)
            answer(e, m, &p);
        return;
    default:
        return;
    }
}

int echo_main(int argc, char **argv)
{
    static struct echo e; /* large */
    struct net_options o = {0};
    const struct argp argp = {.parser = net_parse, .doc = doc, .children = net_children};
    struct endpoint_message m;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    int rc = session_open(&e.session, "pando echo", &o, 0);
    if (rc != 0)
        return rc;
    fprintf(stderr, "pando echo: node %u (%s) answers over %s\n", e.session.self,
            session_name(&e.session, e.session.self), e.session.fabric.text);
    while ((rc = session_receive(&e.session, ENDPOINT_FOREVER, true, &m)) == 0 || rc == -EAGAIN)
        if (rc == 0)
            take(&e, &m);
    bool good = rc == -EINTR;
    if (o.json)
        good &= net_print(json_pack("{s:i, s:s, s:i, s:I, s:I, s:I}", "schema", 1, "what", "echo",
                                    "node", (int)e.session.self, "answered", (json_int_t)e.answered,
                                    "unanswered", (json_int_t)e.unanswered, "strange",
                                    (json_int_t)e.strange));
    session_close(&e.session);
    return good ? 0 : 1;
}
