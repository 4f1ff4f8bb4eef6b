# shellcheck shell=bash
# Measuring, checking and printing. What is measured is in tools.sh, status_tree.sh and savings.sh.
#
# A result is one line of $RESULTS: work, tool, seconds, peak KiB, stored / raw, separated by tabs; "-" where unknown.

say() { printf '%s\n' "$*" >&2; }
die() {
    say "$(basename "$0"): $*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Bytes are to be copied, not shared: some file systems would otherwise make the baseline a no-op.
copy() { cp --reflink=never "$@"; }

size_of() { stat -c %s "$1"; }
stored_in() { du -scb "$@" | tail -n 1 | cut -f 1; }

# Reads files or folders, so that the page cache holds them.
warm() { find "$@" -type f -exec cat {} + >/dev/null; }

# Runs a command of the step being measured. Its peak memory is noted where GNU time is installed.
run() {
    if [[ -n "$GNU_TIME" ]]; then
        "$GNU_TIME" --quiet -a -o "$WORK/peaks" -f %M "$@" >>"$WORK/log" 2>&1
    else
        "$PYTHON" "$BENCH/peak.py" "$WORK/peaks" "$@" >>"$WORK/log" 2>&1
    fi
}

# measure WORK_NAME TOOL STEP [ARGUMENT...]: times a step that starts from a clean disk queue.
measure() {
    local work=$1 tool=$2 started ended
    shift 2
    : >"$WORK/peaks"
    : >"$WORK/log"
    sync
    started=$EPOCHREALTIME
    "$@" || {
        tail -n 20 "$WORK/log" >&2
        die "$tool failed at: $work"
    }
    ended=$EPOCHREALTIME
    PEAK=$(sort -n "$WORK/peaks" | tail -n 1)
    SECONDS_TAKEN=$(awk -v a="${started/,/.}" -v b="${ended/,/.}" 'BEGIN { printf "%.4f", b - a }')
    say "    $work | $tool | $SECONDS_TAKEN s"
}

# record WORK_NAME TOOL [STORED RAW]: writes down what `measure` measured last.
record() {
    local ratio=-
    [[ $# -lt 4 ]] || ratio=$(awk -v s="$3" -v r="$4" 'BEGIN { printf "%.4f", s / r }')
    printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$SECONDS_TAKEN" "${PEAK:--}" "$ratio" >>"$RESULTS"
}

# same WORK_NAME TOOL EXPECTED FOUND: stops everything unless two files or folders hold the same bytes.
same() {
    if [[ -d "$3" ]]; then
        diff -r "$3" "$4" >&2 || die "$2 gave back other bytes: $1"
    else
        cmp "$3" "$4" >&2 || die "$2 gave back other bytes: $1"
    fi
}

machine() {
    local cpu memory
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
    memory=$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)
    printf -- '- CPU: %s, %s cores; memory: %s\n' "${cpu:-unknown}" "$(nproc)" "$memory"
    printf -- '- Kernel: %s; file system: %s\n' "$(uname -sr)" "$(df --output=fstype "$WORK" | tail -n 1)"
    printf -- '- Date: %s; runs: %s, medians; page cache warm\n' "$(date -u +%Y-%m-%d)" "$RUNS"
}

# The table: for every work its tools, the first of them being the one that the others are compared with.
table() {
    printf '| work | tool | median seconds | ratio | stored / raw | peak MiB |\n'
    printf '|---|---|---:|---:|---:|---:|\n'
    awk -F '\t' '
        function median(list, n, i, j, v, x) {
            n = split(list, v, " ")
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) { x = v[j]; v[j] = v[j - 1]; v[j - 1] = x }
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        {
            key = $1 FS $2
            if (!($1 in first)) { first[$1] = key; works[++count] = $1 }
            if (!(key in seconds)) tools[$1] = tools[$1] (tools[$1] == "" ? "" : FS) $2
            seconds[key] = seconds[key] " " $3
            if ($4 != "-" && $4 > peak[key]) peak[key] = $4 + 0
            if ($5 != "-") stored[key] = stored[key] " " $5
        }
        END {
            for (w = 1; w <= count; w++) {
                n = split(tools[works[w]], names, FS)
                base = median(seconds[first[works[w]]])
                for (t = 1; t <= n; t++) {
                    key = works[w] FS names[t]
                    printf "| %s | %s | %.3f | %.2f | %s | %s |\n", works[w], names[t], median(seconds[key]),
                        (base > 0 ? median(seconds[key]) / base : 0),
                        (key in stored ? sprintf("%.3f", median(stored[key])) : "-"),
                        (key in peak ? sprintf("%.0f", peak[key] / 1024) : "-")
                }
            }
        }' "$RESULTS"
}
