/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzzes the dataplane's end of the glue's control socket (engine/control.c with memory/ram.c, over
 * real sockets) with processes that send any packets with any descriptors, connect, close and end
 * when they like, while the dataplane looks when it likes, runs out of descriptors, or leaves.
 *
 * A model of the contract (hypervisor-glue/link/glue_abi.h) says after each step what has become of
 * connection, VM and RAM and which answers each process got; a refusal is always one GLUE_ERROR
 * with words and one drop. The table of open descriptors is counted after each step: none leaks.
 *
 * Input: a byte of configuration, then operations of one byte and their operands (operation).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "dataplane/base/bits.h"
#include "dataplane/base/check.h"
#include "dataplane/engine/engine.h"
#include "tests/fuzz/control_model.h"

enum {
    FDS_MAX = 253, /* in one packet: the kernel's limit */
    PACKET_MAX = 4096,
    LOOKS = 64,  /* at most, until nothing is left to do */
    TABLE = 128, /* descriptors that are counted */
    ENOUGH = 1000,
};
#define HVA UINT64_C(0x7F0000000000)

static struct engine e;
static struct pando_config cfg;
static struct port port;
static bool refuses_memory;
static struct model model;
static bool watch_fails;
static int unwatched; /* block; -1: none */
static uint32_t stops;
static int source[FD_KINDS], fds_before;
static FILE *quiet, *loud;
static const uint8_t *input;
static size_t left;

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static uint8_t byte(void)
{
    if (left == 0)
        return 0;
    left--;
    return *input++;
}

/* ---- what control.c calls ------------------------------------------------------------------ */

int idle_watch(struct engine *of, int fd, uint64_t tag)
{
    PANDO_CHECK(of == &e && fcntl(fd, F_GETFD) >= 0);
    PANDO_CHECK(tag >= WATCH_BLOCK
                    ? tag - WATCH_BLOCK < e.ram.blocks && fd == e.ram.block[tag - WATCH_BLOCK].uffd
                : tag == WATCH_LISTEN ? fd == e.listen_fd
                : tag == WATCH_CONN   ? fd == e.conn_fd
                                      : tag == WATCH_DOORBELL && fd == e.doorbell_fd);
    if (!watch_fails || tag == WATCH_LISTEN || tag == WATCH_DOORBELL)
        return 0;
    watch_fails = false;
    if (tag >= WATCH_BLOCK)
        unwatched = (int)(tag - WATCH_BLOCK);
    snprintf(e.err, sizeof(e.err), "epoll: no room");
    return -ENOSPC;
}

void engine_stop(struct engine *of, bool orderly, const char *fmt, ...)
{
    va_list args;
    PANDO_CHECK(of == &e);
    if (e.phase == ENGINE_LEAVING)
        return;
    va_start(args, fmt);
    vsnprintf(e.stop_text, sizeof(e.stop_text), fmt, args);
    va_end(args);
    PANDO_CHECK(e.stop_text[0] != '\0');
    e.phase = ENGINE_LEAVING;
    e.orderly = orderly;
    e.status = orderly ? 0 : 1;
    stops++;
    control_stop(&e);
}

void glue_wake(struct engine *of, uint32_t chan)
{
    PANDO_CHECK(of == &e && chan <= cfg.vm.vcpus);
}

const char *node_name(const struct engine *of, uint8_t node)
{
    PANDO_CHECK(of == &e && node < cfg.node_count);
    return cfg.node[node].name;
}

int config_glue_socket(const struct pando_config *of, uint8_t node, char *buf, size_t size)
{
    PANDO_CHECK(of == &cfg && node < cfg.node_count);
    return snprintf(buf, size, "%s/node%u.sock", cfg.run_dir, node) < (int)size ? 0 : -ENAMETOOLONG;
}

bool config_sched(const struct pando_config *of, enum config_role role, struct host_sched *ret)
{
    PANDO_CHECK(of == &cfg && role < CONFIG_ROLES);
    *ret = (struct host_sched){.class = HOST_BATCH, .nice = 1};
    return role != CONFIG_ROLE_VCPU;
}

struct host_cpus config_cpus(const struct config_node *n, enum config_role role)
{
    PANDO_CHECK(n != NULL && role == CONFIG_ROLE_HOUSEKEEPING);
    return (struct host_cpus){{n->id}};
}

/* ---- checks -------------------------------------------------------------------------------- */

/* poll says which numbers are no descriptors, all at once. */
static int count_fds(void)
{
    struct pollfd p[TABLE];
    int n = 0;
    for (int fd = 0; fd < TABLE; fd++)
        p[fd] = (struct pollfd){.fd = fd};
    PANDO_CHECK(poll(p, TABLE, 0) >= 0);
    for (int fd = 0; fd < TABLE; fd++)
        n += (p[fd].revents & POLLNVAL) == 0;
    return n;
}

static void check_welcome(const struct glue_ctl *m, const int *fds)
{
    struct stat st;
    PANDO_CHECK(m->node == e.self && m->nodes == cfg.node_count && m->vcpus == cfg.vm.vcpus &&
                m->ram_pages_max == RAM_PAGES && m->segment_size == glue_segment_size(m->vcpus));
    PANDO_CHECK(fstat(fds[0], &st) == 0 && (uint64_t)st.st_size == m->segment_size);
    PANDO_CHECK(eventfd_write(fds[1], 1) == 0);
}

static void check_answer(const struct glue_ctl *m, uint8_t expected, const int *fds, uint32_t count)
{
    bool words = memchr(m->text, '\0', sizeof(m->text)) != NULL && m->text[0] != '\0';
    PANDO_CHECK(m->type == expected && m->abi == GLUE_ABI_VERSION);
    PANDO_CHECK(count == (expected == GLUE_WELCOME ? FDS_TAKEN : 0));
    if (expected == GLUE_WELCOME)
        check_welcome(m, fds);
    if (expected == GLUE_ERROR || expected == GLUE_STOP)
        PANDO_CHECK(words);
    if (expected == GLUE_STOP)
        PANDO_CHECK((m->status == 0) == model.orderly);
}

/* All answers that came, as they were expected; then the end, if it is one. */
static void listen_to(struct client *c)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct glue_ctl m;
    uint32_t next = 0;
    for (;;) {
        int fds[8];
        uint32_t count = 0;
        struct iovec io = {&m, sizeof(m)};
        struct msghdr msg = {.msg_iov = &io,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == ECONNRESET && c->unread) { /* once; what it said is there */
            c->unread = false;
            continue;
        }
        if (n <= 0) {
            PANDO_CHECK(n == 0 ? c->place == ENDED : errno == EAGAIN && c->place != ENDED);
            break;
        }
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        if (h != NULL) {
            count = (uint32_t)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(fds, CMSG_DATA(h), count * sizeof(int));
        }
        PANDO_CHECK(n == sizeof(m) && next < c->answers);
        check_answer(&m, c->answer[next++], fds, count);
        for (uint32_t i = 0; i < count; i++)
            close(fds[i]);
    }
    PANDO_CHECK(next == c->answers);
    c->answers = 0;
}

/* Guest RAM is opened to peers block by block, as it comes; what the port took is kept. */
static int add_memory(struct port *p, uint64_t first_page, uint64_t pages, uint8_t *alias,
                      char err[PORT_ERROR_MAX])
{
    const struct ram_block *b = &e.ram.block[e.ram.blocks - 1];
    PANDO_CHECK(p == &port && first_page == b->base_page && pages == b->pages && alias == b->alias);
    if (!refuses_memory)
        return 0;
    snprintf(err, PORT_ERROR_MAX, "refused");
    return -ENOMEM;
}

static const struct port_ops port_ops = {.name = "fake", .add_memory = add_memory};

static void check_ram(void)
{
    uint64_t pages = 0;
    PANDO_CHECK(e.ram.blocks == model.blocks && e.ram.pages == model.pages);
    PANDO_CHECK(e.ram.blocks <= RAM_BLOCKS && e.ram.pages <= cfg.vm.ram_pages);
    for (uint32_t i = 0; i < e.ram.blocks; i++) {
        const struct ram_block *b = &e.ram.block[i];
        PANDO_CHECK(b->base_page == pages && b->pages > 0);
        bool sent_away = unwatched == (int)i; /* the VMM was, at this block */
        PANDO_CHECK(b->kept == (port.places && !refuses_memory && !sent_away));
        pages += b->pages;
        volatile uint8_t *last = b->alias + b->pages * RAM_PAGE - 1;
        *last = *last; /* it is there, and may be written */
    }
    PANDO_CHECK(pages == e.ram.pages);
}

static void check(void)
{
    int open = fds_before + 3 + (e.conn_fd >= 0) + 2 * (int)e.ram.blocks;
    PANDO_CHECK(e.conn == model.conn && (e.conn_fd >= 0) == (e.conn != CONN_NONE));
    PANDO_CHECK(e.phase == model.phase && stops == model.stops && stops <= 1);
    PANDO_CHECK(stops == 0 || e.orderly == model.orderly);
    PANDO_CHECK(e.count.drop[ENGINE_DROP_CONTROL] == model.drops);
    PANDO_CHECK(watch_fails == model.watch_fails);
    check_ram();
    for (int i = 0; i < CLIENTS; i++) {
        struct client *c = &model.client[i];
        if (c->fd >= 0 && !c->deaf)
            listen_to(c);
        open += c->fd >= 0;
        if (c->place == ENDED && c->fd < 0)
            c->place = FREE;
    }
    PANDO_CHECK(count_fds() == open);
}

/* ---- the dataplane looks ------------------------------------------------------------------- */

/* Leaves room for so many descriptors more. */
static void limit_table(rlim_t *limit, uint32_t room)
{
    struct rlimit r;
    int fd = 0;
    for (uint32_t n = 0; fd < TABLE && n <= room; fd++)
        n += fcntl(fd, F_GETFD) < 0;
    PANDO_CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
    *limit = r.rlim_cur;
    r.rlim_cur = (rlim_t)fd - 1;
    PANDO_CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
}

static void unlimit_table(rlim_t limit)
{
    struct rlimit r;
    PANDO_CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
    r.rlim_cur = limit;
    PANDO_CHECK(setrlimit(RLIMIT_NOFILE, &r) == 0);
}

static void look(bool listener, uint32_t room)
{
    rlim_t limit = 0;
    if (!listener && e.conn_fd < 0)
        return;
    if (room < ENOUGH)
        limit_table(&limit, room);
    stderr = quiet;
    control_ready(&e, listener ? e.listen_fd : e.conn_fd);
    stderr = loud;
    if (room < ENOUGH)
        unlimit_table(limit);
    if (listener)
        model_accept(&model, room);
    else
        model_serve(&model, room);
    check();
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&p, 1, 0) == 1;
}

/* As the poll loop does, until nothing is ready. */
static void look_at_all(void)
{
    for (int i = 0;; i++) {
        bool new = readable(e.listen_fd), more = readable(e.conn_fd);
        PANDO_CHECK(i < LOOKS);
        if (!new && !more)
            break;
        if (new)
            look(true, ENOUGH);
        if (more)
            look(false, ENOUGH);
    }
    PANDO_CHECK(model.pending_n == 0 && (model.owner < 0 || model.client[model.owner].n == 0));
}

static uint32_t in_flight(void)
{
    uint32_t n = 0;
    for (int i = 0; i < CLIENTS; i++)
        for (uint32_t k = 0; k < model.client[i].n; k++)
            n += model.client[i].queue[(model.client[i].head + k) % QUEUE].fds;
    return n;
}

static void dataplane(uint8_t how)
{
    /* Who may not lift limits cannot send descriptors either while more are in flight than it
     * allows. */
    uint32_t room = (how & 4) != 0 && in_flight() <= 8 ? how >> 4 & 3 : ENOUGH;
    switch (how & 3) {
    case 0:
        look(true, room);
        break;
    case 1:
        look(false, room);
        break;
    case 2:
        if (e.phase == ENGINE_JOINING)
            model.phase = e.phase = ENGINE_RUNNING;
        control_welcome(&e);
        model_welcome(&model);
        break;
    default:
        engine_stop(&e, (how & 8) != 0, "another reason");
        model_stop(&model, (how & 8) != 0);
        break;
    }
}

/* ---- the processes ------------------------------------------------------------------------- */

static void connect_one(struct client *c, bool deaf)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (c->place != FREE)
        return;
    snprintf(a.sun_path, sizeof(a.sun_path), "%.100s", e.socket_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    PANDO_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    model_connect(&model, c, fd, deaf);
}

static void close_one(struct client *c)
{
    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    c->finished = true;
}

/* A second dataplane of this node finds that there is one; to ours it is a process that connects
 * and is gone. */
static void second_dataplane(struct client *c)
{
    static struct engine other;
    if (c->place != FREE)
        return;
    other = (struct engine){.cfg = &cfg,
                            .self = e.self,
                            .segment_fd = -1,
                            .doorbell_fd = -1,
                            .listen_fd = -1,
                            .conn_fd = -1};
    PANDO_CHECK(control_open(&other) == -EADDRINUSE && other.err[0] != '\0');
    control_close(&other);
    model_connect(&model, c, -1, false);
}

static void shut(struct client *c, uint8_t how)
{
    if (c->fd < 0 || c->finished)
        return;
    shutdown(c->fd, how % 3 == 0 ? SHUT_WR : how % 3 == 1 ? SHUT_RD : SHUT_RDWR);
    c->finished = c->finished || how % 3 != 1;
    c->deaf = c->deaf || how % 3 != 0;
}

static size_t add_header(struct msghdr *msg, size_t at, int type, const void *data, size_t size)
{
    struct cmsghdr *h = (struct cmsghdr *)(void *)((char *)msg->msg_control + at);
    *h = (struct cmsghdr){.cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = type};
    memcpy(CMSG_DATA(h), data, size);
    return at + CMSG_SPACE(size);
}

static bool transmit(const struct client *c, const struct packet *p)
{
    static _Alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int)) + 256];
    static char bytes[PACKET_MAX];
    int fds[FDS_MAX];
    size_t at = 0;
    struct iovec io = {bytes, p->length};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control};
    struct ucred self = {.pid = getpid(), .uid = getuid(), .gid = getgid()};
    memset(bytes, 0xA5, sizeof(bytes));
    memcpy(bytes, &p->ctl, sizeof(p->ctl));
    for (uint32_t i = 0; i < p->fds; i++) {
        uint8_t kind = p->kind[i < FDS_TAKEN ? i : FDS_TAKEN - 1];
        fds[i] = kind == FD_SELF ? c->fd : source[kind] >= 0 ? source[kind] : source[FD_EVENT];
    }
    uint32_t first = p->two_headers && p->fds > 1 ? 1 : p->fds;
    if (p->credentials)
        at = add_header(&msg, at, SCM_CREDENTIALS, &self, sizeof(self));
    if (first > 0)
        at = add_header(&msg, at, SCM_RIGHTS, fds, first * sizeof(int));
    if (p->fds > first)
        at = add_header(&msg, at, SCM_RIGHTS, fds + first, (p->fds - first) * sizeof(int));
    msg.msg_controllen = at;
    if (at == 0)
        msg.msg_control = NULL;
    return sendmsg(c->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* One field is not what an honest process would say. */
static void twist(struct packet *p, uint8_t what, uint8_t value)
{
    static const size_t length[] = {0, 1, 4, sizeof(p->ctl) - 1, sizeof(p->ctl) + 1, PACKET_MAX};
    static const uint64_t wide[] = {
        0, 1, 8, 16, 17, 25, 40, 41, UINT64_MAX, UINT64_MAX - 4095, 1ull << 52, 1ull << 51};
    uint64_t number = wide[value % PANDO_ARRAY_LEN(wide)];
    switch (what % 12) {
    case 0:
        p->ctl.abi += value;
        break;
    case 1:
        p->ctl.role = value & 3;
        break;
    case 2:
        p->ctl.block += (uint32_t)(value & 64 ? -(value & 7) : value & 7);
        break;
    case 3:
        p->ctl.base_page = number;
        break;
    case 4:
        p->ctl.pages = number;
        break;
    case 5:
        p->ctl.hva = number;
        break;
    case 6:
        p->length = length[value % PANDO_ARRAY_LEN(length)];
        break;
    case 7:
        p->fds = value == 255 ? FDS_MAX : value % 6;
        break;
    case 8:
    case 9:
        p->kind[what & 1] = value % FD_KINDS;
        break;
    case 10:
        memset(p->ctl.text, value, sizeof(p->ctl.text));
        p->ctl.status = value;
        break;
    default:
        p->two_headers = value & 1;
        p->credentials = value & 2;
        break;
    }
}

static void send_one(struct client *c)
{
    uint8_t type = byte(), twists = byte() & 3;
    struct packet p = {.length = sizeof(p.ctl), .kind = {FD_MEMFD, FD_UFFD}};
    p.ctl = (struct glue_ctl){.type = type > 9   ? type
                                      : type < 3 ? GLUE_HELLO
                                      : type < 8 ? GLUE_RAM
                                                 : GLUE_BYE,
                              .abi = GLUE_ABI_VERSION,
                              .role = model.takes_vmm ? GLUE_ROLE_VMM : GLUE_ROLE_VCPUD,
                              .block = model.blocks,
                              .base_page = model.pages,
                              .pages = 4,
                              .hva = HVA};
    p.fds = p.ctl.type == GLUE_RAM ? FDS_TAKEN : 0;
    for (uint32_t i = 0; i < c->n; i++) { /* as if those under way were taken */
        const struct glue_ctl *before = &c->queue[(c->head + i) % QUEUE].ctl;
        p.ctl.block += before->type == GLUE_RAM;
        p.ctl.base_page += before->type == GLUE_RAM ? before->pages : 0;
    }
    for (uint8_t i = 0; i < twists; i++) {
        uint8_t what = byte();
        twist(&p, what, byte());
    }
    if (c->fd < 0 || c->finished || c->n == QUEUE || !transmit(c, &p) || c->place == ENDED)
        return;
    c->queue[(c->head + c->n++) % QUEUE] = p;
}

/* Bits 0-2 what, 3-4 which process; bit 7: the dataplane does not look afterwards. */
static void operation(void)
{
    uint8_t op = byte();
    struct client *c = &model.client[op >> 3 & 3];
    switch (op & 7) {
    case 0:
        connect_one(c, byte() & 1);
        break;
    case 1:
        close_one(c);
        break;
    case 2:
    case 3:
        send_one(c);
        break;
    case 4:
        dataplane(byte());
        break;
    case 5:
        shut(c, byte());
        break;
    case 6:
        second_dataplane(c);
        break;
    default:
        watch_fails = model.watch_fails = true;
        break;
    }
    check();
    if ((op & 128) == 0)
        look_at_all();
}

/* ---- one run ------------------------------------------------------------------------------- */

static void failed(const char *expr, const char *file, int line)
{
    dprintf(2, "%s:%d: %s\n", file, line, expr);
}

/* What processes send besides, opened once. */
static void once(void)
{
    int ends[2];
    char path[64];
    if (quiet != NULL)
        return;
    loud = stderr;
    quiet = fopen("/dev/null", "we");
    pando_check_set_handler(failed);
    source[FD_MEMFD] = memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    source[FD_SMALL] = memfd_create("small", MFD_CLOEXEC);
    PANDO_CHECK(quiet != NULL && ftruncate(source[FD_MEMFD], FILE_PAGES * RAM_PAGE) == 0 &&
                ftruncate(source[FD_SMALL], RAM_PAGE) == 0 && pipe2(ends, O_CLOEXEC) == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", source[FD_MEMFD]);
    source[FD_READ_ONLY] = open(path, O_RDONLY | O_CLOEXEC);
    source[FD_PATH] = open(path, O_PATH | O_CLOEXEC);
    source[FD_UFFD] = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    source[FD_EVENT] = eventfd(0, EFD_CLOEXEC);
    source[FD_PIPE] = ends[0];
    close(ends[1]);
    source[FD_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
    source[FD_DIR] = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    source[FD_SELF] = -1;
    snprintf(cfg.run_dir, sizeof(cfg.run_dir), "%s/pando-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    PANDO_CHECK(mkdtemp(cfg.run_dir) != NULL && rmdir(cfg.run_dir) == 0); /* a name of our own */
    cfg.node_count = 2;
    for (uint8_t n = 0; n < 2; n++) {
        cfg.node[n] = (struct config_node){.id = n, .agent_core = -1, .vcpu_core_count = n};
        snprintf(cfg.node[n].name, sizeof(cfg.node[n].name), "n%u", n);
    }
    cfg.vm.ram_pages = RAM_PAGES;
}

static void start(uint8_t how)
{
    watch_fails = false;
    unwatched = -1;
    stops = 0;
    cfg.vm.vmm_node = how & 1;
    cfg.vm.vcpus = 1 + (how >> 2 & 3);
    for (uint32_t v = 0; v < cfg.vm.vcpus; v++)
        cfg.vm.vcpu_home[v] = v & 1;
    port = (struct port){.ops = &port_ops, .places = (how & 64) != 0};
    refuses_memory = (how & 128) != 0;
    e = (struct engine){.cfg = &cfg,
                        .port = &port,
                        .self = how >> 1 & 1,
                        .nodes = 2,
                        .verbose = how >> 4 & 1,
                        .phase = how & 32 ? ENGINE_JOINING : ENGINE_RUNNING,
                        .segment_fd = -1,
                        .doorbell_fd = -1,
                        .listen_fd = -1,
                        .conn_fd = -1,
                        .epoll_fd = -1};
    e.ram.pages_max = cfg.vm.ram_pages;
    model = (struct model){.takes_vmm = e.self == cfg.vm.vmm_node,
                           .uffd = source[FD_UFFD] >= 0,
                           .phase = e.phase,
                           .owner = -1};
    for (int i = 0; i < CLIENTS; i++)
        model.client[i].fd = -1;
    fds_before = count_fds();
    PANDO_CHECK(control_open(&e) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    once();
    input = in;
    left = size;
    start(byte());
    while (left > 0)
        operation();
    look_at_all();
    for (int i = 0; i < CLIENTS; i++)
        close_one(&model.client[i]);
    look_at_all();
    check();
    PANDO_CHECK(e.conn == CONN_NONE);
    control_close(&e);
    ram_close(&e.ram);
    PANDO_CHECK(count_fds() == fds_before);
    PANDO_CHECK(access(e.socket_path, F_OK) != 0 && rmdir(cfg.run_dir) == 0);
    return 0;
}
