/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pando-xdp-fault: joins two devices of this network namespace, with faults (bpf/fault.h), until
 * SIGTERM or SIGINT. Says "ready" when frames pass; at the end one JSON object: frames by device
 * that they came in on, and by reason.
 *
 *     pando-xdp-fault --drop-ppm 10000 --seed 7 left right
 *     pando-xdp-fault --pass eth0      a program that only passes: frames that are redirected into
 * a veth need one at its other end
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/fault.h"
#include "bpf/steer.h"

struct arguments {
    struct fault_config config;
    const char *device[2];
    bool pass;
};

static const struct argp_option options[] = {
    {"drop-ppm", 'l', "N", 0, "lose N frames in a million", 0},
    {"duplicate-ppm", 'd', "N", 0, "send N in a million twice (of one buffer only)", 0},
    {"corrupt-ppm", 'c', "N", 0, "turn over a bit behind the Ethernet header of N in a million", 0},
    {"seed", 's', "N", 0, "of the draws (1)", 0},
    {"pass", 'p', NULL, 0, "attach a program that passes everything to the one device", 0},
    {0},
};

static uint64_t number(struct argp_state *state, const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (errno != 0 || *end != 0 || end == text || text[0] == '-' || v > most)
        argp_error(state, "'%s' is not a number from 0 to %llu", text, (unsigned long long)most);
    return v;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case 'l':
        a->config.drop_ppm = (__u32)number(state, text, FAULT_PPM);
        return 0;
    case 'd':
        a->config.duplicate_ppm = (__u32)number(state, text, FAULT_PPM);
        return 0;
    case 'c':
        a->config.corrupt_ppm = (__u32)number(state, text, FAULT_PPM);
        return 0;
    case 's':
        a->config.seed = number(state, text, UINT64_MAX);
        return 0;
    case 'p':
        a->pass = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num >= 2)
            argp_error(state, "more than two devices: '%s'", text);
        a->device[state->arg_num] = text;
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num != (a->pass ? 1u : 2u))
            argp_error(state, "%s", a->pass ? "--pass needs one device" : "two devices are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void wait_for_end(void)
{
    sigset_t set;
    int sig;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    printf("ready\n");
    fflush(stdout);
    sigwait(&set, &sig);
}

static int run_pass(const char *device, char err[XDP_ERROR_MAX])
{
    struct steer *s = NULL;
    int rc = steer_open(NULL, &s, err);
    if (rc == 0)
        rc = steer_attach(s, device, err);
    if (rc == 0)
        wait_for_end();
    steer_close(s);
    return rc;
}

static int run_faults(const struct arguments *a, char err[XDP_ERROR_MAX])
{
    struct fault *f[2] = {NULL, NULL};
    uint64_t n[FAULT_REASONS];
    int rc = 0;
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        struct fault_config c = a->config;
        c.seed += i; /* the two directions must not lose in step */
        rc = fault_open(a->device[i], a->device[!i], &c, &f[i], err);
    }
    if (rc == 0)
        wait_for_end();
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        fault_counters(f[i], n);
        printf("%s\"%s\": {", i == 0 ? "{" : "}, ", a->device[i]);
        for (unsigned r = 0; r < FAULT_REASONS; r++)
            printf("%s\"%s\": %llu", r == 0 ? "" : ", ", fault_reason_name(r),
                   (unsigned long long)n[r]);
    }
    if (rc == 0)
        printf("}}\n");
    fault_close(f[0]);
    fault_close(f[1]);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "DEVICE DEVICE\n--pass DEVICE",
        .doc = "Joins two devices of this network namespace, with faults, until SIGTERM.",
    };
    struct arguments a = {.config = {.seed = 1}};
    char err[XDP_ERROR_MAX] = "";
    sigset_t set;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before anything is attached */
    int rc = a.pass ? run_pass(a.device[0], err) : run_faults(&a, err);
    if (rc != 0)
        fprintf(stderr, "pando-xdp-fault: %s\n", err);
    return rc == 0 ? 0 : 1;
}
