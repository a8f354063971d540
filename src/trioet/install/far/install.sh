# Install beside what is there, try it, switch to it, remove what was there before.
#
# All that is slow or can fail comes before the switch, which is one rename; whatever ends this
# before leaves everything as it was. The job says: version, digest, python (path, or nothing:
# uv brings one), uv (path), how (here: the parcel has all; pip, uv: these fetch what it needs),
# parcel (its SHA-256), service (system, user or nothing).
. "${0%/*}/common.sh"

new= watcher= locked= switched=
: >"$stage/made"

fail() {
    say "problem $*"
    exit 1
}

clean_up() {
    trap '' HUP INT TERM PIPE
    # Gone before "done" is said: else it may take the first byte of the next request along.
    [ -z "$watcher" ] || { kill "$watcher" && wait "$watcher"; } 2>/dev/null
    [ -n "$switched" ] || {
        [ -z "$new" ] || rm -rf "$new"
        [ -z "$new" ] || [ -n "$had_python" ] || rm -rf "$base/python"
    }
    [ -z "$locked" ] || rm -rf "$base/lock"
    [ -n "$switched" ] || sed '1!G;h;$!d' "$stage/made" | while read -r directory; do
        rmdir "$directory" 2>/dev/null
    done
}

# The directory, and what it lies in; what was not there is remembered.
make_directory() {
    [ -d "$1" ] && return
    make_directory "$(dirname "$1")" && mkdir "$1" && printf '%s\n' "$1" >>"$stage/made"
}

# One at a time. A lock whose owner is gone is nobody's.
lock() {
    if ! mkdir "$base/lock" 2>/dev/null; then
        owner=$(cat "$base/lock/pid" 2>/dev/null)
        if [ -z "$owner" ] || kill -0 "$owner" 2>/dev/null; then
            fail "another trioet install works in $base (process $owner);" \
                "if that is not so: rm -r $base/lock"
        fi
    fi
    locked=yes
    echo $$ >"$base/lock/pid"
}

# When the connection ends, nobody wants this any more. (With a terminal we are hung up.)
watch_connection() {
    [ ! -t 0 ] || return
    exec 3<&0
    (
        read -r _ <&3
        kill -TERM 0
    ) &
    watcher=$!
    exec 3<&- </dev/null
}

make_environment() {
    if [ -n "$python" ]; then
        "$python" -m venv --without-pip "$new"
    else
        UV_PYTHON_INSTALL_DIR=$base/python UV_NO_CACHE=1 \
            "$uv" venv --python '>=3.11' --python-preference only-managed "$new"
    fi
}

fetch_dependencies() {
    case $how in
    here) ;;
    uv)
        UV_HTTP_TIMEOUT=15 UV_NO_CACHE=1 \
            "$uv" pip install --python "$new/bin/python" -r "$stage/requirements.txt"
        ;;
    pip)
        set -- install --no-cache-dir --no-input --disable-pip-version-check --prefer-binary \
            --retries 1 --timeout 10 -r "$stage/requirements.txt"
        if "$python" -m pip --version >/dev/null 2>&1; then
            "$python" -m pip --python "$new/bin/python" "$@"
        else
            "$new/bin/python" -m ensurepip && "$new/bin/python" -m pip "$@"
        fi
        ;;
    esac
}

# One rename, which mv cannot do: it would move into the directory that the link leads to.
switch_link() {
    "$new/bin/python" -c '
import os, sys
target, link = sys.argv[1:]
os.symlink(target, link + ".new")
os.replace(link + ".new", link)
' "$1" "$2"
}

link_programs() {
    for name in trioet etterminal; do
        if [ -L "$bin/$name" ] && leads_to_us "$bin/$name"; then continue; fi
        if [ -e "$bin/$name" ] || [ -L "$bin/$name" ]; then
            say "did left $bin/$name as it is: it is not from trioet install"
        else
            ln -s "$current/bin/$name" "$bin/$name" || return
            printf 'link %s\n' "$bin/$name" >>"$stage/notes"
            say "did linked $bin/$name"
        fi
    done
}

write_manifest() {
    {
        printf '%s\nversion %s\ndigest %s\n' "$ours" "$version" "$digest"
        {
            sed -n '/^directory /p; /^link /p; /^unit /p; /^linger /p' "$manifest" 2>/dev/null
            sed 's/^/directory /' "$stage/made"
            cat "$stage/notes"
        } | awk '!seen[$0]++'
    } >"$manifest.new" && mv -f "$manifest.new" "$manifest"
}

start_service() {
    unit=$units/trioet.service
    if [ -e "$unit" ] && ! grep -qxF "unit $unit" "$manifest"; then
        say "problem $unit is there already, and not from trioet install; it is as it was"
        return 1
    fi
    make_directory "$units" || return
    "$bin/trioet" serve --print-unit "$service" >"$unit.new" && mv -f "$unit.new" "$unit" || return
    printf 'unit %s\n' "$unit" >>"$stage/notes"
    say "did wrote $unit"
    if ! has_systemd; then
        say "did no systemd runs here: have \`$bin/trioet serve\` started in its own way"
        return
    fi
    if ! { $systemctl daemon-reload && $systemctl enable trioet && $systemctl restart trioet; }; then
        say "problem the service does not start: \`$systemctl status trioet\` says why"
        return 1
    fi
    say "did started the service trioet"
    [ "$service" = user ] || return 0
    user=$(id -un)
    [ ! -e "$root/var/lib/systemd/linger/$user" ] || return 0
    if loginctl enable-linger; then
        printf 'linger %s\n' "$user" >>"$stage/notes"
        say "did enabled linger, so that it runs while you are not logged in"
    else
        say "did could not enable linger: the service ends with your last login there" \
            "(\`sudo loginctl enable-linger $user\`)"
    fi
}

: >"$stage/notes"
umask 022
had_python=
[ ! -d "$base/python" ] || had_python=yes
trap clean_up EXIT
trap 'exit 1' HUP INT TERM PIPE
watch_connection
make_directory "$base" && make_directory "$bin" || fail "cannot make $base and $bin"
lock
number=1 name=$version
while [ -e "$base/$name" ]; do
    number=$((number + 1))
    name=$version-$number
done
new=$base/$name
make_environment || fail "${python:-uv} cannot make a Python environment in $new"
fetch_dependencies || fail "$how could not fetch what trioet needs"
"$new/bin/python" "$stage/settle.py" "$stage/parcel.zip" "$parcel" ||
    fail "cannot unpack trioet in $new"
said=$("$new/bin/trioet" --version) && [ "$said" = "trioet $version" ] ||
    fail "the new trioet does not run: it says \"$said\""
"$new/bin/python" -P -c 'import trioet.cli.keeper, trioet.cli.serve, trioet.cli.connected' ||
    fail 'the new trioet does not run: something that it needs is missing there'

trap '' HUP INT TERM PIPE   # from here on it is quick, and better finished than not
switch_link "$name" "$current" || fail "cannot switch $current to $name"
switched=yes
write_manifest || fail "cannot write $manifest"
say "fact installed $version"
say "did installed trioet $version in $new"
link_programs || fail "cannot link trioet into $bin"
write_manifest
for old in "$base"/*; do
    case $old in
    "$new" | "$current" | "$manifest" | "$base/lock" | "$base/python") ;;
    *)
        rm -rf "$old"
        say "did removed $old"
        ;;
    esac
done
[ -z "$service" ] || start_service || status=1
write_manifest
exit ${status:-0}
