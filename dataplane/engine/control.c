/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The glue's control socket (glue_abi.h): HELLO, WELCOME, RAM, BYE, STOP. Never blocks. One VM
 * process at a time; its connection is its life line: when it closes without BYE, the VM ends
 * everywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/engine/engine.h"

enum { CONTROL_FDS = 2 };

static int fail(struct engine *e, int rc, const char *what)
{
    snprintf(e->err, sizeof(e->err), "%s: %s", what, strerror(-rc));
    return rc;
}

/* ---- open ---------------------------------------------------------------------------------- */

static int open_segment(struct engine *e)
{
    e->shared_size = glue_segment_size(e->cfg->vm.vcpus);
    e->segment_fd = memfd_create("pando-glue", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (e->segment_fd < 0 || ftruncate(e->segment_fd, (off_t)e->shared_size) != 0)
        return fail(e, -errno, "glue segment");
    /* The VMM cannot cut it under us. */
    if (fcntl(e->segment_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return fail(e, -errno, "glue segment");
    e->shared = mmap(NULL, e->shared_size, PROT_READ | PROT_WRITE, MAP_SHARED, e->segment_fd, 0);
    if (e->shared == MAP_FAILED) {
        e->shared = NULL;
        return fail(e, -errno, "glue segment");
    }
    e->shared->magic = GLUE_MAGIC;
    e->shared->abi = GLUE_ABI_VERSION;
    e->shared->vcpus = e->cfg->vm.vcpus;
    e->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return e->doorbell_fd < 0 ? fail(e, -errno, "doorbell")
                              : idle_watch(e, e->doorbell_fd, WATCH_DOORBELL);
}

/* A socket file that nobody listens on is what a killed dataplane left. */
static int bind_socket(struct engine *e, const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(e, -errno, "glue socket");
    int rc =
        connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN ? 0 : -errno;
    close(fd);
    if (rc == 0) {
        snprintf(
            e->err, sizeof(e->err),
            "%s is in use: another pando-dataplane is already running as node %u of this run_dir",
            a->sun_path, e->self);
        return -EADDRINUSE;
    }
    e->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Whoever sees the name can connect: it is put there, or over a killed dataplane's, when all is
     * ready. */
    struct sockaddr_un temporary = {.sun_family = AF_UNIX};
    int n = snprintf(temporary.sun_path, sizeof(temporary.sun_path), "%s.new", a->sun_path);
    if (n < 0 || (size_t)n >= sizeof(temporary.sun_path))
        return fail(e, -ENAMETOOLONG, "run_dir");
    unlink(temporary.sun_path);
    if (e->listen_fd < 0 ||
        bind(e->listen_fd, (const struct sockaddr *)&temporary, sizeof(temporary)) != 0 ||
        listen(e->listen_fd, 4) != 0 || rename(temporary.sun_path, a->sun_path) != 0) {
        rc = fail(e, -errno, a->sun_path);
        unlink(temporary.sun_path);
        return rc;
    }
    e->socket_bound = true;
    return 0;
}

int control_open(struct engine *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (mkdir(e->cfg->run_dir, 0700) != 0 && errno != EEXIST)
        return fail(e, -errno, e->cfg->run_dir);
    if (config_glue_socket(e->cfg, e->self, e->socket_path, sizeof(e->socket_path)) != 0 ||
        strlen(e->socket_path) >= sizeof(a.sun_path))
        return fail(e, -ENAMETOOLONG, "run_dir");
    snprintf(a.sun_path, sizeof(a.sun_path), "%.*s", (int)sizeof(a.sun_path) - 1, e->socket_path);
    int rc = bind_socket(e, &a);
    if (rc == 0)
        rc = open_segment(e);
    return rc == 0 ? idle_watch(e, e->listen_fd, WATCH_LISTEN) : rc;
}

/* ---- packets ------------------------------------------------------------------------------- */

static void send_packet(struct engine *e, const struct glue_ctl *m, const int *fds, uint32_t count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
    } control = {0};
    struct iovec io = {.iov_base = (void *)(uintptr_t)m, .iov_len = sizeof(*m)};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1};
    if (count > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    /* A process that does not read its few packets sees the socket close instead. */
    (void)sendmsg(e->conn_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void send_error(struct engine *e, const char *text)
{
    struct glue_ctl m = {.type = GLUE_ERROR, .abi = GLUE_ABI_VERSION};
    snprintf(m.text, sizeof(m.text), "%s", text);
    fprintf(stderr, "pando-dataplane: node %u: refused the VM's process: %s\n", e->self, text);
    engine_drop(e, ENGINE_DROP_CONTROL);
    send_packet(e, &m, NULL, 0);
}

static void close_connection(struct engine *e)
{
    if (e->conn_fd >= 0)
        close(e->conn_fd);
    e->conn_fd = -1;
    e->conn = CONN_NONE;
}

/* The vCPUs at home here take the CPUs of the list in turn. */
static void welcome_cores(const struct engine *e, struct glue_ctl *m)
{
    const struct config_node *n = config_node_of(e->cfg, e->self);
    uint32_t turn = 0;
    m->agent_core = n != NULL ? n->agent_core : -1;
    struct host_cpus cpus =
        n != NULL ? config_cpus(n, CONFIG_ROLE_HOUSEKEEPING) : (struct host_cpus){0};
    _Static_assert(sizeof(cpus.word) == sizeof(m->housekeeping_cpus), "the same bits");
    memcpy(m->housekeeping_cpus, cpus.word, sizeof(cpus.word));
    for (uint32_t v = 0; v < PANDO_ARRAY_LEN(m->vcpu_core); v++) {
        bool pinned = n != NULL && n->vcpu_core_count > 0 && v < e->cfg->vm.vcpus &&
                      e->cfg->vm.vcpu_home[v] == e->self;
        m->vcpu_core[v] = pinned ? (int16_t)n->vcpu_cores[turn++ % n->vcpu_core_count] : -1;
    }
}

static struct glue_sched welcome_sched(const struct engine *e, enum config_role role)
{
    struct host_sched s;
    if (!config_sched(e->cfg, role, &s))
        return (struct glue_sched){0};
    return (struct glue_sched){.given = 1,
                               .class = s.class,
                               .priority = s.priority,
                               .nice = s.nice,
                               .slice_us = s.slice_us};
}

static void close_all(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
}

/* One packet and its descriptors. 1; 0: nothing there; -1: the connection is gone. */
static int receive_packet(int fd, struct glue_ctl *m, int fds[CONTROL_FDS], uint32_t *ret_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
    } control;
    struct iovec io = {.iov_base = m, .iov_len = sizeof(*m)};
    struct msghdr msg = {.msg_iov = &io,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == ECONNRESET) /* it ended with an answer unread; what it said is there */
        n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *ret_count = 0;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        *ret_count = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), *ret_count * sizeof(int));
    }
    if (n == 0) { /* the end, or an empty packet, which may have descriptors */
        close_all(fds, *ret_count);
        return -1;
    }
    if (n != sizeof(*m) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        m->type = 0; /* refused as an unknown type; so is what came only in part */
    return 1;
}

/* ---- messages ------------------------------------------------------------------------------ */

void control_welcome(struct engine *e)
{
    if (e->conn != CONN_HELLO || e->phase != ENGINE_RUNNING)
        return;
    struct glue_ctl m = {.type = GLUE_WELCOME,
                         .abi = GLUE_ABI_VERSION,
                         .node = e->self,
                         .nodes = e->nodes,
                         .vmm_node = e->cfg->vm.vmm_node,
                         .vcpus = e->cfg->vm.vcpus,
                         .ram_pages_max = e->cfg->vm.ram_pages,
                         .segment_size = e->shared_size,
                         .tick_rest_times = e->cfg->vm.tick_rest_times,
                         .tick_rest_max_ms = e->cfg->vm.tick_rest_max_ms};
    memcpy(m.vcpu_home, e->cfg->vm.vcpu_home, sizeof(m.vcpu_home));
    welcome_cores(e, &m);
    m.agent = welcome_sched(e, CONFIG_ROLE_AGENT);
    m.vcpu = welcome_sched(e, CONFIG_ROLE_VCPU);
    m.housekeeping = welcome_sched(e, CONFIG_ROLE_HOUSEKEEPING);
    int fds[] = {e->segment_fd, e->doorbell_fd};
    e->conn = CONN_WELCOMED;
    send_packet(e, &m, fds, 2);
}

static bool hello(struct engine *e, const struct glue_ctl *m)
{
    char text[GLUE_ERROR_TEXT];
    bool vmm = m->role == GLUE_ROLE_VMM;
    if (e->conn != CONN_NEW) {
        send_error(e, "HELLO was said already");
        return false;
    }
    if (m->abi != GLUE_ABI_VERSION) {
        snprintf(text, sizeof(text),
                 "glue interface %u is spoken here, not %u; install matching versions",
                 GLUE_ABI_VERSION, m->abi);
        send_error(e, text);
        return false;
    }
    if ((!vmm && m->role != GLUE_ROLE_VCPUD) || vmm != (e->self == e->cfg->vm.vmm_node)) {
        snprintf(text, sizeof(text), "node %u (%s) takes %s; the VMM's node is %u (vm.vmm_node)",
                 e->self, node_name(e, e->self),
                 e->self == e->cfg->vm.vmm_node ? "the VMM" : "a pando-vcpud", e->cfg->vm.vmm_node);
        send_error(e, text);
        return false;
    }
    e->conn = CONN_HELLO;
    control_welcome(e);
    return true;
}

/* A limit of resident memory needs frames to be given back, which those of a device's cannot be. */
static void open_to_peers(struct engine *e, uint32_t block)
{
    char err[PORT_ERROR_MAX] = "";
    const struct ram_block *b = &e->ram.block[block];
    const struct config_node *n = config_node_of(e->cfg, e->self);
    int rc = -EBUSY;
    if (!e->port->places)
        return;
    if (n->resident_pages > 0)
        snprintf(err, sizeof(err), "resident_mib needs memory that can be given back");
    else
        rc = port_add_memory(e->port, b->base_page, b->pages, b->alias, err);
    if (rc == 0)
        ram_keep(&e->ram, block);
    else
        fprintf(stderr,
                "pando-dataplane: node %u: pages are copied into guest RAM, not written there by "
                "their senders: %s\n",
                e->self, err);
}

void control_new_port(struct engine *e)
{
    for (uint32_t i = 0; i < e->ram.blocks; i++)
        open_to_peers(e, i);
}

static bool take_ram(struct engine *e, const struct glue_ctl *m, int *fds, uint32_t count)
{
    char text[RAM_ERROR_MAX] = "guest RAM: a memfd and a userfaultfd must come with it";
    struct glue_ctl ok = {.type = GLUE_OK, .abi = GLUE_ABI_VERSION, .block = m->block};
    bool good = e->conn == CONN_WELCOMED && count == CONTROL_FDS;
    if (good && m->block != e->ram.blocks) {
        snprintf(text, sizeof(text), "guest RAM: block %u comes next, not %u", e->ram.blocks,
                 m->block);
        good = false;
    }
    if (!good || ram_add(&e->ram, fds[0], fds[1], m->base_page, m->pages, m->hva, text) != 0) {
        close_all(fds, count);
        send_error(e, text);
        return false;
    }
    uint32_t index = e->ram.blocks - 1;
    if (idle_watch(e, e->ram.block[index].uffd, WATCH_BLOCK + index) != 0) {
        send_error(e, e->err);
        return false;
    }
    if (e->verbose)
        fprintf(stderr, "pando-dataplane: node %u: %llu pages of guest RAM from page 0x%llx\n",
                e->self, (unsigned long long)m->pages, (unsigned long long)m->base_page);
    open_to_peers(e, index);
    send_packet(e, &ok, NULL, 0);
    return true;
}

/* False: the connection is to be closed. */
static bool handle(struct engine *e, const struct glue_ctl *m, int *fds, uint32_t count)
{
    if (m->type == GLUE_RAM)
        return take_ram(e, m, fds, count);
    close_all(fds, count);
    switch (m->type) {
    case GLUE_HELLO:
        return hello(e, m);
    case GLUE_BYE:
        if (e->conn == CONN_NEW) { /* no VM is known to have been here */
            send_error(e, "BYE before HELLO");
            return false;
        }
        engine_stop(e, true, "the VM has ended with status %u", m->status);
        return false;
    default:
        send_error(e, "not a packet of the glue interface, or not a whole one");
        return false;
    }
}

static void gone(struct engine *e)
{
    bool had = e->conn != CONN_NEW;
    close_connection(e);
    if (had && e->phase != ENGINE_LEAVING)
        engine_stop(e, false,
                    "node %u (%s): the VM's process %d ended without a word; the VM is stopped",
                    e->self, node_name(e, e->self), (int)e->glue_pid);
}

static void accept_connection(struct engine *e)
{
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    int fd = accept4(e->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    if (e->conn == CONN_NEW) /* somebody who only looked whether we are here is gone again */
        control_ready(e, e->conn_fd);
    if (e->conn != CONN_NONE || e->ram.blocks > 0 || e->phase == ENGINE_LEAVING || !known) {
        int kept = e->conn_fd;
        e->conn_fd = fd;
        send_error(e, e->phase == ENGINE_LEAVING ? "the VM is ending"
                                                 : "a process of the VM is connected here already");
        e->conn_fd = kept;
        uint8_t unread[sizeof(struct glue_ctl)]; /* closing over unread bytes would reset the
                                                    connection, text and all */
        (void)!recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
        close(fd);
        return;
    }
    e->conn_fd = fd;
    e->glue_pid = who.pid; /* before anybody may look at it */
    e->conn = CONN_NEW;
    if (idle_watch(e, fd, WATCH_CONN) != 0)
        close_connection(e);
}

void control_ready(struct engine *e, int fd)
{
    struct glue_ctl m;
    int fds[CONTROL_FDS];
    uint32_t count;
    if (fd == e->listen_fd) {
        accept_connection(e);
        return;
    }
    for (int i = 0; i < 4 && e->conn != CONN_NONE; i++) {
        int rc = receive_packet(e->conn_fd, &m, fds, &count);
        if (rc == 0)
            return;
        if (rc < 0) {
            gone(e);
            return;
        }
        if (!handle(e, &m, fds, count)) {
            if (e->phase == ENGINE_LEAVING || e->conn == CONN_NEW)
                close_connection(e);
            else
                gone(e);
        }
    }
}

/* ---- the end ------------------------------------------------------------------------------- */

void control_stop(struct engine *e)
{
    if (e->shared == NULL)
        return;
    atomic_store_explicit(&e->shared->stop, 1, memory_order_release);
    if (e->conn == CONN_NONE)
        return;
    struct glue_ctl m = {.type = GLUE_STOP, .abi = GLUE_ABI_VERSION, .status = (uint32_t)e->status};
    snprintf(m.text, sizeof(m.text), "%s", e->stop_text);
    send_packet(e, &m, NULL, 0);
    for (uint32_t i = 0; i <= e->cfg->vm.vcpus; i++)
        glue_wake(e, i);
    syscall(SYS_futex, &e->shared->agent.sleeping, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void control_close(struct engine *e)
{
    close_connection(e);
    if (e->socket_bound)
        unlink(e->socket_path);
    if (e->listen_fd >= 0)
        close(e->listen_fd);
    if (e->shared != NULL)
        munmap(e->shared, e->shared_size);
    if (e->segment_fd >= 0)
        close(e->segment_fd);
    if (e->doorbell_fd >= 0)
        close(e->doorbell_fd);
}
