"""device.toml: what a technician writes, as frozen records. The environment is read here and nowhere else."""

from __future__ import annotations

from edge_runtime.config.environment import Environment, read_environment
from edge_runtime.config.faults import Fault
from edge_runtime.config.overrides import apply_overrides, check_override
from edge_runtime.config.read import check_files, decode_config, read_config
from edge_runtime.config.secrets import authorized_source, read_secret, shown_url
from edge_runtime.config.template import config_template
from edge_runtime.config.values import (
    CameraConfig,
    DeviceConfig,
    ModelConfig,
    MqttConfig,
    StorageConfig,
    TelemetryConfig,
    ViewConfig,
)

__all__ = [
    "CameraConfig",
    "DeviceConfig",
    "Environment",
    "Fault",
    "ModelConfig",
    "MqttConfig",
    "StorageConfig",
    "TelemetryConfig",
    "ViewConfig",
    "apply_overrides",
    "authorized_source",
    "check_files",
    "check_override",
    "config_template",
    "decode_config",
    "read_config",
    "read_environment",
    "read_secret",
    "shown_url",
]
