/* SPDX-License-Identifier: BSD-3-Clause */
/* guest-tests TEST [OPTIONS]: one static program with all tests, so that the image stays small. */
#include "lib.h"

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(void);
    const char *breaks; /* what --break can be */
    const char *what;
} tests[] = {
    {"threads", test_threads, "atomic lock ring matrix",
     "a thread a CPU, results verified exactly"},
    {"clock", test_clock, "monotonic raw realtime tsc", "no clock goes back from CPU to CPU"},
    {"ipi", test_ipi, "stale mprotect munmap membarrier futex affinity policy counters",
     "TLB shootdown, membarrier, futex, migration"},
    {"litmus", test_litmus, "SB+mfence MP LB R+mfence S 2+2W CoRR CoWW CoWR CoRW WRC IRIW",
     "forbidden outcomes stay unseen"},
    {"smc", test_smc, "rwx wx alias", "code written by one CPU, executed by another"},
    {"hotplug", test_hotplug, "offline online load", "every CPU but the first goes and comes back"},
    {"disk", test_disk, "block pattern", "checksummed blocks, read back by another CPU"},
    {"echo", test_echo, "payload checksum", "TCP server; the client is net_client.py"},
};

enum { TESTS = sizeof(tests) / sizeof(tests[0]) };

static int usage(void)
{
    fprintf(stderr, "usage: guest-tests TEST [--seconds N] [--rounds N] [--mib N] [--port N]\n"
                    "       [--path FILE] [--sys DIR] [--patience S] [--no-counters] [--drop]\n"
                    "       [--break[=WHAT]]\n");
    for (unsigned i = 0; i < TESTS; i++)
        fprintf(stderr, "  %-8s %s; breaks: %s\n", tests[i].name, tests[i].what, tests[i].breaks);
    return 2;
}

static unsigned number(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (end == text || *end || n == 0 || n > 1000000000)
        die("'%s' is no number from 1 to 1000000000", text);
    return (unsigned)n;
}

static bool knows_break(const char *breaks, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = breaks; n && (at = strstr(at, word)); at += n)
        if ((at == breaks || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return n == 0;
}

static int parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"rounds", required_argument, NULL, 'r'},
        {"mib", required_argument, NULL, 'm'},
        {"port", required_argument, NULL, 'p'},
        {"path", required_argument, NULL, 'f'},
        {"sys", required_argument, NULL, 'y'},
        {"patience", required_argument, NULL, 't'},
        {"no-counters", no_argument, NULL, 'n'},
        {"drop", no_argument, NULL, 'd'},
        {"break", optional_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            opt.seconds = number(optarg);
            break;
        case 'r':
            opt.rounds = number(optarg);
            break;
        case 'm':
            opt.mib = number(optarg);
            break;
        case 'p':
            opt.port = number(optarg);
            break;
        case 't':
            opt.patience = number(optarg);
            break;
        case 'f':
            opt.path = optarg;
            break;
        case 'y':
            opt.sys = optarg;
            break;
        case 'n':
            opt.no_counters = true;
            break;
        case 'd':
            opt.drop = true;
            break;
        case 'b':
            opt.broken = optarg ? optarg : "";
            break;
        default:
            return -1;
        }
    }
    return optind == argc ? 0 : -1;
}

static void find_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        die("the CPUs of this process cannot be read");
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && ncpus < MAX_CPUS; cpu++)
        if (CPU_ISSET(cpu, &set))
            cpu_list[ncpus++] = (int)cpu;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage();
    for (unsigned i = 0; i < TESTS; i++)
        if (strcmp(argv[1], tests[i].name) == 0) {
            program_name = tests[i].name;
            if (parse(argc - 1, argv + 1) != 0)
                return usage();
            if (opt.broken && !knows_break(tests[i].breaks, opt.broken))
                return usage();
            find_cpus();
            return tests[i].run();
        }
    return usage();
}
