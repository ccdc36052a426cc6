"""What a device gets at enrolment: its certificate, whom it trusts, and the part of device.toml that says so."""

from __future__ import annotations

import json
import time

from edge_runtime.workshop.enrolment.certificates import Issued
from edge_runtime.workshop.enrolment.identity import Identity
from edge_runtime.workshop.enrolment.register import Entry


def device_toml(identity: Identity, entry: Entry, urls: tuple[str, ...], issued: Issued) -> str:
    """[device] and [mqtt] of device.toml; the files that it names lie beside it."""
    good_until = time.strftime("%Y-%m-%d", time.gmtime(issued.not_after))
    return (
        f"# {identity}: its certificate is good until {good_until}; `fleet enrol --renew` makes the next one.\n"
        "[device]\n"
        f'id = "{identity.device}"\n'
        f'site = "{identity.site}"\n'
        f"groups = {json.dumps(list(entry.groups))}\n\n"
        "[mqtt]\n"
        f"url = {json.dumps(list(urls))}\n"
        'ca_file = "ca.crt"\n'
        'cert_file = "device.crt"\n'
        'key_file = "device.key"\n'
        'commands = "signed"\n'
        'command_keys = "command-keys.json"\n'
        'receipts = "echo"\n'
    )
