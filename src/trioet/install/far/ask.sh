# What is there? Changes nothing.
. "${0%/*}/common.sh"

say "fact system $(uname -s)"
say "fact machine $(uname -m)"
say "fact home $HOME"
say "fact base $base"

musl=$(ldd --version 2>&1 | sed -n 's/^Version \([0-9.]*\).*/\1/p' | head -n 1)
case $(ldd --version 2>&1) in *musl*) say "fact musl $musl" ;; esac

for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    path=$(command -v "$candidate") || continue
    if answer=$("$path" "$stage/ask.py" 2>/dev/null </dev/null); then
        say "python $answer"
    else
        say "broken $path"
    fi
done

for program in uv systemctl; do
    ! path=$(command -v $program) || say "fact $program $path"
done
! has_systemd || say "fact systemd yes"

if [ "$(id -u)" = 0 ]; then
    say 'fact root yes'
elif [ -n "$system" ] && command -v sudo >/dev/null 2>&1; then
    if sudo -n true 2>/dev/null </dev/null; then say 'fact sudo free'; else say 'fact sudo asks'; fi
fi

for name in trioet etterminal; do
    if [ -e "$bin/$name" ] || [ -L "$bin/$name" ]; then
        leads_to_us "$bin/$name" || say "taken $bin/$name"
    fi
done

if is_ours; then
    say "fact installed $(noted version)"
    say "fact digest $(noted digest)"
    version=$("$bin/trioet" --version 2>/dev/null </dev/null) && say "fact works $version"
elif [ -e "$base" ]; then
    say "taken $base"
fi
exit 0
