# SPDX-License-Identifier: BSD-3-Clause
"""Keeps one idle vCPU in existence: lab.py says why."""
import fcntl
import os
import signal

KVM_CREATE_VM, KVM_CREATE_VCPU = 0xAE01, 0xAE41

kvm = os.open("/dev/kvm", os.O_RDWR)
vm = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
vcpu = fcntl.ioctl(vm, KVM_CREATE_VCPU, 0)
print("held", flush=True)
signal.pause()
