/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/net/net.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/base/bits.h"

#define US UINT64_C(1000)
#define MS (1000 * US)

enum { LOOK_MS = 100 }; /* a spinning endpoint does not see signals */

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

bool session_ended(void)
{
    return ended != 0;
}

void session_go_on(void)
{
    ended = 0;
}

const char *session_name(const struct session *s, uint8_t node)
{
    const struct config_node *n = config_node_of(&s->cfg, node);
    return n != NULL ? n->name : "?";
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool load(struct session *s, const struct net_options *o)
{
    char err[CONFIG_ERROR_MAX] = "";
    int rc = config_load(o->config, &s->cfg, err);
    if (rc == 0 && err[0] != '\0')
        fprintf(stderr, "%s: %s\n", s->command, err);
    if (rc == 0)
        rc = config_find_node(&s->cfg, o->node, &s->self, err);
    if (rc == 0 && o->wants_far)
        rc = config_find_node(&s->cfg, o->far, &s->far, err);
    if (rc == 0 && o->wants_far && s->far == s->self) {
        rc = -EINVAL;
        snprintf(err, sizeof(err), "node '%s' is this node (--node); another one is to be asked",
                 o->far);
    }
    if (rc != 0)
        fprintf(stderr, "%s: %s\n", s->command, err);
    return rc == 0;
}

static int open_endpoint(struct session *s, uint64_t spin_ns)
{
    struct endpoint_config c;
    const struct pando_config *cfg = &s->cfg;
    endpoint_defaults(&c, s->fabric.port);
    fabric_transport(&s->fabric, &c.rrdp);
    c.rrdp.config_hash |= RRDP_HASH_ENDPOINT;
    c.spin_ns = spin_ns;
    if (spin_ns == 0)
        c.spin_ns =
            cfg->poll.mode == CONFIG_POLL_INTERRUPT || cfg->poll.mode == CONFIG_POLL_ADAPTIVE
                ? cfg->poll.sleep_after_us * US
                : UINT64_MAX;
    struct port *port = s->fabric.port;
    s->fabric.port = NULL; /* the endpoint's from here on */
    int rc = endpoint_open(&c, port, &s->ep);
    if (rc != 0)
        fprintf(stderr, "%s: transport: %s\n", s->command, strerror(-rc));
    return rc;
}

int session_open(struct session *s, const char *command, const struct net_options *o,
                 uint64_t spin_ns)
{
    char err[FABRIC_TEXT_MAX] = "", who[FABRIC_WHO_MAX];
    *s = (struct session){.command = command};
    if (!load(s, o))
        return NET_CANNOT;
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    snprintf(who, sizeof(who), "%s: node %u", command, s->self);
    fabric_init(&s->fabric, &s->cfg, s->self, who);
    int rc = fabric_claim(&s->fabric, err);
    if (rc == 0)
        rc = fabric_start_eal(&s->fabric, false, err);
    if (rc == 0)
        rc = fabric_open(&s->fabric, err);
    if (rc != 0)
        fprintf(stderr, "%s: %s\n", who, err);
    if (rc == 0)
        rc = open_endpoint(s, spin_ns);
    if (rc != 0)
        fabric_close(&s->fabric);
    return rc == 0 ? 0 : NET_CANNOT;
}

void session_close(struct session *s)
{
    (void)endpoint_close(s->ep, NET_LINGER_MS * MS);
    fabric_close(&s->fabric);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void say_refused(struct session *s, bool any_peer, const struct endpoint_message *m)
{
    static const char *const text[] = {
        [RRDP_REFUSE_REVISION] = "has another version of Pando",
        [RRDP_REFUSE_VERSION] = "speaks another version of the wire format",
        [RRDP_REFUSE_CONFIG] = "has another configuration file",
        [RRDP_REFUSE_NODES] = "has a configuration with another number of nodes",
        [RRDP_REFUSE_SAME_NODE] = "says that it is this node",
        [RRDP_REFUSE_PURPOSE] = "has a dataplane, which takes no messages of ours",
    };
    if (!any_peer && m->peer != s->far && m->value != RRDP_REFUSE_SAME_NODE)
        return;
    bool known = m->value < sizeof(text) / sizeof(text[0]) && text[m->value] != NULL;
    if ((s->refused & bit64(m->peer)) == 0)
        fprintf(stderr, "%s: node %u (%s) %s\n", s->command, m->peer, session_name(s, m->peer),
                known ? text[m->value] : "does not fit");
    s->refused |= bit64(m->peer);
}

static const char *down_words(uint64_t why)
{
    static const char *const text[] = {
        [RRDP_DOWN_TIMEOUT] = "nothing was heard of it for transport.dead_ms",
        [RRDP_DOWN_RST] = "it gave the connection up",
        [RRDP_DOWN_CLOSED] = "it has ended",
        [RRDP_DOWN_RESTARTED] = "it was restarted",
        [RRDP_DOWN_GONE] = "its process has ended",
    };
    return why < sizeof(text) / sizeof(text[0]) && text[why] != NULL ? text[why] : "?";
}

/* 0: of no further interest. */
static int look(struct session *s, bool any_peer, const struct endpoint_message *m)
{
    switch (m->type) {
    case ENDPOINT_DATA:
    case ENDPOINT_PONG:
    case ENDPOINT_UP:
    case ENDPOINT_ROOM:
        return any_peer || m->peer == s->far;
    case ENDPOINT_DOWN:
        if (any_peer)
            return 1;
        if (m->peer != s->far)
            return 0;
        fprintf(stderr, "%s: node %u (%s) went away: %s\n", s->command, m->peer,
                session_name(s, m->peer), down_words(m->value));
        return -ENOTCONN;
    case ENDPOINT_REFUSED:
        say_refused(s, any_peer, m);
        return 0;
    case ENDPOINT_MTU:
        if (m->value < s->fabric.cfg->fabric.mtu)
            fprintf(stderr,
                    "%s: the path to node %u (%s) carries frames of %u bytes, not of fabric.mtu\n",
                    s->command, m->peer, session_name(s, m->peer), (unsigned)m->value);
        return 0;
    }
    return 0;
}

/* Looked at now and then: it may cost system calls. */
static bool dead(struct session *s)
{
    uint64_t now = endpoint_now();
    if (now < s->look_at)
        return false;
    s->look_at = now + LOOK_MS * MS;
    const char *why = endpoint_look(s->ep);
    if (why != NULL)
        fprintf(stderr, "%s: no fabric any more: %s\n", s->command, why);
    return why != NULL;
}

int session_receive(struct session *s, uint64_t timeout_ns, bool any_peer,
                    struct endpoint_message *ret_message)
{
    uint64_t now = endpoint_now(),
             until = now > UINT64_MAX - timeout_ns ? UINT64_MAX : now + timeout_ns;
    for (;;) {
        if (session_ended())
            return -EINTR;
        if (dead(s))
            return -ENETDOWN;
        int rc = endpoint_receive(s->ep, min_u64(until - now, LOOK_MS * MS), ret_message);
        if (rc == 0)
            rc = look(s, any_peer, ret_message);
        else
            rc = 0; /* time, or a signal: looked at above */
        if (rc != 0)
            return rc < 0 ? rc : 0;
        now = endpoint_now();
        if (now >= until)
            return -EAGAIN;
    }
}

int session_join(struct session *s)
{
    struct endpoint_message m;
    uint64_t end = endpoint_now() + NET_JOIN_MS * MS;
    while (!endpoint_up(s->ep, s->far)) {
        uint64_t now = endpoint_now();
        if (session_ended() || (s->refused & (bit64(s->far) | bit64(s->self))) != 0)
            return 1;
        if (now >= end) {
            fprintf(stderr,
                    "%s: node %u (%s) did not come within %u s; there, start: pando echo "
                    "--config FILE --node %u\n",
                    s->command, s->far, session_name(s, s->far), NET_JOIN_MS / 1000, s->far);
            return 1;
        }
        if (session_receive(s, min_u64(end - now, LOOK_MS * MS), false, &m) == -ENETDOWN)
            return NET_CANNOT;
    }
    return 0;
}

int session_send(struct session *s, uint8_t cls, const void *data, uint32_t len, uint64_t end)
{
    struct endpoint_message m;
    for (;;) {
        int rc = endpoint_send(s->ep, s->far, cls, data, len, false);
        if (rc == -ENOTCONN) /* the words for that are on their way */
            rc = -EAGAIN;
        uint64_t now = endpoint_now();
        if (rc != -EAGAIN || now >= end)
            return rc;
        rc = session_receive(s, end - now, false, &m);
        if (rc != 0 && rc != -EAGAIN)
            return rc;
    }
}
