/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/run/cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "hypervisor-glue/run/cluster_internal.h"

int cluster_run(const struct plan *plan)
{
    static struct cluster c;
    struct termios tty;
    sigset_t set;
    bool terminal = tcgetattr(STDIN_FILENO, &tty) == 0;
    c = (struct cluster){.plan = plan};
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* standard error may be gone; the processes still have to end */
    c.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (c.signal_fd < 0) {
        fprintf(stderr, "pando run: signalfd: %s\n", strerror(errno));
        return EXIT_DIED;
    }
    int rc = cluster_start(&c);
    while (rc == 0 && !cluster_wait(&c, cluster_disturbed, UINT64_MAX)) {
    }
    int status = cluster_end(&c, rc);
    /* A killed VMM leaves the terminal as it had set it. */
    if (terminal && tcgetpgrp(STDIN_FILENO) == getpgrp())
        tcsetattr(STDIN_FILENO, TCSADRAIN, &tty);
    close(c.signal_fd);
    return status;
}
