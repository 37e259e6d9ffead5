/* SPDX-License-Identifier: BSD-3-Clause */
#include "bpf/attach.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

/* Who is there: 0 and the program's id, name and mode; -ENOENT nobody. */
static int find_program(int ifindex, __u32 *ret_id, char name[BPF_OBJ_NAME_LEN], const char **mode)
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
    int fd = bpf_prog_get_fd_by_id(id);
    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
        snprintf(name, BPF_OBJ_NAME_LEN, "%s", info.name);
    else
        snprintf(name, BPF_OBJ_NAME_LEN, "?");
    if (fd >= 0)
        close(fd);
    *ret_id = id;
    *mode = q.attach_mode == XDP_ATTACHED_SKB ? "generic" : "native";
    return 0;
}

static int refuse_if_taken(const char *interface, int ifindex, char err[XDP_ERROR_MAX])
{
    char name[BPF_OBJ_NAME_LEN];
    const char *mode, *whose;
    __u32 id;
    if (find_program(ifindex, &id, name, &mode) != 0)
        return 0;
    if (strncmp(name, "pando_", 6) == 0)
        whose = "another Pando process has this interface: end it first, or use another";
    else if (strncmp(name, "xdp_dispatcher", BPF_OBJ_NAME_LEN - 1) == 0)
        whose = "libxdp's dispatcher, which Pando does not join: xdp-loader unload removes it";
    else
        whose = "remove it (ip link set dev IF xdp off, or end its owner), or use af_packet";
    snprintf(err, XDP_ERROR_MAX, "%s has an XDP program already: %s, id %u, %s mode; %s", interface,
             name, id, mode, whose);
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
    int rc = refuse_if_taken(interface, ifindex, err);
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
        rc = refuse_if_taken(interface, ifindex, err); /* somebody was quicker */
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
