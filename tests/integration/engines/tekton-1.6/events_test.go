package tekton

import (
	"context"

	th "github.com/tektoncd/pipeline/pkg/reconciler/testing"
)

// Tekton sends events of runs to nobody here; its controller wants a client for them all the same.
func withCloudEvents(ctx context.Context) context.Context {
	return th.SetupFakeCloudClientContext(ctx, 0)
}
