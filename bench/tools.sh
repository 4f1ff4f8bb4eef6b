# shellcheck shell=bash
# How each tool does the same things, durably. Every tool has a folder $D, the files it is to store in $D/tree, and:
#   TOOL_init             an empty repository
#   TOOL_add FILE         FILE of the tree becomes part of a new version
#   TOOL_stage FILE       looks at FILE, which did not change
#   TOOL_restore DIR FILE writes FILE of the newest version into the new folder DIR
#   TOOL_restore_all DIR FILE...   writes all files that were added, each as it was added, into the new folder DIR
#   TOOL_store            prints the folders that a version takes space in
# A tool that does not sync by itself is followed by `sync`, for it would otherwise be compared at less work.

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

cp_init() { mkdir -p "$D/store" && COPIES=0; }
cp_add() { COPIES=$((COPIES + 1)) && cp_stage "$1"; }
cp_stage() { run cp --reflink=never "$D/tree/$1" "$D/store/$COPIES.${1//\//+}" && sync; }
cp_restore() { mkdir -p "$1" && run cp --reflink=never "$D/store/$COPIES.$2" "$1/$2" && sync; }
cp_restore_all() {
    local out=$1 number=0 file
    shift
    for file in "$@"; do
        number=$((number + 1))
        mkdir -p "$(dirname "$out/$file")" && run cp --reflink=never "$D/store/$number.${file//\//+}" "$out/$file" || return
    done
    sync
}
cp_store() { echo "$D/store"; }

fai_init() { "$FAI" -q init "$D/tree"; }
fai_add() { fai_stage "$1" && run "$FAI" -q -C "$D/tree" commit -m "$1"; }
fai_stage() { run "$FAI" -q -C "$D/tree" add "$1"; }
fai_restore() { run "$FAI" -q -C "$D/tree" checkout --to "$1"; }
fai_restore_all() { fai_restore "$1"; }
fai_store() { echo "$D/tree/.fai"; }

git_lfs_init() {
    git -C "$D/tree" init -q && git -C "$D/tree" lfs install --local >/dev/null &&
        git -C "$D/tree" lfs track '*.safetensors' >/dev/null && git -C "$D/tree" add .gitattributes
}
git_lfs_add() { run git -C "$D/tree" add "$1" && run git -C "$D/tree" commit -q -m "$1" && sync; }
git_lfs_stage() { run git -C "$D/tree" add "$1" && sync; }
git_lfs_restore() { run git -C "$D/tree" worktree add -q --detach "$1" && sync; }
git_lfs_restore_all() { git_lfs_restore "$1"; }
git_lfs_store() { echo "$D/tree/.git"; }

dvc_init() { git -C "$D/tree" init -q && (cd "$D/tree" && dvc init -q && dvc config core.analytics false); }
dvc_add() {
    (cd "$D/tree" && run dvc add -q "$1") && run git -C "$D/tree" add -A &&
        run git -C "$D/tree" commit -q -m "$1" && sync
}
dvc_stage() { (cd "$D/tree" && run dvc add -q "$1") && sync; }
# Into the same place, as dvc keeps one worktree: the file itself is moved away first.
dvc_restore() { (cd "$D/tree" && rm -- "$2" && run dvc checkout -q "$2.dvc") && sync && mkdir -p "$1" && ln "$D/tree/$2" "$1/$2"; }
dvc_restore_all() {
    local out=$1 file
    shift
    (cd "$D/tree" && rm -- "$@" && run dvc checkout -q) && sync || return
    for file in "$@"; do mkdir -p "$(dirname "$out/$file")" && ln "$D/tree/$file" "$out/$file" || return; done
}
dvc_store() { echo "$D/tree/.dvc $D/tree/.git"; }

restic_init() { restic -q -r "$D/store" init; }
restic_add() { (cd "$D/tree" && run restic -q -r "$D/store" backup "$1") && sync; }
restic_stage() { restic_add "$1"; }
restic_restore() { run restic -q -r "$D/store" restore latest --target "$1" && sync; }
restic_restore_all() {
    local out=$1 file
    shift
    for file in "$@"; do run restic -q -r "$D/store" restore latest --path "$D/tree/$file" --target "$out" || return; done
    sync
}
restic_store() { echo "$D/store"; }

borg_init() { borg init -e none "$D/store"; }
borg_add() { (cd "$D/tree" && run borg create "$D/store::{now:%s%f}" "$1") && sync; }
borg_stage() { borg_add "$1"; }
borg_restore() {
    local newest
    newest=$(borg list --short --last 1 "$D/store") && mkdir -p "$1" && (cd "$1" && run borg extract "$D/store::$newest") && sync
}
borg_restore_all() {
    local archive
    mkdir -p "$1"
    for archive in $(borg list --short "$D/store"); do (cd "$1" && run borg extract "$D/store::$archive") || return; done
    sync
}
borg_store() { echo "$D/store"; }
