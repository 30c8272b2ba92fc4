package tekton

import "context"

// Its controller does without a client for events.
func withCloudEvents(ctx context.Context) context.Context { return ctx }
