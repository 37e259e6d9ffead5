/* SPDX-License-Identifier: BSD-3-Clause */
#include "hypervisor-glue/run/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int set_streams(int output)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0)
        return -errno;
    return 0;
}

/* Between fork and exec. What failed goes to our parent through a pipe that exec closes. */
static _Noreturn void become(const char *const *argv, const char *const *environment, int output,
                             int report, pid_t parent)
{
    sigset_t none;
    int rc = 0;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it died before prctl */
        _exit(127);
    if (output >= 0) {
        setpgid(0, 0); /* the terminal's signals go to us and the VMM only */
        rc = set_streams(output);
    }
    for (; environment != NULL && *environment != NULL; environment++)
        putenv((char *)(uintptr_t)*environment);
    if (rc == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        rc = -errno;
    }
    (void)!write(report, &rc, sizeof(rc));
    _exit(127);
}

int child_start(struct child *c, const char *const *argv, const char *const *environment,
                bool terminal)
{
    int output[2] = {-1, -1}, report[2], failed = 0;
    c->pidfd = c->pipe = -1;
    c->terminal = terminal;
    if (pipe2(report, O_CLOEXEC) != 0)
        return -errno;
    if (!terminal && pipe2(output, O_CLOEXEC) != 0) {
        failed = -errno;
        goto close_report;
    }
    pid_t parent = getpid();
    c->pid = fork();
    if (c->pid == 0)
        become(argv, environment, output[1], report[1], parent);
    failed = c->pid < 0 ? -errno : 0;
    close(report[1]);
    report[1] = -1;
    if (output[1] >= 0)
        close(output[1]);
    if (failed == 0 && read(report[0], &failed, sizeof(failed)) == sizeof(failed))
        waitpid(c->pid, NULL, 0);
    if (failed == 0 && (c->pidfd = pidfd_open(c->pid, 0)) < 0)
        failed = -errno;
    if (failed != 0) {
        if (output[0] >= 0)
            close(output[0]);
        goto close_report;
    }
    c->pipe = output[0];
    if (c->pipe >= 0)
        fcntl(c->pipe, F_SETFL, O_NONBLOCK);
close_report:
    close(report[0]);
    if (report[1] >= 0)
        close(report[1]);
    return failed;
}

static void say_line(struct child *c)
{
    c->line[c->line_len] = '\0';
    if (c->ready_line != NULL && strcmp(c->line, c->ready_line) == 0)
        c->ready = true;
    else if (c->line_len > 0)
        fprintf(stderr, "%s | %s\n", c->name, c->line);
    c->line_len = 0;
}

static void take_byte(struct child *c, char byte)
{
    if (byte == '\n') {
        say_line(c);
        return;
    }
    if (c->line_len == CHILD_LINE_MAX - 1)
        say_line(c);
    if (byte != '\r')
        c->line[c->line_len++] = byte;
}

void child_read(struct child *c)
{
    char buf[4096];
    ssize_t n = 0;
    /* At most what a pipe holds: the others have their turn, too. */
    for (unsigned round = 0; round < 16 && (n = read(c->pipe, buf, sizeof(buf))) > 0; round++)
        for (ssize_t i = 0; i < n; i++)
            take_byte(c, buf[i]);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    if (c->line_len > 0)
        say_line(c);
    close(c->pipe);
    c->pipe = -1;
}

void child_reap(struct child *c, uint64_t now)
{
    if (waitpid(c->pid, &c->status, WNOHANG) != c->pid)
        return;
    c->ended = true;
    c->ended_at = now;
    close(c->pidfd);
    c->pidfd = -1;
    if (c->pipe >= 0)
        child_read(c);
}

bool child_gone(const struct child *c)
{
    return c->ended && c->pipe < 0;
}

void child_signal(struct child *c, int number)
{
    if (child_gone(c))
        return;
    if (!c->terminal && kill(-c->pid, number) == 0)
        return;
    if (!c->ended) /* and has no group, or not yet */
        pidfd_send_signal(c->pidfd, number, NULL, 0);
}

void child_words(const struct child *c, char *buf, size_t size)
{
    if (WIFSIGNALED(c->status)) {
        const char *name = sigabbrev_np(WTERMSIG(c->status));
        snprintf(buf, size, "was killed by %s%s", name ? "SIG" : "signal ", name ? name : "?");
    } else {
        snprintf(buf, size, "exited with status %d", WEXITSTATUS(c->status));
    }
}
