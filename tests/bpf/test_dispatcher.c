/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why the steering program does not join libxdp's dispatcher: each case is a fact that stands
 * against it (bpf/attach.h draws the conclusion). A case that fails is good news about libxdp or
 * the kernel, and a reason to think again. In namespaces and a bpffs of its own, which end with the
 * process. As root, on a kernel that takes programs of type EXT; exit status 77: skipped.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>
#include <xdp/libxdp.h>

#include "bpf/contract.h"
#include "bpf/load.h"
#include "tests/bpf/wires.h"

#define BPFFS     "/sys/fs/bpf"
#define DIRECTORY BPFFS "/xdp/dispatch-*"

enum { SKIP = 77 };
enum moment { NEVER, BEFORE, BEHIND };

static const char *objects; /* the directory of steer.bpf.o and fault.bpf.o */
static enum moment killed;
static char reason[200];

/* libxdp calls this one to put its dispatcher on the interface: the moments just before and just
 * behind that are those at which a kill leaves most. */
int bpf_xdp_attach(int ifindex, int prog_fd, __u32 flags, const struct bpf_xdp_attach_opts *opts)
{
    int (*real)(int, int, __u32, const struct bpf_xdp_attach_opts *);
    *(void **)&real = dlsym(RTLD_NEXT, "bpf_xdp_attach");
    if (killed == BEFORE)
        raise(SIGKILL);
    int rc = real(ifindex, prog_fd, flags, opts);
    if (killed == BEHIND)
        raise(SIGKILL);
    return rc;
}

static int here(void)
{
    return (int)if_nametoindex("veth0");
}

/* A veth pair, and an empty bpffs (our own: can_try), but for the directory that libxdp makes once.
 */
static void begin(void)
{
    if (!wires_make(1500, false, reason))
        fail_msg("%s", reason);
    wires_enter(WIRES_B);
    assert_int_equal(system("rm -rf " DIRECTORY), 0);
}

static struct xdp_program *open_program(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s.bpf.o", objects, name);
    struct xdp_program *p = xdp_program__open_file(path, "xdp.frags", NULL);
    assert_int_equal(libxdp_get_error(p), 0);
    return p;
}

/* As xdp-loader does: behind the dispatcher, for good. */
static struct xdp_program *attach(const char *name)
{
    struct xdp_program *p = open_program(name);
    assert_int_equal(xdp_program__attach(p, here(), XDP_MODE_NATIVE, 0), 0);
    return p;
}

/* Programs behind the interface's dispatcher; -1: libxdp finds none that it understands. */
static int members(void)
{
    struct xdp_multiprog *m = xdp_multiprog__get_from_ifindex(here());
    if (libxdp_get_error(m) != 0)
        return -1;
    int n = xdp_multiprog__is_legacy(m) ? -1 : xdp_multiprog__program_count(m);
    xdp_multiprog__close(m);
    return n;
}

static size_t files(const char *pattern)
{
    glob_t g;
    size_t n = glob(pattern, 0, NULL, &g) == 0 ? g.gl_pathc : 0;
    if (n > 0)
        globfree(&g);
    return n;
}

/* Removes the pins of a program and of its link; the link lives on by a descriptor. */
static void unpin(__u32 id)
{
    glob_t g;
    assert_int_equal(glob(DIRECTORY "/prog?-prog", 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        struct bpf_prog_info info = {0};
        __u32 len = sizeof(info);
        char *path = g.gl_pathv[i];
        int fd = bpf_obj_get(path);
        assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
        close(fd);
        if (info.id != id)
            continue;
        assert_int_equal(unlink(path), 0);
        memcpy(strrchr(path, '-'), "-link", sizeof("-link"));
        assert_true(bpf_obj_get(path) >= 0);
        assert_int_equal(unlink(path), 0);
    }
    globfree(&g);
}

/* A process that attaches the steering program, and is killed: then, or when it has done so. */
static void attach_and_be_killed(enum moment when, bool without_pin)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        killed = when;
        struct xdp_program *p = attach("steer");
        if (without_pin)
            unpin(xdp_program__id(p));
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_killed_process_leaves_its_program(void **state)
{
    (void)state;
    begin();
    xdp_program__close(attach("steer"));
    attach_and_be_killed(NEVER, false);
    assert_int_equal(members(), 2);
    assert_int_equal(files(DIRECTORY "/prog?-link"), 2);
    wires_remove();
}

/* The link goes with the process; but nobody can read the dispatcher any more, before that and
 * behind it, so that nobody else can come or go. */
static void without_its_pin_it_locks_the_others_out(void **state)
{
    (void)state;
    begin();
    xdp_program__close(attach("steer"));
    attach_and_be_killed(NEVER, true);
    assert_int_equal(files(DIRECTORY "/prog?-link"), 1);
    assert_int_equal(members(), -1);
    struct xdp_program *third = open_program("steer");
    assert_true(xdp_program__attach(third, here(), XDP_MODE_NATIVE, 0) < 0);
    xdp_program__close(third);
    wires_remove();
}

/* Two directories, one of which is nobody's. Killed behind the change, that is the former one, and
 * nothing in it is ours: no successor can know that we have left it. */
static void killed_while_it_attaches_it_leaves_pins(void **state)
{
    (void)state;
    for (enum moment when = BEFORE; when <= BEHIND; when++) {
        begin();
        xdp_program__close(attach("steer"));
        attach_and_be_killed(when, false);
        assert_int_equal(files(DIRECTORY), 2);
        assert_int_equal(files(DIRECTORY "/prog?-link"), 3);
        assert_int_equal(members(), when == BEFORE ? 1 : 2);
        wires_remove();
    }
}

static void pins_outlive_their_interface(void **state)
{
    (void)state;
    begin();
    xdp_program__close(attach("steer"));
    assert_int_equal(system("ip link del veth0"), 0);
    assert_int_equal(files(DIRECTORY), 1);
    wires_remove();
}

/* Frames that a foreign program (the faulty wire, which drops all without its target) has seen. */
static uint64_t seen_by(struct xdp_program *p, int sender)
{
    uint64_t sums[FAULT_REASONS];
    uint8_t frame[60] = {0x02, 0x77, 0, 0, 0, 1, [12] = 0x88, 0xB6};
    wires_send(sender, frame, sizeof(frame));
    usleep(50000);
    bpf_sum_counters(bpf_object__find_map_fd_by_name(xdp_program__bpf_obj(p), "counters"),
                     FAULT_REASONS, sums);
    return sums[FAULT_UNCONFIGURED];
}

/* Directories are named by the number of the interface, which another namespace has as well, and by
 * a program that is attached nowhere here: who removes it there detaches what is behind it. */
static void who_cleans_up_detaches_another_namespaces_program(void **state)
{
    (void)state;
    begin();
    int sender = wires_packet_socket("veth0"), there = here();
    wires_enter(WIRES_A);
    assert_int_equal(here(), there);
    struct xdp_program *p = attach("fault");
    uint64_t first = seen_by(p, sender);
    assert_int_equal(seen_by(p, sender), first + 1);
    wires_enter(WIRES_B);
    (void)libxdp_clean_references(here());
    assert_int_equal(files(DIRECTORY), 0);
    assert_int_equal(seen_by(p, sender), first + 1); /* it does not see this one */
    xdp_program__close(p);
    close(sender);
    wires_remove();
}

/* False: reason is why there is nothing to learn on this kernel. */
static bool can_try(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("bpf", BPFFS, "bpf", 0, NULL) != 0) {
        snprintf(reason, sizeof(reason), "no bpffs can be mounted");
        return false;
    }
    if (!wires_make(1500, false, reason))
        return false;
    wires_enter(WIRES_B);
    bool dispatched = false;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/steer.bpf.o", objects);
    struct xdp_program *p = xdp_program__open_file(path, "xdp.frags", NULL);
    if (libxdp_get_error(p) == 0 && xdp_program__attach(p, here(), XDP_MODE_NATIVE, 0) == 0)
        dispatched = members() == 1;
    if (libxdp_get_error(p) == 0)
        xdp_program__close(p);
    wires_remove();
    snprintf(reason, sizeof(reason), "this kernel takes no program of type EXT (freplace)");
    return dispatched;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_leaves_its_program),
        cmocka_unit_test(without_its_pin_it_locks_the_others_out),
        cmocka_unit_test(killed_while_it_attaches_it_leaves_pins),
        cmocka_unit_test(pins_outlive_their_interface),
        cmocka_unit_test(who_cleans_up_detaches_another_namespaces_program),
    };
    if (argc != 2 || geteuid() != 0) {
        printf("skipped: %s\n", argc != 2 ? "usage: test_dispatcher DIRECTORY-OF-OBJECTS"
                                          : "XDP programs need root");
        return SKIP;
    }
    objects = argv[1];
    if (!can_try()) {
        printf("skipped: %s\n", reason);
        return SKIP;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
