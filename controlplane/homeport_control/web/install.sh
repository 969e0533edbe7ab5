#!/bin/sh
# Makes this machine a host of a Homeport server: looks whether it can be one, installs the agent, joins, waits until it is
# connected. Again: repairs, or upgrades to the server's agent. Takes everything away again with --uninstall.
#
# Served by the server itself with its agent. Covers Debian, Ubuntu and the RHEL family, with systemd. What is pinned: the
# line that fetches this script pins the server's key, the token holds the hash of its CA; nothing is sent before that is
# right. pip's settings (pip.conf, PIP_*) and proxies are the machine's own.
set -eu

usage() {
    cat <<'END'
usage: install.sh --join TOKEN --server HOST[:PORT] [--web-port N] [--name NAME] [--label NAME=VALUE]... [--bundle FILE]
                  [--gateway]                                 for gateways only: no Docker, no replicas
       install.sh --check --server HOST[:PORT] [--web-port N]     look only, change nothing
       install.sh --survey --server HOST[:PORT] [--web-port N]    the same, and say what this machine has
       install.sh --upgrade                                       to the server's agent; back when it does not connect
       install.sh --release                                       stop the agent, until the server brings it up again
       install.sh --uninstall [-y]

TOKEN may be - : then it is read from standard input. `homeport fleet join-command` prints the whole line.
--bundle FILE is a file of `homeport bundle`, for a host that reaches no package registry.
END
}

UV_VERSION=0.13.9 # only where the distribution has no Python 3.11 or newer, and the server no uv for this machine
OPT=/opt/homeport
VERSIONS=$OPT/agent # a virtual environment for each build, and `current`
STATE=/var/lib/homeport/agent
UNITS=/etc/systemd/system
OUR_UNITS="homeport-upgrade.path homeport-upgrade.service homeport-agent.service"
SOCKET=/var/run/docker.sock
CONNECT_S=60
GIVE_UP_ENDS=5 # an agent that ended so often right after its start will not connect either
KEPT_BUILDS=2
# Where ensurepip has its wheel of pip: beside itself (a distribution's own may be too old for a Python that it did not bring),
# or where the distribution keeps wheels. Empty: nowhere.
FIND_PIP='import ensurepip, glob, os, sysconfig
folders = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), sysconfig.get_config_var("WHEEL_PKG_DIR") or ""]
folders.append("/usr/share/python-wheels")
found = [path for folder in folders if folder for path in sorted(glob.glob(folder + "/pip-*.whl"), reverse=True)]
print(found[0] if found else "")'
# All that the agent loads. Root does it once, so that it is compiled: the agent cannot write there.
LOAD='import homeport_agent.app, homeport_agent.join, homeport_agent.leaving, homeport_agent.preflight.examine
import cryptography.x509, pynvml'
export DEBIAN_FRONTEND=noninteractive

say() { printf '%-10s %s\n' "$1" "$2"; }
die() { # one line: what happened, why, what to do
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
bad_usage() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 2
}
has() { command -v "$1" >/dev/null 2>&1; }
last_line() { { grep -v '^[[:space:]]*$' "$1" 2>/dev/null || true; } | tail -n 1; }
wait_until() { # SECONDS COMMAND...: 0 as soon as the command succeeds, 1 when the time is over
    until_s=$(($(date +%s) + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$until_s" ] || return 1
        sleep 0.1
    done
}
setting() { sed -n "s/^$1=//p" "$OPT/host.conf" 2>/dev/null || true; } # NAME

# ---------------------------------------------------------------- the server, and what it serves

set_server() { # HOST[:PORT] [WEB_PORT]
    server=${1#https://}
    server=${server%/}
    case $server in
    \[*\]:* | [!\[]*:*) server_host=${server%:*} api_port=${server##*:} ;;
    *) server_host=$server api_port=7400 ;;
    esac
    case $api_port in '' | *[!0-9]*) bad_usage "--server '$1' is no HOST:PORT; for example: --server 192.168.1.10:7400" ;; esac
    web_port=${2:-$((api_port + 2))}
}

get() { # PATH FILE; only from the server whose CA is in $work/ca.pem
    curl -fsS --noproxy '*' --connect-timeout 10 -m 600 --cacert "$work/ca.pem" \
        --connect-to "homeport-server:$web_port:$server_host:$web_port" -o "$2" \
        "https://homeport-server:$web_port$1" 2>"$work/curl.log" ||
        die "the server did not give $1: $(last_line "$work/curl.log"); see its log, then run this again"
}

fetch_ca() { # HASH, as the token has it
    curl -fsSk --noproxy '*' --connect-timeout 10 -m 30 -o "$work/ca.pem" "https://$server_host:$web_port/ca.pem" \
        2>"$work/curl.log" ||
        die "cannot get https://$server_host:$web_port/ca.pem: $(last_line "$work/curl.log"); does the server run" \
            "there, listening on that address (--bind), and may this host reach that port?"
    # The hash is of the DER form: what stands between the two lines of the PEM form.
    found=$(sed -n '/-----BEGIN/,/-----END/{/-----/d;p;}' "$work/ca.pem" | base64 -d 2>/dev/null | sha256sum | cut -d' ' -f1)
    [ "$found" = "$1" ] ||
        die "the server at $server_host is not the one that made this token (its CA is $(echo "$found" | cut -c1-12)…," \
            "the token's $(echo "$1" | cut -c1-12)…): the token was not sent; check the address, or make a new token there"
}

manifest() { sed -n "s/^$1 //p" "$work/manifest"; } # KEY

fetch_agent() { # the manifest, the wheel and the list of what it needs, or all of that out of a bundle
    if [ -n "$bundle" ]; then
        tar -xzf "$bundle" -C "$work" 2>"$work/tar.log" ||
            die "$bundle is no bundle: $(last_line "$work/tar.log"); make one with: homeport bundle"
        get /host/manifest "$work/served"
        theirs=$(sed -n 's/^build //p' "$work/served")
        [ "$theirs" = "$(manifest build)" ] ||
            die "the bundle has the agent $(manifest build), the server $theirs; make a new one with: homeport bundle"
    else
        get /host/manifest "$work/manifest"
        cp "$work/manifest" "$work/served"
        get "/host/$(manifest wheel)" "$work/$(manifest wheel)"
        get /host/requirements.txt "$work/requirements.txt"
        if [ -n "$(manifest bundle)" ]; then
            get /host/bundle.tar.gz "$work/bundle.tar.gz"
            tar -xzf "$work/bundle.tar.gz" -C "$work"
        fi
    fi
    build=$(manifest build)
    [ -n "$build" ] || die "https://$server_host:$web_port/host/manifest names no build; is this a Homeport server?"
}

# ---------------------------------------------------------------- can this machine be a host?

failures=0
good() { say "$1" "$2"; }
bad() { # NAME WHAT FIX
    printf '%-10s FAILED: %s; fix: %s\n' "$1" "$2" "$3" >&2
    failures=$((failures + 1))
}

docker_version() { # empty when no engine answers
    [ -S $SOCKET ] || return 0
    curl -s -m 10 --unix-socket $SOCKET http://docker/version 2>/dev/null | sed -n 's/.*"Version":"\([^"]*\)".*/\1/p' | head -n 1
}

check_system() {
    # shellcheck disable=SC1091 # the distribution's
    system=$(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME") || system="unknown Linux"
    case $(uname -m) in
    x86_64 | aarch64) good system "$system, $(uname -m), kernel $(uname -r)" ;;
    *) bad system "this machine is $(uname -m)" "use a machine with x86_64 or aarch64" ;;
    esac
    release=$(uname -r)
    major=${release%%.*}
    minor=${release#*.}
    minor=${minor%%[!0-9]*}
    if [ "$major" -lt 4 ] || { [ "$major" -eq 4 ] && [ "$minor" -lt 18 ]; }; then
        bad kernel "$release is older than 4.18" "upgrade the distribution"
    fi
    if [ -d /run/systemd/system ]; then good systemd "$(systemctl --version | head -n 1)"; else
        bad systemd "it is not the first process here" "use a machine, not a container, that systemd has started"
    fi
    [ ! -e "$OPT/stamp" ] || bad homeport "./install.sh quickstart made this machine a server with an agent of its own" \
        "nothing to do: it is a host already"
}

check_docker() {
    version=$(docker_version)
    if [ -n "$version" ]; then
        good docker "engine $version answers"
    elif has dockerd; then
        if [ -d /run/systemd/system ] && [ "$(systemctl is-active docker 2>/dev/null)" = active ]; then
            bad docker "the engine runs and does not answer on $SOCKET" "see journalctl -u docker, then: systemctl restart docker"
        else
            good docker "the engine does not run: it will be started"
        fi
    elif has apt-get; then
        good docker "not there: the distribution's docker.io will be installed"
    elif has dnf && dnf -q list --available moby-engine >/dev/null 2>&1; then
        good docker "not there: the distribution's moby-engine will be installed"
    else
        bad docker "there is no engine, and the distribution has no package of it" \
            "install Docker Engine as its makers say (docs.docker.com/engine/install), then run this again"
    fi
}

check_gpus() {
    gpus=0
    for device in /sys/bus/pci/devices/*; do
        # NVIDIA's vendor number, and the classes "VGA" and "3D controller" of PCI.
        [ "$(cat "$device/vendor" 2>/dev/null)" = 0x10de ] || continue
        case $(cat "$device/class" 2>/dev/null) in 0x0300* | 0x0302*) gpus=$((gpus + 1)) ;; esac
    done
    if [ "$gpus" -eq 0 ]; then
        good gpus "none"
        return
    fi
    if [ -e /proc/driver/nvidia/version ]; then
        good driver "$gpus GPUs, $(sed -n 's/^NVRM version: *//p' /proc/driver/nvidia/version)"
    else
        bad driver "$gpus NVIDIA GPUs and no NVIDIA driver" \
            "install it (Ubuntu: ubuntu-drivers install; others: NVIDIA's packages), reboot"
    fi
    if has nvidia-container-runtime-hook || has nvidia-ctk; then
        good toolkit "NVIDIA container toolkit is there"
    else
        bad toolkit "the NVIDIA container toolkit is missing" \
            "install nvidia-container-toolkit from NVIDIA's packages, then: systemctl restart docker"
    fi
}

existing() { # PATH, or the nearest folder above it that exists
    path=$1
    while [ ! -d "$path" ]; do path=$(dirname "$path"); done
    echo "$path"
}
free_mib() { df -Pm "$(existing "$1")" | awk 'NR == 2 {print $4}'; } # PATH
check_disk() {
    check_free "$OPT" 500
    check_free "$STATE" 200
    [ -n "$gateway" ] || check_free /var/lib/docker 2000
}
check_free() { # PATH MIB
    free=$(free_mib "$1")
    if [ "$free" -ge "$2" ]; then good disk "$1: $free MB free"; else
        bad disk "$1 has $free MB free, $2 MB are needed" "free space there"
    fi
}

check_server() {
    for port in "$api_port" "$web_port"; do reach "$port" || return 0; done
    # Which port the agents' sessions have says the server.
    link_port=$(curl -sk --noproxy '*' -m 10 "https://$server_host:$web_port/host/manifest" | sed -n 's/^link_port //p')
    reach "${link_port:-$((api_port + 1))}" || return 0
    good server "$server_host answers on $api_port, ${link_port:-$((api_port + 1))} and $web_port"
}
reach() { # PORT of the server
    code=0
    curl -sk --noproxy '*' --connect-timeout 5 -m 10 -o /dev/null "https://$server_host:$1/" || code=$?
    # Only these say that nobody was reached: two of the ports speak gRPC, which curl takes for a mistake.
    case $code in
    6) bad server "no address is known for $server_host" "check the name, or give the address with --server" ;;
    7) bad server "port $1 of $server_host cannot be reached (refused)" \
        "start the server with --bind on an address that hosts reach, and open that port" ;;
    28) bad server "port $1 of $server_host cannot be reached (no answer in time)" \
        "open that port on the way from here to the server" ;;
    *) return 0 ;;
    esac
    return 1
}

check_clock() { # certificates are not valid yet, or no more, for a clock that is far off
    theirs=$(curl -skI --noproxy '*' -m 10 "https://$server_host:$web_port/healthz" 2>/dev/null | tr -d '\r' | sed -n 's/^[Dd]ate: //p')
    [ -n "$theirs" ] || return 0
    off=$(($(date +%s) - $(date -d "$theirs" +%s 2>/dev/null || date +%s)))
    if [ "${off#-}" -le 240 ]; then good clock "$off s from the server's"; else
        bad clock "it is $off s from the server's" "set it: timedatectl set-ntp true"
    fi
}

check_ports() { # where replicas are published
    range=$(tr '\t' ' ' </proc/sys/net/ipv4/ip_local_port_range) || range="32768 60999"
    if [ "$((${range#* } - ${range% *}))" -ge 1000 ]; then good ports "$range for replicas, on loopback only"; else
        bad ports "only $range are free for replicas" "sysctl -w net.ipv4.ip_local_port_range='32768 60999'"
    fi
}

preflight() {
    check_system
    if [ -z "$gateway" ]; then
        check_docker
        check_gpus
        check_ports
    fi
    check_disk
    check_server
    [ "$failures" -gt 0 ] || check_clock
    [ "$failures" -eq 0 ] || die "$failures of the checks above failed; nothing was changed"
}

# What places replicas on this machine before an agent is on it: read by homeport_protos/ssh/facts.py.
survey() {
    fact hostname "$(uname -n)"
    fact os "$system"
    fact kernel "$(uname -r)"
    fact architecture "$(uname -m)"
    fact cpus "$(nproc)"
    fact memory_mib "$(memory_mib MemTotal)"
    fact memory_available_mib "$(memory_mib MemAvailable)"
    fact disk_total_mib "$(df -Pm "$(existing /var/lib/docker)" | awk 'NR == 2 {print $2}')"
    fact disk_free_mib "$(free_mib /var/lib/docker)"
    fact docker_version "$(docker_version)"
    has nvidia-smi || return 0
    query=uuid,name,memory.total,compute_cap,pci.bus_id,driver_version,mig.mode.current
    if timeout 30 nvidia-smi --query-gpu="$query" --format=csv,noheader,nounits >"$work/gpus" 2>"$work/gpus.log"; then
        sed 's/^/gpu /' "$work/gpus"
    else
        fact gpus_unavailable "nvidia-smi failed: $(cat "$work/gpus" "$work/gpus.log" | tail -n 1)"
    fi
}
fact() { printf 'fact %s %s\n' "$1" "$2"; }
memory_mib() { awk -v key="$1:" '$1 == key {print int($2 / 1024)}' /proc/meminfo; }

# ---------------------------------------------------------------- packages, engine, Python

install_packages() { # PACKAGES
    if has apt-get; then
        apt-get -q -o DPkg::Lock::Timeout=300 update >"$work/packages.log" 2>&1 ||
            die "apt-get update failed: $(last_line "$work/packages.log"); check the network and /etc/apt"
        apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" >"$work/packages.log" 2>&1
    else
        dnf -q install -y "$@" >"$work/packages.log" 2>&1
    fi || die "$* could not be installed: $(last_line "$work/packages.log")"
    say packages "$*: installed; they stay when Homeport goes"
}

ensure_docker() {
    if [ -z "$(docker_version)" ]; then
        if ! has dockerd; then
            if has apt-get; then install_packages docker.io iptables; else install_packages moby-engine; fi
        fi
        systemctl enable -q --now docker >"$work/docker.log" 2>&1 || true
        wait_until 30 engine_answers ||
            die "the Docker engine does not start: $(last_line "$work/docker.log"); see journalctl -u docker"
        say docker "engine $(docker_version) started"
    fi
    getent group docker >/dev/null || groupadd --system docker
}
engine_answers() { [ -n "$(docker_version)" ]; }

find_python() { # sets $python to one that is new enough; empty when there is none
    python=
    for candidate in /usr/bin/python3 /usr/bin/python3.14 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11; do
        if [ -x "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return
        fi
    done
}

ensure_python() {
    find_python
    if [ -z "$python" ]; then
        for version in 3.13 3.12 3.11; do
            if has apt-get && apt-cache show "python$version-venv" >/dev/null 2>&1; then
                install_packages "python$version" "python$version-venv"
            elif has dnf && dnf -q list --available "python$version" >/dev/null 2>&1; then
                install_packages "python$version"
            else continue; fi
            find_python
            break
        done
    fi
    [ -n "$python" ] || python_by_uv
}

fetch_uv() { # sets $uv to a program that runs here; empty: the server has none for this machine
    uv=
    hash=$(sed -n "s/^uv_$(uname -m) //p" "$work/served")
    [ -n "$hash" ] || return 0
    get /host/uv.gz "$work/uv.gz"
    gzip -dc "$work/uv.gz" >"$work/uv" 2>"$work/uv.log" || true
    rm "$work/uv.gz" # /tmp may be memory
    [ "$(sha256sum <"$work/uv" | cut -d' ' -f1)" = "$hash" ] ||
        die "the uv that the server gave is not the one of its manifest; was it upgraded just now? run this again"
    chmod 755 "$work/uv"
    if "$work/uv" --version >/dev/null 2>&1; then uv=$work/uv; fi # /tmp may forbid it
}

python_by_uv() { # a distribution that is too old for us brings at least a Python that can install uv
    if [ -z "$uv" ]; then
        [ -x /usr/bin/python3 ] || install_packages python3
        /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
        { /usr/bin/python3 -m venv "$work/pip" && "$work/pip/bin/pip" install -q "uv==$UV_VERSION"; } >"$work/uv.log" 2>&1 ||
            die "this distribution has no Python 3.11 or newer, and pip could not install uv, which brings one:" \
                "$(last_line "$work/uv.log"); install python3.11 or newer and its venv module, then run this again"
        uv=$work/pip/bin/uv
    fi
    # Not quiet: it would say no reason either.
    if ! UV_PYTHON_INSTALL_DIR=$OPT/python "$uv" python install 3.12 >"$work/uv.log" 2>&1 ||
        ! python=$(UV_PYTHON_INSTALL_DIR=$OPT/python "$uv" python find --managed-python 3.12 2>>"$work/uv.log"); then
        [ -e "$VERSIONS" ] || rm -rf "$OPT"
        die "this distribution has no Python 3.11 or newer, and uv could not bring one" \
            "($(grep -o 'https\{0,1\}://[^`)]*' "$work/uv.log" | head -n 1): $(last_line "$work/uv.log" | sed 's/^ *cause: //'));" \
            "install python3.11 or newer and its venv module, then run this again"
    fi
    say python "$python, brought by uv"
}

# ---------------------------------------------------------------- the agent

ensure_build() { # a virtual environment for the server's build; there is never half of one under its name
    target=$VERSIONS/$build
    if [ -e "$target/homeport-build" ] && "$target/bin/python" -P -c "$LOAD" 2>/dev/null; then
        say agent "$(manifest version), build $build, is there"
        return
    fi
    fetch_uv
    ensure_python
    mkdir -p "$VERSIONS"
    chmod 755 "$OPT" "$VERSIONS"
    began_s=$(date +%s)
    {
        cat "$work/requirements.txt"
        echo "homeport @ file://$work/$(manifest wheel) --hash=sha256:$(manifest wheel_sha256)"
    } >"$work/all.txt"
    wheels=
    if [ -d "$work/wheels" ]; then wheels=$work/wheels; fi
    by=uv
    if [ -z "$uv" ] || ! install_by_uv; then
        by=pip
        install_by_pip
    fi
    if ! "$target/bin/python" -P -c "$LOAD" >"$work/load.log" 2>&1; then
        rm -rf "$target"
        die "the agent's build $build does not start with $python: $(last_line "$work/load.log"); tell whoever runs the server"
    fi
    echo "$build" >"$target/homeport-build"
    say agent "$(manifest version), build $build, installed in $target ($by: $(($(date +%s) - began_s)) s)"
}

install_by_uv() { # about a tenth of pip's time; 1: pip must do it, for whatever reason
    rm -rf "$target"
    # Its cache lies beside what it makes of it, so that nothing is copied.
    "$python" -m venv --without-pip "$target" >"$work/uv.log" 2>&1 &&
        PYTHONPATH=$work/$(manifest wheel) UV_CACHE_DIR=$target/cache UV_LINK_MODE=hardlink "$target/bin/python" \
            -m homeport_agent.uv_install "$uv" "$target/bin/python" "$work/all.txt" ${wheels:+"$wheels"} >"$work/uv.log" 2>&1 &&
        rm -rf "$target/cache"
}

install_by_pip() { # all are named with their hashes: nothing is left to resolve
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        install_packages "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    rm -rf "$target"
    # pip runs out of the wheel that every venv module brings: to install it first would cost as long as all the rest.
    pip=$("$python" -c "$FIND_PIP")
    "$python" -m venv ${pip:+--without-pip} "$target" >"$work/pip.log" 2>&1 ||
        die "python -m venv failed: $(last_line "$work/pip.log")"
    if [ -n "$pip" ]; then pip="$target/bin/python $pip/pip"; else pip="$target/bin/pip"; fi
    # shellcheck disable=SC2086 # a list of words
    if ! $pip install -q --disable-pip-version-check --no-cache-dir --require-hashes --only-binary :all: --no-deps \
        --no-compile ${wheels:+--no-index --find-links "$wheels"} -r "$work/all.txt" >"$work/pip.log" 2>&1; then
        rm -rf "$target"
        die "pip could not install the agent: $(grep -i '^error' "$work/pip.log" | tail -n 1); check the network and" \
            "pip.conf, or bring all of it along: homeport bundle"
    fi
}

use_build() { # BUILD: from the next start on
    ln -sfn "$VERSIONS/$1" "$VERSIONS/current.new"
    mv -T "$VERSIONS/current.new" "$VERSIONS/current"
}

forget_old_builds() { # all but the newest ones
    find "$VERSIONS" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | tail -n +$((KEPT_BUILDS + 1)) | cut -d' ' -f2- |
        while read -r old; do
            [ "$old" = "$(readlink "$VERSIONS/current")" ] || rm -rf "$old"
        done
}

ensure_user() {
    if ! id homeport >/dev/null 2>&1; then
        useradd --system --user-group --no-create-home --home-dir "$STATE" --shell /usr/sbin/nologin homeport
        say user "homeport made"
    fi
    [ -n "$gateway" ] || usermod -aG docker homeport
    mkdir -p "$STATE/upgrade"
    chown homeport:homeport "$STATE" "$STATE/upgrade"
    chmod 700 "$STATE"
}

as_agent() { # COMMAND...
    runuser -u homeport -- "$@"
}

join_server() { # TOKEN
    set -- "$1" --server "$server_host:$api_port" --web-port "$web_port" --state-dir "$STATE"
    token=$1
    shift
    [ -z "$name" ] || set -- "$@" --name "$name"
    for label in $labels; do set -- "$@" --label "$label"; done
    # By the environment: arguments can be read by every user of the machine.
    HOMEPORT_JOIN_TOKEN=$token as_agent "$VERSIONS/$build/bin/python" -P -m homeport_agent join "$@" >"$work/join.log" 2>&1 ||
        die "this host could not join: $(last_line "$work/join.log" | sed 's/^error: //')"
    say join "$(last_line "$work/join.log")"
}

write_units() { # 0 when something changed
    changed=1
    engine=SupplementaryGroups=docker
    capabilities="CAP_SYSLOG CAP_DAC_READ_SEARCH CAP_NET_BIND_SERVICE"
    [ -z "$gateway" ] || engine=Environment=HOMEPORT_DOCKER_SOCKET=none capabilities=CAP_NET_BIND_SERVICE
    # The agent uses the Docker engine, which is as good as root; what can be closed is what it never touches.
    # CAP_SYSLOG: the driver's errors in the kernel's log. CAP_DAC_READ_SEARCH: whether a volume's path is there.
    # CAP_NET_BIND_SERVICE: a gateway's Envoy listens on 80 and 443.
    # Only the agent itself is ended with its unit: Envoy's supervisor lives beside it and must outlive it.
    write_unit homeport-agent.service <<END && changed=0
# Written by Homeport's install.sh; install.sh --uninstall removes it.
[Unit]
Description=Homeport agent
After=network-online.target docker.service
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
User=homeport
$engine
ExecStart=$VERSIONS/current/bin/python -P -m homeport_agent run --state-dir $STATE
Restart=always
RestartSec=1
# Not joined, or removed from its fleet: starting it again is no use.
RestartPreventExitStatus=78
KillMode=process
UMask=0077
NoNewPrivileges=yes
AmbientCapabilities=$capabilities
CapabilityBoundingSet=$capabilities
ProtectSystem=strict
ReadWritePaths=/var/lib/homeport
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
END
    # The agent cannot change what it runs: it asks, by a file, and root does it.
    write_unit homeport-upgrade.path <<END && changed=0
# Written by Homeport's install.sh; install.sh --uninstall removes it.
[Unit]
Description=The Homeport agent asks for an upgrade

[Path]
PathExists=$STATE/upgrade/wanted

[Install]
WantedBy=multi-user.target
END
    write_unit homeport-upgrade.service <<END && changed=0
# Written by Homeport's install.sh; install.sh --uninstall removes it.
[Unit]
Description=Upgrade of the Homeport agent

[Service]
Type=oneshot
ExecStart=/bin/sh $OPT/install.sh --upgrade
TimeoutStartSec=900
END
    [ "$changed" -ne 0 ] || systemctl daemon-reload
    return "$changed"
}

write_unit() { # NAME, its content on standard input: 0 when it is new or changed
    cat >"$work/unit"
    if cmp -s "$work/unit" "$UNITS/$1"; then return 1; fi
    cp "$work/unit" "$UNITS/$1"
    chmod 644 "$UNITS/$1"
}

keep_settings() {
    mkdir -p "$OPT"
    printf 'server=%s\nweb_port=%s\ngateway=%s\n' "$server_host:$api_port" "$web_port" "$gateway" >"$OPT/host.conf.new"
    mv "$OPT/host.conf.new" "$OPT/host.conf"
    cp "$work/install.sh" "$OPT/install.sh.new"
    mv "$OPT/install.sh.new" "$OPT/install.sh"
    if [ ! -e /usr/local/bin/homeport ] && [ ! -L /usr/local/bin/homeport ]; then
        mkdir -p /usr/local/bin
        ln -s "$VERSIONS/current/bin/homeport" /usr/local/bin/homeport
    fi
}

start_agent() { # BUILD: and wait until the server has welcomed it, which the agent notes; $why_not, when it has not
    rm -f "$STATE/connected"
    systemctl reset-failed homeport-agent 2>/dev/null || true
    systemctl enable -q homeport-agent homeport-upgrade.path 2>/dev/null || true
    why_not="did not start"
    systemctl restart homeport-agent || return 1
    why_not="did not connect within $CONNECT_S s"
    wait_until "$CONNECT_S" is_decided "$1" && is_connected "$1"
}
is_decided() { # BUILD
    if is_connected "$1"; then return; fi
    ends=$(systemctl show homeport-agent -p NRestarts --value)
    [ "${ends:-0}" -ge "$GIVE_UP_ENDS" ] || return 1
    why_not="ended $ends times and did not connect"
}
is_connected() { grep -q "\"build\": *\"$1\"" "$STATE/connected"; } # BUILD
# What it said itself; systemd's own words about it have other names.
agent_word() { journalctl -u homeport-agent -t python -n 1 -o cat --no-pager 2>/dev/null | tail -n 1; }

# ---------------------------------------------------------------- the commands

begin() {
    [ "$(id -u)" -eq 0 ] || die "this needs root; put sudo before sh"
    for program in curl tar base64 sha256sum flock; do
        has "$program" || die "$program is missing; install it, then run this again"
    done
    exec 9>/run/lock/homeport-host.lock
    flock -w 60 9 || die "another install.sh has been running for more than a minute; wait for its end, then run this again"
    umask 022
    make_work
}
make_work() {
    work=$(mktemp -d /tmp/homeport-install.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

check_role() { # what it has joined as, it stays
    [ -e "$STATE/identity/server.json" ] && [ "$(setting gateway)" != "$gateway" ] || return 0
    joined_as=$(joined_name)
    [ -n "$gateway" ] || die "this machine is the host $joined_as and runs gateways only; delete these first: homeport gateway delete"
    die "this machine is the host $joined_as of a fleet already; write that name for a gateway on it: host: $joined_as"
}
joined_name() { sed -n 's/.*"name": *"\([^"]*\)".*/\1/p' "$STATE/identity/server.json" 2>/dev/null || true; }

join() {
    [ -n "$server" ] || bad_usage "--server is missing; \`homeport fleet join-command\` prints the whole line"
    [ "$token" != - ] || read -r token || true
    case $token in
    hpj_*_*) ;;
    *) bad_usage "this is no join token (hpj_…); copy it whole from the output of: homeport fleet join-command" ;;
    esac
    began_all_s=$(date +%s)
    begin
    check_role
    set_server "$server" "$given_web_port"
    preflight
    ca_hash=${token#hpj_}
    fetch_ca "${ca_hash%%_*}"
    fetch_agent
    get /install.sh "$work/install.sh"
    [ -n "$gateway" ] || ensure_docker
    ensure_build
    ensure_user
    join_server "$token"
    keep_settings
    was=$(readlink "$VERSIONS/current" 2>/dev/null) || was=
    use_build "$build"
    if write_units || [ "$was" != "$VERSIONS/$build" ] || ! is_connected "$build" 2>/dev/null ||
        ! systemctl is-active -q homeport-agent; then
        start_agent "$build" ||
            die "the agent $why_not: $(agent_word); see journalctl -u homeport-agent"
        systemctl start homeport-upgrade.path >"$work/path.log" 2>&1 ||
            say note "the server cannot upgrade this agent by itself: $(last_line "$work/path.log")"
    fi
    forget_old_builds
    say connected "the server at $server_host has this host now ($(($(date +%s) - began_all_s)) s)"
}

upgrade() { # by systemd, when the agent asks; what came of it is told to the agent by a file
    begin
    if (
        set_server "$(setting server)" "$(setting web_port)"
        cp "$STATE/identity/ca.pem" "$work/ca.pem" || die "this host has not joined a server"
        get /install.sh "$work/install.sh"
    ) 2>"$work/upgrade.log"; then :; else
        tell_result "failed: $(last_line "$work/upgrade.log" | sed 's/^install.sh: //')"
        die "$(cat "$STATE/upgrade/result")"
    fi
    # The newer script knows what the newer agent needs.
    if sh "$work/install.sh" --upgrade-now 9>&- >"$work/upgrade.log" 2>&1; then
        tell_result ok
    else
        code=$?
        result=$(last_line "$work/upgrade.log")
        tell_result "failed: ${result#install.sh: }"
    fi
    cat "$work/upgrade.log"
    return "${code:-0}"
}

tell_result() { # WORDS: for the agent that asked, or the one that comes after it
    printf '%s %s\n' "$(cat "$STATE/upgrade/wanted" 2>/dev/null || cut -d' ' -f1 "$STATE/upgrade/result")" "$1" >"$work/result"
    install -o homeport -g homeport -m 600 "$work/result" "$STATE/upgrade/result"
    rm -f "$STATE/upgrade/wanted"
}

upgrade_now() { # when it fails, the last line of what it prints says why
    [ "$(id -u)" -eq 0 ] || die "this needs root"
    umask 022
    make_work
    set_server "$(setting server)" "$(setting web_port)"
    gateway=$(setting gateway)
    cp "$STATE/identity/ca.pem" "$work/ca.pem" || die "this host has not joined a server"
    fetch_agent
    get /install.sh "$work/install.sh"
    old=$(basename "$(readlink "$VERSIONS/current")")
    ensure_build
    mkdir "$work/units"
    for unit in $OUR_UNITS; do cp "$UNITS/$unit" "$work/units/"; done # what stands beside them (*.service.d) is the owner's
    write_units || true
    use_build "$build"
    if start_agent "$build"; then
        keep_settings
        forget_old_builds
        return
    fi
    why=$(agent_word)
    cp "$work/units"/* "$UNITS/"
    systemctl daemon-reload
    use_build "$old"
    why="build $build $why_not, back to $old: ${why:-it said nothing}"
    tell_result "failed: $why" # before the old one starts: it tells the server
    start_agent "$old" || true
    [ "$build" = "$old" ] || rm -rf "${VERSIONS:?}/$build"
    die "$why"
}

containers_of() { # SERVER-ID
    curl -s -m 60 --unix-socket $SOCKET -G --data-urlencode 'all=1' \
        --data-urlencode "filters={\"label\":[\"homeport.server=$1\"]}" http://docker/containers/json |
        grep -o '"Id":"[0-9a-f]*"' | cut -d'"' -f4
}

stop_envoys() { # they live by themselves, not by the agent
    if [ -d "$STATE/envoy" ] && [ -x "$VERSIONS/current/bin/python" ]; then
        say envoy "$(as_agent "$VERSIONS/current/bin/python" -P -m homeport_agent.envoy stop --state-dir "$STATE" 2>&1 | tail -n 1)"
    fi
}

release() {
    begin
    systemctl disable -q --now homeport-upgrade.path homeport-agent.service 2>"$work/units.log" ||
        die "the agent could not be stopped: $(last_line "$work/units.log")"
    say agent "stopped"
    stop_envoys
}

uninstall() {
    begin
    [ ! -e "$OPT/stamp" ] || die "./install.sh quickstart made this machine a server: take that away with ./install.sh uninstall"
    if [ ! -e "$VERSIONS" ] && [ ! -e "$STATE" ] && [ ! -e "$UNITS/homeport-agent.service" ]; then
        say homeport "nothing of it is here"
        return
    fi
    if [ -z "$yes" ]; then
        [ -t 0 ] || die "--uninstall removes the agent, its containers and its files, no named volumes; say so with: --uninstall -y"
        printf 'Remove the Homeport agent, all that it runs here and its files? [y/n] '
        read -r answer
        case $answer in y | Y | yes) ;; *) die "nothing was removed" ;; esac
    fi
    host_name=$(joined_name)
    server_id=$(sed -n 's/.*"server_id": *"\([^"]*\)".*/\1/p' "$STATE/identity/server.json" 2>/dev/null) || server_id=
    # The agent first: it would start again what is removed. Its Envoy lives by itself.
    for unit in $OUR_UNITS; do
        systemctl disable -q --now "$unit" 2>/dev/null || true
        rm -f "$UNITS/$unit"
    done
    systemctl daemon-reload
    systemctl reset-failed homeport-agent.service 2>/dev/null || true
    say agent "stopped"
    stop_envoys
    if [ -n "$server_id" ] && engine_answers; then
        count=0
        for id in $(containers_of "$server_id"); do
            curl -sf -m 60 --unix-socket $SOCKET -X DELETE "http://docker/containers/$id?force=1" >/dev/null ||
                die "container $id could not be removed; see journalctl -u docker, then run this again"
            count=$((count + 1))
        done
        say containers "$count removed"
        volumes=$(curl -s -m 60 --unix-socket $SOCKET -G \
            --data-urlencode "filters={\"label\":[\"homeport.server=$server_id\"]}" http://docker/volumes |
            grep -o '"Name":"[^"]*"' | cut -d'"' -f4 | tr '\n' ' ')
        [ -z "$volumes" ] || say left "named volumes with their data; remove them with: docker volume rm $volumes"
    fi
    [ "$(readlink /usr/local/bin/homeport 2>/dev/null)" != "$VERSIONS/current/bin/homeport" ] || rm -f /usr/local/bin/homeport
    if id homeport >/dev/null 2>&1; then userdel homeport >/dev/null 2>&1 || true; fi
    rm -rf "$OPT" "$STATE"
    rmdir /var/lib/homeport 2>/dev/null || true
    rm -f /run/lock/homeport-host.lock
    say files "$OPT, $STATE and the units are removed"
    [ -z "$host_name" ] || say server "it still lists this host; take it out there with: homeport fleet delete $host_name --force"
    say homeport "uninstalled"
}

main() {
    command='' token='' server='' given_web_port='' name='' labels='' bundle='' gateway='' yes=''
    while [ $# -gt 0 ]; do
        case $1 in
        --join | --server | --web-port | --name | --label | --bundle)
            [ $# -ge 2 ] || bad_usage "$1 wants a value"
            case $1 in
            --join) command=join token=$2 ;;
            --server) server=$2 ;;
            --web-port) given_web_port=$2 ;;
            --name) name=$2 ;;
            --label) labels="$labels $2" ;;
            --bundle) bundle=$2 ;;
            esac
            shift
            ;;
        --gateway) gateway=1 ;;
        --check) command=check ;;
        --survey) command=survey ;;
        --upgrade) command=upgrade ;;
        --upgrade-now) command=upgrade-now ;;
        --release) command=release ;;
        --uninstall) command=uninstall ;;
        -y | --yes) yes=1 ;;
        -h | --help)
            usage
            exit
            ;;
        *) bad_usage "$1 is not known; see --help" ;;
        esac
        shift
    done
    case $command in
    join) join ;;
    check)
        begin
        set_server "${server:?--server is missing}" "$given_web_port"
        preflight
        say host "this machine can be a host"
        ;;
    survey)
        begin
        set_server "${server:?--server is missing}" "$given_web_port"
        preflight
        survey
        ;;
    upgrade) upgrade ;;
    upgrade-now) upgrade_now ;;
    release) release ;;
    uninstall) uninstall ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
}

main "$@" # all of it is read before any of it runs: a download that was cut off does nothing
