"""However a stream of frames is cut on its way, the same frames come out."""

from hypothesis import given
from hypothesis import strategies as st

from peaker.frames import FrameError, FrameReader, pack

heads = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20), max_size=4).map(
    lambda extra: {**extra, "kind": "run"}
)
streams = st.lists(st.tuples(heads, st.binary(max_size=300)), max_size=6)


@given(streams, st.lists(st.integers(min_value=1, max_value=50), max_size=100))
def test_frames_survive_any_cutting(frames: list[tuple[dict[str, object], bytes]], cuts: list[int]) -> None:
    stream = b"".join(pack(head, body) for head, body in frames)
    reader, found = FrameReader(), []
    for size in cuts:
        piece, stream = stream[:size], stream[size:]
        found += reader.feed(piece)
    found += reader.feed(stream)
    assert found == frames
    assert reader.is_between_frames


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_noise_is_refused_or_waited_on_but_never_believed(noise: list[bytes]) -> None:
    reader = FrameReader()
    try:
        found = [frame for piece in noise for frame in reader.feed(piece)]
    except FrameError:
        return
    assert all(isinstance(head["kind"], str) for head, _ in found)
