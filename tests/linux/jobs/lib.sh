# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
# What the jobs share. Each is run by busybox sh; exit status 0 is a pass.

# word NAME: what follows pando.NAME= on the kernel's command line.
word() { tr ' ' '\n' <"${CMDLINE:-/proc/cmdline}" | sed -n "s/^pando\.$1=//p" | tail -n 1; }

# options NAME: pando.NAME=seconds:3,break:tsc,drop as options of a program.
options() { word "$1" | tr ',' '\n' | sed 's/^/--/; s/:/=/' | grep -v '^--$' | tr '\n' ' '; }

# option NAME KEY DEFAULT: one of them.
option() {
    local value
    value=$(word "$1" | tr ',' '\n' | sed -n "s/^$2://p")
    echo "${value:-$3}"
}

# absent NAME WORDS: ends the job: what it needs is not there, which pando.need=NAME,... makes a failure.
absent() {
    case ",$(word need)," in *",$1,"*) fail "$2" ;; esac
    say "$2"
    exit 0
}

uptime_s() { cut -d ' ' -f 1 /proc/uptime; }
since() { echo "$1 $(uptime_s)" | awk '{ printf "%.1f", $2 - $1 }'; }
say() { echo "$*" >"$PANDO_DETAIL"; }
fail() { say "$*"; echo "FAIL: $*"; exit 1; }
# everywhere PROGRAM ...: on all CPUs that are up, also those that isolcpus= keeps processes from.
everywhere() { taskset -c "$(cat /sys/devices/system/cpu/online)" "$@"; }
# spread NAME: each process whose name begins so and that may run on several CPUs, to one, in turn: the
# scheduler does not move anything to the CPUs of isolcpus= by itself. To be called again for new ones; the
# CPUs go to /run/spread, a line each.
spread() {
    local pid cpu
    awk -v name="$1" -v turn="$(wc -l </run/spread)" '
        FILENAME == "/proc/cpuinfo" { if ($1 == "processor") cpu[n++] = $3; next }
        $1 == "Name:" { mine = index($2, name) == 1 }
        $1 == "Pid:" { pid = $2 }
        $1 == "Cpus_allowed_list:" && mine && $2 ~ /[-,]/ { print cpu[turn++ % n], pid }
    ' /proc/cpuinfo /proc/[0-9]*/status 2>/dev/null |
        while read -r cpu pid; do
            taskset -pc "$cpu" "$pid" >/dev/null 2>&1 && echo "$cpu" >>/run/spread
        done
}
cpus() { grep -c '^processor' /proc/cpuinfo; }

# Lines of a kernel's log (dmesg -r: <level>[time] words) that a machine that is right does not
# write: level err and worse, and what is only a warning but tells of lost time or a lost CPU.
# harmless.txt has the exceptions, each with its reason.
bad_lines() {
    grep -v '^#' "${HARMLESS:-/jobs/harmless.txt}" >"${TMP:-/run}/harmless"
    awk -F '[<>]' '$1 == "" && $2 % 8 <= 3 ||
        /BUG:|[Ss]talls? |unstable|hung_task|lockup|LOCKUP|WARNING: CPU|Oops:|nobody cared|blocked for more|unchecked MSR/' |
        grep -v -E -f "${TMP:-/run}/harmless"
}
