/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From an ordinary QEMU command line to one whose VM is coherent over several hosts. APP.
 *
 * compose() is a function of its arguments: no I/O, no clock, no allocation. Two tables decide:
 * rules (compose.c), one row an option of QEMU, looked at wherever the option stands; and
 * additions (compose.c), one row a thing that the whole line needs, in order. Each family of
 * options has a file: machine.c, memory.c, numa.c, cpu.c, devices.c, disks.c, process.c. An option
 * that no rule names passes untouched. `pando run --rules` prints the tables.
 */
#ifndef PANDO_RUN_COMPOSE_H
#define PANDO_RUN_COMPOSE_H

#include "dataplane/config/config.h"
#include "hypervisor-glue/run/parse.h"

enum {
    COMPOSE_OPTIONS_MAX = 1024,
    COMPOSE_WORDS_MAX = 2 * COMPOSE_OPTIONS_MAX,
    COMPOSE_SAYINGS_MAX = 256, /* notes; refusals */
    COMPOSE_BACKENDS_MAX = 64,
    COMPOSE_TEXT_MAX = 1 << 20,
};

struct compose;
struct rule;

struct line_option {
    const char *word;  /* as it was written: "-m", "--cpu", or a disk's file name */
    const char *name;  /* without dashes; NULL: a file name */
    const char *value; /* NULL: none */
};

/* Looks at one occurrence. p: its value, taken apart, where the rule has an implied key or PARSED;
 * otherwise NULL. */
typedef void rule_check(struct compose *c, struct line_option *o, struct opt *p);

struct rule {
    const char *option; /* without dashes */
    bool has_value;
    const char *implied; /* key of the first element; RULE_PLAIN: the value is not a list */
    rule_check *check;   /* NULL: refused, and doc says why */
    const char *doc, *remedy;
};
#define RULE_PLAIN "\n"

enum compose_machine { COMPOSE_Q35, COMPOSE_PC, COMPOSE_MICROVM };

struct compose_backend {
    const char *id;
    uint64_t size;
    bool coherent; /* memfd with share=on; if not, that was said already */
};

struct compose {
    const struct pando_config *cfg;
    struct arena arena;
    struct line_option option[COMPOSE_OPTIONS_MAX]; /* [0] is the program */
    unsigned options;
    const char *note[COMPOSE_SAYINGS_MAX], *refusal[COMPOSE_SAYINGS_MAX];
    unsigned notes, refusals;
    bool overflow;

    /* What the rules learned, for the additions. */
    struct {
        struct line_option *last; /* -machine: all occurrences are one for QEMU */
        enum compose_machine type;
        bool typed, split, smm, hpet; /* given, as they must be */
        const char *backend;          /* memory-backend= */
        bool accel;                   /* chosen by the user, one way or another */
    } machine;
    struct {
        const char *text; /* -m */
        uint64_t size;
        bool bad; /* and that was said */
        struct compose_backend backend[COMPOSE_BACKENDS_MAX];
        unsigned backends;
        bool one; /* we added a single backend, for -machine memory-backend= */
    } memory;
    struct {
        bool given; /* the user has -numa */
        const char *memdev[COMPOSE_BACKENDS_MAX];
        unsigned memdevs;
    } numa;
    struct {
        struct line_option *last; /* the last -cpu counts */
        bool smp;
        uint64_t cpus, maxcpus, product; /* 0: not given */
    } cpu;
    bool vga; /* -vga is there */

    const char *argv[COMPOSE_WORDS_MAX + 1]; /* the result, ends with NULL */
    unsigned argc;

    char text[COMPOSE_TEXT_MAX];
};

/* argv[0] is QEMU. 0: ret->argv is the line and ret->note says what was changed. -EINVAL:
 * ret->refusal says what cannot be; -E2BIG: likewise, the line is too long. ret points to argv's
 * strings. */
int compose(struct compose *ret, const char *const *argv, unsigned argc,
            const struct pando_config *cfg);

/* The reference of all rules, in Markdown. */
void compose_print_rules(int fd);

/* ---- for the families ---------------------------------------------------------------------- */

void compose_note(struct compose *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "OPTION VALUE: WHY; remedy: WHAT" */
void compose_refuse(struct compose *c, const struct line_option *o, const char *remedy,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* An option of ours, at the end; NULL if there is no room. word has its dash. */
struct line_option *compose_add(struct compose *c, const char *word, const char *value);

/* The option's value is printed anew from p. */
void compose_rewrite(struct compose *c, struct line_option *o, struct opt *p);

/* Takes apart the value of an option that was taken apart before. */
bool compose_parse(struct compose *c, const struct line_option *o, const char *implied,
                   struct opt *ret);

#define MIB(bytes) ((unsigned long long)(bytes) >> 20)

rule_check machine_check, machine_accel, machine_enable_kvm;
rule_check memory_check, memory_object, memory_overcommit;
rule_check numa_check, cpu_check, cpu_smp;
rule_check devices_check, devices_global, devices_vga, devices_netdev;
rule_check disks_drive, disks_file;
rule_check process_sandbox, process_run_with, process_untried;

void machine_finish(struct compose *c);
void memory_finish(struct compose *c);
void numa_finish(struct compose *c);
void cpu_finish(struct compose *c);
void cpu_smp_finish(struct compose *c);
void devices_vga_finish(struct compose *c);

/* Tables that the reference shows. */
struct refused_device {
    const char *pattern; /* as of fnmatch(3) */
    const char *reason, *remedy;
};
extern const struct refused_device devices_refused[];
extern const unsigned devices_refused_count;

struct cpu_flag {
    const char *name;
    bool on;
    const char *reason;
};
extern const struct cpu_flag cpu_flags[];
extern const unsigned cpu_flags_count;

#endif
