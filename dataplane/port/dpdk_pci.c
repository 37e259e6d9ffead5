/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a NIC on PCI can be had by DPDK, by what sysfs says of it. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/port/dpdk.h"

enum { NETWORK_CLASS = 0x02, BRIDGE_CLASS = 0x06, NAME_SHOWN = 40 };

/* Drivers of the kernel beside which DPDK's works. */
static const char *const shared[] = {"mlx4_core", "mlx5_core"};

struct pci {
    const char *sys, *address;
    char driver[NAME_SHOWN]; /* of the kernel; "": none */
    char group[NAME_SHOWN];  /* of the IOMMU; "": none */
};

/* The last part of what a link in the device's directory points to; "": there is no such link. */
static void link_name(const struct pci *p, const char *name, char out[NAME_SHOWN])
{
    char path[PATH_MAX], target[PATH_MAX];
    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/%s", p->sys, p->address, name);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(out, NAME_SHOWN, "%.*s", NAME_SHOWN - 1, slash != NULL ? slash + 1 : target);
}

/* Base class, "0x020000" being an Ethernet controller; -1: there is no such device. */
static long class_of(const char *sys, const char *address)
{
    char path[PATH_MAX], text[16] = "";
    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/class", sys, address);
    FILE *f = fopen(path, "re");
    bool read = f != NULL && fgets(text, sizeof(text), f) != NULL;
    if (f != NULL)
        fclose(f);
    return read ? strtol(text, NULL, 16) >> 16 : -1;
}

/* The first entry of a directory that is accepted; false: there is none. */
static bool first_in(const char *path, bool (*accept)(const struct pci *p, const char *name),
                     const struct pci *p, char out[NAME_SHOWN])
{
    DIR *d = opendir(path);
    bool found = false;
    for (struct dirent *e; d != NULL && !found && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && accept(p, e->d_name)) {
            snprintf(out, NAME_SHOWN, "%.*s", NAME_SHOWN - 1, e->d_name);
            found = true;
        }
    if (d != NULL)
        closedir(d);
    return found;
}

static bool any(const struct pci *p, const char *name)
{
    (void)p;
    (void)name;
    return true;
}

/* A device of the group that the kernel still drives: then no part of the group is given out. A
 * bridge may keep its driver. */
static bool in_the_way(const struct pci *p, const char *name)
{
    struct pci other = {.sys = p->sys, .address = name};
    link_name(&other, "driver", other.driver);
    return other.driver[0] != '\0' && strcmp(other.driver, "vfio-pci") != 0 &&
           class_of(p->sys, name) != BRIDGE_CLASS;
}

static int not_bound(const struct pci *p, char err[PORT_ERROR_MAX])
{
    char path[PATH_MAX], interface[NAME_SHOWN] = "";
    snprintf(path, sizeof(path), "%s/bus/pci/devices/%s/net", p->sys, p->address);
    first_in(path, any, p, interface);
    snprintf(err, PORT_ERROR_MAX,
             "device %s has %s%s%s%s, DPDK needs vfio-pci: modprobe vfio-pci; dpdk-devbind.py "
             "--bind=vfio-pci %s",
             p->address, p->driver[0] != '\0' ? "the kernel's driver " : "no driver", p->driver,
             interface[0] != '\0' ? " and is interface " : "", interface, p->address);
    return -EBUSY;
}

static int check_group(const struct pci *p, const char *dev, char err[PORT_ERROR_MAX])
{
    char path[PATH_MAX], other[NAME_SHOWN];
    if (p->group[0] == '\0') {
        snprintf(err, PORT_ERROR_MAX,
                 "device %s has no IOMMU group: switch the IOMMU on in the firmware, and by "
                 "intel_iommu=on or amd_iommu=on on the kernel's command line",
                 p->address);
        return -EPERM;
    }
    snprintf(path, sizeof(path), "%s/kernel/iommu_groups/%s/devices", p->sys, p->group);
    if (first_in(path, in_the_way, p, other)) {
        snprintf(err, PORT_ERROR_MAX,
                 "device %s shares IOMMU group %s with %s, which the kernel drives: bind that to "
                 "vfio-pci as well, or put the NIC into another slot",
                 p->address, p->group, other);
        return -EBUSY;
    }
    snprintf(path, sizeof(path), "%s/vfio/%s", dev, p->group);
    if (access(path, R_OK | W_OK) == 0)
        return 0;
    int rc = -errno;
    snprintf(err, PORT_ERROR_MAX, "device %s: %.60s: %s: run as root, or chown it to this user",
             p->address, path, strerror(-rc));
    return rc;
}

int dpdk_pci_check(const char *sys, const char *dev, const char *address, char err[PORT_ERROR_MAX])
{
    struct pci p = {.sys = sys, .address = address};
    long class = class_of(sys, address);
    if (class < 0) {
        snprintf(err, PORT_ERROR_MAX, "there is no PCI device %s here (see lspci -D)", address);
        return -ENODEV;
    }
    if (class != NETWORK_CLASS) {
        snprintf(err, PORT_ERROR_MAX,
                 "device %s is no network card: its PCI class is 0x%02lx, a network card's 0x02",
                 address, class);
        return -ENODEV;
    }
    link_name(&p, "driver", p.driver);
    link_name(&p, "iommu_group", p.group);
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
        if (strcmp(p.driver, shared[i]) == 0)
            return 0;
    return strcmp(p.driver, "vfio-pci") == 0 ? check_group(&p, dev, err) : not_bound(&p, err);
}
