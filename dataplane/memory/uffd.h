/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * userfaultfd, one function per ioctl. EDGE.
 *
 * The state of a guest page is its page-table entry in the VMM's address space: no entry = Invalid,
 * a write-protected entry = Shared, a writable entry = Modified. The process with the vCPUs opens
 * and registers (uffd_open_register); the dataplane gets the descriptor and does everything else.
 * Every range is aligned to 4 KiB (checked). Functions return 0 or -errno unless they say
 * otherwise.
 *
 * Rules that follow from the kernel (each was seen or read there):
 *  - A message is a hint: it may be a duplicate after a kick, or stale. Act on the page's state.
 *  - WRITEPROTECT never installs an entry, and CONTINUE always decides the mode: a page that was
 * protected before comes back writable unless CONTINUE says otherwise.
 *  - CONTINUE over a hole of the file gives EFAULT: the frame must be filled through the alias
 * first.
 *  - EEXIST: there is an entry already. The waiter must still be woken, or its vCPU hangs.
 */
#ifndef PANDO_MEMORY_UFFD_H
#define PANDO_MEMORY_UFFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UFFD_BATCH = 16, UFFD_ERROR_MAX = 256 };

struct uffd_fault {
    uint64_t address; /* in the VMM's address space, aligned to the page */
    bool write;       /* a write (also to a write-protected page), else a read */
    uint32_t tid;     /* the faulting thread, in its process's PID namespace */
};

/* Probes on a scratch mapping that this kernel can do what Pando needs: missing, minor and
 * write-protect faults on shared memory, CONTINUE with write protection, thread ids. 0, or -ENOSYS
 * / -EPERM with a sentence in err that names what is missing and the remedy. */
int uffd_probe(char err[UFFD_ERROR_MAX]);

/* VMM side. Opens a userfaultfd and registers [addr, addr + len), a shared mapping of a memfd;
 * before anything touches it. *ret_fd is non-blocking and close-on-exec. err as in uffd_probe. */
int uffd_open_register(void *addr, size_t len, int *ret_fd, char err[UFFD_ERROR_MAX]);

/* Reads up to UFFD_BATCH pending faults without blocking. Returns how many, or -errno. */
int uffd_read(int fd, struct uffd_fault out[UFFD_BATCH]);

/* Installs entries for a range whose frames are filled, writable or write-protected, and wakes who
 * waits there. Where an entry exists already its mode is set and the waiters are woken. -EFAULT: a
 * frame is a hole. */
int uffd_map(int fd, uint64_t addr, size_t len, bool writable);

/* Takes write permission away; when it returns no CPU can write any more. Absent entries stay
 * absent. */
int uffd_protect(int fd, uint64_t addr, size_t len);

/* Gives write permission back and wakes who waits there. Absent entries stay absent: whoever
 * touches the page faults again and is mapped then. */
int uffd_unprotect(int fd, uint64_t addr, size_t len);

int uffd_wake(int fd, uint64_t addr, size_t len);

#endif
