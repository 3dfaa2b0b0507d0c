#!/usr/bin/env bash
# Installs what Portico needs on Debian 12, and does nothing where it is already there.
#
#   stack/setup.sh          what `make run` needs
#   stack/setup.sh --test   what `make test` needs on top of it
#
# Run by root it installs Debian packages and makes the user that the pieces run as. Run by anyone else it says which
# packages are missing. The virtual environment lives in a cache outside the project, because a clone in /root is
# closed to that user; its path is left in .portico/venv-run or .portico/venv-test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=run
for argument in "$@"; do
    case $argument in
        --test) kind=test ;;
        *) echo "usage: stack/setup.sh [--test]" >&2; exit 2 ;;
    esac
done

user=${PORTICO_USER:-portico}
project=$PWD
if [[ $EUID -eq 0 ]]; then cache=/var/cache/portico; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/portico; fi
mkdir -p "$cache" .portico
log=$cache/setup-$$.log
trap 'rm -f "$log"' EXIT

# Two set-ups at once (`make run` beside `make test`) take turns.
exec 9>"$cache/lock"
if ! flock --nonblock 9; then
    echo "==> Waiting for another set-up on this machine"
    flock 9
fi

# step TEXT COMMAND…: runs the command, shows every few seconds how far it is, and its output only if it fails.
step() {
    local text=$1 begun=$SECONDS running status=0
    shift
    echo "==> $text"
    "$@" >"$log" 2>&1 9>&- &
    running=$!
    while kill -0 "$running" 2>/dev/null; do
        sleep 0.2
        if (( SECONDS - begun >= 5 && (SECONDS - begun) % 5 == 0 )); then
            printf '    %3d s  %.100s\n' $((SECONDS - begun)) "$(tail -n 1 "$log" | tr -d '\r')"
            sleep 1
        fi
    done
    wait "$running" || status=$?
    if (( status != 0 )); then
        tail -n 40 "$log" >&2
        echo "setup: that failed with status $status: $text" >&2
        exit 1
    fi
}

# --- Debian packages -------------------------------------------------------------------------------------------------

packages=(
    freeradius freeradius-utils freeradius-python3 postgresql-15 redis-server python3 python3-venv
    util-linux iproute2 fonts-dejavu-core wkhtmltopdf openvpn wireguard-tools wireguard-go
)
# A node that is there already is as good as Debian's.
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then packages+=(nodejs npm); fi
if [[ $kind == test ]]; then
    packages+=(
        freeradius-postgresql postgresql-contrib                             # the baseline that benchmarks compare with
        chromium                                                             # browser tests
        user-mode-linux ppp pppoe slirp iputils-ping kmod                    # a real PPPoE session
        gcc libc6-dev                                                        # the load generator
        dovecot-imapd                                                        # a mailbox that tickets come from
        poppler-utils procps python3-yaml
    )
fi

missing=()
for package in "${packages[@]}"; do
    if [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true) != installed ]]; then
        missing+=("$package")
    fi
done

install_packages() {
    # Debian starts and enables what it installs. Portico starts its own FreeRADIUS, PostgreSQL and Redis, so services
    # that come with this installation are left off; those that ran here before stay as they are.
    local new_services=() service blocked=no
    for service in freeradius redis-server; do
        if [[ " ${missing[*]} " == *" $service "* ]]; then new_services+=("$service"); fi
    done
    if [[ " ${missing[*]} " == *" postgresql-15 "* ]]; then
        mkdir -p /etc/postgresql-common/createcluster.d
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/portico.conf
    fi
    if (( ${#new_services[@]} )) && [[ ! -e /usr/sbin/policy-rc.d ]]; then
        blocked=yes
        # 101 is "not allowed" to invoke-rc.d; other packages' services are let through.
        printf '#!/bin/sh\ncase "$1" in %s) exit 101 ;; esac\nexit 0\n' "$(IFS='|'; echo "${new_services[*]}")" \
            >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
    fi
    local status=0
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=600 \
        install "${missing[@]}" </dev/null || status=$?
    if [[ $blocked == yes ]]; then rm -f /usr/sbin/policy-rc.d; fi
    if (( status == 0 )) && command -v systemctl >/dev/null; then
        for service in "${new_services[@]}"; do
            systemctl --quiet disable "$service.service" || true
        done
    fi
    return "$status"
}

if (( ${#missing[@]} )); then
    if [[ $EUID -ne 0 ]]; then
        echo "setup: as root, run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    step "Reading Debian's lists of packages" apt-get -q -o DPkg::Lock::Timeout=600 update
    step "Installing ${#missing[@]} Debian packages: ${missing[*]}" install_packages
fi

# --- The user that the pieces run as ---------------------------------------------------------------------------------

if [[ $EUID -eq 0 ]] && ! getent passwd "$user" >/dev/null; then
    echo "==> Making the user $user"
    getent group "$user" >/dev/null || groupadd --system "$user"
    useradd --system --gid "$user" --home-dir /var/lib/portico --no-create-home --shell /usr/sbin/nologin \
        --comment "Portico" "$user"
fi

# --- The virtual environment -----------------------------------------------------------------------------------------

if [[ $kind == test ]]; then requirements=requirements-dev.txt; else requirements=requirements.txt; fi
wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
where=$(printf %s "$project" | sha256sum | cut -c1-8)

# The stamp names the requirements that a virtual environment was last made equal to.
stamped() { [[ -x $1/bin/python ]] && grep -qsx "$wanted" "$1/.portico-requirements"; }

make_venv() {
    /usr/bin/python3 -m venv "$1"
    install_requirements "$1"
}

install_requirements() {
    "$1/bin/python" -m pip install --disable-pip-version-check --progress-bar off --no-input \
        --require-hashes -r "$requirements"
    # Development requirements contain the others at the same versions.
    sha256sum requirements.txt | cut -d' ' -f1 >"$1/.portico-requirements"
    if [[ $kind == test ]]; then echo "$wanted" >>"$1/.portico-requirements"; fi
}

if [[ -d .venv && ! -L .venv ]]; then
    venv=$project/.venv # a developer's own
    if ! stamped "$venv"; then step "Bringing .venv up to $requirements" install_requirements "$venv"; fi
else
    venv=$cache/venv-$where-$kind-${wanted:0:12}
    if ! stamped "$venv"; then
        rm -rf "$venv"
        step "Making a virtual environment with $requirements, a minute or two" make_venv "$venv"
        # Those of older requirements of this same clone are of no more use.
        find "$cache" -maxdepth 1 -name "venv-$where-$kind-*" ! -path "$venv" -exec rm -rf {} +
    fi
    if [[ $kind == test || ! -e .venv ]]; then ln -sfn "$venv" .venv; fi
fi

# The project is put on the path rather than installed: that takes no build, and an edit is in force at once.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [[ $(cat "$site/portico.pth" 2>/dev/null || true) != "$project" ]]; then
    echo "$project" >"$site/portico.pth"
fi
if [[ ! -x $venv/bin/portico ]]; then
    printf '#!%s\nfrom stack.cli import main\n\nmain()\n' "$venv/bin/python" >"$venv/bin/portico"
    chmod 755 "$venv/bin/portico"
fi
echo "$venv" >".portico/venv-$kind"

# --- What the portal's pages load, and their translations ------------------------------------------------------------

wanted_assets=$(cat package-lock.json stack/assets.py | sha256sum | cut -d' ' -f1)
if [[ $(cat portal/static/vendor/.stamp 2>/dev/null || true) != "$wanted_assets" ]]; then
    step "Fetching what the portal's pages load" npm ci --no-audit --no-fund --ignore-scripts
    "$venv/bin/python" -m stack.assets
    echo "$wanted_assets" >portal/static/vendor/.stamp
fi
"$venv/bin/python" -m stack.translations compile
