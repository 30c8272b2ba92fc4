//go:build tools

// Package tools names the programs that are built, so that go.mod and go.sum hold all that they need.
package tools

import (
	_ "github.com/rh-ecosystem-edge/kernel-module-management/cmd/manager"
	_ "github.com/rh-ecosystem-edge/kernel-module-management/cmd/webhook-server"
	_ "github.com/rh-ecosystem-edge/kernel-module-management/cmd/worker"
)
