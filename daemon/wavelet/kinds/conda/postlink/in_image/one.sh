# Runs one package's post-link script as conda does, in the activated environment: one.sh NAME VERSION BUILD_NUMBER
for each in "$PREFIX"/etc/conda/activate.d/*.sh; do
  [[ -r $each ]] && . "$each"
done
set +eu
export PKG_NAME=$1 PKG_VERSION=$2 PKG_BUILDNUM=$3
export PATH=/.wavelet/bin:$PATH
cd "$PREFIX" || exit 1
exec bash "$PREFIX/bin/.$PKG_NAME-post-link.sh"
