# The far side of `trioet install`: one login, in which this side says what comes next.
#
# A request is a line `SIZE SCRIPT [sudo]` and SIZE bytes of tar, which are unpacked beside this
# file; then SCRIPT runs. Answers are lines that begin with TRIOET-INSTALL: ; all else is the talk
# of others. When the connection ends, so does this, and nothing stays of it.
# POSIX sh; needs mktemp, head -c and tar, which busybox has as well.

stage=$(cd "${0%/*}" && pwd) || exit 1
export stage
trap 'rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM PIPE
umask 022

printf '\nTRIOET-INSTALL:ready %s\n' "$stage"
while read -r size script sudo; do
    status=0
    head -c "$size" | tar -C "$stage" -xf - || status=$?
    if [ "$status" = 0 ]; then
        case $sudo in
        sudo) sudo -n sh "$stage/$script.sh" 2>&1 ;;
        *) sh "$stage/$script.sh" 2>&1 ;;
        esac
        status=$?
    else
        echo "TRIOET-INSTALL:problem what was sent did not arrive whole; is ${TMPDIR:-/tmp} full?"
    fi
    printf '\nTRIOET-INSTALL:done %s\n' "$status"
done
