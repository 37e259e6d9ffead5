/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/attach.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include "bpf/contract.h"

/* A program that is on an interface. */
struct program {
    __u32 id;
    char name[BPF_OBJ_NAME_LEN];
    const char *mode;
    bool steers; /* it is a steering program of this contract, and this is what it was told: */
    struct steer_config config;
};

/* Of a steering program, by its map. False: it is none, or of another contract. */
static bool read_config(int prog_fd, struct steer_config *ret_config)
{
    __u32 maps[8], zero = 0, len = sizeof(struct bpf_prog_info);
    struct bpf_prog_info info = {.nr_map_ids = 8, .map_ids = (__u64)(uintptr_t)maps};
    bool found = false;
    if (bpf_obj_get_info_by_fd(prog_fd, &info, &len) != 0 || info.nr_map_ids > 8)
        return false;
    for (__u32 i = 0; i < info.nr_map_ids && !found; i++) {
        struct bpf_map_info map = {0};
        int fd = bpf_map_get_fd_by_id(maps[i]);
        len = sizeof(map);
        found = fd >= 0 && bpf_obj_get_info_by_fd(fd, &map, &len) == 0 &&
                strcmp(map.name, "config") == 0 && map.value_size == sizeof(*ret_config) &&
                bpf_map_lookup_elem(fd, &zero, ret_config) == 0 &&
                ret_config->version == STEER_VERSION;
        if (fd >= 0)
            close(fd);
    }
    return found;
}

/* Who is there: 0; -ENOENT nobody. */
static int find_program(int ifindex, struct program *ret_program)
{
    struct bpf_xdp_query_opts q = {.sz = sizeof(q)};
    struct bpf_prog_info info = {0};
    __u32 len = sizeof(info);
    int rc = bpf_xdp_query(ifindex, 0, &q);
    if (rc != 0)
        return rc;
    __u32 id = q.prog_id != 0       ? q.prog_id
               : q.drv_prog_id != 0 ? q.drv_prog_id
               : q.skb_prog_id != 0 ? q.skb_prog_id
                                    : q.hw_prog_id;
    if (id == 0)
        return -ENOENT;
    struct program p = {.id = id, .name = "?"};
    int fd = bpf_prog_get_fd_by_id(id);
    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0) {
        snprintf(p.name, sizeof(p.name), "%s", info.name);
        p.steers = strcmp(p.name, "pando_steer") == 0 && read_config(fd, &p.config);
    }
    if (fd >= 0)
        close(fd);
    p.mode = q.attach_mode == XDP_ATTACHED_SKB ? "generic" : "native";
    *ret_program = p;
    return 0;
}

/* Two nodes on one interface. It has one program, and what that takes off the interface no other
 * fabric of another process sees: so af_packet helps only whose frames bear another number. */
static void say_node(const struct steer_config *theirs, const struct steer_config *own,
                     char text[XDP_ERROR_MAX])
{
    bool same_kind = theirs->encapsulation == own->encapsulation;
    const char *remedy = "take another interface, or af_packet";
    if (theirs->cluster_tag == own->cluster_tag && theirs->self == own->self)
        snprintf(text, XDP_ERROR_MAX, "it is this very node's (%u): end its process first",
                 theirs->self);
    else if (theirs->cluster_tag == own->cluster_tag)
        snprintf(text, XDP_ERROR_MAX,
                 "node %u of this cluster has it: each node needs an interface of its own",
                 theirs->self);
    else if (same_kind && own->encapsulation == STEER_ETHERNET &&
             theirs->ethertype == own->ethertype)
        snprintf(text, XDP_ERROR_MAX,
                 "node %u of another cluster has it, and all frames of EtherType 0x%04X: %s with "
                 "another fabric.ethertype",
                 theirs->self, ntohs(theirs->ethertype), remedy);
    else
        snprintf(text, XDP_ERROR_MAX, "node %u of another cluster has it: %s", theirs->self,
                 remedy);
}

static int refuse_if_taken(const char *interface, int ifindex, int prog_fd, char err[XDP_ERROR_MAX])
{
    struct program p;
    struct steer_config own;
    char whose[XDP_ERROR_MAX];
    if (find_program(ifindex, &p) != 0)
        return 0;
    if (p.steers && read_config(prog_fd, &own))
        say_node(&p.config, &own, whose);
    else if (strncmp(p.name, "pando_", 6) == 0)
        snprintf(whose, sizeof(whose),
                 "another Pando process has this interface: end it first, or use another");
    else if (strncmp(p.name, "xdp_dispatcher", BPF_OBJ_NAME_LEN - 1) == 0)
        snprintf(whose, sizeof(whose),
                 "libxdp's dispatcher, which Pando does not join: use af_packet, or end the "
                 "programs in it (xdp-loader status, unload)");
    else
        snprintf(whose, sizeof(whose),
                 "remove it (ip link set dev %s xdp off, or end its owner), or use af_packet",
                 interface);
    snprintf(err, XDP_ERROR_MAX, "%s has an XDP program already: %s, id %u, %s mode; %.*s",
             interface, p.name, p.id, p.mode, XDP_ERROR_MAX - 80, whose);
    return -EBUSY;
}

static int link_in_mode(int ifindex, int prog_fd, __u32 mode)
{
    struct bpf_link_create_opts opts = {.sz = sizeof(opts), .flags = mode};
    int fd = bpf_link_create(prog_fd, ifindex, BPF_XDP, &opts);
    return fd < 0 ? -errno : fd;
}

int xdp_attach(const char *interface, int prog_fd, struct xdp_attachment *ret_attachment,
               char err[XDP_ERROR_MAX])
{
    struct xdp_attachment a = {.link_fd = -1};
    int ifindex = (int)if_nametoindex(interface);
    if (ifindex == 0) {
        snprintf(err, XDP_ERROR_MAX, "there is no interface %s here (see ip link)", interface);
        return -ENODEV;
    }
    int rc = refuse_if_taken(interface, ifindex, prog_fd, err);
    if (rc != 0)
        return rc;
    int native = link_in_mode(ifindex, prog_fd, XDP_FLAGS_DRV_MODE);
    if (native == -EPERM) {
        xdp_load_error(native, err);
        return native;
    }
    a.link_fd = native;
    if (native < 0) {
        a.generic = true;
        snprintf(a.why, sizeof(a.why), "the driver of %s refuses: %s", interface,
                 strerror(-native));
        a.link_fd = link_in_mode(ifindex, prog_fd, XDP_FLAGS_SKB_MODE);
    }
    if (a.link_fd < 0) {
        rc = refuse_if_taken(interface, ifindex, prog_fd, err); /* somebody was quicker */
        if (rc != 0)
            return rc;
        snprintf(err, XDP_ERROR_MAX,
                 "no XDP program can be attached to %s (native: %s; generic: %s): use af_packet",
                 interface, strerror(-native), strerror(-a.link_fd));
        return a.link_fd;
    }
    *ret_attachment = a;
    return 0;
}

void xdp_detach(struct xdp_attachment *a)
{
    if (a->link_fd >= 0)
        close(a->link_fd);
    a->link_fd = -1;
}

/* The kernel sets the link's interface to 0 when the interface goes away, or somebody detaches. */
const char *xdp_lost(const struct xdp_attachment *a)
{
    struct bpf_link_info info = {0};
    __u32 len = sizeof(info);
    if (a->link_fd < 0 || bpf_obj_get_info_by_fd(a->link_fd, &info, &len) != 0 ||
        info.xdp.ifindex != 0)
        return NULL;
    return "its XDP program was detached, or the interface is gone";
}

void xdp_load_error(int rc, char err[XDP_ERROR_MAX])
{
    if (rc == -EPERM || rc == -EACCES)
        snprintf(err, XDP_ERROR_MAX,
                 "XDP programs need CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW: run as root");
    else if (rc == -ENOMEM)
        snprintf(err, XDP_ERROR_MAX, "the kernel has no memory for the XDP program's maps");
    else
        snprintf(err, XDP_ERROR_MAX,
                 "the kernel does not take the XDP program (%s): Linux 6.6 or later with "
                 "CONFIG_BPF_SYSCALL is needed; libbpf's own words are above",
                 strerror(-rc));
}
