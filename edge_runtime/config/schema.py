"""Which sections and keys device.toml has. Defaults live in the records (`values.py`); here is what is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_runtime.config.kinds import (
    Kind,
    broker_urls_kind,
    camera_source_kind,
    choice_kind,
    flag_kind,
    groups_kind,
    loopback_kind,
    name_kind,
    number_kind,
    path_kind,
    repository_kind,
    text_kind,
    whole_kind,
)

SECRET_WORDS = ("password", "passwd", "secret", "token", "passphrase", "credentials", "key")
"""Keys by these names hold secrets, which do not belong in this file."""


@dataclass(frozen=True, slots=True)
class Section:
    keys: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    repeated: bool = False


SECTIONS: Mapping[str, Section] = {
    "device": Section(
        {"id": name_kind("shelf-cam-1"), "site": name_kind("store-001"), "groups": groups_kind}, ("id", "site")
    ),
    "camera": Section(
        {
            "name": name_kind("aisle-1"),
            "source": camera_source_kind,
            "layout": path_kind("aisle-1/layout.json"),
            "interval_s": number_kind(0.05, 3600, 2),
            "credentials_file": path_kind("credential:camera"),
        },
        ("name", "source", "layout"),
        repeated=True,
    ),
    "model": Section(
        {
            "name": name_kind("shelf-occupancy"),
            "repository": repository_kind,
            "root": path_kind("root.json"),
            "threads": whole_kind(1, 64, 1),
            "shadow_s": number_kind(0, 2_592_000, 600),
            "trial_s": number_kind(0, 2_592_000, 14_400),
            "trial_frames": whole_kind(1, 1_000_000, 100),
            "auto_update": flag_kind,
            "update_interval_s": number_kind(60, 2_592_000, 21600),
        }
    ),
    "mqtt": Section(
        {
            "url": broker_urls_kind,
            "username": text_kind("shelf-cam-1"),
            "password_file": path_kind("credential:mqtt-password"),
            "ca_file": path_kind("/etc/ssl/certs/ca-certificates.crt"),
            "cert_file": path_kind("/etc/edge-runtime/device.crt"),
            "key_file": path_kind("credential:mqtt-key"),
            "crl_file": path_kind("/etc/edge-runtime/revoked.pem"),
            "keepalive_s": whole_kind(5, 3600, 30),
            "commands": choice_kind("off", "signed", "unsigned"),
            "command_keys": path_kind("command-keys.json"),
            "receipts": choice_kind("echo", "collector", "broker"),
            "snapshots": choice_kind("off", "slots", "faces-blurred", "whole"),
            "home_assistant": flag_kind,
            "protocol": choice_kind("auto", "3.1.1", "5"),
        },
        ("url",),
    ),
    "telemetry": Section({"interval_s": number_kind(1, 86400, 120), "heartbeat_s": number_kind(1, 86400, 900)}),
    "storage": Section(
        {
            "state_dir": path_kind("/var/lib/edge-runtime"),
            "spool_max_mb": whole_kind(1, 100_000, 64),
            "spool_max_age_h": number_kind(0.1, 8760, 168),
        }
    ),
    "view": Section({"enabled": flag_kind, "host": loopback_kind, "port": whole_kind(0, 65535, 8780)}),
    "log": Section({"level": choice_kind("debug", "info", "warning", "error")}),
}
