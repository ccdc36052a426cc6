"""Any chunking of a stream gives the same parts; what cameras get wrong does not matter."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.camera.multipart import MAX_HEADER_BYTES, Part, PartParser
from edge_runtime.errors import TryAgain

DELIMITERS = (b"--cam", b"--frame", b"----WebKit", b"myboundary", b"--a b")
bodies = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5)


def parse(stream: bytes, cuts: list[int]) -> list[Part]:
    parser = PartParser()
    parts: list[Part] = []
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in pairwise(edges):
        parts += parser.feed(stream[begin:end])
    return parts


def stream_of(payloads: list[bytes], delimiter: bytes, line_end: bytes, with_lengths: bool, preamble: bytes) -> bytes:
    stream = preamble
    for payload in payloads:
        stream += delimiter + line_end + b"Content-type:  image/JPEG" + line_end
        if with_lengths:
            stream += b"CONTENT-LENGTH: %d" % len(payload) + line_end
        stream += line_end + payload + line_end
    return stream + delimiter + line_end


@given(
    bodies,
    st.sampled_from(DELIMITERS),
    st.sampled_from([b"\r\n", b"\n"]),
    st.booleans(),
    st.sampled_from([b"", b"\r\n", b"\n\n"]),
    st.lists(st.integers(min_value=0), max_size=30),
)
def test_any_chunking_gives_every_part(
    payloads: list[bytes], delimiter: bytes, line_end: bytes, with_lengths: bool, preamble: bytes, cuts: list[int]
) -> None:
    # A picture neither holds the delimiter nor ends with a line end of its own, which no parser could tell apart.
    payloads = [b"\xff\xd8" + p.replace(delimiter, b"") + b"\xff\xd9" for p in payloads]
    parts = parse(stream_of(payloads, delimiter, line_end, with_lengths, preamble), cuts)
    assert [p.body for p in parts] == payloads
    assert {p.content_type for p in parts} == {"image/jpeg"}


@given(st.binary(max_size=2000), st.lists(st.integers(min_value=0), max_size=20))
def test_any_bytes_are_answered_the_same_way_however_they_are_cut(noise: bytes, cuts: list[int]) -> None:
    stream = b"--cam\r\nA: b\r\n\r\nxx\r\n--cam" + noise

    def outcome(cut_at: list[int]) -> list[Part] | str:
        try:
            return parse(stream, cut_at)
        except TryAgain as fault:
            return fault.found

    assert outcome(cuts) == outcome([])


@given(st.integers(min_value=-200, max_value=3000))
def test_a_wrong_content_length_costs_no_later_picture(off_by: int) -> None:
    picture = b"\xff\xd8" + bytes(1000) + b"\xff\xd9"
    wrong = b"--cam\r\nContent-Length: %d\r\n\r\n" % max(0, len(picture) + off_by) + picture + b"\r\n"
    right = b"--cam\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture + b"\r\n"
    parts = parse(wrong + right * 3, [])
    assert [p.body for p in parts[-2:]] == [picture, picture]


def test_the_closing_delimiter_ends_the_stream() -> None:
    parser = PartParser()
    parts = parser.feed(b"--cam\r\n\r\nabc\r\n--cam--\r\nepilogue")
    assert [p.body for p in parts] == [b"abc"] and parser.ended


def test_empty_parts_are_left_out() -> None:
    parts = parse(b"--cam\r\nContent-Length: 0\r\n\r\n\r\n--cam\r\n\r\nabc\r\n--cam\r\n", [])
    assert [p.body for p in parts] == [b"abc"]


def test_the_time_is_that_of_the_header() -> None:
    parser = PartParser()
    parser.feed(b"--cam\r\nContent-Length: 4\r\n\r\n", 5.0)
    parser.feed(b"ab", 6.0)
    (part,) = parser.feed(b"cd", 7.0)
    assert part.began_s == 5.0


@pytest.mark.parametrize(
    "stream",
    [
        b"<html><body>camera: log in</body></html>\n",
        b"--cam\r\nContent-Length: 999999999\r\n\r\n",
        b"--cam\r\nX: " + b"y" * (MAX_HEADER_BYTES + 10),
        b"x" * (MAX_HEADER_BYTES + 10),
    ],
)
def test_what_is_no_stream_of_pictures_is_refused(stream: bytes) -> None:
    with pytest.raises(TryAgain) as met:
        PartParser().feed(stream)
    assert met.value.mend


def test_a_picture_without_end_is_bounded() -> None:
    parser = PartParser(max_part_bytes=10_000)
    parser.feed(b"--cam\r\n\r\n")
    with pytest.raises(TryAgain):
        for _ in range(100):
            parser.feed(bytes(1000))
