"""What a driver of dynamic resources needs of a cluster: a class of devices, rights, and a limit of them. Pure."""

from __future__ import annotations

from typing import Any


def device_class(resource: str, driver: str) -> dict[str, Any]:
    """Return the class of all devices of a driver.

    By ``extendedResourceName`` pods that ask for the resource of the device plugin get a device from the driver, and
    need no claim: stable in Kubernetes 1.37; older API servers leave the field out unless told otherwise.
    """
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": driver},
        "spec": {
            "selectors": [{"cel": {"expression": f'device.driver == "{driver}"'}}],
            "extendedResourceName": resource,
        },
    }


def cluster_role(name: str) -> dict[str, Any]:
    """Return what the driver does, and nothing more.

    Roles cannot say "of its own node"; ``own_slices_policy`` does.
    """
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
            {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims"], "verbs": ["get"]},
            {
                "apiGroups": ["resource.k8s.io"],
                "resources": ["resourceslices"],
                "verbs": ["list", "create", "update", "delete"],
            },
        ],
    }


def own_slices_policy(name: str, *, namespace: str, account: str) -> list[dict[str, Any]]:
    """Return a policy, and its binding, by which the driver writes slices of its own node only.

    A pod's token says on which node that pod runs (Kubernetes 1.30 and later), so a node that was taken over can offer
    no devices in the name of another.
    """
    user = f"system:serviceaccount:{namespace}:{account}"
    node = "authentication.kubernetes.io/node-name"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["resource.k8s.io"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE", "DELETE"],
                        "resources": ["resourceslices"],
                    }
                ]
            },
            "matchConditions": [{"name": "driver", "expression": f"request.userInfo.username == '{user}'"}],
            "variables": [
                {
                    "name": "node",
                    "expression": f"'{node}' in request.userInfo.extra ? request.userInfo.extra['{node}'][0] : ''",
                },
                {
                    "name": "slice",
                    "expression": "request.operation == 'DELETE' ? oldObject.spec.?nodeName.orValue('') : "
                    "object.spec.?nodeName.orValue('')",
                },
            ],
            "validations": [
                {
                    "expression": "variables.node != '' && variables.node == variables.slice",
                    "message": "a driver writes resource slices of the node that it runs on, and of no other",
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return [policy, binding]
