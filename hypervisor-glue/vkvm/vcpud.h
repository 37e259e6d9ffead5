/* SPDX-License-Identifier: BSD-3-Clause */
/* The vCPU server: a VM without a VMM, driven by messages from the node that has one. */
#ifndef PANDO_VKVM_VCPUD_H
#define PANDO_VKVM_VCPUD_H

#include "hypervisor-glue/vkvm/vkvm.h"

void *vcpud_vcpu_thread(void *vcpu);

#endif
