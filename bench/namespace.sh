# shellcheck shell=bash
# A network namespace that has a loopback interface and nothing else, for tools that would look around otherwise.

# Whether one can be made, or why what needs it is left out.
namespace_usable() { # WHAT
    unshare -rn true 2>/dev/null && return 0
    say "$1 is left out: no network namespace can be made here"
    return 1
}

# Makes it, once.
namespace() {
    [[ -z "${NAMESPACE:-}" ]] || return 0
    unshare -rn sleep infinity &
    NAMESPACE=$!
    # What enters it: an array for whatever replaces a shell or measures a program, and cannot run a function.
    ENTER=(nsenter -t "$NAMESPACE" -U -n --preserve-credentials)
    SERVERS+=("$NAMESPACE")
    # Until it is in a namespace of its own, entering it would mean staying here.
    until [[ "$(readlink "/proc/$NAMESPACE/ns/net")" != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.05; done
    in_namespace ip link set lo up
}

in_namespace() { "${ENTER[@]}" "$@"; }
