//go:build tools

// Package tools names the programs that are built, so that go.mod and go.sum hold all that they need.
package tools

import (
	_ "sigs.k8s.io/node-feature-discovery/cmd/nfd-master"
	_ "sigs.k8s.io/node-feature-discovery/cmd/nfd-worker"
)
