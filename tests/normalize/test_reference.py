from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from edge_runtime.errors import BadConfig, Refused, Unavailable
from edge_runtime.normalize.reference import open_reference
from edge_runtime.records import Layout
from tests.normalize.painted import layout, shelf


def _layout_with(tmp_path: Path, name: str = "reference.png") -> Layout:
    return replace(layout(), path=tmp_path / "layout.json", reference=tmp_path / name)


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "reference.png"), shelf())
    assert np.array_equal(open_reference(_layout_with(tmp_path)), shelf())


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    turned = Pillow.fromarray(np.rot90(shelf()[:, :, ::-1]).copy())
    exif = Pillow.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "reference.png", exif=exif)
    assert np.array_equal(open_reference(_layout_with(tmp_path)), shelf())


def test_another_size_names_both_sizes_and_the_mend(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "reference.png"), shelf()[:600])
    with pytest.raises(BadConfig, match=r"960x600.*960x720") as fault:
        open_reference(_layout_with(tmp_path))
    assert "image_size" in fault.value.mend


def test_a_missing_picture_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        open_reference(_layout_with(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0" + b"\0" * 50])
def test_something_else_than_a_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "reference.png").write_bytes(content)
    with pytest.raises(Refused):
        open_reference(_layout_with(tmp_path))


def test_a_truncated_picture_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "whole.jpg"), shelf())
    (tmp_path / "reference.png").write_bytes((tmp_path / "whole.jpg").read_bytes()[:9000])
    with pytest.raises(Refused):
        open_reference(_layout_with(tmp_path))


def test_a_grey_picture_becomes_three_channels(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "reference.png"), cv2.cvtColor(shelf(), cv2.COLOR_BGR2GRAY))
    assert open_reference(_layout_with(tmp_path)).shape == (720, 960, 3)
