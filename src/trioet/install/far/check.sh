# What would a `trioet connect` find? By the same PATH.
. "${0%/*}/common.sh"

found=$(command -v trioet) || {
    say "problem no trioet is on the PATH of a command run by ssh, though it was installed"
    exit 1
}
said=$("$found" --version </dev/null) && as_terminal=$("$found" terminal --version </dev/null) || {
    say "problem $found does not run"
    exit 1
}
say "fact bin $bin"
say "fact found $found"
say "fact version $said"
say "fact terminal $as_terminal"
