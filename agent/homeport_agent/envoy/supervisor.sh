#!/bin/sh
# Keeps one Envoy alive: sh supervisor.sh ENVOY RUN_DIR [ENVOY ARGUMENTS...]
# Envoy dies with its parent (PR_SET_PDEATHSIG), so its parent is this script, in a session of its own, and not the agent.
# It restarts Envoy at once, then ever more slowly (0.2 s doubling to 30 s; from the start again after a minute of life).
# It also keeps the access log bounded, so that it is so while the agent is away: access.log is Envoy's, access.log.00000007
# and so on are those before it. No line is lost: Envoy writes into the renamed file until it has opened a new one.
envoy=$1 run_dir=$2
shift 2
cd "$run_dir" || exit 1
# shellcheck disable=SC3045 # dash, bash and busybox have both; who has not goes on with less
ulimit -n "$(ulimit -Hn)" 2>/dev/null # a connection is a file, and one more to its replica
child='' stopping=''
self=$(tr '\0' ' ' < "/proc/$$/cmdline")
end() { # A shell that has forked, and is not yet the program that it becomes, loses a signal: wait until it is.
  while [ "$(tr '\0' ' ' < "/proc/$1/cmdline")" = "$self" ]; do sleep 0.01; done
  kill -TERM "$1"
} 2>/dev/null
trap 'stopping=1; [ -n "$child" ] && end "$child"' TERM INT HUP

log_bytes=${HOMEPORT_ACCESS_LOG_BYTES:-32000000} # of one file
log_files=${HOMEPORT_ACCESS_LOG_FILES:-16}       # that are kept beside the one that is written
log_pause=${HOMEPORT_ACCESS_LOG_PAUSE:-5}

rotate() {
  size=$(stat -c %s access.log 2>/dev/null) || return 0
  [ "$size" -ge "$log_bytes" ] || return 0
  set -- access.log.[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]
  [ -e "$1" ] || set --
  last=
  for older in "$@"; do last=${older##*.}; done
  last=${last#"${last%%[!0]*}"} # without its zeros: they would make it octal
  mv access.log "access.log.$(printf %08d $((${last:-0} + 1)))"
  kill -USR1 "$(cat envoy.pid)" 2>/dev/null # opens access.log anew
  while [ $# -gt 0 ] && [ $# -ge "$log_files" ]; do
    rm -f "$1"
    shift
  done
}

{
  nap=
  trap '[ -n "$nap" ] && kill "$nap" 2>/dev/null; exit 0' TERM
  while kill -0 "$$" 2>/dev/null; do
    sleep "$log_pause" &
    nap=$!
    wait "$nap"
    rotate
  done
} &
rotating=$!

# Process id and start time: a number alone may belong to somebody else after a reboot. From here on it may be told to stop.
echo "$$ $(cut -d' ' -f22 "/proc/$$/stat")" > supervisor.pid.new && mv supervisor.pid.new supervisor.pid
tenths=2
while [ -z "$stopping" ]; do
  started=$(date +%s)
  [ "$(wc -c < envoy.log)" -gt 10000000 ] && cp envoy.log envoy.log.1 && : > envoy.log
  "$envoy" -c bootstrap.json --disable-hot-restart -l warning --file-flush-interval-msec 250 "$@" < /dev/null >> envoy.log 2>&1 &
  child=$!
  [ -n "$stopping" ] && end "$child" # it came before the child had a number
  echo "$child" > envoy.pid
  # wait returns early when a signal comes in: wait again until the child is really gone.
  while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
  child=
  [ -n "$stopping" ] && break
  echo "supervisor: Envoy ended with code $code; starting it again" >> envoy.log
  [ $(($(date +%s) - started)) -ge 60 ] && tenths=2
  sleep "$((tenths / 10)).$((tenths % 10))" &
  child=$!
  [ -n "$stopping" ] && end "$child"
  wait "$child"
  child=
  tenths=$((tenths * 2))
  [ "$tenths" -gt 300 ] && tenths=300
done
while kill "$rotating" 2>/dev/null; do sleep 0.05; done # more than once: see `end`
rm -f supervisor.pid envoy.pid
