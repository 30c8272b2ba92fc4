// policy-controller asks sigstore's admission controller whether a ClusterImagePolicy lets an image run:
// policy-controller POLICY IMAGE...
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/policy-controller/pkg/policy"
)

type answer struct {
	Image   string `json:"image"`
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"`
}

func main() {
	ctx := context.Background()
	wanted := policy.Verification{NoMatchPolicy: "deny", Policies: &[]policy.Source{{Path: os.Args[1]}}}
	if err := wanted.Validate(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	judge, err := policy.Compile(ctx, wanted, func(string, ...interface{}) {})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	for _, image := range os.Args[2:] {
		reply := answer{Image: image}
		reference, err := name.ParseReference(image)
		if err == nil {
			err = judge.Verify(ctx, reference, authn.DefaultKeychain)
		}
		if err != nil {
			reply.Why = err.Error()
		} else {
			reply.Allowed = true
		}
		text, _ := json.Marshal(reply)
		fmt.Println(string(text))
	}
}
