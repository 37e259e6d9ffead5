/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UCX as a peer: tagged messages of UCP, both sides spinning, once over TCP on the same veth pair
 * and once over shared memory. Protocol and thresholds are what UCX chooses by itself; only
 * transport and device are said. UCX_... of the environment still decides what is not said here.
 *
 * One context, worker and endpoint a transport. Addresses of workers go through rtt_shared.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <ucp/api/ucp.h>

#include "perf/rtt.h"

enum { UCX_TAG = 0x70616E64, LOOK_EVERY = 4096 };

struct rtt_ucx {
    const char *name;
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h peer;
    void *receive; /* answering: the posted receive; NULL: none */
    uint8_t in[RTT_PAGE], out[RTT_PAGE];
};

static const struct {
    const char *name, *tls, *device;
} transports[RTT_UCX] = {
    [RTT_UCX_TCP] = {"ucx_tcp", "tcp", "rtt0"},
    [RTT_UCX_SHM] = {"ucx_shm", "posix,sysv", NULL},
};

static ucs_status_t make_worker(struct rtt_ucx *u, const char *tls, const char *device)
{
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_TAG};
    ucp_worker_params_t worker = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    ucp_config_t *config;
    ucs_status_t rc = ucp_config_read(NULL, NULL, &config);
    if (rc != UCS_OK)
        return rc;
    rc = ucp_config_modify(config, "TLS", tls);
    if (rc == UCS_OK && device != NULL)
        rc = ucp_config_modify(config, "NET_DEVICES", device);
    if (rc == UCS_OK)
        rc = ucp_init(&params, config, &u->context);
    ucp_config_release(config);
    return rc == UCS_OK ? ucp_worker_create(u->context, &worker, &u->worker) : rc;
}

static ucs_status_t publish(struct rtt_side *s, struct rtt_ucx *u)
{
    ucp_address_t *address;
    size_t len;
    ucs_status_t rc = ucp_worker_get_address(u->worker, &address, &len);
    if (rc != UCS_OK)
        return rc;
    if (len > RTT_UCX_ADDRESS)
        rc = UCS_ERR_BUFFER_TOO_SMALL;
    else
        memcpy(s->shared->ucx_address[s->side], address, len);
    ucp_worker_release_address(u->worker, address);
    return rc;
}

static ucs_status_t connect_peer(struct rtt_side *s, struct rtt_ucx *u)
{
    ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
                              .address = (const ucp_address_t *)s->shared->ucx_address[!s->side]};
    return ucp_ep_create(u->worker, &params, &u->peer);
}

void rtt_ucx_free(struct rtt_ucx *u)
{
    if (u == NULL)
        return;
    if (u->receive != NULL) {
        ucp_request_cancel(u->worker, u->receive);
        while (ucp_request_check_status(u->receive) == UCS_INPROGRESS)
            ucp_worker_progress(u->worker);
        ucp_request_free(u->receive);
    }
    if (u->worker != NULL)
        ucp_worker_destroy(u->worker); /* with its endpoint */
    if (u->context != NULL)
        ucp_cleanup(u->context);
    free(u);
}

/* Both sides know of each other's failure at every barrier, so that both leave it out. */
static bool both(struct rtt_side *s, unsigned bit, ucs_status_t rc, const char *name)
{
    if (rc != UCS_OK) {
        fprintf(stderr, "pando-perf: %s is left out: %s\n", name, ucs_status_string(rc));
        atomic_fetch_or(&s->shared->ucx_missing, 1u << bit);
    }
    rtt_twin_barrier(s);
    return !(atomic_load(&s->shared->ucx_missing) & 1u << bit);
}

/* UCX looks for network devices in /sys, which shows those of the namespace that it was mounted in.
 */
static ucs_status_t see_devices(void)
{
    bool well = unshare(CLONE_NEWNS) == 0 &&
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                mount("sysfs", "/sys", "sysfs", MS_RDONLY, NULL) == 0;
    return well ? UCS_OK : UCS_ERR_NO_DEVICE;
}

struct rtt_ucx *rtt_ucx_open(struct rtt_side *s, enum rtt_ucx_transport t)
{
    struct rtt_ucx *u = calloc(1, sizeof(*u));
    if (u == NULL)
        rtt_fail(s, "ucx: out of memory");
    u->name = transports[t].name;
    ucs_status_t rc = t == RTT_UCX_TCP ? see_devices() : UCS_OK;
    if (rc == UCS_OK)
        rc = make_worker(u, transports[t].tls, transports[t].device);
    if (rc == UCS_OK)
        rc = publish(s, u);
    bool well = both(s, t, rc, u->name);
    well = well && both(s, t, connect_peer(s, u), u->name);
    rtt_twin_barrier(s); /* nobody overwrites an address that is still being read */
    if (well)
        return u;
    rtt_ucx_free(u);
    return NULL;
}

/* Drives UCX until the request is done; false: it failed. NULL is a request that was done at once.
 */
static bool done(struct rtt_side *s, struct rtt_ucx *u, void *request)
{
    ucs_status_t rc = UCS_OK;
    uint32_t empty = 0, polls = 0;
    if (request == NULL)
        return true;
    if (UCS_PTR_IS_ERR(request))
        return false;
    while ((rc = ucp_request_check_status(request)) == UCS_INPROGRESS) {
        if (ucp_worker_progress(u->worker) != 0)
            empty = 0;
        else
            rtt_relax(&empty);
        if (++polls % LOOK_EVERY == 0 && atomic_load(&s->shared->failed))
            _exit(1);
    }
    ucp_request_free(request);
    return rc == UCS_OK;
}

static void *post(struct rtt_ucx *u)
{
    ucp_request_param_t plain = {0};
    return ucp_tag_recv_nbx(u->worker, u->in, sizeof(u->in), UCX_TAG, UINT64_MAX, &plain);
}

static bool say(struct rtt_side *s, struct rtt_ucx *u, uint32_t len)
{
    ucp_request_param_t plain = {0};
    return done(s, u, ucp_tag_send_nbx(u->peer, u->out, len, UCX_TAG, &plain));
}

bool rtt_ucx_ask(struct rtt_side *s, void *context)
{
    struct rtt_ucx *u = context;
    void *answer = post(u); /* before the question, as UCX likes it best */
    if (!say(s, u, s->shape.ask) || !done(s, u, answer))
        rtt_fail(s, "ucx: a message failed");
    return true;
}

void rtt_ucx_answer(struct rtt_side *s, void *context)
{
    static uint32_t empty;
    struct rtt_ucx *u = context;
    if (u->receive == NULL)
        u->receive = post(u);
    if (UCS_PTR_IS_ERR(u->receive))
        rtt_fail(s, "ucx: no receive could be posted");
    if (u->receive != NULL && ucp_request_check_status(u->receive) == UCS_INPROGRESS) {
        if (ucp_worker_progress(u->worker) != 0)
            empty = 0;
        else
            rtt_relax(&empty);
        return;
    }
    if (!done(s, u, u->receive) || !say(s, u, s->shape.reply))
        rtt_fail(s, "ucx: a message failed");
    u->receive = NULL;
}
