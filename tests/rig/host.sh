#!/bin/bash
# A fresh machine for a test: namespaces of its own (mount, pid, network, uts, ipc, cgroup), a root file system of its own,
# and a way out to the package archives by NAT. Nothing in it sees or holds the outer machine's ports, engine or files.
#
#   host.sh base SUITE OUT.tar [PACKAGE...]    make a root: a minimal Debian with systemd and these (cached by the caller)
#   host.sh disk NAME BASE.tar                 its disk, without starting it: $HOMEPORT_TEST_HOSTS/NAME/root
#   host.sh up NAME BASE.tar systemd|plain NUMBER    start it; systemd or a mere shell as its first process; 10.78.NUMBER.0/30
#   host.sh exec NAME COMMAND...           run a command in it, as its root
#   host.sh kill NAME                          power loss: everything in it dies at once, the disk stays
#   host.sh off NAME                           a clean shutdown, the disk stays
#   host.sh down NAME                          kill it and forget its disk
#
# Disks and pids lie in $HOMEPORT_TEST_HOSTS (default /var/cache/homeport-tests/hosts). Needs root, iproute2, iptables,
# util-linux, and mmdebstrap for `base`. The base is unpacked once, each disk is a layer over it. Machines reach one another
# and this one by their addresses. Not covered: GPUs; broken networks and full disks (faults.sh).
set -euo pipefail

hosts=${HOMEPORT_TEST_HOSTS:-/var/cache/homeport-tests/hosts}
name=${2:-}
dir=$hosts/$name
link=hpt-$name # at most 15 characters

die() {
    echo "host.sh: $*" >&2
    exit 1
}

base() { # SUITE OUT PACKAGE...
    local archive suite=$1 out=$2 packages=systemd,systemd-sysv,dbus
    shift 2
    [ $# -eq 0 ] || packages=$packages$(printf ',%s' "$@")
    # The archive that this machine uses itself; one of the two kinds of files is often not there.
    archive=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -nE '/^#/!s|.*(https?://[^ ]+/debian/?)( .*)?$|\1|p' | sed -n 1p) || true
    [ -n "$archive" ] || die "no Debian archive in /etc/apt"
    mmdebstrap --quiet --variant=minbase --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$out.new.tar" "$archive"
    mv "$out.new.tar" "$out"
}

disk() { # BASE
    local base=$1 layer=${1%.tar}.root path
    mkdir -p "$dir"
    (
        flock 8 # the machines of one test start together
        if [ ! -d "$layer" ] || [ "$base" -nt "$layer" ]; then
            rm -rf "$layer" "$layer.new"
            mkdir "$layer.new"
            tar -xpf "$base" -C "$layer.new" --exclude='./dev/*'
            touch "$layer.new"
            mv "$layer.new" "$layer"
        fi
    ) 8>"$layer.lock"
    mkdir -p "$dir/upper" "$dir/work" "$dir/root" "$dir/docker" "$dir/containerd"
    mountpoint -q "$dir/root" ||
        mount -t overlay "$link" -o "lowerdir=$layer,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
    [ ! -e "$dir/made" ] || return 0
    echo "$name" >"$dir/root/etc/hostname"
    printf '127.0.0.1 localhost %s\n' "$name" >"$dir/root/etc/hosts"
    rm -f "$dir/root/etc/resolv.conf" # a link to nowhere on some distributions
    cp /etc/resolv.conf "$dir/root/etc/resolv.conf"
    # Units that only make noise in namespaces.
    for path in getty.target apt-daily.timer apt-daily-upgrade.timer systemd-logind.service systemd-networkd.service \
        systemd-modules-load.service systemd-resolved.service e2scrub_all.timer e2scrub_reap.service fstrim.timer; do
        ln -sfn /dev/null "$dir/root/etc/systemd/system/$path"
    done
    touch "$dir/made"
}

# One subtree per hierarchy, so that what runs inside has limits of its own. Version 1 here; version 2 is one hierarchy.
hierarchies() {
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else
        local path
        for path in /sys/fs/cgroup/*/; do [ -L "${path%/}" ] || [ -f "$path/cgroup.controllers" ] || echo "${path%/}"; done
    fi
}
enter_cgroups() {
    local path
    while read -r path; do echo $BASHPID >"$path/homeport-test-$name/cgroup.procs"; done < <(hierarchies)
}

first_process() { # what runs in the new namespaces until the new root's own first process takes over
    cat <<'END'
set -e
root=$1 mode=$2 name=$3 go=$4 dir=$5
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
# The engine's layers cannot lie on a layer themselves.
mkdir -p var/lib/docker var/lib/containerd
mount --bind "$dir/docker" var/lib/docker
mount --bind "$dir/containerd" var/lib/containerd
if [ -d "$dir/state" ]; then # a small disk of our own (faults.sh state)
    mkdir -p var/lib/homeport
    mount --bind "$dir/state" var/lib/homeport
fi
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do touch "dev/$device" && mount --bind "/dev/$device" "dev/$device"; done
mkdir dev/pts dev/shm run/lock
chmod 1777 run/lock
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    for path in /sys/fs/cgroup/*/; do
        controller=$(basename "$path")
        [ ! -L "${path%/}" ] && [ ! -f "$path/cgroup.controllers" ] || continue
        mkdir "sys/fs/cgroup/$controller"
        options=$controller
        if [ "$controller" = systemd ]; then options=none,name=systemd; fi
        mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$controller"
    done
    if [ ! -d sys/fs/cgroup/systemd ]; then
        mkdir sys/fs/cgroup/systemd
        mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
    fi
fi
hostname "$name"
read -r _ <"$go" # until the network is there
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old 2>/dev/null || true
cd /
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
if [ "$mode" = systemd ]; then
    exec env -i PATH="$PATH" container=homeport-test SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 \
        SYSTEMD_PROC_CMDLINE="quiet systemd.unified_cgroup_hierarchy=0" /sbin/init
fi
while :; do
    sleep 3600 &
    wait # a shell reaps the orphans that it inherits
done
END
}

up() { # BASE MODE NUMBER
    local base=$1 mode=$2 number=$3 path pid='' child children parent
    [ ! -e "$dir/pid" ] || die "$name is up already"
    disk "$base"
    while read -r path; do
        mkdir -p "$path/homeport-test-$name"
        if [ -f "$path/cpuset.cpus" ]; then # empty in a new group: nothing could run in it
            cat "$path/cpuset.cpus" >"$path/homeport-test-$name/cpuset.cpus"
            cat "$path/cpuset.mems" >"$path/homeport-test-$name/cpuset.mems"
        fi
    done < <(hierarchies)
    first_process >"$dir/first.sh"
    rm -f "$dir/go"
    mkfifo "$dir/go"
    (
        enter_cgroups
        exec setsid unshare --mount --uts --ipc --pid --net --cgroup --fork --kill-child=SIGKILL -- \
            bash "$dir/first.sh" "$dir/root" "$mode" "$name" "$dir/go" "$dir"
    ) >"$dir/console.log" 2>&1 </dev/null &
    parent=$!
    for _ in $(seq 200); do
        # Only unshare's own child will do: it is in the new network from its start. Others come and go before it, and one
        # that ended may stay in the list for ever, as nobody waits for it after the exec.
        read -ra children <"/proc/$parent/task/$parent/children" || true
        for child in "${children[@]}"; do
            if tr '\0' ' ' <"/proc/$child/cmdline" | grep -q 'bash .*first.sh'; then pid=$child; fi
        done 2>/dev/null
        [ -z "$pid" ] || break
        sleep 0.02
    done
    [ -n "$pid" ] || die "$name did not start: $(tail -n 1 "$dir/console.log")"
    echo "$pid" >"$dir/pid"
    echo "$number" >"$dir/number"
    net_up "$pid" "$number"
    echo go >"$dir/go"
    for _ in $(seq 300); do
        if is_ready "$mode"; then
            [ "$mode" != systemd ] || start_failed
            return
        fi
        [ -d "/proc/$pid" ] || die "$name died: $(tail -n 3 "$dir/console.log")"
        sleep 0.1
    done
    die "$name is not ready after 30 s: $(tail -n 3 "$dir/console.log")"
}

is_ready() { # MODE
    if [ "$1" = systemd ]; then
        # It ends with an error when the state is "degraded", which is up all the same.
        { inside systemctl is-system-running 2>/dev/null || true; } | grep -qE 'running|degraded'
    else
        inside test ! -e /.old 2>/dev/null && inside test -e /etc/hostname 2>/dev/null
    fi
}

# Several machines of one kernel that boot at once: now and then a unit cannot enter its control group (219/CGROUP). Among
# them are the one that lets users log in and the one that makes /var's links. Started, not restarted: some of systemd's
# own may not be stopped by hand.
start_failed() {
    local units
    for _ in $(seq 10); do
        units=$(inside systemctl --failed --plain --no-legend | cut -d' ' -f1)
        [ -n "$units" ] || return 0
        # shellcheck disable=SC2086 # a list of words
        inside timeout 20 systemctl start $units 2>/dev/null || sleep 0.2
    done
    echo "host.sh: $name runs without $(echo "$units" | tr '\n' ' ')" >&2
}

net_up() { # PID NUMBER
    local net=10.78.$2
    ip link del "$link" 2>/dev/null || true
    # To a machine that is gone, or whose cable is out, no packet leaves by the default route.
    ip route replace unreachable 10.78.0.0/16 metric 4000
    # The same hardware address after a restart: peers do not wait for an old one to be forgotten.
    ip link add "$link" type veth peer name eth0 address "02:48:50:00:00:$(printf %02x "$2")" netns "$1"
    ip addr add "$net.1/30" dev "$link"
    ip link set "$link" up
    nsenter -t "$1" -n ip link set lo up
    nsenter -t "$1" -n ip addr add "$net.2/30" dev eth0
    nsenter -t "$1" -n ip link set eth0 up
    nsenter -t "$1" -n ip route add default via "$net.1"
    echo 1 >/proc/sys/net/ipv4/ip_forward
    # Each machine has about ten, and all of them are the same user's to the kernel: 128 are enough for a dozen.
    [ "$(cat /proc/sys/fs/inotify/max_user_instances)" -ge 1024 ] || echo 1024 >/proc/sys/fs/inotify/max_user_instances
    rules -I "$2"
}

rules() { # -I|-D NUMBER; a Docker engine makes DROP the policy of FORWARD
    iptables -w "$1" FORWARD -i "$link" -j ACCEPT
    iptables -w "$1" FORWARD -o "$link" -j ACCEPT
    iptables -w -t nat "$1" POSTROUTING -s "10.78.$2.0/30" ! -d 10.78.0.0/16 -j MASQUERADE
}

inside() {
    local pid
    pid=$(cat "$dir/pid" 2>/dev/null) || die "$name is not up"
    (
        enter_cgroups
        exec nsenter -t "$pid" -m -u -i -n -p -C -r -w -- env -i \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
    )
}

kill_host() {
    local pid path
    pid=$(cat "$dir/pid" 2>/dev/null) || return 0
    # No goodbye: the kernel would still close the connections of those that die.
    nsenter -t "$pid" -n iptables -w -t mangle -I POSTROUTING -o eth0 -j DROP 2>/dev/null || true
    kill -KILL "$pid" 2>/dev/null || true
    for _ in $(seq 200); do
        [ -d "/proc/$pid" ] || break
        sleep 0.05
    done
    rules -D "$(cat "$dir/number")" 2>/dev/null || true
    ip link del "$link" 2>/dev/null || true
    rm -f "$dir/pid"
    while read -r path; do
        for _ in $(seq 50); do # the last process may take a moment to leave
            [ -d "$path/homeport-test-$name" ] || break
            find "$path/homeport-test-$name" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
        done
    done < <(hierarchies)
}

off() {
    local pid
    pid=$(cat "$dir/pid" 2>/dev/null) || return 0
    kill -s RTMIN+4 "$pid" 2>/dev/null || true # systemd(1): start poweroff.target; it may have shut itself down
    for _ in $(seq 300); do
        [ -d "/proc/$pid" ] || break
        sleep 0.1
    done
    kill_host
}

case ${1:-} in
base)
    shift
    base "$@"
    ;;
disk) disk "$3" ;;
up) up "$3" "$4" "$5" ;;
exec)
    shift 2
    inside "$@"
    ;;
kill) kill_host ;;
off) off ;;
down)
    [ -n "$name" ] || die "down needs a name"
    kill_host
    if mountpoint -q "$dir/root"; then umount -l "$dir/root"; fi
    for disk in docker state; do if mountpoint -q "$dir/$disk"; then umount -l "$dir/$disk"; fi; done
    rm -rf "$dir"
    ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
