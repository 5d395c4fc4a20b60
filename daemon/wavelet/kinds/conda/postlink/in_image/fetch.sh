#!/usr/bin/env bash
# curl and wget for post-link scripts: they hand out the files that the daemon has fetched, and nothing else.
own=/.wavelet
program=${0##*/}
output= directory=. named=
urls=()
[[ $program == wget ]] && named=yes

while (($#)); do
  case $program:$1 in
    *:http://* | *:https://* | *:ftp://*) urls+=("$1") ;;
    curl:--url) urls+=("$2"); shift ;;
    curl:--url=*) urls+=("${1#*=}") ;;
    curl:--output | wget:--output-document) output=$2; shift ;;
    curl:--output=* | wget:--output-document=*) output=${1#*=} ;;
    curl:--output-dir | wget:--directory-prefix | wget:-P) directory=$2; shift ;;
    wget:--directory-prefix=*) directory=${1#*=} ;;
    curl:--remote-name*) named=yes ;;
    *:--*) ;;
    curl:-o?* | wget:-O?*) output=${1:2} ;;
    curl:-*o | wget:-*O) output=$2; shift ;;
    curl:-*O | curl:-*O*) named=yes ;;
    wget:-*O-) output=- ;;
  esac
  shift
done

stored() {
  local url file
  while IFS=$'\t' read -r url file; do
    [[ $url == "$1" ]] && printf '%s' "$own/files/$file" && return
  done <"$own/urls"
  return 1
}

for url in "${urls[@]}"; do
  if ! file=$(stored "$url"); then
    printf '%s\n' "$url" >>"$own/refused"
    printf '%s: %s cannot be fetched: post-link scripts run without a network\n' "$program" "$url" >&2
    exit 6
  elif [[ $output == - || -z $output$named ]]; then
    cat "$file" || exit 23
  elif [[ -n $output ]]; then
    cat "$file" >"$output" || exit 23
  else
    cat "$file" >"$directory/${url##*/}" || exit 23
  fi
done
