"""The commented device.toml that `edge-runtime config init` writes."""

from __future__ import annotations

_TEMPLATE = """\
# device.toml: what this device is and does. `edge-runtime config check` says what is wrong with it, line by line.
# Relative paths are relative to this file. Reload a running daemon with SIGHUP (systemctl reload edge-runtime).

[device]
id = "{device}"            # unique within the site; appears in every topic
site = "{site}"
#groups = ["canary"]            # groups whose commands and rollouts are for this device too

[[camera]]                      # once for each camera
name = "{camera}"
source = "{source}"             # fill in: "/dev/video0", "rtsp://host/stream", "http://host/stream.mjpg", a video file, a folder
layout = "{camera}/layout.json"  # written by `edge-runtime camera commission`
#interval_s = 2                 # time between two pictures that are inferred
#credentials_file = "credential:camera"   # one line, user:password; a file, or a systemd credential

[model]
name = "shelf-occupancy"
#repository = "https://models.example.com/shelf"   # signed model repository; without it only installed models run
#root = "root.json"             # whose signatures count there: the root file of `edge-runtime repo init`
#threads = 1                    # for one inference
#shadow_s = 600                 # a new model first runs beside the current one; 0: it is tried at once
#trial_s = 14400                # then in charge, watched, before it is committed; a bad one gives way at once
#trial_frames = 100             # and for this many answered frames at least
#auto_update = false            # true: look for newer releases of this name, and take them through shadow and trial
#update_interval_s = 21600

# Without [mqtt] the device works alone: states are in `edge-runtime status` and on the local page.
#[mqtt]
#url = "mqtts://broker.example.com"   # or a list: the nodes of one broker
#username = "{device}"
#password_file = "credential:mqtt-password"   # secrets are never written into this file
#ca_file = "/etc/ssl/certs/ca-certificates.crt"
#cert_file = "/etc/edge-runtime/device.crt"   # client certificate, together with key_file
#key_file = "credential:mqtt-key"
#crl_file = "/etc/edge-runtime/revoked.pem"   # certificates that the broker's authority has taken back
#keepalive_s = 30
#commands = "off"               # or "signed"; or "unsigned": whoever may publish to this broker commands this device
#command_keys = "command-keys.json"   # whose signatures count; made by `edge-runtime fleet enrol`
#receipts = "echo"              # an event is delivered once it came back; "collector": once that says so; "broker": at its word
#snapshots = "slots"            # of a picture that a command asks for: "off", "slots", "faces-blurred" or "whole"
#home_assistant = false         # true: announce the device there (MQTT discovery)
#protocol = "auto"              # MQTT 5, or 3.1.1 where that is refused; or "5", "3.1.1"

[telemetry]
#interval_s = 120               # figures
#heartbeat_s = 900              # states and status, even if nothing changed

[storage]
#state_dir = "state"            # models, spool, status; under systemd /var/lib/edge-runtime
#spool_max_mb = 64              # what waits for the broker; the oldest figures are dropped first
#spool_max_age_h = 168

[view]
#enabled = true                 # the local page
#host = "127.0.0.1"             # stays on this device; the page shows pictures of the store
#port = 8780

[log]
#level = "info"                 # or "debug", "warning", "error"
"""


def config_template(
    device: str = "shelf-cam-1", site: str = "store-001", camera: str = "aisle-1", source: str = ""
) -> str:
    """A commented device.toml. Without `source` it has one fault on purpose: the camera's source is to be filled in."""
    values = {"device": device, "site": site, "camera": camera, "source": source}
    return _TEMPLATE.format(**{key: _quoted(value) for key, value in values.items()})


def _quoted(text: str) -> str:
    """As it stands between the quotes of a TOML text."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped)
