/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pulse of the lab VM: keeps its processors' interrupts coming, and shows that they do.
 *
 *   lab-heartbeat FILE
 *
 * The emulator can lose an interrupt around VMRUN: it is pending in the local APIC, and the
 * processor is not told. If that was the timer's, this processor's time stands still, until the
 * next interrupt makes the emulator look again. The real-time clock interrupts processor 0 and from
 * there every other is woken, so that a lost one costs milliseconds. Once a second each processor
 * adds its number as a line to FILE: one that does not for long has stopped, which is the lab's
 * fault and not that of what runs in it (these threads have a real-time priority).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { HZ = 256, CPUS_MAX = 16, PRIORITY = 50 };

static struct {
    int pipe[2];
    unsigned cpu, count;
} beat[CPUS_MAX];
static int out;

static void settle(unsigned cpu)
{
    cpu_set_t set;
    struct sched_param param = {.sched_priority = PRIORITY};
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0 ||
        sched_setscheduler(0, SCHED_FIFO, &param) != 0)
        perror("lab-heartbeat: scheduling");
}

static void note(unsigned cpu)
{
    char line[16];
    if (++beat[cpu].count % HZ != 0)
        return;
    int n = snprintf(line, sizeof(line), "%u\n", cpu);
    if (write(out, line, (size_t)n) != n)
        perror("lab-heartbeat: writing");
}

static void *follow(void *arg)
{
    unsigned cpu = *(unsigned *)arg;
    char byte;
    settle(cpu);
    while (read(beat[cpu].pipe[0], &byte, 1) == 1)
        note(cpu);
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned long tick;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int rtc = open("/dev/rtc0", O_RDONLY);
    out = argc == 2 ? open(argv[1], O_WRONLY | O_APPEND) : -1;
    if (rtc < 0 || out < 0 || cpus < 1 || cpus > CPUS_MAX || ioctl(rtc, RTC_IRQP_SET, HZ) != 0 ||
        ioctl(rtc, RTC_PIE_ON, 0) != 0) {
        fprintf(stderr, "lab-heartbeat: clock %d, output %d: %s\n", rtc, out, strerror(errno));
        return EXIT_FAILURE;
    }
    for (unsigned c = 1; c < (unsigned)cpus; c++) {
        pthread_t thread;
        beat[c].cpu = c;
        if (pipe(beat[c].pipe) != 0 || pthread_create(&thread, NULL, follow, &beat[c].cpu) != 0)
            return EXIT_FAILURE;
    }
    settle(0);
    while (read(rtc, &tick, sizeof(tick)) == (ssize_t)sizeof(tick)) {
        note(0);
        for (unsigned c = 1; c < (unsigned)cpus; c++)
            (void)!write(beat[c].pipe[1], "x", 1);
    }
    return EXIT_FAILURE;
}
