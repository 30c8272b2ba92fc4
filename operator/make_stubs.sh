#!/bin/sh
# Makes kmod_operator/kubelet_api from kubelet's own protocol files: nox -s stubs. Arguments: a Python that has grpcio-tools,
# grpclib and mypy-protobuf, and the folder of the Go module k8s.io/kubelet. Comments of the protocol are left out.
set -eu
python=$1 source=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
place=kmod_operator/kubelet_api
mkdir -p "$work/$place"
for protocol in deviceplugin/v1beta1 dra/v1 dra-health/v1 pluginregistration/v1; do
    name=$(echo "$protocol" | tr -- /- __)
    sed -e '/^ *\/\//d' -e 's,[[:space:]]*//.*,,' "$source/pkg/apis/$protocol/api.proto" >"$work/$place/$name.proto"
done
cd "$work"
PATH="$(dirname "$python"):$PATH" "$python" -m grpc_tools.protoc -I. --python_out=. --mypy_out=. --grpclib_python_out=. "$place"/*.proto
cp "$place"/*.py "$place"/*.pyi "$here/$place/"
