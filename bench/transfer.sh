#!/usr/bin/env bash
# Clones a model over loopback with fai, and moves it with rsync, rclone, sendme and syncthing; README.md says how to read the
# result. Uses no network but loopback, and nothing outside its own folder. Servers are ended by their process ids.
#
#   MODEL=path FINETUNE=path, SIZE_MB, DTYPE, TUNE, FAI, RUNS, BENCH_DIR   as for local.sh
#   PORT=18730                the first of three ports on 127.0.0.1
set -euo pipefail
export LC_ALL=C

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=bench/lib.sh
source "$BENCH/lib.sh"
# shellcheck source=bench/models.sh
source "$BENCH/models.sh"
# shellcheck source=bench/namespace.sh
source "$BENCH/namespace.sh"
# shellcheck source=bench/sendme.sh
source "$BENCH/sendme.sh"
# shellcheck source=bench/syncthing.sh
source "$BENCH/syncthing.sh"

RUNS=${RUNS:-3}
PORT=${PORT:-18730}
FAI=${FAI:-$BENCH/../target/release/fai}
SERVERS=()

stop_servers() {
    local pid
    for pid in "${SERVERS[@]}"; do kill "$pid" 2>/dev/null || true; done
    # They may still write to what is about to be removed.
    for pid in "${SERVERS[@]}"; do wait "$pid" 2>/dev/null || true; done
    SERVERS=()
}

finish() {
    stop_servers
    rm -rf "$WORK" ${OWN:+"$OWN"}
}

fai_as() {
    local user=$1
    shift
    FAI_HOME=$WORK/$user "$FAI" "$@"
}

serve_fai() {
    (cd "$WORK/source" && FAI_HOME=$WORK/owner exec "$FAI" serve --listen "/ip4/127.0.0.1/tcp/$PORT" --json) >"$WORK/serving" &
    SERVERS+=($!)
    until grep -q listening "$WORK/serving" 2>/dev/null; do sleep 0.1; done
}

serve_rsync() {
    # Started by root it would read as nobody.
    printf 'use chroot = no\nuid = %s\ngid = %s\nport = %s\naddress = 127.0.0.1\n[files]\npath = %s\nread only = yes\n' \
        "$(id -u)" "$(id -g)" "$((PORT + 1))" "$WORK/plain" >"$WORK/rsyncd.conf"
    rsync --daemon --no-detach --config="$WORK/rsyncd.conf" &
    SERVERS+=($!)
}

serve_rclone() {
    rclone serve webdav "$WORK/plain" --addr "127.0.0.1:$((PORT + 2))" --read-only >/dev/null 2>&1 &
    SERVERS+=($!)
}

# The steps that are measured: everything is durable when they end.
get_fai() { FAI_HOME=$WORK/cloner run "$FAI" clone "/ip4/127.0.0.1/tcp/$PORT" "$WORK/out"; }
get_fai_bare() { FAI_HOME=$WORK/cloner run "$FAI" clone --bare "/ip4/127.0.0.1/tcp/$PORT" "$WORK/out"; }
get_rsync() { run rsync -r "rsync://127.0.0.1:$((PORT + 1))/files/" "$WORK/out" && sync; }
get_rclone() {
    run rclone copy --webdav-url "http://127.0.0.1:$((PORT + 2))" --multi-thread-streams 4 :webdav: "$WORK/out" && sync
}
get_cp() { copy -r "$WORK/plain" "$WORK/out" && sync; }

tools() {
    echo cp fai fai_bare
    if have rsync; then echo rsync; fi
    if have rclone; then echo rclone; fi
    if [[ -n "${SENDME_TICKET:-}" ]]; then echo sendme; fi
    if [[ -n "${DEVICES:-}" ]]; then echo syncthing; fi
}

label() {
    case $1 in
    cp) echo "cp + sync, no network" ;;
    fai_bare) echo "fai clone --bare" ;;
    fai) echo "fai clone, with files" ;;
    sendme | syncthing) echo "$1 + sync, encrypted" ;;
    *) echo "$1 + sync, not encrypted" ;;
    esac
}

round() {
    local tool
    for tool in $(tools); do
        if [[ $tool == syncthing ]]; then syncthing_prepare; fi
        warm "$WORK/plain" "$WORK/source/.fai/objects"
        measure "clone, model" "$(label "$tool")" "get_$tool"
        record "clone, model" "$(label "$tool")"
        if [[ $tool == fai_bare ]]; then
            fai_as cloner -C "$WORK/out" fsck --full >/dev/null || die "the bare clone is not sound"
            fai_as cloner -C "$WORK/out" checkout main --to "$WORK/files" >/dev/null
            same "clone, model" "$tool" "$MODEL" "$WORK/files/model.safetensors"
        else
            same "clone, model" "$tool" "$MODEL" "$WORK/out/model.safetensors"
        fi
        if [[ $tool == syncthing ]]; then syncthing_stop; fi
        rm -rf "$WORK/out" "$WORK/files"
        # Inodes that were freed a moment ago are slow to come by on ext4.
        sync
        sleep 6
    done
}

# What a peer that has the model fetches when the fine-tune is committed.
update() {
    fai_as cloner clone "/ip4/127.0.0.1/tcp/$PORT" "$WORK/out" >/dev/null
    copy "$FINETUNE" "$WORK/source/model.safetensors"
    fai_as owner -C "$WORK/source" add -A >/dev/null
    fai_as owner -C "$WORK/source" commit -m fine-tune >/dev/null
    local report
    report=$(fai_as cloner -C "$WORK/out" pull --json)
    same "pull, fine-tune" fai "$FINETUNE" "$WORK/out/model.safetensors"
    printf '\nPull of the fine-tune by a peer that has the model: '
    sed -n 's/^ *"\(bytes\|wire_bytes\|seconds\)": \(.*[0-9]\),*$/\1 \2/p' <<<"$report" | paste -sd ' '
}

main() {
    setup
    trap finish EXIT
    models
    room
    mkdir "$WORK/plain" "$WORK/source"
    copy "$MODEL" "$WORK/plain/model.safetensors"
    copy "$MODEL" "$WORK/source/model.safetensors"
    fai_as owner init "$WORK/source" >/dev/null
    fai_as owner -C "$WORK/source" add -A >/dev/null
    fai_as owner -C "$WORK/source" commit -m model >/dev/null
    serve_fai
    if have rsync; then serve_rsync; fi
    if have rclone; then serve_rclone; fi
    if sendme_usable; then serve_sendme; fi
    if syncthing_usable; then serve_syncthing; fi
    sleep 1
    local index
    for ((index = 1; index <= RUNS; index++)); do
        say "round $index of $RUNS"
        round
    done
    machine
    printf -- '- Model: %s bytes\n\n' "$(size_of "$MODEL")"
    table
    update
}

main
