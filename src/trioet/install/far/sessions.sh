# Does a keeper run here from this installation? Of other users', only root may be told.
. "${0%/*}/common.sh"

for command in /proc/[0-9]*/cmdline; do
    words=$(tr '\000' ' ' <"$command" 2>/dev/null) || continue
    case $words in
    "$base"/*' keeper '*)
        process=${command%/cmdline}
        say "fact keeper process ${process#/proc/}"
        ;;
    esac
done
exit 0
