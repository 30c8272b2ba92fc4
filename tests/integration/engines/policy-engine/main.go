// policy-engine asks containers/image, the library in podman, skopeo, buildah and CRI-O, whether a policy lets an
// image run: policy-engine POLICY REGISTRIES_D AUTHFILE IMAGE...
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

type answer struct {
	Image   string `json:"image"`
	Allowed bool   `json:"allowed"`
	Why     string `json:"why"`
}

func main() {
	policy, err := signature.NewPolicyFromFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	judge, err := signature.NewPolicyContext(policy)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	system := &types.SystemContext{
		RegistriesDirPath:           os.Args[2],
		AuthFilePath:                os.Args[3],
		DockerInsecureSkipTLSVerify: types.OptionalBoolTrue,
		SystemRegistriesConfPath:    "/dev/null",
		SystemRegistriesConfDirPath: "/nonexistent",
	}
	for _, name := range os.Args[4:] {
		reply := answer{Image: name}
		if err := ask(judge, system, name); err != nil {
			reply.Why = err.Error()
		} else {
			reply.Allowed = true
		}
		text, _ := json.Marshal(reply)
		fmt.Println(string(text))
	}
}

// ask judges an image as copying it does: a list of images first, then the one for this machine.
func ask(judge *signature.PolicyContext, system *types.SystemContext, name string) error {
	ctx := context.Background()
	reference, err := docker.ParseReference("//" + name)
	if err != nil {
		return err
	}
	source, err := reference.NewImageSource(ctx, system)
	if err != nil {
		return err
	}
	defer source.Close()
	if _, err := judge.IsRunningImageAllowed(ctx, image.UnparsedInstance(source, nil)); err != nil {
		return err
	}
	content, kind, err := source.GetManifest(ctx, nil)
	if err != nil || !manifest.MIMETypeIsMultiImage(kind) {
		return err
	}
	list, err := manifest.ListFromBlob(content, kind)
	if err != nil {
		return err
	}
	digest, err := list.ChooseInstance(system)
	if err != nil {
		return err
	}
	_, err = judge.IsRunningImageAllowed(ctx, image.UnparsedInstance(source, &digest))
	return err
}
