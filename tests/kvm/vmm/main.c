/* SPDX-License-Identifier: BSD-3-Clause */
/* Command line and the life of one VM. */
#include "vmm.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OPT_RAM = 0x100, OPT_VCPUS, OPT_CMDLINE, OPT_JSON, OPT_TIMEOUT };

static const struct argp_option options[] = {
    {"ram", OPT_RAM, "MiB", 0, "guest RAM (2..65536, default 128)", 0},
    {"vcpus", OPT_VCPUS, "N", 0, "vCPUs (1..64, default 1)", 0},
    {"cmdline", OPT_CMDLINE, "STRING", 0, "guest command line", 0},
    {"json-exit", OPT_JSON, "FILE", 0, "write the end of the VM and its exits as JSON", 0},
    {"timeout", OPT_TIMEOUT, "SECONDS", 0, "end the VM with status 125 after this time", 0},
    {0},
};

static uint64_t parse_number(struct argp_state *state, const char *name, const char *text,
                             uint64_t min, uint64_t max)
{
    char *end = NULL;

    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || v < min || v > max)
        argp_error(state, "--%s: '%s' is not a number from %llu to %llu", name, text,
                   (unsigned long long)min, (unsigned long long)max);
    return v;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct vmm_options *opt = state->input;

    switch (key) {
    case OPT_RAM:
        opt->ram_mib = parse_number(state, "ram", arg, 2, 65536);
        return 0;
    case OPT_VCPUS:
        opt->vcpus = (unsigned)parse_number(state, "vcpus", arg, 1, VMM_MAX_VCPUS);
        return 0;
    case OPT_TIMEOUT:
        opt->timeout_s = (unsigned)parse_number(state, "timeout", arg, 1, 86400);
        return 0;
    case OPT_CMDLINE:
        opt->cmdline = arg;
        return 0;
    case OPT_JSON:
        opt->json_path = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (opt->guest_path != NULL)
            argp_error(state, "more than one guest file");
        opt->guest_path = arg;
        return 0;
    case ARGP_KEY_END:
        if (opt->guest_path == NULL)
            argp_error(state, "no guest file");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static double seconds_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Sleeps until a vCPU has ended the VM, or ends it when the time is over. */
static void wait_for_end(struct vm *vm)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += vm->opt->timeout_s;
    pthread_mutex_lock(&vm->end_lock);
    while (!vm->ending) {
        int err = 0;

        if (vm->opt->timeout_s == 0)
            pthread_cond_wait(&vm->end_cond, &vm->end_lock);
        else
            err = pthread_cond_timedwait(&vm->end_cond, &vm->end_lock, &deadline);
        if (err == ETIMEDOUT && !vm->ending) {
            fprintf(stderr, "pando-testvmm: no end after %u s (--timeout)\n", vm->opt->timeout_s);
            vm->status = VMM_STATUS_TIMEOUT;
            vm->end_reason = "timeout";
            __atomic_store_n(&vm->ending, true, __ATOMIC_RELEASE);
        }
    }
    pthread_mutex_unlock(&vm->end_lock);
}

/* One kick per vCPU is enough: its handler sets immediate_exit, so the signal cannot be missed.
 * A thread that does not come back in time is left behind; exiting the process ends it. */
static void stop_vcpus(struct vm *vm)
{
    struct timespec deadline;

    for (unsigned i = 0; i < vm->opt->vcpus; i++)
        vcpu_kick(&vm->vcpus[i]);
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 2;
    for (unsigned i = 0; i < vm->opt->vcpus; i++) {
        if (!vm->vcpus[i].started)
            continue;
        if (pthread_timedjoin_np(vm->vcpus[i].thread, NULL, &deadline) != 0) {
            fprintf(stderr, "pando-testvmm: vCPU %u did not stop within 2 s\n", i);
            fflush(NULL);
            _exit(vm->status);
        }
    }
}

static int run(struct vm *vm)
{
    const struct vmm_options *opt = vm->opt;
    double start = seconds_now();

    for (unsigned i = 0; i < opt->vcpus; i++)
        if (vcpu_start(&vm->vcpus[i]) < 0)
            vm_end(vm, i, VMM_STATUS_SETUP, "cannot start a thread");
    wait_for_end(vm);
    double seconds = seconds_now() - start; /* the guest's time, without the stop */

    /* Written first: stop_vcpus may leave the process when a vCPU does not come back. */
    if (opt->json_path != NULL && report_json(vm, seconds) < 0)
        vm->status = VMM_STATUS_SETUP;
    stop_vcpus(vm);
    return vm->status;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse_option,
        .args_doc = "GUEST.elf",
        .doc = "Runs a multiboot (version 1) ELF32 guest on /dev/kvm. Its console, the serial "
               "port at 0x3F8, is stdout. Writing v to port 0xF4 ends the VM with status "
               "(v << 1) | 1. Status 123: not started; 124: the guest crashed; 125: timeout.",
    };
    static struct vm vm;
    struct vmm_options opt = {.ram_mib = 128, .vcpus = 1, .cmdline = ""};

    argp_err_exit_status = VMM_STATUS_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &opt);
    signal(SIGPIPE, SIG_IGN);
    if (vcpu_install_kick_handler() < 0 || vm_create(&vm, &opt) < 0)
        return VMM_STATUS_SETUP;
    /* The guest is loaded before any vCPU exists: a bad file costs nothing. */
    if (multiboot_load(&vm) < 0)
        return VMM_STATUS_SETUP;
    tables_build(&vm);
    for (unsigned i = 0; i < opt.vcpus; i++)
        if (vcpu_create(&vm, i) < 0)
            return VMM_STATUS_SETUP;
    int status = run(&vm);

    vm_destroy(&vm);
    return status & 0xFF;
}
