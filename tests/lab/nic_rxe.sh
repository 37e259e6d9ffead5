#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes N RDMA devices (rdma_rxe), rxe0 to rxe(N-1), that reach each other over a bridge: rxe works in the
# first network namespace only, so all are there, and rules of routing send what goes from one to
# another out of its interface, although the target is an address of this machine. rxeK is on
# interface rdmaK with address 10.77.0.(K+1), GID index 1; what tc does to rdmaK (netem) it feels.
# It changes the machine's routing: only for the lab VM, with --modules rdma_rxe,ib_uverbs.
# usage: nic_rxe.sh [N [MTU]]      2 and 1500; an MTU of 4200 or more gives an RDMA MTU of 4096
set -eu
n=${1:-2} mtu=${2:-1500}
case $n in [2-9]) ;; *) echo "${0##*/}: $n devices: allowed are 2 to 9" >&2; exit 2 ;; esac
set_ipv4() { echo "$3" >"/proc/sys/net/ipv4/conf/$1/$2"; }

ip link add rdma-bridge type bridge
ip link set rdma-bridge mtu "$mtu" up
# Local addresses are looked up for what came in by an interface, and last for all else.
ip rule add pref 1000 lookup local
ip rule del pref 0
set_ipv4 all rp_filter 0
k=0
while [ "$k" -lt "$n" ]; do
    dev=rdma$k table=$((100 + k))
    ip link add $dev mtu "$mtu" type veth peer name $dev-end mtu "$mtu"
    ip link set $dev-end master rdma-bridge up
    set_ipv4 $dev rp_filter 0
    set_ipv4 $dev accept_local 1
    set_ipv4 $dev arp_ignore 1 # only the interface that has the address answers for it
    ip addr add 10.77.0.$((k + 1))/32 dev $dev
    ip link set $dev up
    ip rule add pref $((10 + k)) iif $dev lookup local
    ip rule add pref $((20 + k)) oif $dev lookup $table
    ip route add 10.77.0.0/24 dev $dev table $table
    rdma link add rxe$k type rxe netdev $dev
    k=$((k + 1))
done
