# shellcheck shell=bash
# Where benchmarks work, and on which models. What is done with them is in local.sh and transfer.sh.

SIZE_MB=${SIZE_MB:-1024}
DTYPE=${DTYPE:-bf16}
TUNE=${TUNE:-dense}

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
