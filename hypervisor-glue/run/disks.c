/* SPDX-License-Identifier: BSD-3-Clause */
/* Disks: what reads into guest RAM by DMA or writes from it pins the page for a while, and another
 * node may take the page away meanwhile. Through the page cache the kernel copies, and a copy waits
 * for the page. */
#include <string.h>

#include "hypervisor-glue/run/compose.h"

#define PINS_A_WHILE                                                                               \
    "O_DIRECT and io_uring use a page that may have moved to another node meanwhile"
#define MAPS_RAM    "maps all guest RAM for its device"
#define FILE_REMEDY "a file name, or -drive with key=value"

/* 'key' itself, or as the last part of "file.key". */
static bool key_ends_with(const char *key, const char *name)
{
    size_t k = strlen(key), n = strlen(name);
    return opt_key_is(key, name) ||
           (k > n && key[k - n - 1] == '.' && opt_key_is(key + k - n, name));
}

static void check_name(struct compose *c, const struct line_option *o, const char *file)
{
    if (strncmp(file, "json:", 5) == 0)
        compose_refuse(c, o, FILE_REMEDY, "JSON is not checked here");
    else if (strncmp(file, "nvme:", 5) == 0)
        compose_refuse(c, o, "the block device of the host", "nvme: " MAPS_RAM);
}

static void check_driver(struct compose *c, const struct line_option *o, const char *driver)
{
    static const char *const refused[] = {"nvme",
                                          "io_uring",
                                          "nvme-io_uring",
                                          "virtio-blk-vfio-pci",
                                          "virtio-blk-vhost-user",
                                          "virtio-blk-vhost-vdpa"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (strcmp(driver, refused[i]) == 0)
            compose_refuse(c, o, "file or host_device", "driver %s " MAPS_RAM, driver);
}

/* What a value has to become, or NULL. directsync also promises that every write is on the disk. */
static const char *replacement(const char *key, const char *value)
{
    if (key_ends_with(key, "cache.direct") && opt_is_on(value))
        return "off";
    if (key_ends_with(key, "aio") &&
        (strcmp(value, "native") == 0 || strcmp(value, "io_uring") == 0))
        return "threads";
    if (opt_key_is(key, "cache") && (strcmp(value, "none") == 0 || strcmp(value, "off") == 0))
        return "writeback";
    if (opt_key_is(key, "cache") && strcmp(value, "directsync") == 0)
        return "writethrough";
    return NULL;
}

void disks_drive(struct compose *c, struct line_option *o, struct opt *p)
{
    bool changed = false;
    for (unsigned i = 0; i < p->count; i++) {
        struct opt_pair *e = &p->pair[i];
        if (key_ends_with(e->key, "file") || key_ends_with(e->key, "filename"))
            check_name(c, o, e->value);
        if (key_ends_with(e->key, "driver") || opt_key_is(e->key, "format"))
            check_driver(c, o, e->value);
        const char *better = replacement(e->key, e->value);
        if (better == NULL)
            continue;
        compose_note(c, "turned off %s=%s of %s, now %s=%s: " PINS_A_WHILE, e->key, e->value,
                     o->word, e->key, better);
        e->value = better;
        e->form = e->form == OPT_FLAG ? OPT_VALUE : e->form;
        changed = true;
    }
    if (changed)
        compose_rewrite(c, o, p);
}

void disks_file(struct compose *c, struct line_option *o, struct opt *p)
{
    (void)p;
    check_name(c, o, o->value != NULL ? o->value : o->word);
}
