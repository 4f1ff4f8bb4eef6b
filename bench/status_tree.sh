# shellcheck shell=bash
# Many small files: `fai` beside git on the same tree.

# small_tree FOLDER: 10,000 files of 1 to 2 KB in 100 folders.
small_tree() {
    local folder file body
    printf -v body '%01000d' 0
    for ((folder = 0; folder < 100; folder++)); do
        mkdir -p "$1/folder_$folder"
        for ((file = 0; file < 100; file++)); do
            printf '%d %d\n%s\n%s\n' "$folder" "$file" "$body" "${body:0:$((RANDOM % 1000))}" >"$1/folder_$folder/file_$file.txt"
        done
    done
}

tree_fai_init() { "$FAI" -q init "$D/tree"; }
tree_fai_add() { run "$FAI" -q -C "$D/tree" add . && run "$FAI" -q -C "$D/tree" commit -m tree; }
tree_fai_status() { run "$FAI" -C "$D/tree" status --json; }
tree_fai_clean() { ! tr -d ' \n' <"$WORK/log" | grep -qE '"(staged|modified|deleted|untracked)":\[[^]]'; }
tree_fai_restore() { run "$FAI" -q -C "$D/tree" checkout --to "$1"; }

tree_git_init() { git -C "$D/tree" init -q; }
tree_git_add() { run git -C "$D/tree" add . && run git -C "$D/tree" commit -q -m tree && sync; }
tree_git_status() { run git -C "$D/tree" status --porcelain; }
tree_git_clean() { [[ ! -s "$WORK/log" ]]; }
tree_git_restore() { run git -C "$D/tree" worktree add -q --detach "$1" && sync; }

status_round() {
    local tool again
    for tool in git fai; do
        D=$WORK/small_$tool
        mkdir "$D"
        cp -r "$WORK/small" "$D/tree"
        "tree_${tool}_init"
        # Files as young as the index would have to be read again by both.
        sleep 1.1
        measure "add + commit, 10,000 small files" "$tool" "tree_${tool}_add"
        record "add + commit, 10,000 small files" "$tool"
        sleep 1.1
        "tree_${tool}_status"
        for again in 1 2 3 4 5; do
            measure "status, 10,000 unchanged files" "$tool" "tree_${tool}_status"
            record "status, 10,000 unchanged files" "$tool"
            "tree_${tool}_clean" || die "$tool status run $again calls an unchanged tree changed"
        done
        measure "check out, 10,000 small files" "$tool" "tree_${tool}_restore" "$D/out"
        record "check out, 10,000 small files" "$tool"
        rm -rf "$D/out/.git"
        same "check out, 10,000 small files" "$tool" "$WORK/small" "$D/out"
        rm -rf "$D"
    done
}
