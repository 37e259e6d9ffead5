/* SPDX-License-Identifier: BSD-3-Clause */
/* The device in memory: devices, completions, memory, events. */
#include "fake_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake_verbs fake;
struct fake_state w;

bool fake_fails(int *countdown)
{
    if (*countdown == 0)
        return false;
    if (*countdown > 1) {
        (*countdown)--;
        return false;
    }
    errno = ENOMEM;
    return true;
}

/* ---- devices ------------------------------------------------------------------------------- */

static struct ibv_device **fake_get_device_list(int *n)
{
    struct ibv_device **list = calloc(DEVICES + 1, sizeof(*list));
    for (int i = 0; i < fake.devices; i++) {
        struct ibv_device *d = &w.device[i];
        *d = (struct ibv_device){.transport_type =
                                     fake.iwarp ? IBV_TRANSPORT_IWARP : IBV_TRANSPORT_IB};
        snprintf(d->name, sizeof(d->name), "fake%d", i);
        list[i] = d;
    }
    *n = fake.devices;
    fake.objects++;
    return list;
}

static void fake_free_device_list(struct ibv_device **list)
{
    free(list);
    fake.objects--;
}

static const char *fake_get_device_name(struct ibv_device *d)
{
    return d->name;
}

static int fake_query_device(struct ibv_context *c, struct ibv_device_attr *out)
{
    (void)c;
    *out = (struct ibv_device_attr){.vendor_id = 0xFFFFFF,
                                    .max_qp_wr = fake.max_qp_wr,
                                    .max_cqe = fake.max_cqe,
                                    .max_srq_wr = 8192,
                                    .phys_port_cnt = 1};
    return 0;
}

static int fake_query_port(struct ibv_context *c, uint8_t port, struct _compat_ibv_port_attr *attr)
{
    struct ibv_port_attr *out = (struct ibv_port_attr *)attr;
    (void)c;
    RULE(port == 1);
    *out = (struct ibv_port_attr){.state = fake.down ? IBV_PORT_DOWN : IBV_PORT_ACTIVE,
                                  .max_mtu = IBV_MTU_4096,
                                  .active_mtu = fake.mtu,
                                  .gid_tbl_len = GIDS,
                                  .link_layer = IBV_LINK_LAYER_ETHERNET};
    return 0;
}

/* Entry i is 127.0.0.i or ::ffff:127.0.0.i, of RoCE v2; entry 0 is of v1. */
int fake_query_gid(struct ibv_context *c, uint32_t port, uint32_t index, struct ibv_gid_entry *out,
                   uint32_t flags, size_t size)
{
    (void)c;
    RULE(port == 1 && flags == 0 && size == sizeof(*out) && index < GIDS);
    if (fake.no_gids && index > 0)
        return ENODATA;
    *out = (struct ibv_gid_entry){.gid_index = index,
                                  .port_num = 1,
                                  .gid_type =
                                      index == 0 ? IBV_GID_TYPE_ROCE_V1 : IBV_GID_TYPE_ROCE_V2};
    const uint8_t raw[16] = {[10] = 0xFF, 0xFF, 127, 0, 0, index == 0 ? 1 : (uint8_t)index};
    memcpy(out->gid.raw, raw, sizeof(raw));
    return 0;
}

/* ---- completions --------------------------------------------------------------------------- */

static void ring(struct fake_cq *cq)
{
    if (!cq->armed || cq->channel == NULL)
        return;
    cq->armed = false;
    RULE(write(cq->channel->end, "", 1) == 1);
}

void fake_complete(struct fake_cq *cq, const struct ibv_wc *wc, struct fake_qp *qp,
                   uint64_t retires)
{
    RULE(cq->count < cq->depth);
    if (cq->count == cq->depth)
        return;
    cq->done[(cq->first + cq->count++) % cq->depth] =
        (struct done){.wc = *wc, .qp = qp, .retires = retires};
    ring(cq);
}

static int fake_poll_cq(struct ibv_cq *ibv, int max, struct ibv_wc *out)
{
    struct fake_cq *cq = (struct fake_cq *)ibv;
    int n = 0;
    for (; n < max && cq->count > 0; n++, cq->count--) {
        struct done *d = &cq->done[cq->first++ % cq->depth];
        cq->first %= cq->depth;
        if (d->qp != NULL)
            d->qp->retired = d->retires;
        out[n] = d->wc;
    }
    return n;
}

static int fake_req_notify_cq(struct ibv_cq *ibv, int solicited)
{
    RULE(solicited == 0);
    ((struct fake_cq *)ibv)->armed = true;
    return 0;
}

static struct ibv_comp_channel *fake_create_comp_channel(struct ibv_context *c)
{
    struct fake_channel *channel = calloc(1, sizeof(*channel));
    int fd[2];
    RULE(pipe(fd) == 0);
    channel->ibv = (struct ibv_comp_channel){.context = c, .fd = fd[0]};
    channel->end = fd[1];
    fake.objects++;
    return &channel->ibv;
}

static int fake_destroy_comp_channel(struct ibv_comp_channel *ibv)
{
    struct fake_channel *channel = (struct fake_channel *)ibv;
    RULE(channel->cq == NULL);
    close(ibv->fd);
    close(channel->end);
    free(channel);
    fake.objects--;
    return 0;
}

static struct ibv_cq *fake_create_cq(struct ibv_context *c, int depth, void *context,
                                     struct ibv_comp_channel *channel, int vector)
{
    struct fake_cq *cq = calloc(1, sizeof(*cq));
    RULE(depth > 0 && depth <= fake.max_cqe && depth <= COMPLETIONS && vector == 0);
    cq->ibv = (struct ibv_cq){.context = c, .channel = channel, .cq_context = context};
    cq->channel = (struct fake_channel *)channel;
    cq->depth = (uint32_t)depth;
    cq->done = calloc((size_t)depth, sizeof(*cq->done));
    if (channel != NULL)
        cq->channel->cq = cq;
    fake.objects++;
    return &cq->ibv;
}

static int fake_destroy_cq(struct ibv_cq *ibv)
{
    struct fake_cq *cq = (struct fake_cq *)ibv;
    RULE(cq->ibv.comp_events_completed == 0); /* each event was acknowledged */
    if (cq->channel != NULL)
        cq->channel->cq = NULL;
    free(cq->done);
    free(cq);
    fake.objects--;
    return 0;
}

static int fake_get_cq_event(struct ibv_comp_channel *ibv, struct ibv_cq **ret_cq,
                             void **ret_context)
{
    struct fake_channel *channel = (struct fake_channel *)ibv;
    char byte;
    if (read(ibv->fd, &byte, 1) != 1)
        return -1;
    *ret_cq = &channel->cq->ibv;
    *ret_context = channel->cq->ibv.cq_context;
    channel->cq->ibv.comp_events_completed++;
    return 0;
}

static void fake_ack_cq_events(struct ibv_cq *cq, unsigned int n)
{
    RULE(n <= cq->comp_events_completed);
    cq->comp_events_completed -= n;
}

/* ---- memory -------------------------------------------------------------------------------- */

static struct ibv_pd *fake_alloc_pd(struct ibv_context *c)
{
    struct ibv_pd *pd = calloc(1, sizeof(*pd));
    pd->context = c;
    fake.objects++;
    return pd;
}

static int fake_dealloc_pd(struct ibv_pd *pd)
{
    for (unsigned i = 0; i < KEYS; i++)
        RULE(w.key[i] == NULL || w.key[i]->ibv.pd != pd);
    free(pd);
    fake.objects--;
    return 0;
}

static struct ibv_mr *fake_reg_mr(struct ibv_pd *pd, void *address, size_t len, int access)
{
    unsigned i = 0;
    while (atomic_load(&fake.slow_reg))
        usleep(100);
    if (fake_fails(&fake.fail_reg))
        return NULL;
    while (i < KEYS && w.key[i] != NULL)
        i++;
    RULE(i < KEYS && len > 0);
    struct fake_mr *mr = calloc(1, sizeof(*mr));
    uint32_t key = ++w.last_key;
    mr->ibv = (struct ibv_mr){
        .context = pd->context, .pd = pd, .addr = address, .length = len, .lkey = key, .rkey = key};
    mr->access = access;
    w.key[i] = mr;
    fake.objects++;
    return &mr->ibv;
}

static int fake_dereg_mr(struct ibv_mr *ibv)
{
    for (unsigned i = 0; i < KEYS; i++)
        if (w.key[i] == (struct fake_mr *)ibv)
            w.key[i] = NULL;
    free(ibv);
    fake.objects--;
    return 0;
}

/* Bytes that this key opens in this domain, for this use; NULL: it does not. */
uint8_t *fake_bytes(const struct ibv_pd *pd, uint32_t key, uint64_t address, uint32_t len,
                    int access)
{
    for (unsigned i = 0; i < KEYS; i++) {
        const struct fake_mr *mr = w.key[i];
        if (mr == NULL || mr->ibv.lkey != key)
            continue;
        uint64_t begin = (uintptr_t)mr->ibv.addr;
        bool inside = address >= begin && address + len <= begin + mr->ibv.length;
        return inside && mr->ibv.pd == pd && (mr->access & access) == access
                   ? (uint8_t *)(uintptr_t)address
                   : NULL;
    }
    return NULL;
}

/* ---- contexts, events, words --------------------------------------------------------------- */

static struct ibv_context *fake_open_device(struct ibv_device *d)
{
    struct fake_context *c = calloc(1, sizeof(*c));
    RULE(pipe(c->async) == 0);
    c->ibv.device = d;
    c->ibv.async_fd = c->async[0];
    c->ibv.ops.poll_cq = fake_poll_cq;
    c->ibv.ops.req_notify_cq = fake_req_notify_cq;
    c->ibv.ops.post_send = fake_post_send;
    c->ibv.ops.post_recv = fake_post_recv;
    c->ibv.ops.post_srq_recv = fake_post_srq_recv;
    c->next = w.contexts;
    w.contexts = c;
    fake.objects++;
    return &c->ibv;
}

static int fake_close_device(struct ibv_context *ibv)
{
    struct fake_context **at = &w.contexts, *c = (struct fake_context *)ibv;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    close(c->async[0]);
    close(c->async[1]);
    free(c);
    fake.objects--;
    return 0;
}

void fake_event(enum ibv_event_type type)
{
    struct ibv_async_event ev = {.event_type = type};
    for (struct fake_context *c = w.contexts; c != NULL; c = c->next)
        RULE(write(c->async[1], &ev, sizeof(ev)) == sizeof(ev));
}

static int fake_get_async_event(struct ibv_context *ibv, struct ibv_async_event *ev)
{
    if (read(ibv->async_fd, ev, sizeof(*ev)) != sizeof(*ev))
        return -1;
    fake.objects++; /* to be acknowledged */
    return 0;
}

static void fake_ack_async_event(struct ibv_async_event *ev)
{
    (void)ev;
    fake.objects--;
}

static const char *fake_wc_status_str(enum ibv_wc_status s)
{
    return s == IBV_WC_RETRY_EXC_ERR ? "transport retry counter exceeded" : "another error";
}

static const char *fake_event_type_str(enum ibv_event_type t)
{
    return t == IBV_EVENT_DEVICE_FATAL ? "local catastrophic error" : "another event";
}

const struct verbs_api *fake_api(void)
{
    static const struct verbs_api api = {
#define X(name, symbol, result, parameters) .name = fake_##name,
        VERBS_API_LIST(X)
#undef X
    };
    return &api;
}

void fake_begin(void)
{
    fake = (struct fake_verbs){.devices = 1,
                               .mtu = IBV_MTU_1024,
                               .inline_max = 512,
                               .max_qp_wr = 4096,
                               .max_cqe = COMPLETIONS};
    w.wires = 0;
}
