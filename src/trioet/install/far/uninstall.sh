# Remove what install.sh made, as its manifest tells, and nothing else.
. "${0%/*}/common.sh"

umask 022
trap '' HUP INT PIPE
if ! is_ours; then
    say "problem no trioet from \`trioet install\` is in $base"
    exit 1
fi
cp "$manifest" "$stage/manifest" || exit 1

sed -n 's/^unit //p' "$stage/manifest" | while read -r unit; do
    if has_systemd; then $systemctl disable --now trioet; fi
    rm -f "$unit" && say "did removed the service, $unit"
    if has_systemd; then $systemctl daemon-reload; fi
done
sed -n 's/^linger //p' "$stage/manifest" | while read -r user; do
    loginctl disable-linger "$user" && say "did disabled linger for $user"
done
sed -n 's/^link //p' "$stage/manifest" | while read -r link; do
    if leads_to_us "$link"; then rm -f "$link" && say "did removed $link"; fi
done
rm -rf "$base" || {
    say "problem cannot remove $base"
    exit 1
}
say "did removed $base"
sed -n 's/^directory //p' "$stage/manifest" | sed '1!G;h;$!d' | while read -r directory; do
    rmdir "$directory" 2>/dev/null && say "did removed $directory, which was empty"
done
exit 0
