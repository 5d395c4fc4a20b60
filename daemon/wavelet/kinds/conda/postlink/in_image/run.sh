# The first process of the container that post-link scripts run in. It speaks with the daemon on standard input and
# output, in lines that begin with $0, and ends when standard input does: with the daemon, however that ends.
exec 3<&0 </dev/null 2>&1
own=/.wavelet
trap 'exit 1' TERM

say() {
  printf '\n%s %s\n' "$mark" "$*"
}

print() {
  local line
  while IFS= read -r line || [[ -n $line ]]; do
    printf '%s\n' "$line"
  done <"$1"
}

limit() {
  ulimit -c 0
  ulimit -f "$FILE_KILOBYTES"
  ulimit -d "$MEMORY_KILOBYTES"
} 2>/dev/null

mark=$0
say ready
read -r SOURCE_DATE_EPOCH FILE_KILOBYTES MEMORY_KILOBYTES <&3 || exit 1
limit
export SOURCE_DATE_EPOCH
export CONDA_PREFIX=$PREFIX ROOT_PREFIX=$PREFIX PATH=$PREFIX/bin:$PATH
export HOME=$own/home TMPDIR=$own/tmp TZ=UTC
# Bytecode of whatever a script imports is no part of what it installs, and nobody in here may give files away.
export PYTHONDONTWRITEBYTECODE=1 TAR_OPTIONS=--no-same-owner
# R asks for it at this place, which environments have no file at.
[[ -e /usr/bin/which ]] || ln -s "$own/bin/which" /usr/bin/which 2>/dev/null
cd "$PREFIX" || exit 1

main=$$
{
  read -r _
  kill -TERM "$main"
} <&3 &

while IFS=$'\t' read -r name version build <&4; do
  say start "$name"
  bash "$own/one.sh" "$name" "$version" "$build" 3<&- 4<&- &
  wait "$!"
  status=$?
  if [[ -s $PREFIX/.messages.txt ]]; then
    print "$PREFIX/.messages.txt"
    rm -f "$PREFIX/.messages.txt"
  fi
  if [[ -s $own/refused ]]; then
    while IFS= read -r url; do
      say refused "$url"
    done <"$own/refused"
  fi
  say end "$status"
  [[ $status == 0 ]] || break
done 4<"$own/packages"

# Nobody may go on writing while the difference is taken.
[[ $$ == 1 ]] && { kill -KILL -1; wait; } 2>/dev/null
say done
read -r _ <&3
