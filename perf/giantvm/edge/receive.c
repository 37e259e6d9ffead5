/* SPDX-License-Identifier: BSD-3-Clause */
/* engine.h's way in, over TCP: connections are set up, messages are read and handled at once. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "dataplane/base/bits.h"
#include "perf/giantvm/edge/tcp.h"

enum { READS = 4, EVENTS_MAX = 2 * FRAME_NODES_MAX + TCP_YOUNG + 1 };

/* ---- messages ------------------------------------------------------------------------------ */

static void refuse(struct engine *e, enum wire_error why)
{
    engine_drop(e, why == WIRE_E_KIND       ? ENGINE_DROP_MSG_KIND
                   : why == WIRE_E_CLASS    ? ENGINE_DROP_MSG_CLASS
                   : why == WIRE_E_RESERVED ? ENGINE_DROP_MSG_RESERVED
                   : why == WIRE_E_RANGE    ? ENGINE_DROP_MSG_RANGE
                                            : ENGINE_DROP_MSG_LENGTH);
}

static void count(struct engine *e, uint8_t src, uint8_t cls, size_t len)
{
    struct rrdp_counters *c = &e->rrdp->count[src];
    c->rx_messages[cls]++;
    c->rx_frames[cls]++;
    c->rx_bytes[cls] += len;
    e->port->counters.rx_frames++;
    e->port->counters.rx_bytes += len;
}

static void take_page(struct engine *e, uint8_t src, const struct wire_msg *m, const uint8_t *page)
{
    uint8_t *frame = ram_frame(&e->ram, m->page);
    if (frame == NULL || !coh_wants_data(e->coh, src, m)) {
        if (frame == NULL)
            engine_drop(e, ENGINE_DROP_NO_FRAME);
        e->count.data_not_copied++;
        return;
    }
    memcpy(frame, page, WIRE_PAGE_SIZE);
    e->count.page_bytes_in += WIRE_PAGE_SIZE;
    e->count.page_copied_in += WIRE_PAGE_SIZE;
}

static void dsm_message(struct engine *e, uint8_t src, bool answers, const uint8_t *in)
{
    struct tcp *t = tcp_of(e);
    struct wire_msg m;
    enum wire_error err = frame_unpack(in, e->nodes, e->cfg->vm.ram_pages, &m);
    if (err == WIRE_OK && (m.kind == WIRE_DATA || m.kind == WIRE_INV_ACK) != answers)
        err = WIRE_E_CLASS; /* by the connection that is not for it */
    if (err != WIRE_OK) {
        refuse(e, err);
        return;
    }
    count(e, src, wire_kind_info(m.kind)->cls, FRAME_DSM);
    if (m.kind == WIRE_DATA) {
        take_page(e, src, &m, in + FRAME_DSM_HEADER);
        t->fetches -= t->fetches > 0;
        t->interval_us = 0;
    } else if (m.kind == WIRE_INV_ACK) {
        t->acks -= t->acks > 0;
    }
    struct coh_event ev = {.type = COH_EV_MESSAGE, .src = src, .page = m.page, .msg = m};
    engine_step(e, &ev);
}

static void other_message(struct engine *e, uint8_t src, const uint8_t *in, size_t len)
{
    const uint8_t *header = in + FRAME_OTHER_HEADER, *payload = header + WIRE_MSG_HEADER;
    const struct wire_kind_info *info = wire_kind_info(in[0]);
    uint16_t n = frame_payload_len(in);
    enum wire_error err = header[0] == in[0] ? WIRE_OK : WIRE_E_KIND;
    struct wire_glue g;
    struct wire_time m;
    if (err == WIRE_OK && info->family == WIRE_FAMILY_GLUE)
        err = wire_glue_unpack(header, WIRE_MSG_HEADER, info->cls, n, &g);
    else if (err == WIRE_OK)
        err = wire_time_unpack(header, WIRE_MSG_HEADER, info->cls, payload, n, &m);
    if (err != WIRE_OK) {
        refuse(e, err);
        return;
    }
    count(e, src, info->cls, len);
    e->count.rx[in[0]]++;
    if (info->family == WIRE_FAMILY_GLUE)
        glue_deliver(e, src, &g, payload, n);
    else
        clock_message(e, src, &m);
}

/* ---- who is there -------------------------------------------------------------------------- */

static void look_at(struct engine *e, uint8_t peer)
{
    const struct tcp *t = tcp_of(e);
    if (t->mine[peer].state == TCP_READY && t->its[peer].state == TCP_READY &&
        !rrdp_peer_up(e->rrdp, peer))
        link_up(e->rrdp, peer);
}

static bool fits(struct engine *e, const struct frame_hello *h)
{
    const struct rrdp_config *c = &e->rrdp->cfg;
    if (h->node >= e->nodes)
        return false; /* nobody whom a message could name */
    if (h->revision != FRAME_REVISION)
        link_refused(e->rrdp, h->node, RRDP_REFUSE_REVISION);
    else if (h->node == e->self)
        link_refused(e->rrdp, h->node, RRDP_REFUSE_SAME_NODE);
    else if (h->nodes != e->nodes)
        link_refused(e->rrdp, h->node, RRDP_REFUSE_NODES);
    else if (h->config_hash != c->config_hash)
        link_refused(e->rrdp, h->node, RRDP_REFUSE_CONFIG);
    else
        return true;
    return false;
}

/* A stranger's first bytes. He is told who we are whatever he is, so that both can name it. */
static void greet(struct engine *e, struct tcp_conn *young)
{
    struct tcp *t = tcp_of(e);
    uint8_t bytes[FRAME_HELLO_LEN];
    struct frame_hello h;
    ssize_t n = recv(young->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0 && n < FRAME_HELLO_LEN && bytes[0] == FRAME_HELLO)
        return; /* the rest comes */
    if (n < FRAME_HELLO_LEN || bytes[0] != FRAME_HELLO) {
        engine_drop(e, ENGINE_DROP_MSG_KIND);
        tcp_drop(t, young);
        return;
    }
    (void)!recv(young->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    frame_unpack_hello(bytes, &h);
    if (h.cluster_id != e->rrdp->cfg.cluster_id) {
        engine_drop(e, ENGINE_DROP_MSG_RANGE);
        tcp_drop(t, young);
        return;
    }
    tcp_hello(t, young, e->rrdp);
    if (!fits(e, &h) || t->its[h.node].state != TCP_NONE) {
        tcp_drop(t, young);
        return;
    }
    struct tcp_conn *c = &t->its[h.node];
    c->fd = young->fd; /* in its epoll set already */
    c->state = TCP_READY;
    young->fd = -1;
    tcp_drop(t, young);
    look_at(e, h.node);
}

static void greeted(struct engine *e, uint8_t peer, const uint8_t *in)
{
    struct tcp *t = tcp_of(e);
    struct frame_hello h;
    frame_unpack_hello(in, &h);
    if (h.cluster_id != e->rrdp->cfg.cluster_id || h.node != peer || !fits(e, &h)) {
        tcp_drop(t, &t->mine[peer]);
        return;
    }
    t->mine[peer].state = TCP_READY;
    look_at(e, peer);
}

static void lost(struct engine *e, uint8_t peer, struct tcp_conn *c)
{
    tcp_drop(tcp_of(e), c);
    link_down(e->rrdp, peer, RRDP_DOWN_GONE);
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* False: the connection is over. */
static bool handle(struct engine *e, uint8_t peer, struct tcp_conn *c, const uint8_t *in,
                   size_t len)
{
    bool mine = c == &tcp_of(e)->mine[peer];
    if (c->state == TCP_GREETED) {
        if (in[0] != FRAME_HELLO)
            return false;
        greeted(e, peer, in);
        return c->state == TCP_READY;
    }
    if (in[0] == FRAME_BYE || in[0] == FRAME_STOP) {
        link_down(e->rrdp, peer, in[0] == FRAME_BYE ? RRDP_DOWN_CLOSED : RRDP_DOWN_RST);
        return true;
    }
    if (len == FRAME_DSM)
        dsm_message(e, peer, mine, in);
    else if (mine || in[0] == FRAME_HELLO)
        return false;
    else
        other_message(e, peer, in, len);
    return true;
}

/* All whole messages that are here. */
static bool parse(struct engine *e, uint8_t peer, struct tcp_conn *c)
{
    uint32_t at = 0;
    bool good = true;
    while (good && at < c->in_len && e->phase != ENGINE_LEAVING) {
        int64_t len = frame_length(c->in + at, c->in_len - at);
        if (len < 0) {
            engine_drop(e, ENGINE_DROP_MSG_LENGTH);
            good = false;
        } else if (len == 0 || (uint64_t)len > c->in_len - at) {
            break;
        } else {
            good = handle(e, peer, c, c->in + at, (size_t)len);
            at += (uint32_t)len;
        }
    }
    if (c->fd < 0)
        return false; /* dropped meanwhile */
    if (at > 0 && at < c->in_len)
        memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    return good;
}

static bool read_from(struct engine *e, uint8_t peer, struct tcp_conn *c)
{
    bool useful = false;
    for (unsigned i = 0; i < READS && c->fd >= 0; i++) {
        size_t room = TCP_IN - c->in_len;
        ssize_t n = recv(c->fd, c->in + c->in_len, room, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return useful;
        if (n <= 0) {
            lost(e, peer, c);
            return true;
        }
        useful = true;
        e->now = engine_now();
        c->in_len += (uint32_t)n;
        if (!parse(e, peer, c)) {
            lost(e, peer, c);
            return true;
        }
        if ((size_t)n < room)
            return useful;
    }
    return useful;
}

static bool ready(struct engine *e, int fd)
{
    struct tcp *t = tcp_of(e);
    if (fd == t->listen_fd)
        return tcp_accept(t);
    for (uint32_t i = 0; i < TCP_YOUNG; i++)
        if (t->young[i].fd == fd) {
            greet(e, &t->young[i]);
            return true;
        }
    for (uint8_t n = 0; n < e->nodes; n++) {
        if (t->its[n].fd == fd)
            return read_from(e, n, &t->its[n]);
        if (t->mine[n].fd == fd)
            return read_from(e, n, &t->mine[n]);
    }
    return false;
}

static bool poll_set(struct engine *e, int epoll_fd)
{
    struct epoll_event ev[EVENTS_MAX];
    bool useful = false;
    int n = epoll_wait(epoll_fd, ev, EVENTS_MAX, 0);
    for (int i = 0; i < n; i++)
        useful |= ready(e, ev[i].data.fd);
    return useful;
}

/* A connection that has come up speaks first. */
static void look_at_connecting(struct engine *e)
{
    struct tcp *t = tcp_of(e);
    for (uint8_t n = 0; n < e->nodes; n++) {
        struct tcp_conn *c = &t->mine[n];
        struct sockaddr_storage a;
        socklen_t len = sizeof(a);
        int err = 0;
        socklen_t err_len = sizeof(err);
        if (c->state != TCP_CONNECTING)
            continue;
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &err_len) != 0 || err != 0) {
            tcp_drop(t, c);
            continue;
        }
        if (getpeername(c->fd, (struct sockaddr *)&a, &len) != 0)
            continue;
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = c->fd};
        if (epoll_ctl(t->answers_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
            tcp_drop(t, c);
            continue;
        }
        c->state = TCP_GREETED;
        tcp_hello(t, c, e->rrdp);
    }
}

/* ---- the sleep between polls --------------------------------------------------------------- */

/* Until `until`, or there is something to do other than that answer. */
static void sleep_until(struct engine *e, uint64_t until)
{
    struct tcp *t = tcp_of(e);
    struct epoll_event ev[1];
    if (t->sleep_fd < 0) {
        t->sleep_fd = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event in = {.events = EPOLLIN};
        (void)epoll_ctl(t->sleep_fd, EPOLL_CTL_ADD, t->served_fd, &in);
        (void)epoll_ctl(t->sleep_fd, EPOLL_CTL_ADD, e->epoll_fd, &in);
    }
    tcp_watch_answers(t, false);
    uint64_t now = engine_now();
    until = min_u64(until, coh_deadline(e->coh));
    if (until <= now)
        return;
    struct timespec ts = {.tv_nsec = (long)min_u64(until - now, TCP_POLL_MAX_US * 1000)};
    atomic_store_explicit(&e->shared->dp_sleeping,
                          coh_waited_for(e->coh) != 0 ? GLUE_DP_WAITS : GLUE_DP_SLEEPS,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [S] of engine/idle.c */
    if (!glue_pending(e) && !faults_idle_pending(e)) {
        e->count.sleeps++;
        epoll_pwait2(t->sleep_fd, ev, 1, &ts, NULL);
    }
    atomic_store_explicit(&e->shared->dp_sleeping, 0, memory_order_relaxed);
    e->now = engine_now();
}

static bool poll_answers(struct engine *e)
{
    struct tcp *t = tcp_of(e);
    bool paced = tcp_paced(t) && e->phase == ENGINE_RUNNING;
    if (paced && e->now < t->next_poll) {
        sleep_until(e, t->next_poll);
        if (e->now < t->next_poll)
            return false;
    }
    bool useful = poll_set(e, t->answers_fd);
    if (!useful && paced) {
        t->interval_us = (uint32_t)min_u64(t->interval_us + 1u, TCP_POLL_MAX_US);
        t->next_poll = e->now + t->interval_us * UINT64_C(1000);
    }
    return useful;
}

bool receive_frames(struct engine *e)
{
    struct tcp *t = tcp_of(e);
    if (e->phase == ENGINE_JOINING) {
        tcp_connect(t, e->now);
        look_at_connecting(e);
    }
    bool useful = poll_set(e, t->served_fd);
    return poll_answers(e) || useful;
}
