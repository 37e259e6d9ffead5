/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VM without KVM for tests of the dataplane: threads of this process stand for vCPUs and touch
 * guest RAM through a mapping that is registered with userfaultfd, exactly as KVM would. Coherence
 * is then visible to plain C.
 */
#ifndef PANDO_TESTS_NET_FAKEVM_H
#define PANDO_TESTS_NET_FAKEVM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor-glue/link/glue_abi.h"

struct fakevm {
    int socket, doorbell;
    struct glue_ctl welcome;
    struct glue_shared *shared;
    uint8_t *ram; /* guest RAM, coherent over the nodes */
    uint64_t pages;
    bool skip_zap; /* planted bug: answer unmap requests without doing them */
};

/* Connects, is welcomed, makes `pages` pages of RAM and hands them over, starts the agent thread.
 * Ends the process with a message if anything is refused. */
void fakevm_open(struct fakevm *vm, const char *path, uint64_t pages, bool hugetlb_or_file);

/* Waits until the dataplane stops the VM. Its status; prints its text. */
int fakevm_wait(struct fakevm *vm, char text[GLUE_ERROR_TEXT]);

/* The VM ended by itself. */
void fakevm_bye(struct fakevm *vm, uint32_t status);

/* The calling thread is vCPU v from now on. */
void fakevm_is_vcpu(struct fakevm *vm, uint32_t v);

#endif
