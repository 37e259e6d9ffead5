# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2154
# The suites of `./dev test`; read by ./dev, which defines say, die, build_one, OUT, TALLY and the
# budgets.

#help test
# usage: ./dev test [--full] [--seed N] [SUITE...]
# Suites: pure sim model fuzz net trace kvm litmus churn kill pins fabric offload watch bad run bench giantvm system (default: these); system is
# Debian's kernel over several nodes under Debian's QEMU and pando run, in the lab VM where there is no hardware KVM,
# about 8 minutes; with --full all cases, an hour. By name or with --full: lab (bare-metal guests over two nodes in the
# lab VM, under nested paging, about 5 minutes); offload's second half (NICs by DPDK, who fences and steers: on emulated
# cards in the lab VM, 5 minutes; with --full also a guest over two cards); verbs (RDMA by rdma_rxe between nodes in the
# lab VM, about 5). Budgets: pure 5 minutes, sim 3, model 4, kvm 4 (a pairwise sample; with --full all cases, without a
# limit); fuzz: half a minute a target (--full: ten), as many at a time as there are CPUs, so 2.5 minutes on two. --seed
# makes sim, fuzz and kvm choose the same again; the seed is
# printed. The last line is 'N passed, N failed, N skipped'; exit status 0 if nothing failed.

tally() { printf '%s\t%s\t%s\n' "$1" "$2" "${3:-}" >>"$TALLY"; }
failures() { grep -c '^fail' "$TALLY" || true; }
skip() { echo "SKIP $1: $2"; tally skip "$1" "$2"; }

# Runs a command as one test: one line of result, its output only if it fails.
run_test() {
    local name=$1 limit=$2 log status=0 start=$SECONDS
    shift 2
    log=$OUT/$(printf '%s' "$name" | tr -c 'A-Za-z0-9._-' _).log
    timeout -k 10 "$limit" "$@" >"$log" 2>&1 || status=$?
    if [ $status = 0 ]; then
        echo "ok   $name ($((SECONDS - start)) s)"
        tally pass "$name"
    else
        [ $status = 124 ] && echo "out of time after $limit s" >>"$log"
        awk 'n++ < 12' "$log" # what was seen first, and how it ended
        tail -n +13 "$log" | tail -n 25
        echo "FAIL $name (status $status); again: $*"
        tally fail "$name" "status $status"
    fi
}

# run_meson DIR LIMIT OPTIONS...: runs the chosen meson tests of a build directory and counts each.
run_meson() {
    local dir=$1 limit=$2 status=0 start=$SECONDS failed_before
    shift 2
    rm -f "$dir/meson-logs/testlog.json"
    timeout -k 10 "$limit" meson test -C "$dir" --no-rebuild --print-errorlogs "$@" \
        >"$OUT/$dir.test.log" 2>&1 || status=$?
    failed_before=$(failures)
    python3 tests/system/tally.py "$dir" "$TALLY" ||
        tally fail "$dir" "meson test gave no results; see $OUT/$dir.test.log"
    if [ $status = 124 ]; then
        echo "FAIL $dir: out of time after $limit s"
        tally fail "$dir" "out of time"
    elif [ $status != 0 ]; then
        grep -v -E '^ninja:|OK  ' "$OUT/$dir.test.log" | tail -n 60 || true
        [ "$(failures)" != "$failed_before" ] ||
            tally fail "$dir" "meson test ended with status $status"
    fi
    echo "     $dir: $((SECONDS - start)) s"
}

suite_pure() {
    say "pure: unit tests and lint; gcc, sanitizers, clang, no optional feature (budget $BUDGET_PURE s)"
    local start=$SECONDS dir left name
    for dir in build build-asan build-clang build-min; do
        name=${dir#build-}
        built "pure/$dir" "${name/#build/gcc}" || continue
        left=$((BUDGET_PURE - (SECONDS - start)))
        set -- --no-suite kvm --no-suite sim --no-suite fuzz --no-suite net
        if [ $dir = build-clang ] && [ "$FULL" = 0 ]; then # mostly waits, and in the kernel
            set -- "$@" --no-suite unit
            skip pure/build-clang/unit "only with --full; gcc's are run"
        fi
        if [ $left -gt 0 ]; then
            run_meson $dir $left "$@"
        else
            skip "pure/$dir" "the budget is used up"
        fi
    done
    built pure/harness gcc || return 0
    run_test pure/harness 60 python3 tests/system/test_harness.py
}

suite_sim() {
    say "sim: seed $SEED (budget $BUDGET_SIM s)"
    local seeds=2000
    built sim gcc asan || return 0
    set --
    [ "$FULL" = 1 ] && seeds=20000 && set -- --reach-all
    if [ ! -x build/tests/sim/pando-sim ]; then
        skip sim "build/tests/sim/pando-sim was not built"
        return 0
    fi
    run_test "sim/gcc/$seeds-seeds" $((FULL ? 7200 : BUDGET_SIM * 2 / 3)) \
        build/tests/sim/pando-sim --seeds $seeds --seed "$SEED" --jobs "$(nproc)" "$@"
    run_test "sim/asan/200-seeds" $((FULL ? 3600 : BUDGET_SIM / 3)) \
        build-asan/tests/sim/pando-sim --seeds 200 --seed $((SEED + seeds)) --jobs "$(nproc)"
}

suite_model() {
    say "model: the protocols, completely; the code's steps against them (at most 4 minutes without --full)"
    built model gcc || return 0
    set -- --build "$PWD/build" --tally "$TALLY"
    [ "$FULL" = 1 ] && set -- "$@" --full
    run_script ../model/run.py "$@"
}

# One target from the seeds; what it finds on the way stays apart. Result and tally in files of its own.
fuzz_one() {
    local name=${1##*/} corpus=$OUT/corpus/${1##*/}
    rm -rf "$corpus" && mkdir -p "$corpus"
    TALLY=$OUT/$name.tally
    : >"$TALLY"
    run_test "fuzz/$name" $(($2 + 60)) "$1" "$corpus" "tests/fuzz/corpus/$name" -max_total_time="$2" \
        -seed="$SEED" -artifact_prefix="$OUT/" -print_final_stats=1 >"$OUT/$name.result" 2>&1
}

# Waits for the targets that run and says what came of them, in order.
fuzz_results() {
    local name
    wait
    for name in "$@"; do
        cat "$OUT/$name.result"
        if [ -s "$OUT/$name.tally" ]; then cat "$OUT/$name.tally" >>"$TALLY"; else
            echo "FAIL fuzz/$name gave no result"
            tally fail "fuzz/$name" "no result"
        fi
    done
}

suite_fuzz() {
    local targets seconds=30 at_once t
    targets=$(find build-clang/tests/fuzz -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x 2>/dev/null |
        sort)
    at_once=$(nproc)
    [ "$FULL" = 1 ] && seconds=600
    say "fuzz: $seconds s a target, $at_once at a time"
    built fuzz clang || return 0
    if [ -z "$targets" ]; then
        skip fuzz "no target in build-clang/tests/fuzz"
        return 0
    fi
    set --
    for t in $targets; do
        set -- "$@" "${t##*/}"
        (fuzz_one "$t" $seconds) &
        if [ $# -ge "$at_once" ]; then
            fuzz_results "$@"
            set --
        fi
    done
    fuzz_results "$@"
}

# built SUITE NAME...: false, and the suite counted as skipped, if one of these builds failed.
built() {
    local suite=$1 b
    shift
    for b in "$@"; do
        case " $BROKEN " in *" $b "*) skip "$suite" "build $b failed"; return 1 ;; esac
    done
}

# What the tests on real KVM need, and these programs; prints the first thing that is missing.
kvm_missing() {
    local p
    [ "$(id -u)" = 0 ] || { echo "not root"; return; }
    [ -e /dev/kvm ] || { echo "there is no /dev/kvm"; return; }
    (exec 3<>/dev/kvm) 2>/dev/null || { echo "/dev/kvm cannot be opened"; return; }
    for p in pando-doctor pando-dataplane pando-vcpud pando-testvmm libpando-kvm.so "$@"; do
        [ -n "$(find build -name $p -type f)" ] || { echo "$p was not built"; return; }
    done
    build/dataplane/doctor/pando-doctor --only uffd >"$OUT/uffd.log" 2>&1 ||
        sed -n 's/^missing *//p' "$OUT/uffd.log" | head -n 1
}

# on_kvm SUITE [PROGRAM...]: false, and the suite counted as skipped, where guests cannot run.
on_kvm() {
    local suite=$1 why
    shift
    built "$suite" gcc || return 1
    why=$(kvm_missing "$@")
    [ -z "$why" ] || { skip "$suite" "$why"; return 1; }
}

# A script that adds its cases to the tally: 0 all well, 3 failures, which are in the tally; else
# it broke.
run_script() {
    local name=$1 status=0
    shift
    "${python:-python3}" "tests/system/$name" "$@" || status=$?
    case $status in
    0 | 3) ;;
    *)
        echo "FAIL $name ended with status $status"
        tally fail "$name" "ended with status $status"
        ;;
    esac
}

suite_kvm() {
    local limit="budget $BUDGET_KVM s"
    [ "$FULL" = 1 ] && limit='all cases'
    say "kvm: guests x nodes x fabrics x faults on /dev/kvm, seed $SEED ($limit)"
    on_kvm kvm || return 0
    run_meson build 400 --suite kvm # the guests on plain KVM: what they do without Pando
    run_script vmm_tests.py --build build --tally "$TALLY"
    run_script foreign_tests.py --build build --tally "$TALLY"
    run_script span_tests.py --build build --tally "$TALLY"
    set -- --build build --seed "$SEED" --budget "$BUDGET_KVM" --tally "$TALLY" --json "$OUT/kvm.json"
    [ "$FULL" = 1 ] && set -- "$@" --full
    run_script kvm_tests.py "$@"
}

suite_litmus() {
    say "litmus: the x86 memory model over nodes; a build with an error planted, which must be noticed (2 minutes)"
    on_kvm litmus || return 0
    set -- --build "$PWD/build" --seed "$SEED" --tally "$TALLY"
    [ "$FULL" = 1 ] || set -- "$@" --quick
    run_script ../litmus/run.py "$@"
}

suite_churn() {
    say "churn: one page handed to and fro on /dev/kvm (--full: a million times)"
    on_kvm churn || return 0
    set -- --build build --tally "$TALLY"
    if [ "$FULL" = 1 ]; then
        set -- "$@" --full
        run_test churn/simulated 600 build/tests/unit/pando-churn --handoffs 10000000
    fi
    run_script churn_tests.py "$@"
}

suite_kill() {
    say "kill: any process dies, all end within a second, nothing is left"
    on_kvm kill || return 0
    run_script kill_tests.py --build build --tally "$TALLY"
}

suite_pins() {
    say "pins: threads and memory of a running cluster are where the configuration says, as the kernel tells it"
    on_kvm pins || return 0
    run_script pins_tests.py --build build --tally "$TALLY"
}

suite_fabric() {
    say "fabric: pando ping, echo, bench; one frame for several nodes; a host that answers for a dataplane that stands still"
    built fabric gcc || return 0
    [ "$(id -u)" = 0 ] || { skip fabric "not root"; return 0; }
    run_script ping_tests.py --build build --tally "$TALLY"
    on_kvm fabric || return 0
    run_script fabric_tests.py --build build --tally "$TALLY"
}

suite_net() {
    say "net: dataplanes and guest memory without a guest"
    built net gcc || return 0
    run_meson build 300 --suite net
}

suite_trace() {
    say "trace: the Wireshark dissector against our own code; probes and the scripts that use them"
    built trace gcc || return 0
    # What cannot be installed here is skipped by name.
    (cmd_setup quiet look) || echo "going on without: $(missing_packages "$LOOK_PACKAGES")"
    run_script wireshark_tests.py --build build --tally "$TALLY"
    run_script probe_tests.py --build build --tally "$TALLY"
}

suite_offload() {
    say "offload: NICs by DPDK, who fences and steers; on the host, then on emulated cards in the lab VM (at most 5 minutes)"
    built offload gcc || return 0
    [ "$(id -u)" = 0 ] || { skip offload "not root"; return 0; }
    set -- --build build --tally "$TALLY"
    if [ "$NAMED" = 0 ] && [ "$FULL" = 0 ]; then
        set -- "$@" --host # its unit tests are pure's
    else
        cmd_setup quiet lab
        run_meson build 60 offload_plan offload_golden offload_flow port_dpdk
    fi
    [ "$FULL" = 1 ] && set -- "$@" --full
    run_script offload_tests.py "$@"
}

suite_lab() {
    say "lab: guests over two nodes in the lab VM, under nested paging (at most 15 minutes)"
    built lab gcc || return 0
    cmd_setup quiet lab
    run_script lab_tests.py --build build --seed "$SEED" --tally "$TALLY"
}

suite_verbs() {
    say "verbs: RDMA between nodes in the lab VM, over rdma_rxe (about 5 minutes)"
    built verbs gcc || return 0
    cmd_setup quiet lab
    run_script verbs_tests.py --build build --tally "$TALLY"
}

suite_system() {
    say "system: Debian's kernel over several nodes under Debian's QEMU and pando run"
    built system gcc || return 0
    cmd_setup quiet lab
    set -- --build build --tally "$TALLY"
    [ "$FULL" = 1 ] && set -- "$@" --full
    run_script guest_tests.py "$@"
}

suite_watch() {
    say "watch: pando status, top and metrics beside a running cluster, and what its dataplanes write at the end"
    on_kvm watch pando pando-watch || return 0
    run_script watch_tests.py --build build --tally "$TALLY"
}

suite_bad() {
    say "bad: wrong configurations, missing nodes and garbage frames are refused in words"
    on_kvm bad || return 0
    run_script bad_tests.py --build build --tally "$TALLY"
}

suite_run() {
    say "run: pando run composes lines that QEMU takes; starts, watches and ends all processes"
    on_kvm run pando || return 0
    run_script run_tests.py --build build --tally "$TALLY"
}

suite_giantvm() {
    say "giantvm: the baseline that Pando is compared with runs the same guests by its own protocol (half a minute)"
    on_kvm giantvm pando-dataplane-giantvm || return 0
    run_script giantvm_tests.py --build build --tally "$TALLY"
}

suite_bench() {
    local python=python3
    say "bench: the benches' tools, briefly; the report's page as Chromium shows it (1 to 2 minutes; what makes it is pure's)"
    (cmd_setup quiet look) || echo "     without what Chromium shows"
    [ ! -x /usr/bin/python3 ] || python=/usr/bin/python3 # the one that Debian's packages are for
    built bench gcc || return 0
    run_script ../bench/tools.py --build build --tally "$TALLY"
    run_script ../bench/guests.py --build build --tally "$TALLY"
    run_script ../bench/look.py --tally "$TALLY"
}

cmd_test() {
    local suites='' builds='' s start took
    NAMED=1
    FULL=0 SEED=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')
    while [ $# -gt 0 ]; do
        case $1 in
        --full) FULL=1 ;;
        --seed) SEED=${2:?--seed needs a number}; shift ;;
        pure | sim | model | fuzz | net | trace | kvm | litmus | churn | kill | pins | fabric | offload | watch | bad | run | bench | giantvm | lab | verbs | system) suites="$suites $1" ;;
        *) help_of test >&2; die "no suite or option '$1'" ;;
        esac
        shift
    done
    if [ -z "$suites" ]; then
        NAMED=0
        suites='pure sim model fuzz net trace kvm litmus churn kill pins fabric offload watch bad run bench giantvm system'
        if [ "$FULL" = 1 ]; then suites="$suites lab verbs"; fi
    fi
    say "seed $SEED; suites: $suites"
    for s in $suites; do
        case $s in
        pure) builds="gcc asan clang min" ;;
        sim) builds="$builds gcc asan" ;;
        fuzz) builds="$builds clang" ;;
        model | net | trace | kvm | litmus | churn | kill | pins | fabric | offload | watch | bad | run | giantvm | bench | lab | verbs | system) builds="$builds gcc" ;;
        esac
    done
    : >"$TALLY"
    cmd_setup quiet
    BROKEN=''
    # shellcheck disable=SC2086
    for s in $(printf '%s\n' $builds | sort -u); do
        (build_one "$s") || { tally fail "build $s" "see above"; BROKEN="$BROKEN $s"; }
    done
    took=''
    for s in $suites; do
        start=$SECONDS
        "suite_$s"
        took="$took $s $(((SECONDS - start) / 60)):$(printf %02d $(((SECONDS - start) % 60)))"
    done
    echo "     minutes:$took"
    case " $suites " in
    *" lab "*) ;;
    *" pure "*" kvm "*) skip lab "by name or with --full: minutes of an emulated machine" ;;
    esac
    case " $suites " in
    *" verbs "*) ;;
    *" pure "*" kvm "*) skip verbs "by name or with --full: it runs in the lab VM" ;;
    esac
    closing
}

# The one line that says it all, and the exit status.
closing() {
    local failed
    awk -F '\t' '$1 == "skip" { printf "skipped: %s: %s\n", $2, $3 }
        $1 == "fail" { printf "failed: %s: %s\n", $2, $3 }' "$TALLY"
    failed=$(failures)
    awk -F '\t' '{ n[$1]++ }
        END { printf "%d passed, %d failed, %d skipped\n", n["pass"], n["fail"], n["skip"] }' "$TALLY"
    [ "$failed" = 0 ]
}
