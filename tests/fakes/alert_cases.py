"""For each alert: numbers with which it must fire, and others, near to them, with which it must not.

promtool's clock begins at 1970, and it takes a series as ``1x10`` (eleven times 1, a minute apart) and ``0+1x10`` (growing by 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class AlertCase:
    """Series by name and labels; ``after_min``: when it is looked at; ``labels``: of the alert, besides its own."""

    fires: Mapping[str, str]
    silent: Mapping[str, str]
    after_min: int
    labels: Mapping[str, str]


_OURS = 'namespace="kmod-operator"'
_THEIRS = 'namespace="drv", pod="p-1"'
_STRANGER = 'namespace="another-vendor"'
_POD = {"namespace": "drv", "pod": "p-1"}
_UP = f'up{{{_OURS}, job="kmod-operator-metrics"}}'
_NODES = f'kmod_driver_nodes{{{_OURS}, driver="drv", state='

CASES: Mapping[str, AlertCase] = {
    "KmodUpdateNotSafe": AlertCase(
        fires={f'kmod_update_target_covered{{{_OURS}, driver="drv", release="4.18.9"}}': "0x30"},
        silent={
            f'kmod_update_target_covered{{{_OURS}, driver="drv", release="4.18.9"}}': "1x30",
            f'kmod_update_target_covered{{{_STRANGER}, driver="drv", release="4.18.9"}}': "0x30",
        },
        after_min=10,
        labels={"driver": "drv", "release": "4.18.9", "openShiftUpdatePrecheck": "true"},
    ),
    "KmodKernelNotCovered": AlertCase(
        fires={f'kmod_kernel_covered{{{_OURS}, driver="drv", kernel="6.1.0"}}': "0x30"},
        silent={f'kmod_kernel_covered{{{_OURS}, driver="drv", kernel="6.1.0"}}': "0x10 1x20"},
        after_min=20,
        labels={"driver": "drv", "kernel": "6.1.0"},
    ),
    "KmodPoolsHeld": AlertCase(
        fires={f'kmod_pools_held{{{_OURS}, driver="drv"}}': "1x1500"},
        silent={f'kmod_pools_held{{{_OURS}, driver="drv"}}': "1x1400 0x100"},
        after_min=1450,
        labels={"driver": "drv"},
    ),
    "KmodIndexNotTrusted": AlertCase(
        fires={f'{_NODES}"ready"}}': "3x30"},
        silent={f'{_NODES}"ready"}}': "3x30", f'kmod_index_info{{{_OURS}, driver="drv", digest="d", signer="s"}}': "1x30"},
        after_min=20,
        labels={"driver": "drv"},
    ),
    "KmodIndexOld": AlertCase(
        fires={f'kmod_index_made_seconds{{{_OURS}, driver="drv"}}': f"{-36 * _DAY_S}x120"},
        silent={f'kmod_index_made_seconds{{{_OURS}, driver="drv"}}': f"{-34 * _DAY_S}x120"},
        after_min=90,
        labels={"driver": "drv"},
    ),
    "KmodNodesFailed": AlertCase(
        fires={f'{_NODES}"failed"}}': "2x30"},
        silent={f'{_NODES}"failed"}}': "0x30", f'{_NODES}"ready"}}': "2x30"},
        after_min=10,
        labels={"driver": "drv"},
    ),
    "KmodNodesWithoutDriver": AlertCase(
        fires={f'{_NODES}"waiting"}}': "1x600", f'{_NODES}"ready"}}': "5x600"},
        # Not while a node is on its way, and then another one.
        silent={f'{_NODES}"upgrading"}}': "1x200 0x5 1x200", f'{_NODES}"ready"}}': "5x600"},
        after_min=370,
        labels={"driver": "drv"},
    ),
    "KmodUpgradeStuck": AlertCase(
        fires={f'kmod_upgrade_stuck_seconds{{{_OURS}, driver="drv"}}': "0+60x120"},
        silent={f'kmod_upgrade_stuck_seconds{{{_OURS}, driver="drv"}}': "0+60x50 0+60x70"},
        after_min=80,
        labels={"driver": "drv"},
    ),
    "KmodOperatorDown": AlertCase(
        fires={_UP: "0x30"},
        silent={_UP: "1x30", f'up{{{_OURS}, job="kmod-operator-metrics", pod="b"}}': "0x30"},
        after_min=20,
        labels={"namespace": "kmod-operator"},
    ),
    "KmodReconcileFails": AlertCase(
        fires={f'kmod_reconcile_total{{{_OURS}, result="failed"}}': "0+1x120", f'kmod_reconcile_total{{{_OURS}, result="done"}}': "7x120"},
        silent={f'kmod_reconcile_total{{{_OURS}, result="failed"}}': "0+1x120", f'kmod_reconcile_total{{{_OURS}, result="done"}}': "0+1x120"},
        after_min=60,
        labels={"namespace": "kmod-operator"},
    ),
    "KmodWatchesRestart": AlertCase(
        fires={f'kmod_watch_restarts_total{{{_OURS}, kind="v1 Node"}}': "0+2x120"},
        silent={f'kmod_watch_restarts_total{{{_OURS}, kind="v1 Node"}}': "0+0.25x120"},
        after_min=100,
        labels={"kind": "v1 Node"},
    ),
    "KmodDeviceUnhealthy": AlertCase(
        fires={f'kmod_device_plugin_devices{{{_THEIRS}, health="unhealthy"}}': "1x30"},
        silent={
            f'kmod_device_plugin_devices{{{_THEIRS}, health="unhealthy"}}': "0x30",
            f'kmod_device_plugin_devices{{{_STRANGER}, pod="p-1", health="unhealthy"}}': "1x30",
        },
        after_min=15,
        labels=_POD,
    ),
    "KmodPluginNotRegistered": AlertCase(
        fires={f'kmod_device_plugin_registrations_total{{{_THEIRS}, result="failed"}}': "0+1x60"},
        silent={
            f'kmod_device_plugin_registrations_total{{{_THEIRS}, result="failed"}}': "0+1x60",
            f'kmod_device_plugin_registrations_total{{{_THEIRS}, result="taken"}}': "0+1x60",
        },
        after_min=40,
        labels=_POD,
    ),
}  # fmt: skip
