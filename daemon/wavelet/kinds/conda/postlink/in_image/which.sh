#!/usr/bin/env bash
# `which` for images that have none: R looks for programs with it.
status=0
for name in "$@"; do
  [[ $name == -* ]] || type -P "$name" || status=1
done
exit "$status"
