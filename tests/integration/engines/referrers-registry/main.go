// referrers-registry serves a registry that lists referrers itself, as OCI distribution-spec 1.1 wants it:
// referrers-registry ADDRESS
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	handler := registry.New(registry.WithReferrersSupport(true))
	log.Fatal(http.ListenAndServe(os.Args[1], handler))
}
