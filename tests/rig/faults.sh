#!/bin/bash
# What goes wrong with a machine of host.sh: its network, its disk, its memory, its engine. Its power: host.sh kill.
#
#   faults.sh cut NAME | mend NAME         every packet is dropped silently (peers see timeouts); undo
#   faults.sh deaf NAME | hear NAME        the same, only of what is sent to it; undo
#   faults.sh mute NAME | speak NAME       the same, only of what it sends; undo
#   faults.sh part NAME PORT... | join NAME PORT...    the same, only to and from these TCP ports of this machine; undo
#   faults.sh unplug NAME | plug NAME      the cable is out (peers see "no route to host"); in again
#   faults.sh slow NAME KBIT | fast NAME   its link carries so much; undo
#   faults.sh hang NAME UNIT... | go NAME UNIT...      the main process of each is stopped (SIGSTOP) all at once; goes on
#   faults.sh disk NAME MIB                before it starts: so much room for Docker
#   faults.sh state NAME MIB               before it starts: so much room for what is ours (/var/lib/homeport)
#   faults.sh fill NAME PATH | free NAME PATH          no byte is free where that folder lies; undo
#   faults.sh memory NAME MIB              so much memory for all that it runs (the kernel kills above it)
set -euo pipefail

hosts=${HOMEPORT_TEST_HOSTS:-/var/cache/homeport-tests/hosts}
name=${2:?the name of a machine}
dir=$hosts/$name
link=hpt-$name

inside() { nsenter -t "$(cat "$dir/pid")" -n "$@"; }
incoming() { inside iptables -w -t raw "$1" PREROUTING -i eth0 "${@:2}" -j DROP; }
outgoing() { inside iptables -w -t mangle "$1" POSTROUTING -o eth0 "${@:2}" -j DROP; }
ports() { # -I|-D PORT...
    local port
    for port in "${@:2}"; do
        incoming "$1" -p tcp --sport "$port"
        outgoing "$1" -p tcp --dport "$port"
    done
}
signal() { # SIGNAL UNIT...
    local unit pids=()
    for unit in "${@:2}"; do pids+=("$(nsenter -t "$(cat "$dir/pid")" -m -p -r -w systemctl show -P MainPID "$unit")"); done
    nsenter -t "$(cat "$dir/pid")" -m -p -r -w kill -"$1" "${pids[@]}"
}
small_disk() { # FOLDER MIB
    mkdir -p "$dir/$1"
    truncate -s "${2}M" "$dir/$1.img"
    mkfs.ext4 -q -F -m 0 "$dir/$1.img"
    mount -o loop "$dir/$1.img" "$dir/$1"
    rmdir "$dir/$1/lost+found"
}

case $1 in
cut)
    incoming -I
    outgoing -I
    ;;
mend)
    incoming -D
    outgoing -D
    ;;
deaf) incoming -I ;;
hear) incoming -D ;;
mute) outgoing -I ;;
speak) outgoing -D ;;
part) ports -I "${@:3}" ;;
join) ports -D "${@:3}" ;;
unplug) ip link set "$link" down ;;
plug)
    ip link set "$link" up
    ;;
slow)
    tc qdisc replace dev "$link" root tbf rate "${3}kbit" burst 32kbit latency 400ms
    inside tc qdisc replace dev eth0 root tbf rate "${3}kbit" burst 32kbit latency 400ms
    ;;
fast)
    tc qdisc del dev "$link" root
    inside tc qdisc del dev eth0 root
    ;;
hang) signal STOP "${@:3}" ;;
go) signal CONT "${@:3}" ;;
disk) small_disk docker "$3" ;;
state) small_disk state "$3" ;;
fill)
    # shellcheck disable=SC2016 # $0 is of that shell
    nsenter -t "$(cat "$dir/pid")" -m -r -w sh -c '
        fallocate -l "$(df -B1 --output=avail "$0" | tail -n 1)" "$0/filled.most" || true
        dd if=/dev/zero of="$0/filled.rest" bs=4k || true # ends with "no space left", as it should
    ' "$3" 2>/dev/null
    ;;
free) nsenter -t "$(cat "$dir/pid")" -m -r -w sh -c "rm -f '$3'/filled.*" ;;
memory)
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        echo "$(($3 << 20))" >"/sys/fs/cgroup/homeport-test-$name/memory.max"
    else
        echo "$(($3 << 20))" >"/sys/fs/cgroup/memory/homeport-test-$name/memory.limit_in_bytes"
    fi
    ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
