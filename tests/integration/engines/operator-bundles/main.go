// operator-bundles asks operator-framework/api what is wrong with bundles: operator-bundles FOLDER...
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/validation"
	apierrors "github.com/operator-framework/api/pkg/validation/errors"
	interfaces "github.com/operator-framework/api/pkg/validation/interfaces"
)

type finding struct {
	Level  string `json:"level"`
	Type   string `json:"type"`
	Detail string `json:"detail"`
}

type answer struct {
	Folder   string    `json:"folder"`
	Findings []finding `json:"findings"`
}

// Of those that look at files alone: what certification asks for, and what clusters would drop.
var validators = interfaces.Validators{
	validation.ClusterServiceVersionValidator,
	validation.CustomResourceDefinitionValidator,
	validation.BundleValidator,
	validation.OperatorHubV2Validator,
	validation.StandardCapabilitiesValidator,
	validation.StandardCategoriesValidator,
	validation.AlphaDeprecatedAPIsValidator,
	validation.GoodPracticesValidator,
}

func main() {
	for _, folder := range os.Args[1:] {
		reply := answer{Folder: folder, Findings: []finding{}}
		bundle, err := manifests.GetBundleFromDir(folder)
		if err != nil {
			reply.Findings = append(reply.Findings, finding{Level: "Error", Type: "Unreadable", Detail: err.Error()})
		} else {
			objects := bundle.ObjectsToValidate()
			optional := map[string]string{"k8s-version": "1.30"}
			for _, result := range validators.Validate(append(objects, optional)...) {
				for _, one := range append(append([]apierrors.Error{}, result.Errors...), result.Warnings...) {
					reply.Findings = append(reply.Findings, finding{Level: string(one.Level), Type: string(one.Type), Detail: one.Detail})
				}
			}
		}
		text, _ := json.Marshal(reply)
		fmt.Println(string(text))
	}
}
