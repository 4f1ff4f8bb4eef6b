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
# shellcheck source=bench/tools.sh
source "$BENCH/tools.sh"
# shellcheck source=bench/status_tree.sh
source "$BENCH/status_tree.sh"

RUNS=${RUNS:-3}
SIZE_MB=${SIZE_MB:-1024}
DTYPE=${DTYPE:-bf16}
TUNE=${TUNE:-dense}
FAI=${FAI:-$BENCH/../target/release/fai}

setup() {
    [[ -x "$FAI" ]] || die "no program at $FAI: build it with 'cargo build --release', or say FAI=path"
    FAI=$(realpath "$FAI")
    if have python3; then PYTHON=$(python3 -c 'import sys; print(sys.executable)'); else PYTHON=; fi
    GNU_TIME=
    if /usr/bin/time --quiet -f %M true >/dev/null 2>&1; then GNU_TIME=/usr/bin/time; fi
    [[ -n "$GNU_TIME$PYTHON" ]] || die "needs GNU time or python3 to see the peak memory (apt install time)"

    if [[ -n "${BENCH_DIR:-}" ]]; then
        mkdir -p "$BENCH_DIR"
        BENCH_DIR=$(realpath "$BENCH_DIR")
    else
        BENCH_DIR=$(mktemp -d "${TMPDIR:-/tmp}/fai-bench.XXXXXX")
        OWN=$BENCH_DIR
    fi
    WORK=$(mktemp -d "$BENCH_DIR/work.XXXXXX")
    trap 'rm -rf "$WORK" ${OWN:+"$OWN"}' EXIT
    trap 'exit 130' INT TERM
    RESULTS=$WORK/results
    isolate
}

# No settings of the user's, no cache elsewhere, no calls home.
isolate() {
    export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/home XDG_CACHE_HOME=$WORK/home XDG_DATA_HOME=$WORK/home
    mkdir "$HOME"
    export FAI_HOME=$HOME/fai FAI_AUTHOR_NAME=bench FAI_AUTHOR_EMAIL=bench@localhost
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_CEILING_DIRECTORIES=$WORK
    export GIT_AUTHOR_NAME=bench GIT_AUTHOR_EMAIL=bench@localhost GIT_COMMITTER_NAME=bench GIT_COMMITTER_EMAIL=bench@localhost
    # git would tidy up behind our back while the next step is measured.
    export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=gc.auto GIT_CONFIG_VALUE_0=0 GIT_CONFIG_KEY_1=maintenance.auto GIT_CONFIG_VALUE_1=false
    export DVC_NO_ANALYTICS=1 DVC_GLOBAL_CONFIG_DIR=$HOME DVC_SYSTEM_CONFIG_DIR=$HOME DVC_SITE_CACHE_DIR=$HOME
    export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$HOME BORG_BASE_DIR=$HOME BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
}

models() {
    if [[ -n "${MODEL:-}" ]]; then
        [[ -f "$MODEL" ]] || die "no file at MODEL=$MODEL"
        [[ -z "${FINETUNE:-}" || -f "$FINETUNE" ]] || die "no file at FINETUNE=$FINETUNE"
        return
    fi
    [[ -n "$PYTHON" ]] || die "needs python3 with numpy to generate models; or give your own: MODEL=path FINETUNE=path"
    MODEL=$BENCH_DIR/model-$DTYPE-$SIZE_MB.safetensors
    FINETUNE=$BENCH_DIR/finetune-$TUNE-$DTYPE-$SIZE_MB.safetensors
    if [[ ! -f "$MODEL" || ! -f "$FINETUNE" ]]; then
        say "generating $SIZE_MB MiB of $DTYPE and a fine-tune ($TUNE)"
        "$PYTHON" "$BENCH/make_model.py" --size-mb "$SIZE_MB" --dtype "$DTYPE" --tune "$TUNE" "$MODEL" "$FINETUNE"
    fi
}

# A full disk in the middle would say nothing about any tool.
room() {
    local free needed
    free=$(df -B1 --output=avail "$WORK" | tail -n 1)
    needed=$((8 * $(size_of "$MODEL")))
    ((free > needed)) || die "needs $((needed >> 20)) MiB free in $BENCH_DIR, which has $((free >> 20)); say BENCH_DIR=path"
}

installed() {
    echo cp fai
    if have git && git lfs version >/dev/null 2>&1; then echo git_lfs; fi
    if have git && have dvc; then echo dvc; fi
    if have restic; then echo restic; fi
    if have borg; then echo borg; fi
}

versions() {
    "$FAI" version | head -n 1
    local tool
    for tool in "git --version" "git lfs version" "dvc --version" "restic version" "borg --version"; do
        # shellcheck disable=SC2086 # a command with its argument
        if have ${tool%% *}; then $tool 2>/dev/null | head -n 1 | sed "s/^[0-9]/${tool%% *} &/" || true; fi
    done
}

label() { case $1 in cp) echo "cp + sync" ;; git_lfs) echo "git + git-lfs" ;; *) echo "$1" ;; esac; }

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
