#!/usr/bin/env bash
# What families of models take up in each store: copies, git-lfs, dvc, restic, borg, content-defined chunks of 64 KiB as
# Xet cuts them, and fai; README.md says how to read the result.
#
#   savings.sh                 trains a small model and its fine-tunes (make_family.py) and measures those
#   savings.sh DIR...          measures folders of your own: every file below a folder becomes one version after another,
#                              each at its own path
#
#   MILLIONS=8 CHECKPOINTS=10 EVERY=50   what is trained: parameters, checkpoints, steps between them
#   ORDER=name                 or mtime: the order in which files of a folder are added
#   FAI=path                   the program (default target/release/fai)
#   TOOLS="cp fai ..."         default: all that are installed; the first is the one that times are compared with. fai_base
#                              is fai being told that each file comes from the first
#   CHUNKS=path                the built bench content_chunks, or "no"; by default cargo builds and runs it
#   BENCH_DIR=path             where to work (default a new folder in $TMPDIR); trained models stay there
set -euo pipefail
export LC_ALL=C

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=bench/lib.sh
source "$BENCH/lib.sh"
# shellcheck source=bench/models.sh
source "$BENCH/models.sh"
# shellcheck source=bench/tools.sh
source "$BENCH/tools.sh"

RUNS=1
FAI=${FAI:-$BENCH/../target/release/fai}
# cargo keeps what it has downloaded there; the tools that are measured get a home of their own.
USER_HOME=$HOME

trained() {
    local out=$BENCH_DIR/family-${MILLIONS:-8}-${CHECKPOINTS:-10}-${EVERY:-50}
    [[ -n "$PYTHON" ]] || die "needs python3 with numpy to train models; or name folders of your own: savings.sh DIR..."
    # The last file that is written.
    if [[ ! -f "$out/bf16/5-vocabulary.safetensors" ]]; then
        say "training ${MILLIONS:-8} million parameters and fine-tuning them; this takes minutes"
        "$PYTHON" "$BENCH/make_family.py" "$out" --millions "${MILLIONS:-8}" --checkpoints "${CHECKPOINTS:-10}" \
            --every "${EVERY:-50}" || die "could not train models"
    fi
    FAMILIES=("$out/bf16" "$out/f32" "$out/checkpoints")
}

# list FOLDER: its files into FILES, relative and in order.
list() {
    local key='%P'
    if [[ ${ORDER:-name} == mtime ]]; then key='%T@ %P'; fi
    mapfile -d '' -t FILES < <(find "$1" -type f -not -path '*/.*' -printf "$key\0" | sort -z |
        if [[ ${ORDER:-name} == mtime ]]; then sed -z 's/^[^ ]* //'; else cat; fi)
    ((${#FILES[@]} > 0)) || die "no files in $1"
}

raw_bytes() { (cd "$1" && stat -c %s -- "${FILES[@]}") | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

savings_label() {
    case $1 in
    fai_base) echo "fai add --base" ;;
    fai_repack) echo "fai repack --max" ;;
    *) label "$1" ;;
    esac
}

store_size() {
    # shellcheck disable=SC2046 # a list of folders
    stored_in $("${1}_store")
}

# Every file after the first is said to be derived from the first.
fai_base_init() { fai_init; }
fai_base_add() {
    local base=()
    if [[ "$1" != "${FILES[0]}" ]]; then base=(--base "HEAD:${FILES[0]}"); fi
    run "$FAI" -q -C "$D/tree" add "${base[@]}" "$1" && run "$FAI" -q -C "$D/tree" commit -m "$1"
}
fai_base_store() { fai_store; }
fai_base_restore_all() { fai_restore "$1"; }
fai_repack() { run "$FAI" -q -C "$D/tree" repack --max; }

# git-lfs takes what it is told to.
track() {
    local file
    for file in "${FILES[@]}"; do git -C "$D/tree" lfs track --filename "$file" >/dev/null; done
    git -C "$D/tree" add .gitattributes
}

# check FAMILY TOOL: times writing out all versions, and compares every one.
check() {
    local file
    measure "$1: out" "$(savings_label "$2")" "${3:-$2}_restore_all" "$D/out" "${FILES[@]}"
    OUT=$SECONDS_TAKEN
    for file in "${FILES[@]}"; do same "$1" "$2" "$SOURCE/$file" "$D/out/$file"; done
    if [[ $2 == git_lfs ]]; then git -C "$D/tree" worktree remove --force "$D/out"; fi
    rm -rf "$D/out"
}

version() { printf '%s\t%s\t%s\t%s\n' "$@" >>"$WORK/versions"; }
note() { printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$@" >>"$RESULTS"; }

# One row for each encoding that `fai stats` names, and one for chunks that were there before.
causes() {
    "$FAI" -C "$D/tree" stats --json | awk -v family="$1" -v tool="$2" -v OFS='\t' '
        { gsub(/[",:]/, "") }
        $1 == "logical_bytes" { logical = $2 }
        $1 == "unique_bytes" { print family, tool, "identical", "-", logical - $2, 0, logical }
        $2 == "{" && $1 != "encodings" { name = $1 }
        name == "" { next }
        $1 == "chunks" { chunks = $2 }
        $1 == "raw_bytes" { raw = $2 }
        $1 == "stored_bytes" { print family, tool, name, chunks, raw, $2, logical; name = "" }' >>"$WORK/causes"
}

# tool_round FAMILY TOOL: adds all files one after the other and says what the store grew by.
tool_round() {
    local family=$1 tool=$2 file before last size in=0
    D=$WORK/$tool
    mkdir -p "$D/tree"
    : >"$WORK/log"
    "${tool}_init" >>"$WORK/log" 2>&1 || die "$(savings_label "$tool") could not make a repository: $(tail -n 5 "$WORK/log")"
    if [[ $tool == git_lfs ]]; then track; fi
    before=$(store_size "$tool")
    last=$before
    for file in "${FILES[@]}"; do
        mkdir -p "$(dirname "$D/tree/$file")"
        copy "$SOURCE/$file" "$D/tree/$file"
        measure "$family" "$(savings_label "$tool")" "${tool}_add" "$file"
        in=$(awk -v a="$in" -v b="$SECONDS_TAKEN" 'BEGIN { print a + b }')
        size=$(store_size "$tool")
        version "$family/$file" "$(savings_label "$tool")" "$((size - last))" "$(size_of "$SOURCE/$file")"
        last=$size
    done
    check "$family" "$tool"
    note "$family" "$(savings_label "$tool")" "$(($(store_size "$tool") - before))" "$RAW" "$in" "$OUT"
    if [[ $tool == fai || $tool == fai_base ]]; then causes "$family" "$(savings_label "$tool")"; fi
    if [[ $tool == fai ]] && supports repack --max; then
        measure "$family" "$(savings_label fai_repack)" fai_repack
        in=$SECONDS_TAKEN
        check "$family" fai_repack fai
        note "$family" "$(savings_label fai_repack)" "$(($(store_size fai) - before))" "$RAW" "$in" "$OUT"
        causes "$family" "$(savings_label fai_repack)"
    fi
    rm -rf "$D"
}

# Whether this fai has a command with that option.
supports() { "$FAI" "$1" --help 2>/dev/null | grep -q -e "$2"; }

# Content-defined chunks are only counted: nothing is stored, and there is no time to compare.
chunks_round() {
    local program=(cargo bench -q --manifest-path "$BENCH/../Cargo.toml" -p fai-core --bench content_chunks --) paths=() file
    local raw unique stored
    if [[ -n "${CHUNKS:-}" ]]; then program=("$CHUNKS"); fi
    for file in "${FILES[@]}"; do paths+=("$SOURCE/$file"); done
    HOME=$USER_HOME "${program[@]}" "${paths[@]}" >"$WORK/chunks" 2>>"$WORK/log" ||
        die "could not count content-defined chunks (CHUNKS=no leaves them out): $(tail -n 5 "$WORK/log")"
    while IFS=$'\t' read -r raw unique stored file; do
        if [[ $file == total ]]; then
            note "$1" "64 KiB chunks" "$unique" "$RAW" - -
            note "$1" "64 KiB chunks, LZ4" "$stored" "$RAW" - -
        else
            version "$1/${file#"$SOURCE/"}" "64 KiB chunks, LZ4" "$stored" "$raw"
        fi
    done <"$WORK/chunks"
}

family_round() {
    local family tool
    SOURCE=$(realpath "$1")
    # Folders of several runs often have the same name.
    family=$(basename "$(dirname "$SOURCE")")/$(basename "$SOURCE")
    list "$SOURCE"
    RAW=$(raw_bytes "$SOURCE")
    local free
    free=$(df -B1 --output=avail "$WORK" | tail -n 1)
    ((free > 4 * RAW)) || die "needs $((4 * RAW >> 20)) MiB free in $BENCH_DIR, which has $((free >> 20)); say BENCH_DIR=path"
    say "$family: ${#FILES[@]} files, $((RAW / 1000000)) MB"
    warm "$SOURCE"
    for tool in "${tools[@]}"; do tool_round "$family" "$tool"; done
    if [[ "${CHUNKS:-}" != no ]] && { [[ -n "${CHUNKS:-}" ]] || have cargo; }; then chunks_round "$family"; fi
}

# savings_table WHAT RESULTS: bytes and share of raw; families or versions down, tools across.
savings_table() {
    awk -F '\t' -v what="$1" '
        !($1 in raw) { families[++f] = $1; raw[$1] = $4 }
        !($2 in seen) { seen[$2]; names[++n] = $2 }
        { stored[$1, $2] = $3 }
        END {
            printf "| %s | raw MB |", what; for (i = 1; i <= n; i++) if (names[i] !~ /^cp/) printf " %s |", names[i]
            printf "\n|---|---:|"; for (i = 1; i <= n; i++) if (names[i] !~ /^cp/) printf "---:|"
            for (j = 1; j <= f; j++) {
                printf "\n| %s | %.1f |", families[j], raw[families[j]] / 1e6
                for (i = 1; i <= n; i++) if (names[i] !~ /^cp/) {
                    if ((families[j], names[i]) in stored) {
                        s = stored[families[j], names[i]]
                        printf " %.1f (%.3f) |", s / 1e6, s / raw[families[j]]
                    } else printf " |"
                }
            }
            printf "\n"
        }' "$2"
}

times_table() {
    printf '| family | tool | seconds in | ratio | seconds out | ratio |\n|---|---|---:|---:|---:|---:|\n'
    awk -F '\t' '
        $5 == "-" { next }
        !($1 in one) { one[$1] = $5; two[$1] = $6 }
        { printf "| %s | %s | %.2f | %.2f | %.2f | %.2f |\n", $1, $2, $5, $5 / one[$1], $6, $6 / two[$1] }' "$RESULTS"
}

causes_table() {
    printf '| family | by | cause | chunks | raw MB | stored MB | ratio | saved, of all bytes |\n|---|---|---|---:|---:|---:|---:|---:|\n'
    awk -F '\t' '$5 > 0 {
        printf "| %s | %s | %s | %s | %.1f | %.1f | %.3f | %.1f %% |\n", $1, $2, $3, $4, $5 / 1e6, $6 / 1e6, $6 / $5, 100 * ($5 - $6) / $7
    }' "$WORK/causes"
}

main() {
    local folder
    FAMILIES=("$@")
    for folder in "$@"; do [[ -d "$folder" ]] || die "no folder at $folder"; done
    setup
    : >"$RESULTS"
    : >"$WORK/causes"
    : >"$WORK/versions"
    if (($# == 0)); then trained; fi
    read -r -a tools <<<"${TOOLS:-$(installed | tr '\n' ' ')}"
    for folder in "${FAMILIES[@]}"; do family_round "$folder"; done
    machine | sed 's/; runs: .*//'
    printf -- '- Versions: %s\n\n' "$(versions | paste -s -d ';' | sed 's/;/; /g')"
    printf 'Stored, in MB and as a share of raw:\n\n'
    savings_table family "$RESULTS"
    printf '\nWhat each version added:\n\n'
    savings_table version "$WORK/versions"
    printf '\nWhat saved it, in fai:\n\n'
    causes_table
    printf '\nTime to store all versions one after the other and to write all of them out, beside %s:\n\n' \
        "$(savings_label "${tools[0]}")"
    times_table
    printf '\nEvery version was compared with its source byte for byte, but for 64 KiB chunks, which are only counted.\n'
}

main "$@"
