"""Which device's models a `model` verb means: that of a device.toml, or a state folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import Unavailable, Usage

if TYPE_CHECKING:
    from edge_runtime.daemon.errand import Place
    from edge_runtime.daemon.model_desk import ModelDesk
    from edge_runtime.lifecycle.store import ModelStore

DEFAULT_NAME = "shelf-occupancy"


def add_device(parser: argparse.ArgumentParser, source: bool = False) -> None:
    """--config or --state, and with `source` where models come from."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--config", type=Path, metavar="FILE", help="the device's device.toml")
    place.add_argument("--state", type=Path, metavar="DIR", help="the device's state folder: [storage] state_dir")
    parser.add_argument(
        "--development", action="store_true", help="a device for development: unsigned bundles may be installed and run"
    )
    if source:
        parser.add_argument("--repository", metavar="URL", help="instead of [model] repository")
        parser.add_argument("--root", type=Path, metavar="FILE", help="instead of [model] root: whose signatures count")


def open_store(args: argparse.Namespace) -> ModelStore:
    """The store to look at. Raises Unavailable if --state names no store; without a device, what ships."""
    from edge_runtime.assets import factory_bundles
    from edge_runtime.lifecycle.store import ModelStore

    if args.config is not None:
        place = find_place(args)
        return ModelStore(Path(place.state_dir), factory_bundles(place.name), allow_unsigned=args.development)
    if args.state is not None and not (args.state / "models").is_dir():
        raise Unavailable(
            f"{args.state} holds no model store", "Name the state folder of a device: [storage] state_dir"
        )
    return ModelStore(args.state or Path(), factory_bundles(), allow_unsigned=args.development)


def find_place(args: argparse.Namespace) -> Place:
    """The device that is to be changed. Raises Usage if none is named, BadConfig for a bad device.toml."""
    from edge_runtime.config import read_config
    from edge_runtime.daemon.errand import Place, place_of

    if args.state is not None:
        found = Place(str(args.state.absolute()), DEFAULT_NAME, development=args.development)
    elif args.config is not None or Path("device.toml").exists():
        found = place_of(read_config(args.config or Path("device.toml")), args.development)
    else:
        raise Usage("no device is named", "Give --config device.toml, or --state DIR")
    return _with_source(found, args)


def _with_source(place: Place, args: argparse.Namespace) -> Place:
    import msgspec

    repository, root = getattr(args, "repository", None), getattr(args, "root", None)
    if repository is not None and "://" not in repository:
        repository = str(Path(repository).absolute())
    if repository is not None and root is None and not place.root:
        raise Usage("--repository without --root", "Give --root root.json: whose signatures count")
    return msgspec.structs.replace(
        place,
        repository=repository or place.repository,
        root=str(root.absolute()) if root is not None else place.root,
    )


def open_desk(args: argparse.Namespace) -> tuple[Place, ModelDesk]:
    """The desk of the device, which says on standard error what it does."""
    from edge_runtime.cli.output import complain
    from edge_runtime.cli.progress import download_bar
    from edge_runtime.daemon.errand import open_desk as open_place

    place = find_place(args)
    return place, open_place(place, complain, download_bar())
