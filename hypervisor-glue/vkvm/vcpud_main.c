/* SPDX-License-Identifier: BSD-3-Clause */
/* pando-vcpud --socket PATH: runs the vCPUs that are at home on this node. Ends with its VM. */
#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor-glue/vkvm/cpuid_common.h"
#include "hypervisor-glue/vkvm/vcpud.h"

enum { HIDDEN_MAX = 32, KEY_HIDE = 0x100, KEY_HIDE_MSR };

static struct vm vm;
static const char *hidden[HIDDEN_MAX]; /* --hide-cpu */
static unsigned hiddens;
static uint32_t hidden_msr[HIDDEN_MAX]; /* --hide-msr */
static unsigned hidden_msrs;

static void hide_msr(const char *arg, const struct argp_state *state)
{
    char *end;
    unsigned long index = strtoul(arg, &end, 16);
    if (!isxdigit((unsigned char)*arg) || *end != '\0' || index > UINT32_MAX)
        argp_error(state, "--hide-msr %s: allowed is a hexadecimal number, such as c0000103", arg);
    if (hidden_msrs == HIDDEN_MAX)
        argp_error(state, "--hide-msr: at most %d", HIDDEN_MAX);
    hidden_msr[hidden_msrs++] = (uint32_t)index;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    const char **socket = state->input;
    struct kvm_cpuid2 none = {0};
    switch (key) {
    case 's':
        *socket = arg;
        return 0;
    case KEY_HIDE:
        if (cpuid_hide(&none, arg) != 0)
            argp_error(state,
                       "--hide-cpu %s: allowed is LEAF.SUBLEAF.REGISTER.BIT, such as 7.0.ebx.5",
                       arg);
        if (hiddens == HIDDEN_MAX)
            argp_error(state, "--hide-cpu: at most %d", HIDDEN_MAX);
        hidden[hiddens++] = arg;
        return 0;
    case KEY_HIDE_MSR:
        hide_msr(arg, state);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected '%s'", arg);
        return 0;
    case ARGP_KEY_END:
        if (*socket == NULL)
            argp_error(state, "--socket is required");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int start_vcpu(uint32_t id)
{
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, vcpud_vcpu_thread, vm.vcpu[id]);
    if (rc == 0)
        pthread_detach(thread);
    return -rc;
}

/* What this host's processors offer to guests. */
static int supported_cpuid(uint8_t *out, uint32_t size)
{
    struct kvm_cpuid2 *list = (void *)out;
    int rc = caps_host_cpuid(&vm, list, size);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < hiddens; i++)
        cpuid_hide(list, hidden[i]);
    return (int)(sizeof(*list) + list->nent * sizeof(list->entries[0]));
}

static int supported_msrs(uint8_t *out, uint32_t size)
{
    struct host_msrs *list = (void *)out;
    int rc = caps_host_msrs(&vm, list, size);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < hidden_msrs; i++)
        msrs_hide(list, hidden_msr[i]);
    return (int)(sizeof(*list) + list->n * sizeof(list->msr[0]));
}

static void serve(const struct glue_entry *e, const uint8_t *payload)
{
    struct glue_entry r = {
        .kind = WIRE_VM_REP, .node = e->node, .chan = WIRE_CHAN_VM, .seq = e->seq};
    static _Alignas(8) uint8_t answer[GLUE_SIDE_SIZE];
    int len = 0;
    pthread_mutex_lock(&vm.lock);
    int rc = e->op == VMC_CPUID  ? supported_cpuid(answer, sizeof(answer))
             : e->op == VMC_MSRS ? supported_msrs(answer, sizeof(answer))
                                 : vm_exec(&vm, e, payload);
    if ((e->op == VMC_CPUID || e->op == VMC_MSRS) && rc > 0)
        len = rc;
    if (rc == 0 && e->op == VMC_VCPU)
        rc = start_vcpu((uint32_t)e->arg);
    pthread_mutex_unlock(&vm.lock);
    r.arg = rc < 0 ? (uint64_t)-rc : 0;
    link_send_vm(&vm.link, &r, answer, (uint32_t)len);
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"socket", 's', "PATH", 0, "the glue socket of this node's pando-dataplane", 0},
        {"hide-cpu", KEY_HIDE, "LEAF.SUBLEAF.REGISTER.BIT", 0,
         "a CPUID feature of this host that the guest is not to get, as if the host lacked it", 0},
        {"hide-msr", KEY_HIDE_MSR, "INDEX", 0,
         "an MSR, in hexadecimal digits, that the VMM is not to be offered", 0},
        {0}};
    static const struct argp argp = {.options = options,
                                     .parser = parse,
                                     .doc = "Runs the vCPUs of a Pando VM that are at home on this "
                                            "node, on its /dev/kvm. Started once per node that "
                                            "does not run the VMM; ends with the VM."};
    const char *socket = NULL;
    argp_parse(&argp, argc, argv, 0, NULL, &socket);
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        fprintf(stderr,
                "pando-vcpud: /dev/kvm: %s; remedy: load kvm_intel or kvm_amd, run as root or in "
                "group kvm\n",
                strerror(errno));
        return EXIT_FAILURE;
    }
    int rc = vm_init(&vm, kvm, GLUE_ROLE_VCPUD, socket);
    if (rc != 0)
        return rc == -ESHUTDOWN ? EXIT_SUCCESS : EXIT_FAILURE;
    struct link *l = &vm.link;
    struct glue_chan *c = link_chan(l, l->vcpus);
    for (;;) { /* the control thread ends the process */
        struct glue_entry e;
        link_doze(c);
        int got = link_take(l, l->vcpus, &e, vm.reply);
        if (got == 0)
            link_sleep(c, UINT64_MAX);
        link_awake(c);
        if (got == 1 && e.kind == WIRE_VM_CMD && e.node == l->vmm_node)
            serve(&e, vm.reply);
    }
}
