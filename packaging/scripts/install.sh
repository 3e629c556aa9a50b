#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# install.sh -- install a release of smp-server, and later, under the name simplex-servers-update, the
# next one. Where install.sh of the reference was used, this takes its place: identity, queues and
# settings stay.
#
# Order: download; verify the list of checksums by its signature, each file by the list; run the new
# program, and let it check this server's settings and files. Only then the server is stopped, program
# and unit are replaced, and it is started. When it does not answer, the old ones are put back.
set -eu
umask 022

# Filled in by the release: where releases are, and the key that signs them (for gpgv, base64).
BASE_URL=
RELEASE_KEY=

CONFIG=${SMP_SERVER_CFG_PATH:-/etc/opt/simplex}
STATE=${SMP_SERVER_LOG_PATH:-/var/opt/simplex}
BIN=${SIMPLEX_BIN:-/usr/local/bin}
UNITS=${SIMPLEX_UNITS:-/etc/systemd/system}
INFO=${SIMPLEX_INFO:-/etc/opt/simplex-info}
BASE_URL=${SIMPLEX_BASE_URL:-$BASE_URL}
INI=$CONFIG/smp-server.ini
UNIT=smp-server.service
SCRIPTS="simplex-servers-backup simplex-servers-certs simplex-servers-health simplex-servers-stopscript simplex-servers-uninstall"
MORE_UNITS="smp-server-certs.service smp-server-certs.timer" # which run nothing before they are asked to
# Under their names in each of the distributions.
LIBRARIES="libbrotli1 libcurl4 libhttp-parser2.9 libjansson4 libllhttp9.2 libmicrohttpd12 libnghttp2-14 libpq5 libqrencode4 libsodium23 libssl3 libuv1 libwslay1 zlib1g"

me=${0##*/}
say() { echo "$me: $*"; }
fail() {
    echo "$me: $*" >&2
    exit 1
}

usage() {
    cat <<END
usage: install.sh [--smp] [--yes] [--dry-run] [--from FILE|FOLDER]
       simplex-servers-update [all|binaries|download] [--dry-run] [--from FILE|FOLDER]
       simplex-servers-update --to-package

--from FOLDER   a release that was downloaded before; FILE: a program that you have built
--dry-run       verify and check, and change nothing
--yes           ask nothing
all, binaries   program, unit and scripts (the default); the program alone
download        verify a release and leave it in the current folder
--to-package    make way for the Debian package, which is installed already
VER=v0.1.0      a version; the newest without it, and never an older one than is installed
END
}

# ---- where it runs ----

# The name of the program among the files of a release.
asset() {
    # shellcheck disable=SC1090,SC1091
    system=$(. "${SIMPLEX_OS_RELEASE:-/etc/os-release}" && echo "$ID-$VERSION_ID" | tr . _)
    case $system in
    debian-12 | debian-13 | ubuntu-22_04 | ubuntu-24_04) ;;
    *) fail "there is no program for $system, only for Debian 12 and 13, Ubuntu 22.04 and 24.04: build it (README.md), then install.sh --from build/smp-server" ;;
    esac
    case $(dpkg --print-architecture) in
    amd64) echo "smp-server-$system-x86-64" ;;
    arm64) echo "smp-server-$system-aarch64" ;;
    *) fail "there is no program for $(dpkg --print-architecture), only for amd64 and arm64" ;;
    esac
}

has_systemd() { command -v systemctl >/dev/null 2>&1; }
is_active() { has_systemd && systemctl is-active --quiet "$UNIT"; }
installed_version() { sed -n "s/^local_version_smp='\(.*\)'/\1/p" "$INFO/release" 2>/dev/null | tail -n 1; }

# ---- a release ----

fetch() { # NAME
    if [ -d "$from" ]; then
        cp "$from/$1" "$work/$1" 2>/dev/null || fail "$from has no $1"
        return
    fi
    [ -n "$BASE_URL" ] || fail "this copy was not made by a release and knows no address: --from FOLDER, or SIMPLEX_BASE_URL"
    place=releases/latest/download
    [ -z "${VER-}" ] || [ "$VER" = latest ] || place=releases/download/$VER
    curl --fail --silent --show-error --location --proto "=https${SIMPLEX_BASE_URL:+,http}" --max-filesize 200000000 \
        --retry 2 --output "$work/$1" "$BASE_URL/$place/$1" || fail "$1 cannot be downloaded from $BASE_URL (see above): nothing is changed"
}

# fetch, and hold it against the list.
fetch_verified() {
    fetch "$1"
    hash=$(awk -v name="$1" '$2 == name { print $1 }' "$work/_sha256sums")
    [ -n "$hash" ] || fail "the release has no $1: nothing is changed"
    echo "$hash  $work/$1" | sha256sum --check --status || fail "$1 is not what was released: its SHA-256 differs. Nothing is changed"
}

verify_list() {
    fetch _sha256sums
    fetch _sha256sums.asc
    if [ -n "${SIMPLEX_RELEASE_KEY-}" ]; then
        cp "$SIMPLEX_RELEASE_KEY" "$work/key.gpg"
    elif [ -n "$RELEASE_KEY" ]; then
        printf '%s' "$RELEASE_KEY" | base64 -d >"$work/key.gpg"
    else
        fail "this copy has no key to verify releases with: take install.sh of a release, or SIMPLEX_RELEASE_KEY=FILE (as gpg --export makes it)"
    fi
    gpgv --keyring "$work/key.gpg" "$work/_sha256sums.asc" "$work/_sha256sums" >"$work/gpgv" 2>&1 || {
        cat "$work/gpgv" >&2
        fail "_sha256sums has no good signature of the release key: nothing is changed"
    }
}

# A list that was signed once stays signed: neither another version than was asked for, nor an older one.
verify_version() {
    fetch_verified VERSION
    version=$(cat "$work/VERSION")
    before=$(installed_version)
    if [ -n "${VER-}" ] && [ "$VER" != latest ]; then
        [ "$version" = "$VER" ] || fail "the release is $version and not $VER: nothing is changed"
    elif [ -n "$before" ] && [ -e "$work/.ours" ] && [ "$(printf '%s\n%s\n' "$before" "$version" | sort -V | tail -n 1)" != "$version" ]; then
        fail "the newest release is $version, and $before is installed: to go back, VER=$version"
    fi
}

get_release() {
    if [ -f "$from" ]; then
        cp "$from" "$work/smp-server"
        version=built
        return
    fi
    # Versions of the reference are numbers of their own.
    if [ -x "$BIN/smp-server" ] && "$BIN/smp-server" check -h >/dev/null 2>&1; then touch "$work/.ours"; fi
    name=$(asset)
    verify_list
    verify_version
    fetch_verified "$name"
    mv "$work/$name" "$work/smp-server"
    [ "$what" != binaries ] || return 0
    for file in install.sh $SCRIPTS $UNIT $MORE_UNITS; do fetch_verified "$file"; done
    mv "$work/install.sh" "$work/simplex-servers-update"
}

# ---- before anything is stopped ----

# Runs words as who owns the settings, with the right to ports that the unit has.
as_owner() {
    owner=$(stat -c '%u:%g' "$CONFIG")
    if [ "$(id -u)" -eq 0 ] && [ "$owner" != 0:0 ]; then
        set -- setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --clear-groups \
            --inh-caps +net_bind_service --ambient-caps +net_bind_service "$@"
    fi
    "$@"
}

try_new() {
    chmod 755 "$work/smp-server"
    if ! "$work/smp-server" -v >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ] && [ $dry = no ]; then
        libraries=$(for name in $LIBRARIES; do if apt-cache show "$name" >/dev/null 2>&1; then echo "$name"; fi; done | paste -sd ' ')
        say "installing libraries: $libraries"
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $libraries </dev/null >"$work/apt" 2>&1 || cat "$work/apt" >&2
    fi
    said=$("$work/smp-server" -v 2>&1) || fail "the new program does not run here: $said"
    say "new: $said"
    [ -e "$INI" ] || return 0
    if ! as_owner "$work/smp-server" check >"$work/check" 2>&1 && grep '^Error: ' "$work/check" | grep -qv '^Error: ports: '; then
        cat "$work/check" >&2
        fail "the new program would not start with the settings and files of this server (see above): nothing is changed"
    fi
}

differs() { ! cmp -s "$work/$1" "$2/$1"; }
changes() {
    [ ! -e "$work/smp-server" ] || ! differs smp-server "$BIN" || echo smp-server
    for unit in $UNIT $MORE_UNITS; do
        [ ! -e "$work/$unit" ] || ! differs "$unit" "$UNITS" || echo "$unit"
    done
    for script in $SCRIPTS simplex-servers-update; do
        [ ! -e "$work/$script" ] || ! differs "$script" "$BIN" || echo "$script"
    done
}

# ---- replacing ----

make_user_and_folders() {
    if [ "$(id -u)" -eq 0 ] && ! getent passwd smp >/dev/null; then
        useradd --system --no-create-home --home-dir "$STATE" --shell /bin/sh --comment "SMP relay" smp
    fi
    for folder in "$CONFIG" "$STATE"; do
        [ ! -d "$folder" ] || continue
        mkdir -p "$folder"
        chmod 750 "$folder"
        [ "$(id -u)" -ne 0 ] || chown smp:smp "$folder"
    done
}

# replace NAME FOLDER MODE: the old one is NAME.old, and at no moment there is none.
replaced=
replace() {
    cp "$work/$1" "$2/$1.new"
    chmod "$3" "$2/$1.new"
    rm -f "$2/$1.old"
    [ ! -e "$2/$1" ] || ln "$2/$1" "$2/$1.old"
    replaced="$replaced $2/$1"
    mv "$2/$1.new" "$2/$1"
}

undo() {
    for path in $replaced; do
        if [ -e "$path.old" ]; then mv "$path.old" "$path"; else rm -f "$path"; fi
    done
    ! has_systemd || systemctl daemon-reload
}

install_scripts() {
    for script in $SCRIPTS simplex-servers-update; do
        [ -e "$work/$script" ] || continue
        # Of the reference: its other servers go on using them, see simplex-servers-stopscript.
        if [ -e "$BIN/$script" ] && ! grep -q SPDX-License-Identifier "$BIN/$script"; then mv "$BIN/$script" "$BIN/$script.reference"; fi
        cp "$work/$script" "$BIN/$script.new"
        chmod 755 "$BIN/$script.new"
        mv "$BIN/$script.new" "$BIN/$script"
    done
    mkdir -p "$UNITS"
    for unit in $MORE_UNITS; do
        [ ! -e "$work/$unit" ] || install -m 644 "$work/$unit" "$UNITS/$unit"
    done
}

note_version() {
    mkdir -p "$INFO"
    touch "$INFO/release"
    { grep -v '^local_version_smp=' "$INFO/release" || :; echo "local_version_smp='$version'"; } >"$INFO/release.new"
    mv "$INFO/release.new" "$INFO/release"
}

answers() {
    for _ in 1 2 3 4 5 6; do
        if "$BIN/simplex-servers-health" --timeout 10 >"$work/health"; then return 0; fi
        is_active || return 1
        sleep 2
    done
    cat "$work/health" >&2
    return 1
}

# Program and unit, with the server stopped meanwhile.
replace_server() {
    was_active=no
    if is_active; then
        was_active=yes
        trap 'put_back; exit 1' INT TERM HUP
        systemctl stop "$UNIT" || fail "$UNIT could not be stopped: nothing is changed"
    fi
    replace smp-server "$BIN" 755
    if [ -e "$work/$UNIT" ]; then
        replace "$UNIT" "$UNITS" 644
        ! has_systemd || systemctl daemon-reload
    fi
    [ $was_active = yes ] || return 0
    if systemctl start "$UNIT" && answers; then
        trap 'exit 130' INT TERM HUP
        return
    fi
    put_back
    fail "the new version did not come up (journalctl -u smp-server): the old one is put back"
}

put_back() {
    systemctl stop "$UNIT" || :
    undo
    systemctl start "$UNIT" || echo "$me: nor does the old version start: journalctl -u smp-server" >&2
}

next_steps() {
    if [ ! -e "$INI" ]; then
        say 'nothing runs yet. Make your server: su smp -c "smp-server init" (smp-server init -h shows the options)'
        say "then start it: systemctl enable --now smp-server"
    elif ! is_active; then
        say "the server is not running: systemctl start smp-server"
    fi
}

confirm() {
    [ $yes = no ] || return 0
    [ -t 0 ] || [ -n "${SIMPLEX_ASK-}" ] || fail "nobody is there to ask: add --yes"
    echo "Type 1 and Enter to install smp-server $version; anything else ends this."
    read -r answer || answer=
    [ "$answer" = 1 ] || fail "nothing is changed"
}

# ---- to the package ----

to_package() {
    [ -x /usr/bin/smp-server ] || [ -n "${SIMPLEX_PACKAGED-}" ] || fail "the package is not installed: apt install ./smp-server_*.deb"
    packaged=${SIMPLEX_PACKAGED:-/usr/bin/smp-server}
    [ ! -e "$INI" ] || as_owner "$packaged" check >"$work/check" 2>&1 || ! grep '^Error: ' "$work/check" | grep -v '^Error: ports: ' >&2 ||
        fail "the package's program would not start with the settings and files of this server (see above): nothing is changed"
    kept=$STATE/backups/pre-package
    mkdir -p "$kept"
    was_active=no
    ! is_active || was_active=yes
    for path in "$UNITS"/smp-server*.service "$UNITS"/smp-server*.timer "$BIN/smp-server" "$BIN"/simplex-servers-*; do
        [ ! -e "$path" ] || mv "$path" "$kept/"
    done
    systemctl daemon-reload
    if [ $was_active = yes ] && ! systemctl restart "$UNIT"; then
        mv "$kept"/smp-server*.service "$UNITS/"
        [ ! -e "$kept/smp-server-certs.timer" ] || mv "$kept/smp-server-certs.timer" "$UNITS/"
        mv "$kept"/s* "$BIN/"
        systemctl daemon-reload
        systemctl restart "$UNIT" || :
        fail "the package's server did not start (journalctl -u smp-server): all is as it was"
    fi
    say "the package's program and unit are used now; what was in their way is in $kept"
}

# ---- main ----

what=all dry=no yes=no from=
case $me in *update*) yes=yes ;; esac
while [ $# -gt 0 ]; do
    case $1 in
    a | all) what=all ;;
    b | binaries) what=binaries ;;
    d | download) what=download ;;
    --to-package) what=to-package ;;
    --smp) ;;
    --yes | -y) yes=yes ;;
    --dry-run) dry=yes ;;
    --from) from=${2:?--from FILE or FOLDER} && shift ;;
    h | help | -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done
[ -z "$from" ] || [ -e "$from" ] || fail "there is no $from"
[ $dry = yes ] || [ $what = download ] || [ -w "$BIN" ] || fail "needs root: sudo $me"

work=$(mktemp -d "${TMPDIR:-/tmp}/smp-server.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
if [ $what = to-package ]; then
    to_package
    exit
fi
get_release
if [ $what = download ]; then
    cp "$work/smp-server" ./smp-server
    chmod 755 smp-server
    say "verified: ./smp-server is $version"
    exit
fi
try_new
changed=$(changes)
if [ -z "$changed" ]; then
    [ $dry = yes ] || [ "$version" = "$(installed_version)" ] || note_version
    say "$version is installed already"
    next_steps
    exit
fi
say "to be replaced: $(printf '%s\n' "$changed" | paste -sd ' ')"
if [ $dry = yes ]; then exit; fi
confirm
make_user_and_folders
install_scripts
if printf '%s\n' "$changed" | grep -Eqx "smp-server|$UNIT"; then replace_server; fi
note_version
say "$version is installed$([ ! -e "$BIN/smp-server.old" ] || echo ", the program of before is $BIN/smp-server.old")"
next_steps
