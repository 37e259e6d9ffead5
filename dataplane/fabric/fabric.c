/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/fabric/fabric.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/host/memory.h"
#include "dataplane/port/dpdk.h"
#include "dataplane/port/eal.h"
#include "dataplane/port/rendezvous.h"
#include "dataplane/port/verbs.h"

#define US UINT64_C(1000)
#define MS (1000 * US)

enum { SYN_MS = 20, CLAIM_TRIES = 16 };

static const struct config_node *own_node(const struct fabric *f)
{
    return config_node_of(f->cfg, f->self);
}

void fabric_init(struct fabric *f, const struct pando_config *cfg, uint8_t self, const char *who)
{
    *f = (struct fabric){.cfg = cfg,
                         .self = self,
                         .nodes = (uint8_t)cfg->node_count,
                         .group_fd = -1,
                         .claim_fd = -1};
    snprintf(f->who, sizeof(f->who), "%s", who);
}

/* ---- the claim ----------------------------------------------------------------------------- */

static void claim_path(const struct fabric *f, char *out, size_t size)
{
    snprintf(out, size, "%s/node%u.claim", f->cfg->run_dir, f->self);
}

/* What who has the file wrote into it. */
static int claimed(int fd, const char *path, char err[FABRIC_TEXT_MAX])
{
    char who[FABRIC_WHO_MAX + 16] = "";
    ssize_t n = pread(fd, who, sizeof(who) - 1, 0);
    who[n > 0 ? n : 0] = '\0';
    for (char *c = who; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    snprintf(err, FABRIC_TEXT_MAX,
             "%s is held by another process of this machine%s%s: one at a time answers for a node",
             path, who[0] != '\0' ? ": " : "", who);
    return -EADDRINUSE;
}

static int cannot(const char *path, int rc, char err[FABRIC_TEXT_MAX])
{
    snprintf(err, FABRIC_TEXT_MAX, "%s: %s", path, strerror(-rc));
    return rc;
}

/* 0; -EAGAIN: the lock is on a file that has lost its name meanwhile, as its holder removes it. */
static int lock(int fd, const char *path, char err[FABRIC_TEXT_MAX])
{
    struct stat mine, named;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? claimed(fd, path, err) : cannot(path, -errno, err);
    if (fstat(fd, &mine) != 0 || stat(path, &named) != 0 || mine.st_ino != named.st_ino ||
        mine.st_dev != named.st_dev) {
        snprintf(err, FABRIC_TEXT_MAX, "%s: it comes and goes", path);
        return -EAGAIN;
    }
    /* It will be written to: nobody else's file under another name. */
    if (S_ISREG(mine.st_mode) && mine.st_nlink == 1 && mine.st_uid == geteuid())
        return 0;
    snprintf(err, FABRIC_TEXT_MAX, "%s is no ordinary file of this user's: remove it", path);
    return -EPERM;
}

int fabric_claim(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    char path[CONFIG_PATH_MAX + 24];
    claim_path(f, path, sizeof(path));
    int rc = rendezvous_dir("run_dir", f->cfg->run_dir, err);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < CLAIM_TRIES; i++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (fd < 0)
            return cannot(path, -errno, err);
        rc = lock(fd, path, err);
        if (rc == 0) {
            f->claim_fd = fd;
            if (ftruncate(fd, 0) == 0) /* for who comes second; nothing depends on these words */
                dprintf(fd, "%s, process %d", f->who, (int)getpid());
            return 0;
        }
        close(fd);
        if (rc != -EAGAIN)
            break;
    }
    return rc;
}

/* ---- DPDK ---------------------------------------------------------------------------------- */

static bool may_need_dpdk(const struct fabric *f)
{
    enum config_fabric t = f->cfg->fabric.type;
    return t == CONFIG_FABRIC_MEMIF || t == CONFIG_FABRIC_AF_PACKET || t == CONFIG_FABRIC_DPDK ||
           t == CONFIG_FABRIC_AUTO;
}

/* What EAL takes for packet memory, should a fabric need any: hugepages where there are some. */
static struct port_eal_memory choose_memory(const struct fabric *f)
{
    enum config_hugepages h = f->cfg->fabric.hugepages;
    struct port_eal_memory memory = {.numa_node =
                                         own_node(f) != NULL ? own_node(f)->packet_node : -1};
    memory.page_kib = h == CONFIG_HUGE_2M ? 2048 : h == CONFIG_HUGE_1G ? 1048576 : 0;
    memory.huge = may_need_dpdk(f) && h != CONFIG_HUGE_OFF && port_eal_has(&memory);
    return memory;
}

/* The NIC on PCI that the fabric is; NULL: none. */
static const char *pci_of(const struct fabric *f)
{
    const struct config_node *n = own_node(f);
    bool pci = f->cfg->fabric.type == CONFIG_FABRIC_DPDK && n != NULL && config_is_pci(n->device);
    return pci ? n->device : NULL;
}

/* memif, af_packet and dpdk need packet memory; the other fabrics have their own. */
static int packet_memory(const struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    if (f->huge || (f->cfg->fabric.hugepages == CONFIG_HUGE_OFF && pci_of(f) == NULL))
        return 0;
    if (f->cfg->fabric.hugepages != CONFIG_HUGE_AUTO &&
        f->cfg->fabric.hugepages != CONFIG_HUGE_OFF) {
        static const char *const sizes[] = {
            [CONFIG_HUGE_ON] = "on", [CONFIG_HUGE_2M] = "2M", [CONFIG_HUGE_1G] = "1G"};
        snprintf(err, FABRIC_TEXT_MAX,
                 "fabric.hugepages is %s, and 64 MiB of such hugepages are not free%s: %s%s",
                 sizes[f->cfg->fabric.hugepages],
                 own_node(f)->packet_node >= 0 ? " on packet_node" : "",
                 f->cfg->fabric.hugepages == CONFIG_HUGE_1G
                     ? "configs/host/prepare --hugepages 0:1G:1 (NODE:SIZE:PAGES)"
                     : "sysctl vm.nr_hugepages=64",
                 pci_of(f) != NULL ? "" : ", or set it to auto");
        return -ENOMEM;
    }
    if (pci_of(f) != NULL) {
        snprintf(err, FABRIC_TEXT_MAX,
                 "a NIC on PCI (%s) needs 64 MiB of free hugepages: sysctl vm.nr_hugepages=64, and "
                 "fabric.hugepages: auto",
                 pci_of(f));
        return -ENOMEM;
    }
    fprintf(stderr,
            "%s: no free hugepages: packet memory is ordinary memory. It costs TLB misses on large "
            "transfers, and real NICs cannot use it; remedy: sysctl vm.nr_hugepages=64\n",
            f->who);
    return 0;
}

/* EAL pins the thread as well. */
static int pin(int32_t core, char err[FABRIC_TEXT_MAX])
{
    cpu_set_t set;
    if (core < 0)
        return 0;
    CPU_ZERO(&set);
    CPU_SET((unsigned)core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) == 0)
        return 0;
    int rc = -errno;
    snprintf(err, FABRIC_TEXT_MAX, "dataplane_core %d: %s", core, strerror(-rc));
    return rc;
}

/* Its files go under run_dir, where what a killed process left is found. */
int fabric_start_eal(struct fabric *f, bool always, char err[FABRIC_TEXT_MAX])
{
    const struct config_node *n = own_node(f);
    int32_t core = n != NULL ? n->dataplane_core : -1;
    char prefix[24];
    if (!always && !may_need_dpdk(f))
        return pin(core, err);
    setenv("RUNTIME_DIRECTORY", f->cfg->run_dir, 1);
    snprintf(prefix, sizeof(prefix), "node%u", f->self);
    struct port_eal_memory memory = choose_memory(f);
    f->huge = memory.huge;
    int rc = port_eal_init_memory(&memory, core >= 0 ? (unsigned)core : PORT_EAL_ANY_CORE,
                                  f->huge ? pci_of(f) : NULL, prefix, always, err);
    f->eal = rc == 0;
    return rc;
}

/* ---- fabrics ------------------------------------------------------------------------------- */

static int open_shm(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    char dir[CONFIG_PATH_MAX + 8];
    snprintf(dir, sizeof(dir), "%s/ring", f->cfg->run_dir);
    return port_open_shm(dir, f->self, f->nodes, f->cfg->fabric.mtu, &f->port, err);
}

static int open_memif(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    char dir[CONFIG_PATH_MAX + 8];
    int rc = packet_memory(f, err);
    if (rc != 0)
        return rc;
    snprintf(dir, sizeof(dir), "%s/memif", f->cfg->run_dir);
    return port_open_memif(dir, f->self, f->nodes, f->cfg->fabric.ethertype, f->cfg->fabric.mtu,
                           &f->port, err);
}

void fabric_link(const struct fabric *f, struct link_config *ret_link)
{
    const struct pando_config *c = f->cfg;
    bool by_ip = c->fabric.type == CONFIG_FABRIC_UDP || c->fabric.type == CONFIG_FABRIC_VERBS ||
                 c->fabric.encapsulation == CONFIG_ENCAP_UDP;
    *ret_link = (struct link_config){.kind = LINK_ETHERNET, .self = f->self, .nodes = f->nodes};
    if (!by_ip)
        return;
    ret_link->kind = c->fabric.ip_version == 4 ? LINK_UDP4 : LINK_UDP6;
    ret_link->udp_port = c->fabric.udp_port;
    for (uint32_t n = 0; n < c->node_count; n++)
        memcpy(ret_link->ip[c->node[n].id], c->node[n].ip, sizeof(c->node[n].ip));
}

/* NULL: plain Ethernet. */
static const struct link_config *link_of(const struct fabric *f, struct link_config *out)
{
    fabric_link(f, out);
    return out->kind != LINK_ETHERNET ? out : NULL;
}

static int open_af_packet(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    struct link_config link;
    int rc = packet_memory(f, err);
    if (rc != 0)
        return rc;
    return port_open_af_packet(own_node(f)->device, link_of(f, &link), f->cfg->fabric.ethertype,
                               f->cfg->fabric.mtu, &f->port, err);
}

static int open_dpdk(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    struct link_config link;
    struct port_dpdk c = {
        .device = own_node(f)->device,
        .pci = pci_of(f) != NULL,
        .queues = WIRE_CLASSES + 1, /* one each, and one for what is not ours */
        .ethertype = f->cfg->fabric.ethertype,
        .mtu = f->cfg->fabric.mtu,
        .link = link_of(f, &link),
    };
    /* What is wrong with the device comes before what it needs besides. */
    int rc = c.pci ? dpdk_pci_check("/sys", "/dev", c.device, err) : 0;
    if (rc == 0)
        rc = packet_memory(f, err);
    return rc != 0 ? rc : port_open_dpdk(&c, &f->port, err);
}

static int open_af_xdp(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
#ifdef PANDO_HAVE_AF_XDP
    struct link_config link;
    struct port_af_xdp c = {
        .link = link_of(f, &link),
        .interface = own_node(f)->device,
        .queue = own_node(f)->queue,
        .ethertype = f->cfg->fabric.ethertype,
        .mtu = f->cfg->fabric.mtu,
        .self = f->self,
        .nodes = f->nodes,
        .cluster_id = f->cfg->cluster_id,
    };
    return port_open_af_xdp(&c, &f->port, err);
#else
    (void)f;
    snprintf(err, FABRIC_TEXT_MAX,
             "af_xdp fabric: not in this build: it needs libbpf-dev, clang and bpftool (./dev "
             "setup), then a build");
    return -ENOTSUP;
#endif
}

static int open_udp(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    struct link_config link;
    const char *notice;
    int rc = port_open_udp(link_of(f, &link), f->cfg->fabric.mtu, (uint8_t)f->cfg->transport.credit,
                           &f->port, err);
    if (rc == 0 && (notice = port_udp_notice(f->port)) != NULL)
        fprintf(stderr, "%s: %s\n", f->who, notice);
    return rc;
}

/* On a ladder the device is an interface; the RDMA device is the one that has its address. */
static int open_verbs(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
#ifdef PANDO_HAVE_VERBS
    bool ladder = f->cfg->fabric.type == CONFIG_FABRIC_AUTO;
    struct link_config link;
    struct port_verbs c = {
        .device = ladder ? "" : own_node(f)->device,
        .link = link_of(f, &link),
        .cluster_id = f->cfg->cluster_id,
        .dead_ns = f->cfg->transport.dead_ms * MS,
        .mtu = f->cfg->fabric.mtu,
        .credit = (uint8_t)f->cfg->transport.credit,
        .registrar_cpus = config_cpus(own_node(f), CONFIG_ROLE_REGISTRATION),
        .ladder = ladder,
    };
    (void)config_sched(f->cfg, CONFIG_ROLE_REGISTRATION, &c.registrar);
    return port_open_verbs(&c, &f->port, err);
#else
    (void)f;
    snprintf(
        err, FABRIC_TEXT_MAX,
        "verbs fabric: not in this build: it needs libibverbs-dev (./dev setup), then a build");
    return -ENOTSUP;
#endif
}

static int open_ladder(struct fabric *f, char err[FABRIC_TEXT_MAX]);

static int (*const openers[CONFIG_FABRICS])(struct fabric *, char *) = {
    [CONFIG_FABRIC_SHM] = open_shm,
    [CONFIG_FABRIC_MEMIF] = open_memif,
    [CONFIG_FABRIC_AF_PACKET] = open_af_packet,
    [CONFIG_FABRIC_AF_XDP] = open_af_xdp,
    [CONFIG_FABRIC_UDP] = open_udp,
    [CONFIG_FABRIC_DPDK] = open_dpdk,
    [CONFIG_FABRIC_VERBS] = open_verbs,
    [CONFIG_FABRIC_AUTO] = open_ladder,
};

static void append(struct fabric *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void append(struct fabric *f, const char *fmt, ...)
{
    size_t at = strlen(f->text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->text + at, sizeof(f->text) - at, fmt, args);
    va_end(args);
}

/* How the port that was opened works, where there is more than one way. */
static const char *mode_of(const struct fabric *f)
{
    const char *mode = NULL;
    (void)f;
#ifdef PANDO_HAVE_AF_XDP
    mode = port_af_xdp_mode(f->port);
#endif
#ifdef PANDO_HAVE_VERBS
    mode = mode != NULL ? mode : port_verbs_mode(f->port);
#endif
    return mode;
}

/* A plain UDP socket speaks to others of its kind, and to interfaces that encapsulate. */
static bool speaks_the_same(const struct fabric *f, enum config_fabric a, enum config_fabric b)
{
    return f->cfg->fabric.encapsulation == CONFIG_ENCAP_UDP ||
           (a == CONFIG_FABRIC_UDP) == (b == CONFIG_FABRIC_UDP);
}

static enum config_fabric rung_of(const struct fabric *f, uint32_t i)
{
    static const enum config_fabric rungs[CONFIG_RUNGS] = {
        [CONFIG_RUNG_AF_XDP] = CONFIG_FABRIC_AF_XDP,
        [CONFIG_RUNG_AF_PACKET] = CONFIG_FABRIC_AF_PACKET,
        [CONFIG_RUNG_UDP] = CONFIG_FABRIC_UDP,
        [CONFIG_RUNG_VERBS] = CONFIG_FABRIC_VERBS,
    };
    return rungs[f->cfg->fabric.ladder[i]];
}

/* From rung `from` on, the first that can be opened; above: what is not to be had and why, which
 * grows. 0, or -errno of the last. */
static int open_from(struct fabric *f, uint32_t from, char above[FABRIC_TEXT_MAX])
{
    char why[FABRIC_TEXT_MAX];
    int rc = -EINVAL;
    for (uint32_t i = from; i < f->cfg->fabric.ladder_count; i++) {
        enum config_fabric rung = rung_of(f, i);
        if (from > 0 && !speaks_the_same(f, rung_of(f, from - 1), rung))
            continue;
        why[0] = '\0';
        rc = openers[rung](f, why);
        if (rc == 0) {
            f->rung = i;
            append(f, "%s on %s", config_fabric_name(rung),
                   rung == CONFIG_FABRIC_UDP || rung == CONFIG_FABRIC_VERBS ? own_node(f)->address
                                                                            : own_node(f)->device);
            if (above[0] != '\0')
                append(f, "; not %s", above);
            return 0;
        }
        size_t at = strlen(above);
        snprintf(above + at, FABRIC_TEXT_MAX - at, "%s%s", at > 0 ? "; not " : "", why);
    }
    return rc;
}

/* If there is none, all reasons are the error. */
static int open_ladder(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    char above[FABRIC_TEXT_MAX] = "";
    int rc = open_from(f, 0, above);
    if (rc == 0)
        return 0;
    snprintf(err, FABRIC_TEXT_MAX, "fabric.type: auto: nothing of fabric.ladder works: %.*s",
             FABRIC_TEXT_MAX - 64, above);
    return rc;
}

/* Where the interface refuses, group frames do not arrive here, and the peers notice (group.c). */
static void join_group(struct fabric *f)
{
    struct rrdp_mac group = port_group_mac(f->cfg->cluster_id);
    if (!f->port->reaches_all)
        return;
    if (f->cfg->fabric.type == CONFIG_FABRIC_DPDK) {
        const char *how = port_dpdk_join_group(f->port, &group);
        f->grouped = how;
        if (how == NULL || f->verbose)
            fprintf(stderr, "%s: %s takes the cluster's group frames %s\n", f->who,
                    own_node(f)->device,
                    how != NULL ? how : "not at all: invalidations are sent one by one");
        return;
    }
    f->group_fd = port_join_group(own_node(f)->device, &group);
    f->grouped = f->group_fd >= 0 ? "by the kernel's interface" : NULL;
    if (f->group_fd < 0)
        fprintf(stderr,
                "%s: %s takes no group address (%s): invalidations are sent "
                "one by one\n",
                f->who, own_node(f)->device, strerror(-f->group_fd));
}

static uint64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

static int put_filter(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    const struct pando_config *c = f->cfg;
    struct port_faults faults = {
        .seed = c->fabric.faults.seed + f->self, /* the ends of a link must not spoil in step */
        .drop_ppm = c->fabric.faults.drop_ppm,
        .duplicate_ppm = c->fabric.faults.duplicate_ppm,
        .reorder_ppm = c->fabric.faults.reorder_ppm,
        .corrupt_ppm = c->fabric.faults.corrupt_ppm,
        .delay_ppm = c->fabric.faults.delay_ppm,
        .delay_max_us = c->fabric.faults.delay_max_us,
    };
    struct port *outer;
    if ((faults.drop_ppm | faults.duplicate_ppm | faults.reorder_ppm | faults.corrupt_ppm |
         faults.delay_ppm) == 0)
        return 0;
    int rc = port_open_faulty(f->port, &faults, monotonic_ns, &outer);
    if (rc == 0)
        f->port = outer;
    else
        snprintf(err, FABRIC_TEXT_MAX, "fault filter: %s", strerror(-rc));
    return rc;
}

/* Of the port that was opened. */
static void say(struct fabric *f)
{
    const char *name = config_fabric_name(f->cfg->fabric.type);
    if (f->text[0] == '\0')
        append(f, "%s", name);
    if (f->cfg->fabric.type == CONFIG_FABRIC_DPDK) {
        char text[PORT_ERROR_MAX];
        port_dpdk_text(f->port, text, sizeof(text));
        append(f, " on %s: %s", own_node(f)->device, text);
    }
    if (mode_of(f) != NULL)
        append(f, ": %s", mode_of(f));
    if (f->verbose || strcmp(f->text, name) != 0)
        fprintf(stderr, "%s: fabric: %s\n", f->who, f->text);
}

int fabric_open(struct fabric *f, char err[FABRIC_TEXT_MAX])
{
    f->text[0] = '\0';
    int node = own_node(f) != NULL ? own_node(f)->packet_node : -1;
    int rc = node < 0 ? 0 : host_memory_policy(node);
    if (rc != 0) {
        snprintf(err, FABRIC_TEXT_MAX,
                 "packet_node %d: %s; allowed: a NUMA node of this host, or -1", node,
                 strerror(-rc));
        return rc;
    }
    rc = openers[f->cfg->fabric.type](f, err);
    if (node >= 0)
        (void)host_memory_policy(-1); /* guest memory is touched by this thread, too */
    if (rc != 0)
        return rc;
    say(f);
    join_group(f);
    return put_filter(f, err);
}

bool fabric_look(struct fabric *f)
{
    char above[FABRIC_TEXT_MAX], err[FABRIC_TEXT_MAX] = "";
    const char *why = f->stand_in != NULL ? NULL : port_look(f->port);
    if (why == NULL)
        return false;
    /* Where nothing else works: no frame comes or goes, the loop goes on, and the peers find out.
     */
    struct offload_wishes wishes;
    struct port old = *f->port, *nowhere;
    if (port_open_pair(old.mtu, &nowhere, &f->stand_in) != 0)
        return false; /* no memory: later */
    uint32_t next = f->cfg->fabric.type == CONFIG_FABRIC_AUTO ? f->rung + 1 : UINT32_MAX;
    snprintf(above, sizeof(above), "%s: %.400s", old.name, why);
    /* The next one may need what this one has: the UDP port, the queue. */
    if (f->offload != NULL)
        offload_wishes(f->offload, &wishes);
    bool offloaded = f->offload != NULL;
    offload_close(f->offload);
    f->offload = NULL;
    f->port = port_close(f->port);
    f->text[0] = '\0';
    if (own_node(f)->packet_node >= 0)
        (void)host_memory_policy(own_node(f)->packet_node);
    int rc = next < f->cfg->fabric.ladder_count ? open_from(f, next, above) : -ENOENT;
    if (own_node(f)->packet_node >= 0)
        (void)host_memory_policy(-1);
    if (rc == 0 && (rc = put_filter(f, err)) != 0)
        f->port = port_close(f->port);
    if (rc == 0) {
        port_close(nowhere);
        f->stand_in = port_close(f->stand_in);
        f->port->counters = old.counters;
        say(f);
        if (offloaded)
            fabric_open_offload(f, &wishes);
        return true;
    }
    f->port = nowhere;
    fprintf(stderr, "%s: no fabric any more: %s%s\n", f->who, above, err);
    snprintf(f->text, sizeof(f->text), "none; not %.480s", above);
    return true;
}

void fabric_transport(const struct fabric *f, struct rrdp_config *ret_config)
{
    const struct pando_config *c = f->cfg;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    *ret_config = (struct rrdp_config){
        .self = f->self,
        .nodes = f->nodes,
        .cluster_id = c->cluster_id,
        .epoch = (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec,
        .config_hash = c->hash & ~RRDP_HASH_ENDPOINT,
        .mtu = f->port->mtu,
        .group_min = f->port->reaches_all ? (uint8_t)c->transport.group_min : 0,
        .group_mac = port_group_mac(c->cluster_id),
        .credit = (uint8_t)c->transport.credit,
        .rto_min_ns = c->transport.rto_min_us * US,
        .rto_max_ns = c->transport.rto_max_us * US,
        .ack_delay_ns = c->transport.ack_delay_us * US,
        .heartbeat_ns = c->transport.heartbeat_ms * MS,
        .dead_ns = c->transport.dead_ms * MS,
        .syn_ns = SYN_MS * MS,
    };
}

void fabric_close(struct fabric *f)
{
    char path[CONFIG_PATH_MAX + 24];
    offload_close(f->offload);
    f->offload = NULL;
    f->port = port_close(f->port);
    f->stand_in = port_close(f->stand_in);
    if (f->group_fd >= 0)
        close(f->group_fd);
    f->group_fd = -1;
    if (f->eal) {
        port_eal_close();
        snprintf(path, sizeof(path), "%s/dpdk", f->cfg->run_dir);
        (void)rmdir(path); /* the last one to leave */
    }
    if (f->claim_fd < 0)
        return;
    claim_path(f, path, sizeof(path));
    unlink(path);
    close(f->claim_fd);
    f->claim_fd = -1;
}
