"""What pods of a device plugin have in common."""

from __future__ import annotations

from fakes.operator_facts import driver_facts

from builder.emit.deviceplugin.pods import container_settings, pod_settings


def test_a_container_has_no_right_at_all() -> None:
    assert container_settings("quay.test/a@sha256:1")["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False, "readOnlyRootFilesystem": True,
    }  # fmt: skip


def test_what_the_driver_does_not_say_is_not_there() -> None:
    assert set(pod_settings("plugin", driver_facts({}).driver)) == {"serviceAccountName", "securityContext"}
    said = pod_settings("plugin", driver_facts({"pull_secret": "pull"}).driver)
    assert said["imagePullSecrets"] == [{"name": "pull"}]
