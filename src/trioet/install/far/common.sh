# What the scripts here share: where things are, and how to speak. Sourced, by "$stage/...".

stage=${stage:-$(cd "${0%/*}" && pwd)}
. "$stage/job"   # what this side asks for: name='value' lines

if [ -n "$system" ]; then
    base=$root/usr/local/lib/trioet
    bin=$root/usr/local/bin
    units=$root/etc/systemd/system
    systemctl='systemctl'
else
    base=$HOME/.local/share/trioet
    bin=$HOME/.local/bin
    units=$HOME/.config/systemd/user
    systemctl='systemctl --user'
    if [ -z "$XDG_RUNTIME_DIR" ] && [ -d "/run/user/$(id -u)" ]; then
        XDG_RUNTIME_DIR=/run/user/$(id -u)
        export XDG_RUNTIME_DIR
    fi
fi
current=$base/current      # a link to the version in use
manifest=$base/manifest    # what was made, a line each; its first line says by whom
ours='made by trioet install'

say() { printf 'TRIOET-INSTALL:%s\n' "$*"; }

# Whether an installation of ours is there.
is_ours() { [ -f "$manifest" ] && [ "$(head -n 1 "$manifest")" = "$ours" ]; }

# Whether a program is a link into it.
leads_to_us() { case $(readlink "$1") in "$base"/*) true ;; *) false ;; esac }

# The first value that the manifest has under a name.
noted() { [ ! -f "$manifest" ] || sed -n "s|^$1 ||p" "$manifest" | head -n 1; }

has_systemd() { [ -d "$root/run/systemd/system" ] && command -v systemctl >/dev/null 2>&1; }
