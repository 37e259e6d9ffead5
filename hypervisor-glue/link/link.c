/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/link/link.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "hypervisor-glue/link/glue_cpu.h"
#include "hypervisor-glue/link/raw.h"

static int fail(char *err, int code, const char *what, const char *path)
{
    snprintf(err, LINK_ERROR_MAX, "%s %s: %s", what, path, strerror(-code));
    return code;
}

static int open_socket(const char *path, char *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(addr.sun_path))
        return fail(err, -ENAMETOOLONG, "dataplane socket", path);
    strcpy(addr.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, -errno, "socket for", path);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        int code = -errno;
        raw_close(fd);
        return fail(err, code, "dataplane socket", path);
    }
    return fd;
}

static bool welcome_in_range(const struct glue_ctl *w)
{
    if (w->vcpus == 0 || w->vcpus > WIRE_VCPUS_MAX || w->nodes == 0 || w->nodes > WIRE_NODES_MAX ||
        w->node >= w->nodes || w->vmm_node >= w->nodes ||
        w->segment_size < glue_segment_size(w->vcpus))
        return false;
    const struct glue_sched *scheds[] = {&w->agent, &w->vcpu, &w->housekeeping};
    for (unsigned i = 0; i < sizeof(scheds) / sizeof(scheds[0]); i++)
        if (scheds[i]->given > 1 || scheds[i]->class > HOST_BATCH)
            return false;
    for (uint32_t i = 0; i < w->vcpus; i++)
        if (w->vcpu_home[i] >= w->nodes)
            return false;
    return true;
}

static int welcome_check(const struct glue_ctl *w, unsigned nfds, char *err)
{
    if (w->type == GLUE_ERROR || w->type == GLUE_STOP) {
        snprintf(err, LINK_ERROR_MAX, "the dataplane says: %.*s", GLUE_ERROR_TEXT - 1, w->text);
        return w->type == GLUE_STOP && w->status == 0 ? -ESHUTDOWN : -ECONNREFUSED;
    }
    if (w->type != GLUE_WELCOME || w->abi != GLUE_ABI_VERSION || nfds != 2) {
        snprintf(err, LINK_ERROR_MAX,
                 "the dataplane answered with message %u of ABI %u; this glue is ABI %u", w->type,
                 w->abi, GLUE_ABI_VERSION);
        return -EPROTO;
    }
    if (welcome_in_range(w))
        return 0;
    snprintf(err, LINK_ERROR_MAX, "the dataplane's WELCOME is out of range");
    return -EPROTO;
}

int link_start_thread(void *(*body)(void *), void *arg)
{
    sigset_t all, old;
    pthread_t thread;
    /* The VMM's signals are for the VMM's threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&thread, NULL, body, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0)
        pthread_detach(thread);
    return -rc;
}

static int greet(struct link *l, int sock, char *err)
{
    struct glue_ctl c = {.type = GLUE_HELLO, .abi = GLUE_ABI_VERSION, .role = l->role};
    int fds[2] = {-1, -1};
    unsigned nfds = 2;
    c.status = (uint32_t)getpid();
    int rc = link_control_send(sock, &c, NULL, 0);
    if (rc == 0)
        rc = link_control_recv(sock, &c, fds, &nfds);
    if (rc != 0)
        return fail(err, rc, "talking to", "the dataplane");
    rc = welcome_check(&c, nfds, err);
    if (rc != 0)
        goto out;
    void *p = raw_mmap(NULL, c.segment_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    if (p == MAP_FAILED) {
        rc = fail(err, -errno, "mapping", "the dataplane's segment");
        goto out;
    }
    l->shared = p;
    if (l->shared->magic != GLUE_MAGIC || l->shared->abi != GLUE_ABI_VERSION ||
        l->shared->vcpus != c.vcpus) {
        snprintf(err, LINK_ERROR_MAX, "the dataplane's segment has another layout");
        rc = -EPROTO;
        goto out;
    }
    l->node = c.node;
    l->nodes = c.nodes;
    l->vmm_node = c.vmm_node;
    l->vcpus = c.vcpus;
    l->ram_pages_max = c.ram_pages_max;
    memcpy(l->vcpu_home, c.vcpu_home, sizeof(l->vcpu_home));
    memcpy(l->vcpu_core, c.vcpu_core, sizeof(l->vcpu_core));
    l->agent_core = c.agent_core;
    l->agent_sched = c.agent;
    l->vcpu_sched = c.vcpu;
    l->housekeeping_sched = c.housekeeping;
    l->tick_rest_times = c.tick_rest_times;
    l->tick_rest_max_ms = c.tick_rest_max_ms;
    l->doorbell = fds[1];
    fds[1] = -1;
    link_place_housekeeping(l, c.housekeeping_cpus);
out:
    for (unsigned i = 0; i < 2; i++)
        if (fds[i] >= 0)
            raw_close(fds[i]);
    return rc;
}

int link_connect(struct link *l, const char *path, enum glue_role role, char err[LINK_ERROR_MAX])
{
    memset(l, 0, sizeof(*l));
    l->role = role;
    pthread_mutex_init(&l->ctl_lock, NULL);
    pthread_mutex_init(&l->vm_lock, NULL);
    pthread_cond_init(&l->ctl_cond, NULL);
    int sock = open_socket(path, err);
    if (sock < 0)
        return sock;
    int rc = greet(l, sock, err);
    l->sock = sock;
    if (rc == 0)
        rc = link_start_thread(link_control, l);
    if (rc == 0)
        rc = link_start_thread(link_agent, l);
    if (rc != 0)
        raw_close(sock);
    return rc;
}

/* The dataplane sleeps only when it says so. [D] we publish, full fence, look; it stores
 * dp_sleeping, full fence, looks at the rings. */
static void ring_doorbell_if(struct link *l, uint32_t least)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&l->shared->dp_sleeping, memory_order_relaxed) >= least) {
        uint64_t one = 1;
        ssize_t n = write(l->doorbell, &one, sizeof(one));
        (void)n; /* a full counter is a rung bell */
    }
}

static void ring_doorbell(struct link *l)
{
    ring_doorbell_if(l, GLUE_DP_SLEEPS);
}

/* [P] release: what the vCPU did in the guest is done before it is counted. */
void link_idle(struct link *l, struct glue_chan *c)
{
    uint64_t n = atomic_load_explicit(&c->idles, memory_order_relaxed);
    atomic_store_explicit(&c->idles, n + 1, memory_order_release);
    ring_doorbell_if(l, GLUE_DP_WAITS);
}

int link_send(struct link *l, uint32_t index, const struct glue_entry *e, const void *payload,
              uint32_t len)
{
    struct glue_ring *r = &link_chan(l, index)->to_dp;
    for (unsigned tries = 0;; tries++) {
        int rc = glue_ring_put(r, e, payload, len);
        if (rc != -EAGAIN) {
            if (rc == 0)
                ring_doorbell(l);
            return rc;
        }
        if (link_stopped(l))
            return -EIO;
        ring_doorbell(l);
        struct timespec nap = {0, tries < 20 ? 20000 : 1000000};
        nanosleep(&nap, NULL);
    }
}

int link_send_vm(struct link *l, const struct glue_entry *e, const void *payload, uint32_t len)
{
    pthread_mutex_lock(&l->vm_lock);
    int rc = link_send(l, l->vcpus, e, payload, len);
    pthread_mutex_unlock(&l->vm_lock);
    return rc;
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* [W] the caller has published; full fence; look at the state. The sleeper stores its state, full
 * fence, looks at what may have been published (link_doze; run.c). The exchange makes one kick per
 * entry of the guest. */
void link_wake(struct link *l, uint32_t index)
{
    struct glue_chan *c = link_chan(l, index);
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t was = atomic_load_explicit(&c->state, memory_order_relaxed);
    if (was == GLUE_AWAKE || !atomic_compare_exchange_strong(&c->state, &was, GLUE_AWAKE))
        return;
    if (was == GLUE_SLEEPING)
        futex_wake(&c->state);
    else if (atomic_load(&c->tid) != 0)
        syscall(SYS_tgkill, getpid(), atomic_load(&c->tid), SIGRTMIN + GLUE_KICK_SIGNAL_OFFSET);
}

void link_post(struct link *l, uint32_t vcpu, enum glue_irq_op op, uint8_t vector)
{
    struct glue_posted *p = &link_chan(l, vcpu)->posted;
    uint64_t bit = UINT64_C(1) << (vector % 64u);
    switch (op) {
    case GLUE_IRQ_LEVEL:
        atomic_fetch_or(&p->level[vector / 64u], bit);
        atomic_fetch_or(&p->irr[vector / 64u], bit);
        break;
    case GLUE_IRQ_EDGE:
        atomic_fetch_and(&p->level[vector / 64u], ~bit);
        atomic_fetch_or(&p->irr[vector / 64u], bit);
        break;
    case GLUE_IRQ_NMI:
        atomic_fetch_or(&p->events, GLUE_POST_NMI);
        break;
    case GLUE_IRQ_INIT:
        atomic_fetch_or(&p->events, GLUE_POST_INIT);
        break;
    case GLUE_IRQ_SIPI:
        atomic_store(&p->sipi_vector, vector);
        atomic_fetch_or(&p->events, GLUE_POST_SIPI);
        break;
    case GLUE_IRQ_EXTINT:
        atomic_fetch_or(&p->events, GLUE_POST_EXTINT);
        break;
    }
    atomic_fetch_add_explicit(&p->count, 1, memory_order_relaxed);
    link_wake(l, vcpu);
}

void link_doze(struct glue_chan *c)
{
    atomic_store_explicit(&c->cpu, glue_cpu_here(), memory_order_relaxed);
    atomic_store_explicit(&c->state, GLUE_SLEEPING, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* [W] */
}

bool link_sleep(struct glue_chan *c, uint64_t timeout_ns)
{
    uint64_t most = (uint64_t)LINK_SLEEP_MAX_MS * 1000000u;
    if (timeout_ns > most)
        timeout_ns = most;
    struct timespec ts = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
    return syscall(SYS_futex, &c->state, FUTEX_WAIT, GLUE_SLEEPING, &ts, NULL, 0) != 0 &&
           errno == EINTR;
}

void link_awake(struct glue_chan *c)
{
    atomic_store_explicit(&c->state, GLUE_AWAKE, memory_order_relaxed);
}

/* A message that never comes would leave a vCPU waiting for ever. Closing the life line ends this
 * process (its control thread sees the end) and, through the dataplane, the VM. */
static void ring_broken(struct link *l, uint32_t index)
{
    if (atomic_exchange(&l->stopping, 1) != 0)
        return;
    fprintf(stderr,
            "pando: the dataplane's ring of channel %u breaks the rules (index, length or side "
            "slot); the VM stops\n",
            index);
    shutdown(l->sock, SHUT_RDWR);
}

int link_take(struct link *l, uint32_t index, struct glue_entry *ret, uint8_t *payload)
{
    struct glue_ring *r = &link_chan(l, index)->to_glue;
    const uint8_t *bytes = NULL;
    int rc = glue_ring_peek(r, ret, &bytes);
    if (rc < 0)
        ring_broken(l, index);
    if (rc <= 0)
        return 0;
    memcpy(payload, bytes, ret->len);
    glue_ring_pop(r, ret->len);
    return 1;
}

int link_ram(struct link *l, void *hva, uint64_t pages, int memfd, int uffd,
             char err[LINK_ERROR_MAX])
{
    uint32_t n = atomic_load(&l->blocks);
    uint64_t base = n == 0 ? 0 : l->block[n - 1].base_page + l->block[n - 1].pages;
    if (n == GLUE_RAM_BLOCKS || pages > l->ram_pages_max - base) {
        snprintf(err, LINK_ERROR_MAX,
                 "guest RAM of %u blocks and %llu MiB is more than the cluster was configured for "
                 "(%u, %llu MiB); "
                 "remedy: vm.ram_mib",
                 n + 1, (unsigned long long)((base + pages) >> 8), GLUE_RAM_BLOCKS,
                 (unsigned long long)(l->ram_pages_max >> 8));
        return -E2BIG;
    }
    l->block[n] = (struct link_block){hva, base, pages, memfd, uffd};
    atomic_store_explicit(&l->blocks, n + 1,
                          memory_order_release); /* the agent may be asked at once */
    struct glue_ctl c = {.type = GLUE_RAM, .block = n, .base_page = base, .pages = pages};
    c.hva = (uint64_t)(uintptr_t)hva;
    int fds[2] = {memfd, uffd};
    pthread_mutex_lock(&l->ctl_lock);
    l->ctl_answered = false;
    int rc = link_control_send(l->sock, &c, fds, 2);
    while (rc == 0 && !l->ctl_answered) {
        if (link_stopped(l))
            rc = -EIO;
        else
            pthread_cond_wait(&l->ctl_cond, &l->ctl_lock);
    }
    if (rc == 0 && l->ctl_answer.type != GLUE_OK) {
        snprintf(err, LINK_ERROR_MAX, "the dataplane refused guest RAM: %.*s", GLUE_ERROR_TEXT - 1,
                 l->ctl_answer.text);
        rc = -EINVAL;
    } else if (rc != 0) {
        snprintf(err, LINK_ERROR_MAX, "guest RAM was not handed over: %s", strerror(-rc));
    }
    pthread_mutex_unlock(&l->ctl_lock);
    return rc;
}

void link_bye(struct link *l, int status)
{
    if (atomic_exchange(&l->leaving, 1) != 0 || link_stopped(l))
        return;
    struct glue_ctl c = {.type = GLUE_BYE, .status = (uint32_t)status};
    link_control_send(l->sock, &c, NULL, 0);
}
