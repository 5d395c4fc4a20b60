#!/bin/sh
# Starts a program of this bundle with the bundle's own C library, wherever the bundle lies. No program but the shell is
# needed, and no variable that would reach the programs which this one starts in turn.
self=$0
case $self in */*) ;; *) self=./$self ;; esac
while [ -L "$self" ]; do
  target=$(readlink "$self") || exit 127
  case $target in /*) self=$target ;; *) self=${self%/*}/$target ;; esac
done
root=$(cd "${self%/*}/.." && pwd -P) || exit 127

# OpenSSL looks where the machine that built it has its authorities; this one may have them elsewhere, or not at all.
if [ -z "${SSL_CERT_FILE-}${SSL_CERT_DIR-}" ]; then
  for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem \
    "$root/lib/authorities.pem"; do
    if [ -r "$file" ]; then
      export SSL_CERT_FILE="$file"
      break
    fi
  done
fi

exec "$root/libexec/wavelet" --library-path "$root/lib" --argv0 "$root/bin/@NAME@" "$root/libexec/@PROGRAM@" @ARGUMENTS@"$@"
