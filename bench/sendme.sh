# shellcheck shell=bash
# Sendme (iroh) as one of the tools of transfer.sh: without relays, over loopback, in a namespace of its own.

sendme_usable() { have sendme && namespace_usable sendme; }

serve_sendme() {
    local waited=0
    namespace
    mkdir "$WORK/sendme"
    (
        cd "$WORK/sendme"
        # In place of the shell, so that the process id is its own.
        exec "${ENTER[@]}" sendme send --relay disabled --ticket-type addresses --magic-ipv4-addr 127.0.0.1:5555 --no-progress \
            "$WORK/plain/model.safetensors"
    ) >"$WORK/sendme.log" 2>&1 &
    SERVERS+=($!)
    until SENDME_TICKET=$(grep -o 'blob[a-z0-9]\{50,\}' "$WORK/sendme.log" | head -n 1) && [[ -n "$SENDME_TICKET" ]]; do
        waited=$((waited + 1))
        ((waited < 600)) || die "sendme offers nothing: $(tail -n 3 "$WORK/sendme.log")"
        sleep 0.1
    done
}

# It writes a store of its own first and exports from there, into the folder it stands in.
get_sendme() {
    mkdir "$WORK/out" || return
    (cd "$WORK/out" && run "${ENTER[@]}" sendme receive --relay disabled --no-progress "$SENDME_TICKET") && sync
}
