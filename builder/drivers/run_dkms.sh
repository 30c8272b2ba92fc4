# What dkms does with a dkms.conf (read_conf, is_module_buildable and actual_build of dkms 3.0.10), for the one that cannot be
# read without being run. It runs where everything of a driver runs: in the compile's container, on a copy of its source.
# Arguments: "check" (is this kernel excluded?) or "run" (build as well), and the file.
mode=$1
conf=$2
kernelver=$KERNEL_FULL_VERSION
kernel_source_dir=$KERNEL_SRC_DIR
case $kernelver in
*x86_64* | *amd64) arch=x86_64 ;;
*aarch64* | *arm64) arch=aarch64 ;;
*ppc64le*) arch=ppc64le ;;
*) arch=s390x ;;
esac
dkms_tree=/var/lib/dkms
source_tree=/usr/src
parallel_jobs=$(nproc)
here=$PWD
config=$kernel_source_dir/.config
say() { echo "driver-container: $*"; }
excluded() {
    say "dkms excludes this kernel: $*"
    exit 77
}
comparable() { echo "$1" | sed -E 's/[0-9]+/0000000000&/g; s/0*([0-9]{10})/\1/g'; }
read_conf() {
    local text="$conf"
    module=$(sed -n 's/^PACKAGE_NAME=["'\'']\?\([A-Za-z0-9_.+-]*\).*/\1/p' "$text" | head -n 1)
    module_version=$(sed -n 's/^PACKAGE_VERSION=["'\'']\?\([A-Za-z0-9_.+~:-]*\).*/\1/p' "$text" | head -n 1)
    . "$text" </dev/null
}
read_conf
cd "$here" || exit 3
[ -z "$BUILD_EXCLUSIVE_KERNEL" ] || [[ $kernelver =~ $BUILD_EXCLUSIVE_KERNEL ]] ||
    excluded "BUILD_EXCLUSIVE_KERNEL '$BUILD_EXCLUSIVE_KERNEL' does not match $kernelver"
[ -z "$BUILD_EXCLUSIVE_KERNEL_MIN" ] || ! [[ $(comparable "$kernelver") < $(comparable "$BUILD_EXCLUSIVE_KERNEL_MIN") ]] ||
    excluded "$kernelver is older than BUILD_EXCLUSIVE_KERNEL_MIN $BUILD_EXCLUSIVE_KERNEL_MIN"
[ -z "$BUILD_EXCLUSIVE_KERNEL_MAX" ] || ! [[ $(comparable "$kernelver") > $(comparable "$BUILD_EXCLUSIVE_KERNEL_MAX") ]] ||
    excluded "$kernelver is newer than BUILD_EXCLUSIVE_KERNEL_MAX $BUILD_EXCLUSIVE_KERNEL_MAX"
[ -z "$BUILD_EXCLUSIVE_ARCH" ] || [[ $arch =~ $BUILD_EXCLUSIVE_ARCH ]] ||
    excluded "BUILD_EXCLUSIVE_ARCH '$BUILD_EXCLUSIVE_ARCH' does not match $arch"
for wanted in $BUILD_EXCLUSIVE_CONFIG; do
    # Without the kernel's configuration dkms does not exclude anything either.
    [ -r "$config" ] || break
    case $wanted in
    !*) ! grep -q "^${wanted#!}=[ym]" "$config" || excluded "BUILD_EXCLUSIVE_CONFIG $wanted: the kernel has it" ;;
    *) grep -q "^$wanted=[ym]" "$config" || excluded "BUILD_EXCLUSIVE_CONFIG $wanted: the kernel does not have it" ;;
    esac
done
[ "$mode" = run ] || exit 0

[ ${#PATCH[@]} = 0 ] || { say "PATCH of $conf is not followed: apply patches in the driver's source"; exit 3; }
mkdir -p "$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION"
ln -sfn "$here" "$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/build"
ln -sfn "$here" "$dkms_tree/$PACKAGE_NAME/$PACKAGE_VERSION/source"
[ -e "$source_tree/$PACKAGE_NAME-$PACKAGE_VERSION" ] || ln -s "$here" "$source_tree/$PACKAGE_NAME-$PACKAGE_VERSION"
command=
[ -n "${MAKE_MATCH[0]}" ] || command=${MAKE[0]}
for index in "${!MAKE_MATCH[@]}"; do
    if [ -n "${MAKE_MATCH[$index]}" ] && [[ $kernelver =~ ${MAKE_MATCH[$index]} ]]; then command=${MAKE[$index]}; fi
done
: "${command:=make -C $kernel_source_dir M=$here}"
command=${command/#make/make KERNELRELEASE=$kernelver}
if [ -n "$PRE_BUILD" ]; then eval "./$PRE_BUILD" || { say "PRE_BUILD failed"; exit 3; }; fi
cd "$here" && (eval "$command") || exit
if [ -n "$POST_BUILD" ]; then (cd "$here" && eval "./$POST_BUILD") || { say "POST_BUILD failed"; exit 3; }; fi
cd "$here" || exit 3
[ ${#BUILT_MODULE_NAME[@]} != 0 ] || BUILT_MODULE_NAME=("$PACKAGE_NAME")
made=$(mktemp -d)
missing=
for index in "${!BUILT_MODULE_NAME[@]}"; do
    built=${BUILT_MODULE_LOCATION[$index]:-.}
    built=${built%/}/${BUILT_MODULE_NAME[$index]}.ko
    if [ -f "$built" ]; then mv "$built" "$made/${DEST_MODULE_NAME[$index]:-${BUILT_MODULE_NAME[$index]}}.ko"
    else missing="$missing ${BUILT_MODULE_NAME[$index]}.ko"; fi
done
others=$(find . -name '*.ko' | sort)
[ -z "$missing" ] || { say "expected module was not built:$missing; built:" ${others:-nothing} "$(ls "$made")"; exit 3; }
[ -z "$others" ] || rm -f $others
mv "$made"/*.ko .
