#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Hands PCI devices to a driver: vfio-pci, from which DPDK takes them, or back to the kernel's own.
# usage: nic_bind.sh DRIVER PCI...      as in: nic_bind.sh vfio-pci 0000:01:00.0
#        nic_bind.sh kernel PCI...
set -eu
[ $# -ge 2 ] || { echo "usage: ${0##*/} DRIVER|kernel PCI..." >&2; exit 2; }
driver=$1
shift
[ "$driver" = kernel ] || modprobe "$driver"
for pci; do
    device=/sys/bus/pci/devices/$pci
    [ -d "$device" ] || { echo "${0##*/}: $pci: no such PCI device" >&2; exit 1; }
    [ ! -e "$device/driver" ] || echo "$pci" >"$device/driver/unbind"
    if [ "$driver" = kernel ]; then
        echo >"$device/driver_override"
        modprobe -q "$(cat "$device/modalias")" || true # a driver that is built in is no module
    else
        echo "$driver" >"$device/driver_override"
    fi
    echo "$pci" >/sys/bus/pci/drivers_probe
    [ -e "$device/driver" ] || { echo "${0##*/}: $pci: $driver does not take it" >&2; exit 1; }
    for inner in "$device"/virtio*/modalias; do # what makes a network card of a virtio device
        [ ! -e "$inner" ] || modprobe "$(cat "$inner")"
    done
done
