#!/bin/bash
# A Docker engine for the tests, on a machine where no systemd would start one.
#
#   docker.sh up      start the engine unless one answers; prints one line; waits until it answers (30 s at most)
#   docker.sh down    stop the engine that `up` started; leaves any other one alone
#
# The pid and the log lie in $HOMEPORT_TEST_RUN (default /run/homeport-tests). Needs root and Debian's docker.io.
# Its containers can be given GPUs that are not there: a stand-in of NVIDIA's hook lies in bin/, what it knows in gpus/.
set -euo pipefail

run=${HOMEPORT_TEST_RUN:-/run/homeport-tests}
docker=/usr/bin/docker # not the first of the PATH: that may be another client, left over from something else

answers() { $docker version >/dev/null 2>&1; }

up() {
    if answers; then
        echo "docker: an engine answers already, it is used and left as it is"
        return
    fi
    mkdir -p "$run/bin" "$run/gpus"
    # dockerd looks for it once, at its start, and hands its environment on to it.
    install -m 755 "$(dirname "$0")/nvidia_hook.py" "$run/bin/nvidia-container-runtime-hook"
    PATH="$run/bin:$PATH" FAKE_HOOK="$run/gpus" setsid /usr/sbin/dockerd --pidfile "$run/dockerd.pid" >"$run/dockerd.log" 2>&1 </dev/null &
    for _ in $(seq 150); do
        if answers; then
            echo "docker: engine $($docker version -f '{{.Server.Version}}') started, log $run/dockerd.log"
            return
        fi
        sleep 0.2
    done
    echo "docker: the engine does not answer after 30 s; last lines of $run/dockerd.log:" >&2
    tail -n 20 "$run/dockerd.log" >&2
    exit 1
}

down() {
    local pid
    pid=$(cat "$run/dockerd.pid" 2>/dev/null) || return 0
    # A container whose first process ignores SIGTERM would hold the engine for ten seconds.
    $docker ps -q 2>/dev/null | xargs -r $docker kill >/dev/null 2>&1 || true
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 150); do
        [ -d "/proc/$pid" ] || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

case ${1:-} in
up) up ;;
down) down ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
