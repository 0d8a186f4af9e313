"""Pictures of every kind, friendly and hostile: a sane ink map or a `PictureError`."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from molgaze import picture, scale
from molgaze.picture import PictureError, Sheet, load
from molgaze.scale import Picture


def hexagons(side: float = 30.0, width: int = 2, rings: int = 3, angle: float = 0.0) -> Image.Image:
    """A row of fused rings, black on white, mode L, drawn large and reduced."""
    fine = 4
    step = side * np.sqrt(3)
    size = round(step * (rings + 1) + 2 * side)
    image = Image.new("L", (size * fine, size * fine), 255)
    pen = ImageDraw.Draw(image)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for ring in range(rings):
        middle = np.array([step * (ring - (rings - 1) / 2), 0.0])
        corner = np.deg2rad(30 + 60 * np.arange(7))
        around = middle + side * np.stack([np.cos(corner), np.sin(corner)], axis=1)
        path = (around @ turn.T + size / 2) * fine
        pen.line([tuple(place) for place in path], fill=0, width=width * fine, joint="curve")
    return image.reduce(fine)


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png_header(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG that promises more than it holds."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def sane(sheet: Sheet) -> Picture:
    """Checks that hold for every accepted picture."""
    assert sheet.ink.dtype == np.uint8
    assert sheet.ink.ndim == 2
    shot = sheet.at_scale()
    assert shot.ink.dtype == np.float32
    assert shot.ink.ndim == 2
    assert shot.ink.min() >= 0.0
    assert shot.ink.max() <= 1.0
    assert shot.ink.size <= 1.2 * scale.MAX_READ_PIXELS
    assert np.isfinite(shot.bond)
    assert shot.bond > 0
    assert shot.size == sheet.size
    return shot


def same_drawing(sheet: Sheet, expected: Sheet, tolerance: float = 12.0) -> None:
    assert sheet.ink.shape == expected.ink.shape
    apart = np.abs(sheet.ink.astype(int) - expected.ink.astype(int))
    assert apart.mean() < tolerance, apart.mean()
    assert (sheet.ink < 64).mean() > 0.7  # the paper is paper


# Sources -----------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same_ink(tmp_path: Path) -> None:
    image = hexagons()
    data = saved(image)
    path = tmp_path / "rings.png"
    path.write_bytes(data)
    expected = load(image).ink
    with path.open("rb") as file:
        for source in (path, str(path), data, io.BytesIO(data), file, np.asarray(image)):
            assert np.array_equal(load(source).ink, expected)
    assert load(path).source == str(path)
    assert load(np.asarray(image)).source == "array"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"])
def test_formats(form: str) -> None:
    same_drawing(load(saved(hexagons(), form)), load(hexagons()))


@pytest.mark.parametrize("form", ["PCX", "TGA", "ICO", "EPS"])
def test_other_formats_are_refused(form: str) -> None:
    with pytest.raises(PictureError) as error:
        load(saved(hexagons(), form))
    assert error.value.kind == "format"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"CCO\n" * 100,
        b"%PDF-1.7\n",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"\xff\xd8\xff",
        bytes(5000),
    ],
)
def test_not_a_picture(data: bytes) -> None:
    with pytest.raises(PictureError) as error:
        load(data)
    assert error.value.kind in ("format", "truncated", "small")


def test_missing_and_odd_paths(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"none\.png: there is no such file") as error:
        load(tmp_path / "none.png")
    assert error.value.kind == "missing"
    for path in (tmp_path, "/dev/zero", "a\0b"):
        with pytest.raises(PictureError):
            load(path)
    with pytest.raises(PictureError):
        load(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        load(12)  # type: ignore[arg-type]


def test_error_names_source_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "note.png"
    path.write_text("no picture")
    with pytest.raises(PictureError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "not a picture" in str(error.value)
    assert isinstance(error.value, ValueError)
    assert error.value.source == str(path)


# Limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "kind"),
    [
        (200_000, 100, "large"),
        (100, 16_385, "large"),
        (8_000, 5_001, "large"),
        (60_000, 60_000, "large"),
        (2**31 - 1, 2**31 - 1, "large"),
        (7, 100, "small"),
        (1, 1, "small"),
        (100, 7, "small"),
        (8, 321, "aspect"),
        (10_000, 100, "aspect"),
    ],
)
def test_size_limits_hold_before_the_pixels_are_read(width: int, height: int, kind: str) -> None:
    with pytest.raises(PictureError) as error:
        load(png_header(width, height))
    assert error.value.kind == kind


@pytest.mark.parametrize("size", [(8, 8), (8, 320), (320, 8)])
def test_smallest_sizes_are_accepted(size: tuple[int, int]) -> None:
    image = Image.new("L", size, 255)
    ImageDraw.Draw(image).line((1, 1, size[0] - 2, size[1] - 2), fill=0, width=2)
    sane(load(image))


def test_limits_hold_for_images_and_arrays() -> None:
    with pytest.raises(PictureError, match="limit"):
        load(Image.new("1", (8000, 5001)))
    for shape in ((4, 4), (100, 7), (0, 10), (17_000, 10)):
        with pytest.raises(PictureError):
            load(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((9000, 10_000), "large"), ((100_000, 100), "large"), ((100, 9000), "aspect")],
)
def test_limits_hold_before_an_array_is_converted(shape: tuple[int, int], kind: str) -> None:
    array = np.broadcast_to(np.float64(1.0), shape)  # of one number in memory
    tracemalloc.start()
    try:
        with pytest.raises(PictureError) as error:
            load(array)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.value.kind == kind
    assert peak < 500_000


def test_file_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(hexagons())
    monkeypatch.setattr(picture, "MAX_BYTES", len(data))
    load(data)
    monkeypatch.setattr(picture, "MAX_BYTES", len(data) - 1)
    with pytest.raises(PictureError) as error:
        load(data)
    assert error.value.kind == "large"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"])
def test_truncated_files(form: str) -> None:
    data = saved(hexagons(), form)
    for tenth in range(10):
        with pytest.raises(PictureError):
            load(data[: len(data) * tenth // 10])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"])
def test_corrupt_files_never_raise_anything_else(form: str) -> None:
    clean = np.frombuffer(saved(hexagons(12), form), np.uint8)
    random = np.random.default_rng(7)
    for _ in range(60):
        broken = clean.copy()
        places = random.integers(0, broken.size, 4)
        broken[places] = random.integers(0, 256, 4)
        try:
            sane(load(broken.tobytes()))
        except PictureError:
            continue


# Modes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F", "I;16"]
)
def test_modes(mode: str) -> None:
    grey = hexagons()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "PA":
        image = grey.convert("P").convert("PA")
    else:
        image = grey.convert(mode)
    assert image.mode == mode
    same_drawing(load(image), load(grey), 20.0)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.asarray(hexagons()).astype(np.uint16)
    for top in (4095, 40_000, 65_535):
        deep = (values.astype(np.float64) / 255 * top).astype(np.uint16)
        for source in (
            deep,
            saved(Image.fromarray(deep), "PNG"),
            saved(Image.fromarray(deep), "TIFF"),
        ):
            same_drawing(load(source), load(hexagons()))


def test_arrays() -> None:
    grey = np.asarray(hexagons())
    expected = load(grey)
    for array in (
        grey[:, :, None],
        np.repeat(grey[:, :, None], 3, axis=2),
        np.dstack([grey, grey, grey, np.full_like(grey, 255)]),
        grey / 255.0,
        grey.astype(np.float32),
        grey.astype(np.int64),
        grey[::-1][::-1],
    ):
        same_drawing(load(array), expected, 2.0)
    same_drawing(load(grey > 127), expected)
    for wrong in (
        np.zeros((9, 9, 2)),
        np.zeros(9),
        np.zeros((9, 9, 9, 3)),
        np.full((9, 9), np.nan),
    ):
        with pytest.raises(PictureError):
            load(wrong)
    with pytest.raises(PictureError):
        load(np.array([["a"] * 9] * 9))


def test_the_source_is_left_as_it_was() -> None:
    image = hexagons().convert("RGBA")
    before = image.copy()
    load(image)
    assert image.mode == "RGBA"
    assert image.tobytes() == before.tobytes()
    array = np.asarray(hexagons()).copy()
    load(array).ink[:] = 0
    assert array.min() == 0
    assert array.max() == 255


def test_transparent_black_and_white_ink() -> None:
    grey = hexagons()
    cover = Image.eval(grey, lambda value: 255 - value)
    for ink in (0, 255):
        flat = Image.new("L", grey.size, ink)
        layered = Image.merge("RGBA", (flat, flat, flat, cover))
        same_drawing(load(saved(layered)), load(grey))
        same_drawing(load(Image.merge("LA", (flat, cover))), load(grey))


def test_transparent_palette() -> None:
    image = hexagons().point([0] * 128 + [1] * 128).convert("P")
    image.putpalette([0, 0, 0, 0, 0, 0])
    same_drawing(load(saved(image, "GIF", transparency=1)), load(hexagons()))


def test_colours_count_as_ink() -> None:
    grey = np.asarray(hexagons())
    yellow = np.dstack([np.full_like(grey, 255), np.full_like(grey, 240), grey])
    same_drawing(load(yellow), load(grey))


# Paper -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_blank(value: int) -> None:
    for image in (
        Image.new("L", (200, 100), value),
        Image.new("RGBA", (99, 99), (value,) * 3 + (0,)),
    ):
        with pytest.raises(PictureError) as error:
            load(image)
        assert error.value.kind == "blank"


def test_faint_noise_is_blank() -> None:
    noise = np.random.default_rng(1).integers(250, 256, (120, 160)).astype(np.uint8)
    with pytest.raises(PictureError, match="blank"):
        load(noise)


def test_light_on_dark() -> None:
    same_drawing(load(Image.eval(hexagons(), lambda value: 255 - value)), load(hexagons()))
    grey_on_black = Image.eval(hexagons(), lambda value: (255 - value) // 2 + 20)
    same_drawing(load(grey_on_black), load(hexagons()))


@pytest.mark.parametrize("paper", [(250, 240, 200), (120, 120, 120), (80, 120, 160)])
def test_tinted_paper(paper: tuple[int, int, int]) -> None:
    grey = np.asarray(hexagons()).astype(np.float64)[:, :, None] / 255
    tinted = (grey * np.array(paper)).astype(np.uint8)
    same_drawing(load(tinted), load(hexagons()))


def test_light_falls_off_over_the_page() -> None:
    grey = np.asarray(hexagons(40)).astype(np.float64)
    light = (
        np.linspace(1.0, 0.45, grey.shape[1])[None, :]
        * np.linspace(1.0, 0.8, grey.shape[0])[:, None]
    )
    same_drawing(load((grey * light).astype(np.uint8)), load(hexagons(40)), 16.0)


# Frames and orientation --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP"])
def test_frames(form: str) -> None:
    frames = [hexagons(20, rings=rings).resize((200, 200)) for rings in (1, 2, 3)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    for page, frame in enumerate(frames, 1):
        same_drawing(load(data, page=page), load(frame))
    with pytest.raises(PictureError) as error:
        load(data, page=4)
    assert error.value.kind == "page"
    with pytest.raises(PictureError):
        load(frames[0], page=2)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation(form: str, orientation: int) -> None:
    upright = hexagons().crop((20, 90, 240, 200))
    back = {
        1: None,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    turn = back[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    same_drawing(load(saved(stored, form, exif=exif)), load(upright))
