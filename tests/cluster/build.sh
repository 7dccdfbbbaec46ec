#!/usr/bin/env bash
# Builds a kube-apiserver and an etcd from their Go modules into a folder, once: a quarter of an hour on two cores.
#
#   tests/cluster/build.sh ~/.cache/eastwest-tests/cluster
#
# Kubernetes' own go.mod takes its parts from its own tree, which the module does not have; they are modules of the same
# version (v0.34.3 of v1.34.3).
set -euo pipefail
kubernetes=1.34.3
to=$(mkdir -p "$1" && cd "$1" && pwd)
[[ -x $to/kube-apiserver && -x $to/etcd ]] && exit
command -v go >/dev/null || { echo "go is not installed: 1.24 or newer builds kube-apiserver and etcd"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-mod=mod
cat >tools.go <<'GO'
//go:build tools

package tools

import (
	_ "go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
GO
theirs=$(go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
{
  echo "module cluster"
  sed -n 's/^go /go /p' "$theirs"
  echo "require k8s.io/kubernetes v$kubernetes"
  sed -n 's/^\s*\(go\.etcd\.io\/etcd\)\/client\/v3 \(v[0-9.]*\).*/require \1\/server\/v3 \2/p' "$theirs"
  sed -n "s/^\s*\(k8s\.io\/[a-z-]*\) => \.\/staging.*/replace \1 => \1 v0.${kubernetes#1.}/p" "$theirs"
} >go.mod
go mod tidy
# Without its version kube-apiserver says v0.0.0, and nobody believes that.
version=k8s.io/component-base/version
flags="-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$(cut -d. -f2 <<<"$kubernetes")"
go build -trimpath -ldflags="$flags" -o "$to/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
go build -trimpath -ldflags="-s -w" -o "$to/etcd" go.etcd.io/etcd/server/v3
