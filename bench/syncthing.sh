# shellcheck shell=bash
# Syncthing as one of the tools of transfer.sh: two of them, one with the model and one with an empty folder that is paused
# until the clock runs, as it takes a second to start. They run in a network namespace of their own, with discovery,
# relays, reports and upgrades off.

# Ports of the two, free in a namespace of one's own: what they speak with each other, and their web interfaces.
SYNCTHING_PORTS=(22001 22002)
SYNCTHING_WEB=(8385 8386)

# Whether it can run at all; says why not.
syncthing_usable() { have syncthing && namespace_usable syncthing; }

# syncthing_config HOME MINE FOLDER TYPE PAUSED: keys must have been made; $DEVICES are the ids of both.
syncthing_config() {
    local home=$1 mine=$2 folder=$3 type=$4 paused=$5 other=$((1 - $2))
    cat >"$home/config.xml" <<XML
<configuration version="35">
    <folder id="bench" path="$folder" type="$type" rescanIntervalS="3600" fsWatcherEnabled="false">
        <paused>$paused</paused>
        <device id="${DEVICES[0]}"/><device id="${DEVICES[1]}"/>
    </folder>
    <device id="${DEVICES[mine]}" name="mine"><address>dynamic</address></device>
    <device id="${DEVICES[other]}" name="other"><address>tcp://127.0.0.1:${SYNCTHING_PORTS[other]}</address></device>
    <gui enabled="true"><address>127.0.0.1:${SYNCTHING_WEB[mine]}</address><apikey>bench</apikey></gui>
    <options>
        <listenAddress>tcp://127.0.0.1:${SYNCTHING_PORTS[mine]}</listenAddress>
        <globalAnnounceEnabled>false</globalAnnounceEnabled>
        <localAnnounceEnabled>false</localAnnounceEnabled>
        <relaysEnabled>false</relaysEnabled>
        <natEnabled>false</natEnabled>
        <stunServer></stunServer>
        <urAccepted>-1</urAccepted>
        <crashReportingEnabled>false</crashReportingEnabled>
        <autoUpgradeIntervalH>0</autoUpgradeIntervalH>
        <startBrowser>false</startBrowser>
        <reconnectionIntervalS>1</reconnectionIntervalS>
    </options>
</configuration>
XML
}

syncthing_start() { # HOME
    (
        # In place of the shell, so that the process id is its own.
        exec "${ENTER[@]}" syncthing serve --home="$1" --no-browser --no-restart --no-upgrade --no-default-folder
    ) >"$1/log" 2>&1 &
    SYNCTHING=$!
}

# syncthing_asks MINE PATH [JSON]: what its web interface answers; with JSON that is changed.
syncthing_asks() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    in_namespace bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" &&
        printf "%s %s HTTP/1.0\r\nHost: localhost\r\nX-API-Key: bench\r\nContent-Length: %s\r\n\r\n%s" "$4" "$2" "${#3}" "$3" >&3 && cat <&3' \
        bash "${SYNCTHING_WEB[$1]}" "$2" "${3:-}" "$([[ $# -lt 3 ]] && echo GET || echo PATCH)" 2>/dev/null || true
}

# syncthing_waits MINE PATH PATTERN: until it answers so.
syncthing_waits() {
    local waited=0
    # shellcheck disable=SC2053 # a pattern
    until [[ "$(syncthing_asks "$1" "$2")" == $3 ]]; do
        waited=$((waited + 1))
        ((waited < 3000)) || die "syncthing did not get ready: $(tail -n 3 "$WORK/syncthing-$1/log")"
        sleep 0.2
    done
}

serve_syncthing() {
    local side
    namespace
    DEVICES=()
    for side in 0 1; do
        syncthing generate --home="$WORK/syncthing-$side" --no-default-folder >/dev/null 2>&1 || die "syncthing made no key"
        DEVICES+=("$(syncthing serve --home="$WORK/syncthing-$side" --device-id)")
    done
    mkdir "$WORK/syncthing-plain"
    ln "$WORK/plain/model.safetensors" "$WORK/syncthing-plain/"
    syncthing_config "$WORK/syncthing-0" 0 "$WORK/syncthing-plain" sendonly false
    mkdir "$WORK/syncthing-plain/.stfolder"
    syncthing_start "$WORK/syncthing-0"
    SERVERS+=("$SYNCTHING")
    # It hashes the model before it can offer it.
    syncthing_waits 0 '/rest/db/status?folder=bench' '*"localFiles": 1,*"state": "idle"*'
}

# Before each round: an empty folder and no memory of an earlier one.
syncthing_prepare() {
    rm -rf "$WORK/out"
    mkdir -p "$WORK/out/.stfolder"
    syncthing_config "$WORK/syncthing-1" 1 "$WORK/out" receiveonly true
    syncthing_start "$WORK/syncthing-1"
    syncthing_waits 1 /rest/system/connections '*"connected": true*'
}

# From the end of the pause to the file under its name.
get_syncthing() {
    syncthing_asks 1 /rest/config/folders/bench '{"paused":false}' >>"$WORK/log"
    until [[ -f "$WORK/out/model.safetensors" ]]; do
        if ! kill -0 "$SYNCTHING" 2>/dev/null; then
            tail -n 5 "$WORK/syncthing-1/log" >>"$WORK/log"
            return 1
        fi
        sleep 0.05
    done
    sync
}

# It is two processes; the second may outlive the first a little.
syncthing_stop() {
    kill "$SYNCTHING" 2>/dev/null && wait "$SYNCTHING" 2>/dev/null || true
    while [[ -n "$(syncthing_asks 1 /)" ]]; do sleep 0.1; done
    rm -rf "$WORK/syncthing-1/"index-*
}
