module kmodsmith.io/tests/preflight
go 1.26.0
require github.com/redhat-openshift-ecosystem/openshift-preflight v1.14.1
