/* SPDX-License-Identifier: BSD-3-Clause */
/* -machine and -accel: a split irqchip, whose other half is the glue's; no SMM, whose RAM is a
 * second address space; no HPET, which is one more clock of one host. */
#include <string.h>

#include "hypervisor-glue/run/compose.h"

#define IRQCHIP "the interrupt controllers of the vCPUs are Pando's, those of the board QEMU's"
#define SMM     "SMM gives a vCPU a second address space, which is not carried to other nodes"
#define HPET    "its reads would cross the network, and guests prefer it to better clocks"

static void check_type(struct compose *c, const struct line_option *o, const char *type)
{
    c->machine.typed = true;
    if (strcmp(type, "q35") == 0 || strncmp(type, "pc-q35-", 7) == 0)
        c->machine.type = COMPOSE_Q35;
    else if (strcmp(type, "pc") == 0 || strncmp(type, "pc-i440fx-", 10) == 0)
        c->machine.type = COMPOSE_PC;
    else if (strcmp(type, "microvm") == 0)
        c->machine.type = COMPOSE_MICROVM;
    else
        compose_refuse(c, o, "q35, pc or microvm", "machine '%s' is not one that Pando knows",
                       type);
}

static void check_accel(struct compose *c, const struct line_option *o, const char *accel)
{
    c->machine.accel = true;
    if (strcmp(accel, "kvm") != 0)
        compose_refuse(c, o, "kvm",
                       "accelerator '%s': the VM is one over several hosts by KVM only", accel);
}

static void check_irqchip(struct compose *c, const struct line_option *o, const char *value)
{
    if (strcmp(value, "split") != 0)
        compose_refuse(c, o, "kernel_irqchip=split, or leave it out", "kernel_irqchip=%s: " IRQCHIP,
                       value);
}

static void check_off(struct compose *c, const struct line_option *o, const struct opt_pair *p,
                      const char *why, bool *given)
{
    *given = true;
    if (!opt_is_off(p->value))
        compose_refuse(c, o, arena_printf(&c->arena, "%s=off, or leave it out", p->key),
                       "%s=%s: %s", p->key, p->value, why);
}

static void check_key(struct compose *c, const struct line_option *o, const struct opt_pair *p)
{
    if (opt_key_is(p->key, "type"))
        check_type(c, o, p->value);
    else if (opt_key_is(p->key, "accel"))
        check_accel(c, o, p->value);
    else if (opt_key_is(p->key, "kernel-irqchip")) {
        c->machine.split = true;
        check_irqchip(c, o, p->value);
    } else if (opt_key_is(p->key, "smm"))
        check_off(c, o, p, SMM, &c->machine.smm);
    else if (opt_key_is(p->key, "hpet"))
        check_off(c, o, p, HPET, &c->machine.hpet);
    else if (opt_key_is(p->key, "memory-backend"))
        c->machine.backend = p->value;
    else if (opt_key_is(p->key, "memory-encryption") ||
             opt_key_is(p->key, "confidential-guest-support"))
        compose_refuse(c, o, "leave it out",
                       "%s: the pages of an encrypted guest cannot be used on another host",
                       p->key);
    else if (opt_key_is(p->key, "nvdimm") && !opt_is_off(p->value))
        compose_refuse(c, o, "leave it out", "nvdimm: memory hot-plug cannot be coherent yet");
    else if (strncmp(p->key, "sgx-epc", 7) == 0)
        compose_refuse(c, o, "leave it out", "%s: enclave memory is one host's", p->key);
    else if (strncmp(p->key, "smp.", 4) == 0 || strcmp(p->key, "smp") == 0)
        compose_refuse(c, o, "-smp", "%s: not checked in this form", p->key);
    else if (strncmp(p->key, "memory.", 7) == 0 || strcmp(p->key, "memory") == 0)
        compose_refuse(c, o, "-m", "%s: not checked in this form", p->key);
}

void machine_check(struct compose *c, struct line_option *o, struct opt *p)
{
    c->machine.last = o;
    for (unsigned i = 0; i < p->count; i++)
        check_key(c, o, &p->pair[i]);
}

void machine_accel(struct compose *c, struct line_option *o, struct opt *p)
{
    const char *accel = opt_get(p, "accel"), *irqchip = opt_get(p, "kernel-irqchip");
    const char *ring = opt_get(p, "dirty-ring-size");
    if (accel != NULL)
        check_accel(c, o, accel);
    if (irqchip != NULL)
        check_irqchip(c, o, irqchip);
    if (ring != NULL && strcmp(ring, "0") != 0)
        compose_refuse(c, o, "leave it out",
                       "dirty-ring-size=%s: there is no dirty logging of memory on several hosts",
                       ring);
}

void machine_enable_kvm(struct compose *c, struct line_option *o, struct opt *p)
{
    (void)o;
    (void)p;
    c->machine.accel = true;
}

static void need(struct compose *c, struct opt *p, const char *key, const char *value,
                 const char *why)
{
    if (opt_set(p, key, value) != 0) {
        c->overflow = true;
        return;
    }
    compose_note(c, "added -machine %s=%s: %s", key, value, why);
}

void machine_finish(struct compose *c)
{
    struct opt p;
    if (c->machine.last == NULL)
        c->machine.last = compose_add(c, "-machine", "");
    if (c->machine.last == NULL || !compose_parse(c, c->machine.last, "type", &p))
        return;
    unsigned before = p.count;
    if (!c->machine.typed)
        need(c, &p, "type", "q35", "the machine that is tried most");
    if (!c->machine.split)
        need(c, &p, "kernel_irqchip", "split", IRQCHIP);
    if (c->machine.type != COMPOSE_MICROVM && !c->machine.smm)
        need(c, &p, "smm", "off", SMM);
    if (c->machine.type != COMPOSE_MICROVM && !c->machine.hpet)
        need(c, &p, "hpet", "off", HPET);
    if (c->memory.one)
        need(c, &p, "memory-backend", "pando-ram", "guest RAM is the shared memfd");
    if (p.count != before)
        compose_rewrite(c, c->machine.last, &p);
    if (!c->machine.accel) {
        compose_add(c, "-accel", "kvm");
        compose_note(c, "added -accel kvm: /dev/kvm is what Pando distributes");
    }
}
