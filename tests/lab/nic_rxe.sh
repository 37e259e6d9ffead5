#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes N RDMA devices (rdma_rxe), rxe0 to rxe(N-1), joined by a bridge: as many nodes in one network
# namespace, since rxe receives in the first one only. rxeK is on interface rdmaK; what tc does to
# rdmaK (netem) it feels. They reach each other by their link-local addresses, GID index 0: these are
# looked up by interface, where an IPv4 address of this machine would be reached within it, and miss rxe.
# usage: nic_rxe.sh [N [MTU]]      2 and 1500; an MTU of 4200 or more gives an RDMA MTU of 4096
#        lab.py has to have loaded rdma_rxe and ib_uverbs
set -eu
n=${1:-2} mtu=${2:-1500}
case $n in [2-9]) ;; *) echo "${0##*/}: $n devices: allowed are 2 to 9" >&2; exit 2 ;; esac

ip link add rdma-bridge type bridge
ip link set rdma-bridge up
k=0
while [ "$k" -lt "$n" ]; do
    dev=rdma$k
    ip link add $dev mtu "$mtu" type veth peer name $dev-end mtu "$mtu"
    echo 0 >/proc/sys/net/ipv6/conf/$dev/accept_dad # the address is good at once
    ip link set $dev-end master rdma-bridge up
    ip link set $dev up
    rdma link add rxe$k type rxe netdev $dev
    k=$((k + 1))
done
