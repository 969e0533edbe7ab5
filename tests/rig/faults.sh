#!/bin/bash
# What goes wrong with a machine of host.sh: its network, its disk, its memory.
#
#   faults.sh cut NAME | mend NAME         every packet is dropped silently (peers see timeouts); undo
#   faults.sh unplug NAME | plug NAME      the cable is out (peers see "no route to host"); in again
#   faults.sh slow NAME KBIT | fast NAME   its link carries so much; undo
#   faults.sh disk NAME MIB                before it starts: so much room for Docker
#   faults.sh memory NAME MIB              so much memory for all that it runs (the kernel kills above it)
set -euo pipefail

hosts=${HOMEPORT_TEST_HOSTS:-/var/cache/homeport-tests/hosts}
name=${2:?the name of a machine}
dir=$hosts/$name
link=hpt-$name

inside() { nsenter -t "$(cat "$dir/pid")" -n "$@"; }

case $1 in
cut)
    inside iptables -w -t raw -I PREROUTING -i eth0 -j DROP
    inside iptables -w -t mangle -I POSTROUTING -o eth0 -j DROP
    ;;
mend)
    inside iptables -w -t raw -D PREROUTING -i eth0 -j DROP
    inside iptables -w -t mangle -D POSTROUTING -o eth0 -j DROP
    ;;
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
disk)
    mkdir -p "$dir/docker"
    truncate -s "${3}M" "$dir/docker.img"
    mkfs.ext4 -q -F "$dir/docker.img"
    mount -o loop "$dir/docker.img" "$dir/docker"
    ;;
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
