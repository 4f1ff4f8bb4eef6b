#!/usr/bin/env bash
# Compares fai with copying, git, git-lfs, dvc, restic and borg on this machine; README.md says how to read the result.
# Uses no network, and nothing outside its own folder.
#
#   MODEL=path FINETUNE=path   safetensors files of your own; otherwise both are generated
#   SIZE_MB=1024 DTYPE=bf16 TUNE=dense   what is generated (TUNE: dense or last)
#   FAI=path                   the program (default target/release/fai)
#   RUNS=3                     rounds, of which the median counts
#   TOOLS="cp fai ..."         default: all that are installed; the first is what the others are compared with
#   SMALL=1 SPARSE=0 SPARSE_GB=20   many small files; one huge sparse file
#   BENCH_DIR=path             where to work (default a new folder in $TMPDIR); generated models stay there
set -euo pipefail
export LC_ALL=C

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=bench/lib.sh
source "$BENCH/lib.sh"
# shellcheck source=bench/models.sh
source "$BENCH/models.sh"
# shellcheck source=bench/tools.sh
source "$BENCH/tools.sh"
# shellcheck source=bench/status_tree.sh
source "$BENCH/status_tree.sh"

RUNS=${RUNS:-3}
FAI=${FAI:-$BENCH/../target/release/fai}

# A file appears in the tree of $D, wholly on disk and in the page cache.
place() {
    rm -f "$D/tree/$2"
    copy "$1" "$D/tree/$2"
    sync
    warm "$D/tree/$2"
}

store_size() {
    # shellcheck disable=SC2046 # a list of folders
    stored_in $("${1}_store")
}

# version_of TOOL WORK_NAME FILE NAME: FILE becomes version of NAME; time and growth of the store.
version_of() {
    local before
    place "$3" "$4"
    before=$(store_size "$1")
    measure "$2" "$(label "$1")" "${1}_add" "$4"
    record "$2" "$(label "$1")" "$(($(store_size "$1") - before))" "$(size_of "$3")"
}

# back TOOL WORK_NAME FILE: the newest version into an empty folder, compared with FILE.
back() {
    # shellcheck disable=SC2046 # a list of folders
    warm $("${1}_store")
    measure "$2" "$(label "$1")" "${1}_restore" "$D/out" model.safetensors
    record "$2" "$(label "$1")"
    same "$2" "$(label "$1")" "$3" "$D/out/model.safetensors"
    if [[ $1 == git_lfs ]]; then git -C "$D/tree" worktree remove --force "$D/out"; fi
    rm -rf "$D/out"
}

model_round() {
    local tool=$1 newest=$MODEL
    D=$WORK/$tool
    mkdir -p "$D/tree"
    : >"$WORK/log"
    "${tool}_init" >>"$WORK/log" 2>&1 || die "$(label "$tool") could not make a repository: $(tail -n 5 "$WORK/log")"
    version_of "$tool" "add + commit, model" "$MODEL" model.safetensors
    back "$tool" "check out, model" "$MODEL"
    if [[ -n "${FINETUNE:-}" ]]; then
        newest=$FINETUNE
        version_of "$tool" "add + commit, fine-tune on top" "$FINETUNE" model.safetensors
        back "$tool" "check out, fine-tune" "$FINETUNE"
    fi
    measure "add, unchanged" "$(label "$tool")" "${tool}_stage" model.safetensors
    record "add, unchanged" "$(label "$tool")"
    version_of "$tool" "add + commit, same content, other name" "$newest" copy.safetensors
    rm -rf "$D"
}

# A file of holes: time and memory must not grow with it as they do with data.
sparse() {
    D=$WORK/sparse
    mkdir -p "$D/tree"
    fai_init
    truncate -s "${SPARSE_GB:-20}G" "$D/tree/sparse.bin"
    measure "add + commit, sparse file of ${SPARSE_GB:-20} GiB" fai fai_add sparse.bin
    record "add + commit, sparse file of ${SPARSE_GB:-20} GiB" fai "$(store_size fai)" "$(size_of "$D/tree/sparse.bin")"
    "$FAI" -C "$D/tree" cat HEAD:sparse.bin | cmp - "$D/tree/sparse.bin" >&2 || die "fai gave back another sparse file"
    rm -rf "$D"
}

main() {
    setup
    models
    read -r -a tools <<<"${TOOLS:-$(installed | tr '\n' ' ')}"
    room
    warm "$MODEL" ${FINETUNE:+"$FINETUNE"}
    local round tool
    if [[ ${SMALL:-1} == 1 ]]; then small_tree "$WORK/small"; fi
    for ((round = 1; round <= RUNS; round++)); do
        say "round $round of $RUNS"
        for tool in "${tools[@]}"; do model_round "$tool"; done
        if [[ ${SMALL:-1} == 1 ]]; then status_round; fi
    done
    if [[ ${SPARSE:-0} == 1 ]]; then sparse; fi
    machine
    printf -- '- Model: %s, %s MB%s\n' "$(basename "$MODEL")" "$(($(size_of "$MODEL") / 1000000))" \
        "${FINETUNE:+; fine-tune: $(basename "$FINETUNE")}"
    printf -- '- Versions: %s\n\n' "$(versions | paste -s -d ';' | sed 's/;/; /g')"
    table
    printf '\nEvery result was compared with its source byte for byte. Ratios: to the first tool of the same work.\n'
}

main "$@"
