/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/run/compose.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REFUSED(option, has_value, reason, remedy)                                                 \
    {                                                                                              \
        option, has_value, RULE_PLAIN, NULL, reason, remedy                                        \
    }

#define ASKS     "prints something and exits"
#define ASK_QEMU "ask QEMU itself, without pando run"
#define MAPS     "a new memory slot is looked up in /proc/self/maps, also while the VM runs"

/* clang-format off */
static const struct rule rules[] = {
    {"machine", true, "type", machine_check,
     "q35 (the default), pc or microvm, of any version. kernel_irqchip=split is added, on q35 and pc "
     "smm=off and hpet=off; other values of these are refused.", NULL},
    {"M", true, "type", machine_check, "As -machine.", NULL},
    {"accel", true, "accel", machine_accel, "kvm; anything else is refused.", NULL},
    {"enable-kvm", false, NULL, machine_enable_kvm, "Fine.", NULL},
    {"m", true, "size", memory_check,
     "Whole MiB up to vm.ram_mib, which is the default. slots and maxmem are refused.", NULL},
    {"object", true, "qom-type", memory_object,
     "Of the memory backends memory-backend-memfd with share=on is taken; others, hugetlb=on and "
     "prealloc=on are refused, as are encrypted guests and objects that map guest RAM elsewhere.", NULL},
    {"overcommit", true, NULL, memory_overcommit, "mem-lock and cpu-pm are refused unless off.", NULL},
    REFUSED("mem-path", true, "guest RAM in a file or in huge pages is not coherent: the unit is a 4 KiB "
            "page of a memfd", "leave it out; pando run adds the memory backend"),
    REFUSED("mem-prealloc", false, "it would touch every page, and so pull all memory to one node",
            "leave it out"),
    {"numa", true, "type", numa_check,
     "The user's own topology stands; its memdev must be memory-backend-memfd objects with "
     "share=on.", NULL},
    {"cpu", true, "model", cpu_check,
     "A named model, qemu64 by default; host, max and base are refused. Flags are added, see "
     "below.", NULL},
    {"smp", true, "cpus", cpu_smp, "vm.vcpus vCPUs, no more and no fewer; added if absent.", NULL},
    {"device", true, "driver", devices_check, "Some are refused, see below.", NULL},
    {"global", true, NULL, devices_global,
     "Properties of CPUs are refused, and those that -device refuses.", NULL},
    {"vga", true, RULE_PLAIN, devices_vga, "none, which is added if absent; anything else is refused.",
     NULL},
    {"netdev", true, "type", devices_netdev,
     "tap gets vhost=off; vhost=on, vhost-user, vhost-vdpa and af-xdp are refused.", NULL},
    {"nic", true, "type", devices_netdev, "As -netdev.", NULL},
    {"net", true, "type", devices_netdev, "As -netdev.", NULL},
    {"drive", true, "file", disks_drive,
     "cache=none, cache=directsync, cache.direct=on, aio=native and aio=io_uring are turned off; drivers "
     "that map guest RAM are refused.", NULL},
    {"blockdev", true, "driver", disks_drive, "As -drive.", NULL},
    {"hda", true, RULE_PLAIN, disks_file, "Fine, but for json: and nvme: names.", NULL},
    {"hdb", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"hdc", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"hdd", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"cdrom", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"fda", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"fdb", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"sd", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"mtdblock", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"pflash", true, RULE_PLAIN, disks_file, "As -hda.", NULL},
    {"sandbox", true, "enable", process_sandbox, "resourcecontrol=deny is refused.", NULL},
    {"run-with", true, NULL, process_run_with, "chroot= and user= are refused, as -chroot and -runas.",
     NULL},
    {"incoming", true, RULE_PLAIN, process_untried, "Passes; said to be untried.", NULL},
    {"loadvm", true, RULE_PLAIN, process_untried, "Passes; said to be untried.", NULL},
    REFUSED("daemonize", false, "pando run watches QEMU, and a daemon's parent is gone",
            "leave it out; start pando run itself in the background"),
    REFUSED("readconfig", true, "what the file says cannot be checked", "write it as options"),
    REFUSED("set", true, "it changes options behind the check", "write the option as it is meant"),
    REFUSED("runas", true, "another user cannot read /proc/self of a process that was root, and " MAPS,
            "leave it out; -sandbox on,elevateprivileges=deny is fine"),
    REFUSED("chroot", true, "there is no /proc inside, and " MAPS,
            "leave it out; -sandbox on,elevateprivileges=deny is fine"),
    REFUSED("icount", true, "KVM cannot count instructions", "leave it out"),
    REFUSED("xen-domid", true, "the VM is KVM's, not Xen's", "leave it out"),
    REFUSED("xen-attach", false, "the VM is KVM's, not Xen's", "leave it out"),
    REFUSED("xen-domid-restrict", false, "the VM is KVM's, not Xen's", "leave it out"),
    REFUSED("h", false, ASKS, ASK_QEMU),
    REFUSED("help", false, ASKS, ASK_QEMU),
    REFUSED("version", false, ASKS, ASK_QEMU),
    REFUSED("audio-help", false, ASKS, ASK_QEMU),
    REFUSED("dump-vmstate", true, ASKS, ASK_QEMU),
};

/* Options without a rule that have a value: what follows them is none, even if it looks like one. */
static const char *const valued[] = {
    "D", "L", "acpitable", "action", "add-fd", "append", "audio", "audiodev", "bios", "boot", "chardev",
    "compat", "d", "debugcon", "device-tree", "dfilter", "display", "dtb", "echr", "fsdev", "fw_cfg", "g",
    "gdb", "initrd", "iscsi", "k", "kernel", "mon", "monitor", "msg", "name", "option-rom",
    "parallel", "pidfile", "plugin", "qmp", "qmp-pretty", "qtest", "qtest-log", "rotate", "rtc", "seed",
    "serial", "shim", "smbios", "spice", "tb-size", "tpmdev", "trace", "usbdevice", "uuid", "virtfs", "vnc",
    "watchdog", "watchdog-action", "semihosting-config",
};

/* What the whole line needs, in the order in which it is decided. */
static const struct {
    void (*finish)(struct compose *c);
    const char *doc;
} additions[] = {
    {memory_finish, "-m of vm.ram_mib; with vm.homes: interleave, and on microvm, one memory-backend-memfd; "
     "with range one a node of the size of its range_mib. RAM is numbered for coherence in the order in "
     "which its blocks come, so that each range lies in its node's block. Nothing is added where the user "
     "has backends of his own."},
    {numa_finish, "With vm.homes: range on q35 and pc -numa node for every node: the vCPUs at home there, the "
     "node's memory, and a distance of 20 to the others. Nothing is added where the user has -numa."},
    {machine_finish, "-machine q35, what -machine needs as above, memory-backend= where there is one; -accel "
     "kvm."},
    {cpu_finish, "-cpu qemu64, and the flags below on any model."},
    {cpu_smp_finish, "-smp of vm.vcpus; one socket a node where the homes are equal runs."},
    {devices_vga_finish, "-vga none on q35 and pc: video RAM is private memory of one node."},
};
/* clang-format on */

/* ---- what is said -------------------------------------------------------------------------- */

static void append(struct compose *c, const char **list, unsigned *count, const char *text)
{
    if (*count == COMPOSE_SAYINGS_MAX)
        c->overflow = true;
    else
        list[(*count)++] = text;
}

static const char *format(struct compose *c, const char *fmt, va_list args)
{
    char text[768];
    vsnprintf(text, sizeof(text), fmt, args);
    return arena_copy(&c->arena, text, strlen(text));
}

void compose_note(struct compose *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    append(c, c->note, &c->notes, format(c, fmt, args));
    va_end(args);
}

void compose_refuse(struct compose *c, const struct line_option *o, const char *remedy,
                    const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *why = format(c, fmt, args);
    va_end(args);
    bool value = o->value != NULL;
    append(c, c->refusal, &c->refusals,
           arena_printf(&c->arena, "%s%s%s: %s; remedy: %s", o->word, value ? " " : "",
                        value ? o->value : "", why, remedy));
}

/* ---- the line ------------------------------------------------------------------------------ */

static struct line_option *new_option(struct compose *c)
{
    if (c->options == COMPOSE_OPTIONS_MAX) {
        c->overflow = true;
        return NULL;
    }
    return &c->option[c->options++];
}

struct line_option *compose_add(struct compose *c, const char *word, const char *value)
{
    struct line_option *o = new_option(c);
    if (o != NULL)
        *o = (struct line_option){word, word + 1, value};
    return o;
}

void compose_rewrite(struct compose *c, struct line_option *o, struct opt *p)
{
    (void)c;
    o->value = opt_print(p);
}

bool compose_parse(struct compose *c, const struct line_option *o, const char *implied,
                   struct opt *ret)
{
    if (opt_parse(&c->arena, o->value, implied, ret) == 0)
        return true;
    compose_refuse(c, o, "fewer", "more than %d elements cannot be checked", OPT_PAIRS_MAX);
    return false;
}

static const struct rule *find_rule(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strcmp(rules[i].option, name) == 0)
            return &rules[i];
    return NULL;
}

static bool takes_value(const char *name)
{
    const struct rule *r = find_rule(name);
    if (r != NULL)
        return r->has_value;
    for (size_t i = 0; i < sizeof(valued) / sizeof(valued[0]); i++)
        if (strcmp(valued[i], name) == 0)
            return true;
    return false;
}

static void split(struct compose *c, const char *const *argv, unsigned argc)
{
    for (unsigned i = 0; i < argc; i++) {
        struct line_option *o = new_option(c);
        if (o == NULL)
            return;
        *o = (struct line_option){argv[i], NULL, NULL};
        if (i == 0 || argv[i][0] != '-' || argv[i][1] == '\0')
            continue;
        o->name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
        if (!takes_value(o->name))
            continue;
        if (i + 1 < argc)
            o->value = argv[++i];
        else
            compose_refuse(c, o, "give it", "its value is missing");
    }
}

static bool asks_for_help(const struct opt *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        const struct opt_pair *e = &p->pair[i];
        const char *text = e->form == OPT_FLAG ? e->key : e->value;
        if (e->form != OPT_VALUE && (strcmp(text, "help") == 0 || strcmp(text, "?") == 0))
            return true;
    }
    return false;
}

static void check(struct compose *c, struct line_option *o)
{
    const struct rule *r = find_rule(o->name);
    struct opt p;
    if (o->name == NULL) {
        disks_file(c, o, NULL);
        return;
    }
    if (r == NULL || (r->has_value && o->value == NULL))
        return;
    if (r->check == NULL) {
        compose_refuse(c, o, r->remedy, "%s", r->doc);
        return;
    }
    if (!r->has_value || (r->implied != NULL && strcmp(r->implied, RULE_PLAIN) == 0)) {
        r->check(c, o, NULL);
        return;
    }
    if (o->value[0] == '{') {
        compose_refuse(c, o, "write it as key=value,...", "JSON is not checked here");
        return;
    }
    if (!compose_parse(c, o, r->implied, &p))
        return;
    if (asks_for_help(&p))
        compose_refuse(c, o, ASK_QEMU, ASKS);
    else
        r->check(c, o, &p);
}

static void flatten(struct compose *c)
{
    for (unsigned i = 0; i < c->options; i++) {
        c->argv[c->argc++] = c->option[i].word;
        if (c->option[i].value != NULL)
            c->argv[c->argc++] = c->option[i].value;
    }
    c->argv[c->argc] = NULL;
}

int compose(struct compose *ret, const char *const *argv, unsigned argc,
            const struct pando_config *cfg)
{
    struct compose *c = ret;
    memset(c, 0, offsetof(struct compose, text));
    c->cfg = cfg;
    c->arena = (struct arena){.buf = c->text, .size = sizeof(c->text)};
    split(c, argv, argc);
    unsigned given = c->options; /* ours are right */
    for (unsigned i = 1; i < given; i++)
        check(c, &c->option[i]);
    for (size_t i = 0; i < sizeof(additions) / sizeof(additions[0]); i++)
        additions[i].finish(c);
    if (c->overflow || c->arena.full) {
        c->refusal[0] = "the command line is too long";
        c->refusals = 1;
        return -E2BIG;
    }
    if (c->refusals > 0)
        return -EINVAL;
    flatten(c);
    return 0;
}

/* ---- reference ----------------------------------------------------------------------------- */

void compose_print_rules(int fd)
{
    dprintf(fd, "# What pando run does with QEMU's options\n\n"
                "Printed by `pando run --rules` from the tables that decide. Options that are not "
                "here pass untouched.\n\n## Options\n\n| option | what happens |\n|---|---|\n");
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct rule *r = &rules[i];
        dprintf(fd, "| `-%s` | %s%s%s%s |\n", r->option, r->check == NULL ? "Refused: " : "",
                r->doc, r->check == NULL ? "; remedy: " : "", r->check == NULL ? r->remedy : "");
    }
    dprintf(fd, "\n## Additions\n\n");
    for (size_t i = 0; i < sizeof(additions) / sizeof(additions[0]); i++)
        dprintf(fd, "- %s\n", additions[i].doc);
    dprintf(fd,
            "\n## Flags of -cpu\n\nAdded to any model; the opposite is refused. Flags of Hyper-V "
            "(hv-...) are refused.\n\n| flag | why |\n|---|---|\n");
    for (unsigned i = 0; i < cpu_flags_count; i++)
        dprintf(fd, "| `%s%s%s` | %s |\n", cpu_flags[i].on ? "+" : "", cpu_flags[i].name,
                cpu_flags[i].on ? "" : "=off", cpu_flags[i].reason);
    dprintf(fd, "\n## Devices that are refused\n\n| -device | why | instead |\n|---|---|---|\n");
    for (unsigned i = 0; i < devices_refused_count; i++)
        dprintf(fd, "| `%s` | %s | %s |\n", devices_refused[i].pattern, devices_refused[i].reason,
                devices_refused[i].remedy);
}
