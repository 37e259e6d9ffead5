/* SPDX-License-Identifier: BSD-3-Clause */
/* What has to be tried, on the machine that this runs on. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <linux/kvm.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

#include "dataplane/doctor/system.h"
#include "dataplane/memory/uffd.h"

#define OK(r, ...)              doctor_add(r, DOCTOR_OK, DOCTOR_NO_ROLE, "", __VA_ARGS__)
#define NOTE(r, remedy, ...)    doctor_add(r, DOCTOR_NOTE, DOCTOR_NO_ROLE, remedy, __VA_ARGS__)
#define MISSING(r, remedy, ...) doctor_add(r, DOCTOR_MISSING, DOCTOR_NO_ROLE, remedy, __VA_ARGS__)
#define NEW_KERNEL                                                                                 \
    "a kernel of 6.8 or later: on Debian 12, apt-get install linux-image-6.12-amd64, then reboot"

#ifndef XDP_USE_SG /* linux-libc-dev of Debian 12 is older */
#define XDP_USE_SG (1 << 4)
#endif

enum { XDP_FRAMES = 16, XDP_FRAME = 4096, RUN_MIB = 64 };

static void probe_root(const struct machine *m, struct doctor_report *r)
{
    (void)m;
    if (geteuid() == 0)
        OK(r, "root");
    else
        MISSING(r, "run as root (sudo): namespaces, memlock, kernel page faults",
                "user %u is not root", (unsigned)geteuid());
}

static void probe_kernel(const struct machine *m, struct doctor_report *r)
{
    struct utsname u;
    unsigned major = 0, minor = 0;
    (void)m;
    uname(&u);
    if (strcmp(u.machine, "x86_64") != 0)
        MISSING(r, "an x86_64 host", "machine %s", u.machine);
    sscanf(u.release, "%u.%u", &major, &minor);
    if (major > 6 || (major == 6 && minor >= 8))
        OK(r, "%s, kernel %s", u.machine, u.release);
    else
        MISSING(r, NEW_KERNEL, "kernel %s is older than 6.8", u.release);
}

static void probe_uffd(const struct machine *m, struct doctor_report *r)
{
    char err[UFFD_ERROR_MAX];
    (void)m;
    if (uffd_probe(err) == 0)
        OK(r, "userfaultfd: missing, minor and write-protect faults on shared memory were tried");
    else
        MISSING(r, NEW_KERNEL, "%s", err);
}

static void probe_kvm(const struct machine *m, struct doctor_report *r)
{
    (void)m;
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT)
            MISSING(r,
                    "modprobe kvm_intel or kvm_amd; in a VM, turn nested virtualisation on at its "
                    "host; in a container, pass the device in",
                    "there is no /dev/kvm");
        else
            MISSING(r, "run as root, or join group kvm", "/dev/kvm cannot be opened: %s",
                    strerror(errno));
        return;
    }
    int version = ioctl(fd, KVM_GET_API_VERSION, 0), vm = ioctl(fd, KVM_CREATE_VM, 0);
    if (version >= 0 && vm >= 0)
        OK(r, "/dev/kvm, API version %d, a VM can be created", version);
    else
        MISSING(r, "turn virtualisation on in the firmware; see dmesg | grep -i kvm",
                "/dev/kvm opens, but a VM cannot be created: %s", strerror(errno));
    if (vm >= 0)
        close(vm);
    close(fd);
}

/* r0 = XDP_PASS; exit; for frames of several buffers. Returns 0 or -errno. */
static int load_program(void)
{
    static const struct bpf_insn program[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr a;
    memset(&a, 0, sizeof(a));
    a.prog_type = BPF_PROG_TYPE_XDP;
    a.insn_cnt = sizeof(program) / sizeof(program[0]);
    a.insns = (uintptr_t)program;
    a.license = (uintptr_t) "BSD-3-Clause";
    a.prog_flags = BPF_F_XDP_HAS_FRAGS;
    long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
    if (fd < 0)
        return -errno;
    close((int)fd);
    return 0;
}

/* A socket that takes frames of several buffers, on the loopback device. Returns 0 or -errno. */
static int bind_xdp(void)
{
    static const int rings[] = {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING};
    int entries = XDP_FRAMES, rc = 0;
    size_t size = XDP_FRAMES * XDP_FRAME;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct xdp_umem_reg reg = {.addr = (uintptr_t)memory, .len = size, .chunk_size = XDP_FRAME};
    struct sockaddr_xdp address = {.sxdp_family = AF_XDP,
                                   .sxdp_flags = XDP_COPY | XDP_USE_SG,
                                   .sxdp_ifindex = if_nametoindex("lo")};
    if (memory == MAP_FAILED)
        return -errno;
    int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)) != 0)
        rc = -errno;
    for (size_t i = 0; rc == 0 && i < sizeof(rings) / sizeof(rings[0]); i++)
        rc = setsockopt(fd, SOL_XDP, rings[i], &entries, sizeof(entries)) == 0 ? 0 : -errno;
    /* EBUSY: another one has the queue, as a doctor that just ended; the flags were taken. */
    if (rc == 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno != EBUSY)
        rc = -errno;
    if (fd >= 0)
        close(fd);
    munmap(memory, size);
    return rc;
}

static void probe_xdp(const struct machine *m, struct doctor_report *r)
{
    int rc = load_program();
    const char *what = "an XDP program that takes frames of several buffers";
    (void)m;
    if (rc == 0) {
        rc = bind_xdp();
        what = "an AF_XDP socket for frames of several buffers (XDP_USE_SG)";
    }
    if (rc == 0)
        OK(r, "XDP: AF_XDP with frames of several buffers%s",
           access("/sys/kernel/btf/vmlinux", R_OK) == 0
               ? ""
               : "; no BTF, which bpftool's dumps of maps would like");
    else
        NOTE(r,
             rc == -EPERM ? "run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW"
                          : "Linux 6.6 or later with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS; "
                            "until then fabric af_packet",
             "no AF_XDP fabric here: %s: %s", what, strerror(-rc));
}

static void probe_memlock(const struct machine *m, struct doctor_report *r)
{
    struct rlimit limit;
    (void)m;
    if (geteuid() == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_max == RLIM_INFINITY)
        OK(r, "locked memory is not limited");
    else
        NOTE(r, "ulimit -l unlimited, or run as root",
             "locked memory is limited to %llu MiB; fabric.type verbs pins guest RAM, once for "
             "each peer",
             (unsigned long long)limit.rlim_max >> 20);
}

static void probe_verbs(const struct machine *m, struct doctor_report *r)
{
    void *lib =
        access("/sys/class/infiniband", F_OK) == 0 ? dlopen("libibverbs.so.1", RTLD_LAZY) : NULL;
    (void)m;
    if (lib != NULL || access("/sys/class/infiniband", F_OK) != 0)
        OK(r, lib != NULL ? "libibverbs is there" : "libibverbs is not needed: no RDMA device");
    else
        NOTE(r, "apt-get install libibverbs1 ibverbs-providers",
             "RDMA devices, but libibverbs.so.1 is missing");
    if (lib != NULL)
        dlclose(lib);
}

/* Where sockets and the rings of the shared-memory fabric are by default. */
static void probe_run(const struct machine *m, struct doctor_report *r)
{
    struct statvfs v;
    struct statfs fs;
    (void)m;
    uint64_t mib = statvfs("/run", &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize >> 20 : 0;
    if (mib < RUN_MIB)
        MISSING(r, "free space there, or set run_dir to another tmpfs", "%llu MiB free in /run",
                (unsigned long long)mib);
    else if (statfs("/run", &fs) != 0 || fs.f_type != TMPFS_MAGIC)
        NOTE(r, "mount -t tmpfs tmpfs /run/pando, or set run_dir to a directory in /dev/shm",
             "/run is not a tmpfs: the kernel writes the rings of the shared-memory fabric to a "
             "disk");
    else
        OK(r, "%llu MiB free in /run for the shared-memory fabric", (unsigned long long)mib);
}

const struct doctor_check doctor_probes[] = {
    {"root", probe_root},   {"kernel", probe_kernel}, {"uffd", probe_uffd},
    {"kvm", probe_kvm},     {"xdp", probe_xdp},       {"memlock", probe_memlock},
    {"verbs", probe_verbs}, {"run_dir", probe_run},   {NULL, NULL},
};
