#!/usr/bin/env bash
# Clones from one source and from four, each on a line of 20 MB/s, and prints how much faster four are. README.md says how to
# read the result. The lines are network namespaces of this script's own, joined by a bridge and shaped by tc (tbf); nothing
# leaves the machine. Needs root, ip and tc. Servers are ended by their process ids.
#
#   SIZE_MB=400 RATE_MBIT=160 RUNS=3 FAI=path BENCH_DIR=folder
set -euo pipefail
export LC_ALL=C

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SIZE_MB=${SIZE_MB:-400}
RATE_MBIT=${RATE_MBIT:-160}
RUNS=${RUNS:-3}
FAI=$(realpath "${FAI:-$BENCH/../target/release/fai}")
NAME=fai-bench-$$
WORK=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/fai-sources.XXXXXX")
SERVERS=()

die() {
    printf 'sources.sh: %s\n' "$*" >&2
    exit 1
}

stop() {
    local pid
    for pid in "${SERVERS[@]}"; do kill "$pid" 2>/dev/null || true; done
    SERVERS=()
    wait
}

finish() {
    stop
    local host
    for host in switch 1 2 3 4 5; do ip netns del "$NAME-$host" 2>/dev/null || true; done
    rm -rf "$WORK"
}

# Five machines on a bridge; what leaves the first four is shaped. The burst is what tbf needs at this rate.
network() {
    ip netns add "$NAME-switch"
    ip -n "$NAME-switch" link add br0 type bridge
    ip -n "$NAME-switch" link set br0 up
    local host
    for host in 1 2 3 4 5; do
        ip netns add "$NAME-$host"
        ip -n "$NAME-$host" link set lo up
        ip -n "$NAME-$host" link add eth0 type veth peer name "v$host" netns "$NAME-switch"
        ip -n "$NAME-switch" link set "v$host" master br0 up
        ip -n "$NAME-$host" addr add "10.78.0.$host/24" dev eth0
        ip -n "$NAME-$host" link set eth0 up
        [[ $host == 5 ]] || tc -n "$NAME-$host" qdisc add dev eth0 root tbf rate "${RATE_MBIT}mbit" burst 256k latency 100ms
    done
}

at() {
    local host=$1
    shift
    FAI_HOME=$WORK/home$host ip netns exec "$NAME-$host" "$FAI" "$@"
}

serve() {
    local host=$1
    (cd "$WORK/source$host" && FAI_HOME=$WORK/home$host exec ip netns exec "$NAME-$host" "$FAI" serve --json) >"$WORK/serving$host" &
    SERVERS+=($!)
    until grep -q listening "$WORK/serving$host"; do sleep 0.1; done
}

# clone_from COUNT: seconds that a clone takes with so many sources.
clone_from() {
    local host started ended
    for ((host = 1; host <= $1; host++)); do serve "$host"; done
    sleep 2
    started=$EPOCHREALTIME
    at 5 clone "$(at 1 id)" "$WORK/out" >/dev/null
    ended=$EPOCHREALTIME
    stop
    cmp "$WORK/model.bin" "$WORK/out/model.bin" || die "other bytes came than went"
    rm -rf "$WORK/out"
    awk -v a="$started" -v b="$ended" 'BEGIN { printf "%.2f\n", b - a }'
}

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

main() {
    trap finish EXIT
    network
    # Noise, so that what crosses the lines is as long as the file.
    head -c "$((SIZE_MB << 20))" /dev/urandom >"$WORK/model.bin"
    mkdir "$WORK/source1"
    cp "$WORK/model.bin" "$WORK/source1/"
    at 1 init "$WORK/source1" >/dev/null
    at 1 -C "$WORK/source1" add -A >/dev/null
    at 1 -C "$WORK/source1" commit -m model >/dev/null
    local host index
    for host in 2 3 4; do at "$host" clone "$WORK/source1" "$WORK/source$host" >/dev/null; done
    for ((index = 0; index < RUNS; index++)); do
        clone_from 1 >>"$WORK/one"
        clone_from 4 >>"$WORK/four"
        printf 'round %s: one %s s, four %s s\n' "$((index + 1))" "$(tail -n 1 "$WORK/one")" "$(tail -n 1 "$WORK/four")" >&2
    done
    local one four
    one=$(median <"$WORK/one")
    four=$(median <"$WORK/four")
    printf 'clone of %s MiB over lines of %s Mbit/s: one source %s s, four sources %s s, ratio %s\n' "$SIZE_MB" "$RATE_MBIT" "$one" "$four" \
        "$(awk -v a="$one" -v b="$four" 'BEGIN { printf "%.2f", a / b }')"
}

main
