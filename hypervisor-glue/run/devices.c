/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that pin guest RAM, map it elsewhere, or show the guest memory of their own that other
 * nodes cannot see. */
#include <fnmatch.h>
#include <string.h>

#include "hypervisor-glue/run/compose.h"

#define PINS "pins guest RAM for DMA, and a pinned page cannot move to another node"
#define VHOST                                                                                      \
    "gives guest RAM to a process or kernel thread beside QEMU, which is not kept coherent"
#define VIDEO   "video RAM is private memory, which other nodes cannot see"
#define HOTPLUG "guest RAM beside the machine's own is not coherent yet"
#define PPI                                                                                        \
    "the page of its physical-presence interface is private memory, which other nodes cannot see"
#define PMR    "pmrdev: a persistent memory region is private memory, which other nodes cannot see"
#define SERIAL "-vga none and a serial console"

const struct refused_device devices_refused[] = {
    {"vfio-*", PINS, "virtio-net-pci or virtio-blk-pci"},
    {"vhost-vsock-*", VHOST, "virtio-serial-pci"},
    {"vhost-scsi*", VHOST, "virtio-scsi-pci"},
    {"vhost-*", VHOST, "the same device of virtio"},
    {"virtio-balloon*", "takes pages out of guest RAM behind coherence's back", "a smaller -m"},
    {"virtio-mem*", HOTPLUG, "-m"},
    {"virtio-pmem*", HOTPLUG, "virtio-blk-pci"},
    {"pc-dimm", HOTPLUG, "-m"},
    {"nvdimm", HOTPLUG, "virtio-blk-pci"},
    {"cxl-type3", HOTPLUG, "-m"},
    {"sgx-epc", "enclave memory is one host's", "leave it out"},
    {"ivshmem*", "shares memory with other VMs of one host only", "a network"},
    {"pvrdma", PINS, "virtio-net-pci"},
    {"x-pci-proxy-dev", VHOST, "a device of QEMU's own"},
    {"scsi-block", "SG_IO " PINS, "scsi-hd"},
    {"scsi-generic", "SG_IO " PINS, "scsi-hd or scsi-cd"},
    {"VGA", VIDEO, SERIAL},
    {"bochs-display", VIDEO, SERIAL},
    {"qxl*", VIDEO, SERIAL},
    {"virtio-vga*", VIDEO, SERIAL},
    {"virtio-gpu*", VIDEO, SERIAL},
    {"cirrus-vga", VIDEO, SERIAL},
    {"isa-vga", VIDEO, SERIAL},
    {"isa-cirrus-vga", VIDEO, SERIAL},
    {"ati-vga", VIDEO, SERIAL},
    {"vmware-svga", VIDEO, SERIAL},
    {"secondary-vga", VIDEO, SERIAL},
    {"ramfb", "the host reads the frame buffer through pages that may be on another node", SERIAL},
    {"tpm-crb", "its command buffer is private memory, which other nodes cannot see",
     "tpm-tis,ppi=off"},
    {"xen-*", "the VM is KVM's, not Xen's", "leave it out"},
    {"*-x86_64-cpu", "vCPUs have their homes by number, from the start", "-smp"},
};
const unsigned devices_refused_count = sizeof(devices_refused) / sizeof(devices_refused[0]);

void devices_check(struct compose *c, struct line_option *o, struct opt *p)
{
    const char *driver = opt_get(p, "driver");
    if (driver == NULL)
        return;
    for (unsigned i = 0; i < devices_refused_count; i++) {
        const struct refused_device *d = &devices_refused[i];
        if (fnmatch(d->pattern, driver, 0) != 0)
            continue;
        compose_refuse(c, o, d->remedy, "%s: %s", driver, d->reason);
        return;
    }
    if (strcmp(driver, "tpm-tis") == 0 && !opt_is_off(opt_get(p, "ppi")))
        compose_refuse(c, o, "ppi=off", PPI);
    if (strcmp(driver, "nvme") == 0 && opt_get(p, "pmrdev") != NULL)
        compose_refuse(c, o, "leave pmrdev out", PMR);
}

/* driver.property=value, or the same as three. What it sets in a device that -device would not show
 * is refused here. */
void devices_global(struct compose *c, struct line_option *o, struct opt *p)
{
    const char *driver = opt_get(p, "driver"), *property = opt_get(p, "property");
    const char *value = opt_get(p, "value");
    const char *dot = p->count > 0 ? strchr(p->pair[0].key, '.') : NULL;
    if (driver == NULL && dot != NULL) {
        driver = arena_copy(&c->arena, p->pair[0].key, (size_t)(dot - p->pair[0].key));
        property = dot + 1;
        value = p->pair[0].value;
    }
    if (driver == NULL || property == NULL || value == NULL)
        return; /* QEMU refuses it */
    if (fnmatch("*-cpu", driver, 0) == 0)
        compose_refuse(c, o, "write it in -cpu", "it sets %s of every vCPU behind the check",
                       property);
    else if (strcmp(driver, "tpm-tis") == 0 && opt_key_is(property, "ppi") && !opt_is_off(value))
        compose_refuse(c, o, "ppi=off", PPI);
    else if (strcmp(driver, "nvme") == 0 && opt_key_is(property, "pmrdev"))
        compose_refuse(c, o, "leave it out", PMR);
}

void devices_vga(struct compose *c, struct line_option *o, struct opt *p)
{
    (void)p;
    c->vga = true;
    if (strcmp(o->value, "none") != 0)
        compose_refuse(c, o, SERIAL, "%s", VIDEO);
}

void devices_vga_finish(struct compose *c)
{
    if (c->vga || c->machine.type == COMPOSE_MICROVM)
        return;
    compose_add(c, "-vga", "none");
    compose_note(c, "added -vga none: " VIDEO "; use a serial console");
}

void devices_netdev(struct compose *c, struct line_option *o, struct opt *p)
{
    static const char *const refused[] = {"vhost-user", "vhost-vdpa", "af-xdp"};
    const char *type = opt_get(p, "type");
    bool decided = false;
    for (size_t i = 0; type != NULL && i < sizeof(refused) / sizeof(refused[0]); i++)
        if (strcmp(type, refused[i]) == 0) {
            compose_refuse(c, o, "tap, bridge or user", "%s: %s", type,
                           strcmp(type, "af-xdp") == 0 ? PINS : VHOST);
            return;
        }
    for (unsigned i = 0; i < p->count; i++) {
        const struct opt_pair *e = &p->pair[i];
        if (strncmp(e->key, "vhost", 5) != 0)
            continue;
        decided = true;
        if (!opt_is_off(e->value)) {
            compose_refuse(c, o, "vhost=off", "%s=%s " VHOST, e->key, e->value);
            return;
        }
    }
    if (type == NULL || strcmp(type, "tap") != 0 || decided)
        return;
    if (opt_set(p, "vhost", "off") != 0)
        c->overflow = true;
    compose_rewrite(c, o, p);
    compose_note(c, "added vhost=off to %s %s: vhost " VHOST, o->word, type);
}
