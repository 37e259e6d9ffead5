/* SPDX-License-Identifier: BSD-3-Clause */
/* QEMU's version, before anything is started: also whether there is a QEMU at all. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor-glue/run/cluster.h"

#define TRIED "7.2"
enum { VERSION_TIMEOUT_MS = 10000 };

/* Everything it says, up to a limit, until it closes its end; false after the time-out. */
static bool read_answer(int fd, char *buf, size_t size)
{
    size_t len = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        if (poll(&p, 1, VERSION_TIMEOUT_MS) <= 0)
            return false;
        char rest[256];
        ssize_t n =
            len < size - 1 ? read(fd, buf + len, size - 1 - len) : read(fd, rest, sizeof(rest));
        if (n <= 0)
            break;
        if (len < size - 1)
            len += (size_t)n;
        buf[len] = '\0';
    }
    return true;
}

static void judge(const char *answer)
{
    static const char before[] = "version ";
    const char *version = strstr(answer, before);
    if (version == NULL)
        version = "unknown";
    else
        version += sizeof(before) - 1;
    size_t len = strcspn(version, " \n");
    if (strncmp(version, TRIED ".", sizeof(TRIED)) != 0)
        fprintf(stderr,
                "pando run: warning: QEMU %.*s: not tried with this version; tried with " TRIED
                "\n",
                (int)len, version);
}

bool version_check(const struct plan *plan)
{
    struct child qemu = {.name = "version"};
    const char *const words[] = {plan->vmm[0], "--version", NULL};
    const char *argv[CHILD_WORDS_MAX];
    char answer[1024] = "", how[64];
    if (plan_command(plan, plan->cfg->vm.vmm_node, words, argv) != 0)
        return false;
    int rc = child_start(&qemu, argv, NULL, false);
    if (rc != 0) {
        fprintf(stderr,
                "pando run: %s cannot be started: %s; remedy: install QEMU "
                "(qemu-system-x86), or name it by its path\n",
                argv[0], strerror(-rc));
        return false;
    }
    bool answered = read_answer(qemu.pipe, answer, sizeof(answer));
    if (!answered)
        child_signal(&qemu, SIGKILL);
    waitpid(qemu.pid, &qemu.status, 0);
    close(qemu.pipe);
    close(qemu.pidfd);
    if (answered && qemu.status == 0) {
        judge(answer);
        return true;
    }
    child_words(&qemu, how, sizeof(how));
    fprintf(stderr, "pando run: %s --version %s: %.*s\n", plan->vmm[0], how,
            (int)strcspn(answer, "\n"), answer);
    return false;
}
