#!/usr/bin/env bash
# Branches: models that are merged tensor by tensor beside copying a model, and a switch between branches that differ in one
# of 10,000 files beside git; README.md says how to read the table.
#
#   RUNS=3                     rounds of merges
#   SIZE_MB=1024               what is generated where MODEL and FINETUNE name no files (make_model.py)
#   MODEL=path FINETUNE=path   two bf16 models with the same tensors
#   FAI=path                   the program (default target/release/fai)
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
SWITCHES=10

version() {
    copy "$2" "$D/tree/model.safetensors"
    "$FAI" -q -C "$D/tree" add model.safetensors
    "$FAI" -q -C "$D/tree" commit -m "$1"
}

# forked OURS THEIRS: a repository on main, which has OURS on top of the model, and a branch `theirs` with the other.
forked() {
    rm -rf "$D"
    mkdir -p "$D/tree"
    fai_init
    version base "$MODEL"
    "$FAI" -q -C "$D/tree" switch -c theirs
    version theirs "$2"
    "$FAI" -q -C "$D/tree" switch main
    version ours "$1"
    warm "$D/tree"
}

copy_model() { run cp --reflink=never "$WORK/ours" "$WORK/copy" && sync; }
merge() { run "$FAI" -q -C "$D/tree" merge theirs "$@"; }

# merged WORK OURS THEIRS EXPECTED [OPTION...]
merged() {
    local work=$1 ours=$2 theirs=$3 expected=$4
    shift 4
    forked "$ours" "$theirs"
    rm -f "$WORK/copy"
    measure "$work" "cp + sync" copy_model
    record "$work" "cp + sync"
    measure "$work" fai merge "$@"
    record "$work" fai
    same "$work" fai "$expected" "$D/tree/model.safetensors"
}

tree_git_switch() { run git -C "$D/tree" switch -q "$1" && sync; }
tree_fai_switch() { run "$FAI" -q -C "$D/tree" switch "$1"; }

# Switches to and fro, and looks whether all other files are untouched.
switch_round() {
    local tool number work="switch, 1 of 10,000 files differs"
    for tool in git fai; do
        D=$WORK/small_$tool
        mkdir "$D"
        cp -r "$WORK/small" "$D/tree"
        "tree_${tool}_init"
        "tree_${tool}_add"
        if [[ $tool == git ]]; then git -C "$D/tree" branch -M main; fi
        "$(tool_of "$tool")" -C "$D/tree" switch -q -c other
        echo another >"$D/tree/folder_7/file_7.txt"
        "tree_${tool}_add"
        touch "$WORK/before"
        sleep 1.1
        for ((number = 0; number < SWITCHES; number++)); do
            measure "$work" "$tool" "tree_${tool}_switch" main
            record "$work" "$tool"
            measure "$work" "$tool" "tree_${tool}_switch" other
            record "$work" "$tool"
        done
        number=$(find "$D/tree" -path "*/.*" -prune -o -type f -newer "$WORK/before" -print | wc -l)
        ((number == 1)) || die "$tool touched $number files where one differs"
        rm -rf "$D"
    done
}

tool_of() { if [[ $1 == git ]]; then echo git; else echo "$FAI"; fi; }

main() {
    local round
    setup
    : >"$RESULTS"
    models
    room
    [[ -n "$PYTHON" ]] || die "needs python3 with numpy to make the sides of a merge"
    say "making the sides"
    "$PYTHON" "$BENCH/make_sides.py" "$MODEL" "$FINETUNE" "$WORK"
    D=$WORK/merging
    for ((round = 1; round <= RUNS; round++)); do
        merged "merge, every second tensor from each side" "$WORK/ours" "$WORK/theirs" "$FINETUNE"
        merged "merge, average of all tensors" "$FINETUNE" "$WORK/flipped" "$WORK/average" --tensors average
    done
    rm -rf "$D"
    if have git; then
        small_tree "$WORK/small"
        switch_round
    fi
    machine
    printf -- '- Model: %s MB\n\n' "$(($(size_of "$MODEL") / 1000000))"
    table
    printf '\nEvery result was compared with what must come of it byte for byte.\n'
}

main
