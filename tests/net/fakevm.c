/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/net/fakevm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/memory/uffd.h"

enum { PAGE = 4096, AGENT_SPIN_US = 50 };

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "fakevm: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_ctl(int s, const struct glue_ctl *m, const int *fds, uint32_t count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec io = {(void *)(uintptr_t)m, sizeof(*m)};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1};
    if (count > 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    if (sendmsg(s, &msg, MSG_NOSIGNAL) < 0)
        die("the dataplane's socket");
}

/* Blocks. False when the connection is closed. */
static bool receive_ctl(int s, struct glue_ctl *m, int fds[2])
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec io = {m, sizeof(*m)};
    struct msghdr msg = {.msg_iov = &io,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n;
    do
        n = recvmsg(s, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != sizeof(*m))
        return false;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (fds != NULL && c != NULL && c->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(c), 2 * sizeof(int));
    return true;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void zap(struct fakevm *vm, uint32_t index)
{
    struct glue_agent *a = &vm->shared->agent;
    const struct glue_zap *z = &a->zap[index % GLUE_ZAP_ENTRIES];
    if (!vm->skip_zap && madvise(vm->ram + z->page * PAGE, z->pages * PAGE, MADV_DONTNEED) != 0)
        atomic_store(&a->failed, (uint32_t)errno);
    atomic_store_explicit(&a->done, index + 1, memory_order_release);
}

/* The agent: unmaps on request, spins a while, then sleeps on a futex. */
static void *agent(void *arg)
{
    struct fakevm *vm = arg;
    struct glue_agent *a = &vm->shared->agent;
    uint32_t done = 0;
    uint64_t idle_since = now_us();
    for (;;) {
        bool worked = false;
        while (done != atomic_load_explicit(&a->head, memory_order_acquire)) {
            zap(vm, done++);
            worked = true;
        }
        if (worked) {
            uint64_t one = 1;
            idle_since = now_us();
            atomic_thread_fence(memory_order_seq_cst);
            if (atomic_load_explicit(&vm->shared->dp_sleeping, memory_order_relaxed) != 0)
                (void)!write(vm->doorbell, &one, sizeof(one));
        }
        if (now_us() - idle_since < AGENT_SPIN_US) {
            syscall(SYS_sched_yield);
            continue;
        }
        atomic_store_explicit(&a->sleeping, 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        if (done == atomic_load_explicit(&a->head, memory_order_acquire))
            syscall(SYS_futex, &a->sleeping, FUTEX_WAIT, 1, NULL, NULL, 0);
        atomic_store_explicit(&a->sleeping, 0, memory_order_relaxed);
        idle_since = now_us();
    }
    return NULL;
}

static void say_hello(struct fakevm *vm, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    vm->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (vm->socket < 0 || connect(vm->socket, (struct sockaddr *)&addr, sizeof(addr)) != 0)
        die(path);
    /* A test's socket is node<N>.sock, and node 0 has the VMM. */
    bool vmm = strstr(path, "node0.sock") != NULL;
    struct glue_ctl m = {
        .type = GLUE_HELLO, .abi = GLUE_ABI_VERSION, .role = vmm ? GLUE_ROLE_VMM : GLUE_ROLE_VCPUD};
    int fds[2] = {-1, -1};
    send_ctl(vm->socket, &m, NULL, 0);
    if (!receive_ctl(vm->socket, &vm->welcome, fds) || vm->welcome.type != GLUE_WELCOME) {
        fprintf(stderr, "fakevm: not welcome: %s\n", vm->welcome.text);
        exit(1);
    }
    vm->doorbell = fds[1];
    vm->shared =
        mmap(NULL, vm->welcome.segment_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    if (vm->shared == MAP_FAILED)
        die("glue segment");
    close(fds[0]);
}

void fakevm_open(struct fakevm *vm, const char *path, uint64_t pages, bool no_shmem)
{
    char err[UFFD_ERROR_MAX];
    say_hello(vm, path);
    int fds[2];
    vm->pages = pages;
    fds[0] = memfd_create("fake-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fds[0] < 0 || ftruncate(fds[0], (off_t)(pages * PAGE)) != 0)
        die("memfd");
    vm->ram = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    if (vm->ram == MAP_FAILED)
        die("guest RAM");
    /* What was in the memory before must never be seen: the guest's RAM starts as zero. */
    uint8_t old[PAGE];
    memset(old, 0xA5, sizeof(old));
    for (uint64_t p = 0; p < pages; p++)
        if (pwrite(fds[0], old, PAGE, (off_t)(p * PAGE)) != PAGE)
            die("guest RAM");
    if (uffd_open_register(vm->ram, pages * PAGE, &fds[1], err) != 0) {
        fprintf(stderr, "fakevm: %s\n", err);
        exit(1);
    }
    if (no_shmem) { /* what a VMM with private RAM would hand over */
        close(fds[0]);
        fds[0] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, agent, vm) != 0)
        die("agent thread");
    struct glue_ctl m = {.type = GLUE_RAM,
                         .abi = GLUE_ABI_VERSION,
                         .pages = pages,
                         .hva = (uint64_t)(uintptr_t)vm->ram};
    send_ctl(vm->socket, &m, fds, 2);
    struct glue_ctl answer;
    if (!receive_ctl(vm->socket, &answer, NULL) || answer.type != GLUE_OK) {
        fprintf(stderr, "fakevm: refused: %s\n", answer.text);
        exit(1);
    }
    close(
        fds[0]); /* our own userfaultfd stays open: when the last one closes, faults fall through */
}

int fakevm_wait(struct fakevm *vm, char text[GLUE_ERROR_TEXT])
{
    struct glue_ctl m;
    while (receive_ctl(vm->socket, &m, NULL)) {
        if (m.type != GLUE_STOP)
            continue;
        snprintf(text, GLUE_ERROR_TEXT, "%.*s", GLUE_ERROR_TEXT - 1, m.text);
        return (int)m.status;
    }
    snprintf(text, GLUE_ERROR_TEXT, "the dataplane is gone");
    return -1;
}

void fakevm_bye(struct fakevm *vm, uint32_t status)
{
    struct glue_ctl m = {.type = GLUE_BYE, .abi = GLUE_ABI_VERSION, .status = status};
    send_ctl(vm->socket, &m, NULL, 0);
}

void fakevm_is_vcpu(struct fakevm *vm, uint32_t v)
{
    atomic_store(&vm->shared->chan[v].tid, (uint32_t)gettid());
}
