# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh disable=SC2034 # FAILED is for who reads this
# What prepare and restore share; read by both. The state file says how everything was before the first change:
#
#   pando-host-state 1
#   boot ID                            of the boot in which the settings below were made
#   was TAB PATH TAB VALUE             a setting of the kernel's, written down before it is changed
#   now TAB PATH TAB VALUE             the same as the kernel shows it afterwards: is it still ours?
#   queues TAB INTERFACE TAB NUMBER    ethtool -L
#   file TAB PATH                      a file that was made; it was not there before
#
# A line is written before what it tells of is done, so that after a crash at any moment all is known that may have
# been changed. Only the first value of a path is kept. Nothing here needs more than a POSIX shell, awk and flock.
ROOT='' STATE='' DRY=0 FAILED=0 HEAD='pando-host-state 1'
TAB=$(printf '\t')
ME=${0##*/}

say() { printf '%s: %s\n' "$ME" "$*"; }
warn() { printf '%s: %s\n' "$ME" "$*" >&2; FAILED=1; }
die() { printf '%s: %s\n' "$ME" "$*" >&2; exit 2; }

# Sets STATE, below ROOT; and, unless nothing is to be done, keeps others out until this process ends.
open_state() {
    STATE=$ROOT${STATE:-/var/lib/pando/host-state}
    [ $DRY = 1 ] && return
    case $STATE in */*) ;; *) STATE=./$STATE ;; esac
    mkdir -p "${STATE%/*}" || die "$STATE: its directory cannot be made"
    exec 9<"${STATE%/*}"
    flock -w 10 9 || die "another prepare or restore is at work on $STATE"
    # A line that was being written when somebody was killed: what it tells of had not begun.
    [ ! -s "$STATE" ] || [ "$(tail -c 1 "$STATE" | wc -l)" = 1 ] || sed -i '$d' "$STATE"
    [ ! -s "$STATE" ] || head -n 1 "$STATE" | grep -qxF "$HEAD" || die "$STATE is not a state file of this version"
}

boot_id() { cat "$ROOT/proc/sys/kernel/random/boot_id" 2>/dev/null || echo unknown; }
state_boot() { [ -e "$STATE" ] && sed -n '2s/^boot //p' "$STATE"; }
has_line() { [ -e "$STATE" ] && grep -qF "$1" "$STATE"; }

# A setting as it is to be written: of "always [never]" the word in brackets.
value_of() {
    sed -e 's/^.*\[\([^]]*\)\].*$/\1/' "$ROOT$1"
}

# write_value PATH VALUE: false if the kernel refuses, or shows something else afterwards.
write_value() {
    { printf '%s\n' "$2" >"$ROOT$1"; } 2>/dev/null || return 1
    [ "$(value_of "$1" | tr -s " $TAB" ' ')" = "$(printf '%s\n' "$2" | tr -s " $TAB" ' ')" ]
}

# "0-2,5" as "0 1 2 5"; false where it is no list of CPUs.
expand() {
    printf '%s\n' "$1" | awk -F, '
        !/^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$/ { exit 1 }
        { for (i = 1; i <= NF; i++) {
              n = split($i, r, "-"); last = n > 1 ? r[2] : r[1]
              if (last > 1023 || last + 0 < r[1] + 0) exit 1
              for (c = r[1] + 0; c <= last; c++) printf "%d ", c } }'
}
