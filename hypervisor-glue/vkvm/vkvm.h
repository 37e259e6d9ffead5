/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtual KVM: what the preload library and pando-vcpud have in common. EDGE.
 *
 *   preload.c      the interposed libc calls
 *   system_fd.c    /dev/kvm itself;  caps.c  what it says that it can do;  cpuid_common.c and
 *                  msrs_common.c  of what all hosts can
 *   ioctls.c       the allow-list and sizes
 *   vm_fd.c        ioctls of the VM
 *   vm_cmd.c       VM-wide changes, sent;  vm_exec.c  carried out
 *   memslots.c     guest RAM and ROM
 *   routing.c      interrupt messages -> vCPUs
 *   eventfds.c     eventfds that stand for a guest's write or for an interrupt;  doorbells.c
 *   vcpu_fd.c      ioctls of a vCPU, at home or by proxy
 *   proxy.c        a vCPU that lives elsewhere
 *   run.c          the run loop at home;  exits.c  what it handles without the VMM
 *   inject.c       interrupts in, INIT, SIPI
 *   apic_state.c   the local APIC's model as KVM state; announcements
 *   guest_clock.c  TSC, KVM's paravirtual clock
 *   vcpud_*.c      the vCPU server
 *
 * Functions return >= 0 or -errno, as the ioctl would.
 * Locks, in this order: vm->lock (VM-wide changes, one at a time), vcpu->lock (as KVM's
 * vcpu->mutex: one ioctl of a vCPU at a time, KVM_RUN included), eventfds.irq_lock, routing.lock,
 * link->vm_lock. A vCPU's channel belongs to whoever holds vcpu->lock.
 */
#ifndef PANDO_VKVM_H
#define PANDO_VKVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/interrupt/interrupt.h"
#include "hypervisor-glue/lapic/lapic.h"
#include "hypervisor-glue/link/link.h"
#include "hypervisor-glue/link/raw.h"
#include "hypervisor-glue/vkvm/doorbells.h"
#include "hypervisor-glue/vkvm/guest_clock.h"
#include "hypervisor-glue/vkvm/msrs_common.h"

enum {
    VKVM_GSIS = 1024,
    VKVM_SLOTS = 512,
    VKVM_IRQFDS = VKVM_GSIS,
    VKVM_ROM_MAX = 16 << 20,
    VKVM_LOCAL_MAX = 256 << 10, /* private memory that only the VMM's node has */
    VKVM_CMD_SECONDS = 30,      /* a node that does not answer a VM-wide change */
    VKVM_KICKED = 2,     /* kvm_run.immediate_exit as our own kick sets it; the VMM writes 1 */
    VKVM_RUN_HEADER = 8, /* kvm_run's bytes that are input (request_interrupt_window ...) */
    VKVM_RUN_UNION = offsetof(struct kvm_run, padding) + sizeof(((struct kvm_run *)0)->padding),
    VKVM_PIO_OFFSET = 4096, /* where KVM puts port data in the vCPU's mapping */
    VKVM_RUN_PAGES = 3,
    VKVM_TICK_LATE_NS = 1000000, /* a timer interrupt that takes longer is followed by a rest */
    VKVM_TICK_WATCH = 4,         /* so many fast ones after it are looked at as well */
    VKVM_POLL_NS =
        20000000, /* a signal between the last look and the sleep is noticed after this */
};

struct routing {
    pthread_mutex_t lock;
    struct irq_route_table table;
    uint32_t seen[IRQ_MAX_VCPUS]; /* lock word of shared->apic[] that the table is from */
    struct kvm_irq_routing_entry gsi[VKVM_GSIS];
    bool gsi_known[VKVM_GSIS];
    uint64_t unroutable;
};

struct vkvm_slot {
    uint64_t gpa, size; /* as KVM has it; size 0: not in use */
    uint8_t *hva;
    uint32_t flags;
    bool local;   /* only this node, the VMM's, has it */
    uint8_t *rom; /* replicated bytes of a read-only slot, on the nodes without VMM */
    uint64_t rom_size;
};

struct irq_eventfd {
    uint32_t gsi;
    int fd; /* our own descriptor, -1: not in use */
};

struct eventfds {
    pthread_mutex_t doorbell_lock; /* a leaf */
    struct doorbells doorbells;
    _Atomic bool any; /* [K] a doorbell is there; relaxed: an ioctl that adds one returns before
                         the VMM can expect it to ring, and the lock orders the rest */
    pthread_mutex_t irq_lock;
    struct irq_eventfd irq[VKVM_IRQFDS];
    int epoll;
    bool thread;
};

struct vcpu;

/* A guest whose timer interrupt takes longer than the timer's period would do nothing else. */
struct tick {
    uint64_t accepted; /* ns; the timer's interrupt, by the guest */
    bool in_work;      /* since then the guest was not seen ready for another */
    bool is_watched;   /* its end will be an exit */
    uint32_t watch;    /* so many more are to be watched: a slow one may have been lately */
    uint64_t rest_times, rest_max_ns; /* vm.tick_rest_times, vm.tick_rest_max_ms */
};

struct vm {
    struct link link;
    int kvm_fd, fd; /* the real ones */
    size_t run_size;
    bool user_msr; /* x2APIC and IA32_APIC_BASE exits reach us */
    bool vmm;      /* this process has the VMM */
    pthread_mutex_t lock;
    struct vcpu *vcpu[WIRE_VCPUS_MAX];
    struct routing routing;
    pthread_mutex_t slot_lock; /* of slot[]; a leaf */
    struct vkvm_slot slot[VKVM_SLOTS];
    struct eventfds eventfds; /* of the VMM's process */
    struct guest_clock clock;
    uint32_t cmd_seq;
    struct kvm_cpuid2 *common_cpuid; /* caps_common_cpuid; NULL: not asked yet */
    struct host_msrs *common_msrs;   /* caps_common_msrs; likewise */
    _Alignas(
        8) uint8_t reply[GLUE_SIDE_SIZE]; /* payload of the last reply on the VM's channel ... */
    uint32_t reply_len;                   /* ... and its length */
};

struct vcpu_reset { /* as the kernel made it: what INIT brings back */
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_debugregs debugregs;
    struct kvm_vcpu_events events;
    bool have_debugregs;
};

struct vcpu_span {              /* span_stamps.h; the vCPU's own thread's */
    uint64_t exits, exit_stamp; /* exit_stamp: of the last exit, 0 if it is not sampled */
    uint32_t samples;
    uint32_t turn; /* at home: seq of the IO_DONE whose entry is still to come */
    uint32_t echo; /* proxy: seq of the IO_EXIT that the VMM has in hand */
};

struct vcpu {
    struct vm *vm;
    uint32_t id;
    bool here;           /* at home in this process */
    int fd;              /* the real vCPU, or the memfd behind the proxy's mapping */
    struct kvm_run *run; /* our mapping of it */
    struct glue_chan *chan;
    pthread_mutex_t lock;
    uint32_t seq;
    uint64_t run_number; /* of the KVM_RUN that runs, or ran last */
    pid_t tid;           /* thread whose timer and signal mask are set up */
    struct vcpu_span span;

    /* at home */
    bool remote;     /* for a VMM at another node */
    bool io_pending; /* the kernel has an unfinished port, memory or MSR access */
    bool ready;      /* the real vCPU takes an interrupt now: as of its last exit */
    bool vmm_window; /* the VMM waits to inject: its PIC has something */
    bool nmi_sent;   /* an NMI may be pending in the kernel */
    bool timer_made;
    timer_t timer;
    uint64_t timer_armed;
    struct lapic lapic;
    struct vcpu_clock clock;
    struct tick tick;
    uint64_t eoi[4]; /* level-triggered EOIs that the VMM has to see */
    struct vcpu_reset reset;
    uint64_t exits_here, exits_vmm;

    uint8_t payload[GLUE_SIDE_SIZE]; /* of the message in hand */
};

/* ---- allow-list (ioctls.c) --- */
enum ioctl_scope { SCOPE_SYSTEM, SCOPE_VM, SCOPE_VCPU };
enum ioctl_way {
    WAY_REAL,    /* the local KVM answers */
    WAY_MIRROR,  /* VM: carried out on every node, first here */
    WAY_STATE,   /* vCPU: carried out by KVM at its home */
    WAY_MODEL,   /* handled by code of ours */
    WAY_NOTHING, /* answered 0 */
    WAY_REFUSE,  /* known, and not offered */
};
enum ioctl_size { SIZE_FIXED, SIZE_VALUE, SIZE_MSRS, SIZE_CPUID };
struct ioctl_info {
    uint32_t nr;
    const char *name;
    uint8_t scope, way, size;
};
const struct ioctl_info *ioctl_find(enum ioctl_scope scope, uint32_t nr);
/* Bytes of the argument, given that at least `have` bytes at arg may be read (SIZE_MAX: the caller
 * is the VMM). -EINVAL, -E2BIG. SIZE_VALUE: 8, the value itself. */
int ioctl_arg_size(const struct ioctl_info *info, const void *arg, size_t have);
/* One line on stderr the first time; -ENOTTY. */
int ioctl_unknown(enum ioctl_scope scope, uint32_t nr);

/* ---- system_fd.c, caps.c, caps_common.c --- */
int system_ioctl(int fd, uint32_t nr, uintptr_t arg, struct vm **ret_vm);
int caps_check(int fd, struct vm *vm, uintptr_t cap);
int caps_supported_cpuid(int fd, uint32_t nr, struct kvm_cpuid2 *list, bool user_msr);
/* KVM_GET_SUPPORTED_CPUID of this node alone, into size bytes; CAPS_CPUID_ENTRIES are enough for
 * any kernel so far. */
enum { CAPS_CPUID_ENTRIES = 256 };
int caps_host_cpuid(const struct vm *vm, struct kvm_cpuid2 *list, uint32_t size);
/* What all nodes' processors offer; asked for once, the list stays the VM's. vm->lock is held.
 * -EINVAL: no guest can run on all of them, or a node did not answer; a line says which. */
int caps_common_cpuid(struct vm *vm, const struct kvm_cpuid2 **ret_list);
/* The same of MSRs: this host's, into size bytes, and what all hosts have (-EINVAL: it has said
 * why; under vm->lock). */
int caps_host_msrs(const struct vm *vm, struct host_msrs *list, uint32_t size);
int caps_common_msrs(struct vm *vm, const struct host_msrs **ret_list);
/* Asks for exits on the MSRs of the local APIC and of the guest's clock. */
bool caps_user_msr(int vm_fd);
/* Whether this KVM hands such MSRs to user space, tried out on a VM of its own. */
bool caps_probe_user_msr(int kvm_fd);
/* Whether a guest's write of IA32_TSC_DEADLINE comes out, tried with a guest: some kernels swallow
 * it on a fast path before they look at the filter. */
bool caps_probe_deadline(int kvm_fd);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- vm_fd.c, memslots.c --- */
int vm_ioctl(struct vm *vm, uint32_t nr, uintptr_t arg);
int vm_init(struct vm *vm, int kvm_fd, enum glue_role role, const char *socket);
int memslots_set(struct vm *vm, const struct kvm_userspace_memory_region *region);
/* The slot's change is the kernel's now. */
void memslots_note(struct vm *vm, const struct kvm_userspace_memory_region *region);
/* Writes guest RAM through the registered mapping: a vCPU's thread only, for it may wait for a
 * page. -EFAULT: not all of it is writable RAM. */
int memslots_write(struct vm *vm, uint64_t gpa, const void *bytes, uint32_t len);
struct vcpu *vcpu_create(struct vm *vm, uint32_t id, int *ret_errno);

/* ---- vm_cmd.c, vm_exec.c --- */
enum vm_cmd { VMC_IOCTL = 1, VMC_MEMORY, VMC_ROM, VMC_VCPU, VMC_CLOCK, VMC_CPUID, VMC_MSRS };
struct vmc_memory { /* VMC_MEMORY; block UINT32_MAX: bytes sent by VMC_ROM before; size 0: remove */
    uint32_t slot, flags;
    uint64_t gpa, size;
    uint32_t block, reserved;
    uint64_t block_pages, offset;
};
struct vmc_rom { /* VMC_ROM: header of a piece */
    uint32_t slot, len;
    uint64_t total, offset;
};
struct vmc_clock { /* VMC_CLOCK: guest_clock_set */
    uint64_t epoch;
    uint32_t tsc_khz, flags;
};
enum { VMC_CLOCK_MSRS = 1, VMC_CLOCK_DEADLINE = 2 }; /* flags: what the VMM's node has offered */
/* To one node, or to all others (UINT32_MAX). Returns when all have answered. vm->lock is held. */
int vm_cmd(struct vm *vm, uint32_t node, enum vm_cmd op, uint64_t arg, const void *payload,
           uint32_t len, const char *what);
int vm_exec(struct vm *vm, const struct glue_entry *e, const uint8_t *payload);

/* ---- routing.c --- */
int routing_init(struct vm *vm);
int routing_send(struct vm *vm, struct vcpu *from, const struct apic_msg *m);
int routing_msi(struct vm *vm, uint64_t address, uint32_t data);
int routing_gsi(struct vm *vm, uint32_t gsi, int level);
int routing_set(struct vm *vm, const struct kvm_irq_routing *table);
/* The vCPU's address is in every node's table when this returns. */
int routing_announce(struct vcpu *v);

/* ---- eventfds.c: errors of an assignment as KVM's --- */
int eventfds_init(struct eventfds *e);
int eventfds_io(struct vm *vm, const struct kvm_ioeventfd *io);
int eventfds_irq(struct vm *vm, const struct kvm_irqfd *irq);
/* True if the exit in *run is a write that rings a doorbell; it has been rung, and the vCPU goes
 * on.
 */
bool eventfds_take(struct vm *vm, const struct kvm_run *run);

/* ---- vcpu_fd.c, proxy.c --- */
int vcpu_ioctl(struct vcpu *v, uint32_t nr, uintptr_t arg);
/* At home, under v->lock: arg points to the argument's bytes, or is the value. */
int home_ioctl(struct vcpu *v, const struct ioctl_info *info, uintptr_t arg);
int proxy_ioctl(struct vcpu *v, const struct ioctl_info *info, uintptr_t arg);
int proxy_run(struct vcpu *v);

/* ---- run.c, exits.c, inject.c, apic_state.c --- */
/* 0: v->run holds an exit for the VMM; -EINTR; -EIO: the VM stops; another -errno of KVM_RUN. */
int home_run(struct vcpu *v, bool vmm_window);
int inject_nmi(struct vcpu *v);
/* Ends what the kernel has pending without entering the guest. 1: v->run holds one more exit. */
int home_finish_io(struct vcpu *v);
void home_thread_setup(struct vcpu *v);
int kick_install(void);
/* 1: the VMM must see it; 0: done with; -errno. */
int exits_handle(struct vcpu *v);
void inject_posted(struct vcpu *v);
bool inject_posted_any(struct vcpu *v);
void inject_next(struct vcpu *v);
/* now: ns, as link_now. tick_accepted: of lapic_next_vector. tick_exit: after an exit while
 * tick.in_work. tick_forget: the guest does not go on where it was. */
void tick_accepted(struct vcpu *v, int pending, uint64_t now);
void tick_exit(struct vcpu *v, uint64_t now);
void tick_forget(struct vcpu *v);
int inject_events(struct vcpu *v, const struct lapic_out *out);
int apic_create(struct vcpu *v);
/* 1: it was one of the model's own ioctls and *ret is its answer. */
int apic_ioctl(struct vcpu *v, uint32_t nr, uintptr_t arg, int *ret);

#endif
