#!/bin/sh
# Keeps one Envoy alive: sh supervisor.sh ENVOY RUN_DIR [ENVOY ARGUMENTS...]
# Envoy dies with its parent (PR_SET_PDEATHSIG), so its parent is this script, in a session of its own, and not the agent.
# It restarts Envoy at once, then ever more slowly (0.2 s doubling to 30 s; from the start again after a minute of life).
envoy=$1 run_dir=$2
shift 2
cd "$run_dir" || exit 1
# Process id and start time: a number alone may belong to somebody else after a reboot.
echo "$$ $(cut -d' ' -f22 "/proc/$$/stat")" > supervisor.pid.new && mv supervisor.pid.new supervisor.pid
child='' stopping=''
trap 'stopping=1; [ -n "$child" ] && kill -TERM "$child" 2>/dev/null' TERM INT HUP
tenths=2
while [ -z "$stopping" ]; do
  started=$(date +%s)
  [ "$(wc -c < envoy.log)" -gt 10000000 ] && cp envoy.log envoy.log.1 && : > envoy.log
  "$envoy" -c bootstrap.json --disable-hot-restart -l warning "$@" < /dev/null >> envoy.log 2>&1 &
  child=$!
  echo "$child" > envoy.pid
  # wait returns early when a signal comes in: wait again until the child is really gone.
  while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
  child=
  [ -n "$stopping" ] && break
  echo "supervisor: Envoy ended with code $code; starting it again" >> envoy.log
  [ $(($(date +%s) - started)) -ge 60 ] && tenths=2
  sleep "$((tenths / 10)).$((tenths % 10))" &
  child=$!
  wait "$child"
  child=
  tenths=$((tenths * 2))
  [ "$tenths" -gt 300 ] && tenths=300
done
rm -f supervisor.pid envoy.pid
