"""Pictures of every kind, friendly and hostile: a sane ink map or a `PictureError`."""

from __future__ import annotations

import io
import math
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from molgaze import paper, picture, scale
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


# Cards, grounds, highlights, frames --------------------------------------------------------------


def molecule(
    smiles: str = "CC(=O)Nc1ccc(O)cc1", ground: tuple[int, int, int] = (255, 255, 255)
) -> tuple[Image.Image, NDArray[np.float64]]:
    """A molecule drawn in black on a ground, RGB, and the places (N, 2) of its atoms."""
    mol = Chem.MolFromSmiles(smiles)
    pen = rdMolDraw2D.MolDraw2DCairo(300, 240)
    pen.drawOptions().useBWAtomPalette()
    pen.drawOptions().setBackgroundColour(tuple(level / 255 for level in ground))
    pen.DrawMolecule(mol)
    pen.FinishDrawing()
    points = [pen.GetDrawCoords(i) for i in range(mol.GetNumAtoms())]
    image = Image.open(io.BytesIO(pen.GetDrawingText())).convert("RGB")
    return image, np.array([(point.x, point.y) for point in points])


def on_page(
    image: Image.Image, colour: tuple[int, int, int], left: int = 60, top: int = 40
) -> Image.Image:
    page = Image.new("RGB", (image.width + 2 * left, image.height + 2 * top), colour)
    page.paste(image, (left, top))
    return page


def same_ink(image: Image.Image, plain: Image.Image, left: int = 0, top: int = 0) -> None:
    """The ink of a picture is that of the plain drawing at (left, top), and nothing else."""
    expected = Image.new("L", image.size)
    expected.paste(Image.fromarray(load(plain).ink), (left, top))
    apart = np.abs(load(image).ink.astype(int) - np.asarray(expected))
    drawn = np.count_nonzero(np.asarray(expected) > 128)
    assert np.count_nonzero(apart > 128) < 0.03 * drawn


@pytest.mark.parametrize(
    "colour", [(236, 236, 236), (210, 210, 210), (220, 235, 252), (13, 17, 23), (0, 0, 0)]
)
def test_card_on_a_page(colour: tuple[int, int, int]) -> None:
    plain, _ = molecule()
    page = on_page(plain, colour)
    pen = ImageDraw.Draw(page)
    pen.text((70, 10), "Structure 12", fill=(255, 255, 255) if max(colour) < 100 else (0, 0, 0))
    pen.line((5, 150, 50, 190), fill=(128, 128, 128), width=3)
    same_ink(page, plain, 60, 40)


def test_card_with_a_shadow() -> None:
    plain, _ = molecule()
    page = Image.new("RGB", (420, 320), (240, 240, 243))
    ImageDraw.Draw(page).rectangle((62, 44, 364, 286), fill=(150, 150, 155))
    page = page.filter(ImageFilter.GaussianBlur(5))
    page.paste(plain, (60, 40))
    same_ink(page, plain, 60, 40)


def test_dark_card_on_a_white_page() -> None:
    plain, _ = molecule()
    dark = Image.eval(plain, lambda level: 255 - level)
    same_ink(on_page(dark, (255, 255, 255)), plain, 60, 40)


@pytest.mark.parametrize("place", [(0, 0), (40, 0), (20, 40)])
def test_edge_of_a_dark_screen(place: tuple[int, int]) -> None:
    plain, _ = molecule()
    screen = Image.new("RGB", (340, 280), (20, 20, 20))
    screen.paste(plain, place)
    same_ink(screen, plain, *place)


@pytest.mark.parametrize("colour", [(45, 80, 140), (60, 60, 60), (222, 225, 230)])
def test_title_bar(colour: tuple[int, int, int]) -> None:
    plain, _ = molecule()
    page = Image.new("RGB", (300, 280), "white")
    page.paste(plain, (0, 40))
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, 300, 32), fill=colour)
    pen.text((10, 8), "Structure viewer", fill="white")
    same_ink(page, plain, 0, 40)


@pytest.mark.parametrize(
    "ground", [(245, 245, 245), (255, 255, 220), (225, 238, 255), (180, 220, 180)]
)
def test_grounds_of_one_colour(ground: tuple[int, int, int]) -> None:
    same_ink(molecule(ground=ground)[0], molecule()[0])


@pytest.mark.parametrize(
    "colour", [(255, 255, 0), (255, 255, 102), (160, 255, 160), (255, 128, 128), (153, 204, 255)]
)
def test_highlights(colour: tuple[int, int, int]) -> None:
    plain, places = molecule()
    cover = Image.new("RGB", plain.size, "white")
    pen = ImageDraw.Draw(cover)
    for (x, y), reach in zip(places[[2, 3, 8]], (12, 16, 30), strict=True):
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    same_ink(ImageChops.multiply(plain, cover), plain)


def test_tinted_box_under_a_part() -> None:
    plain, places = molecule()
    cover = Image.new("RGB", plain.size, "white")
    x, y = places[5]
    ImageDraw.Draw(cover).rectangle((x - 50, y - 40, x + 40, y + 50), fill=(255, 230, 180))
    same_ink(ImageChops.multiply(plain, cover), plain)


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("radius", [0, 20])
def test_frames_round_a_drawing(radius: int, width: int) -> None:
    plain, _ = molecule()
    framed = plain.copy()
    ImageDraw.Draw(framed).rounded_rectangle((2, 3, 296, 235), radius, outline="black", width=width)
    same_ink(framed, plain)
    grey = framed.convert("L").convert("1", dither=Image.Dither.NONE)
    same_ink(grey, plain.convert("L").convert("1", dither=Image.Dither.NONE))


def test_table_lines_and_rules() -> None:
    plain, _ = molecule()
    table = on_page(plain, (255, 255, 255))
    pen = ImageDraw.Draw(table)
    for x in (56, 364):
        pen.line((x, 0, x, table.height), fill="black")
    for y in (36, 284):
        pen.line((0, y, table.width, y), fill="black", width=2)
    same_ink(table, plain, 60, 40)
    ruled = on_page(plain, (255, 255, 255))
    ImageDraw.Draw(ruled).line((0, 20, ruled.width, 20), fill="black")
    same_ink(ruled, plain, 60, 40)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (0, 150, 0)])
def test_rings_round_a_part(colour: tuple[int, int, int]) -> None:
    plain, places = molecule()
    x, y = places[3]
    for shape in ("ellipse", "rectangle"):
        marked = plain.copy()
        draw = getattr(ImageDraw.Draw(marked), shape)
        draw((x - 45, y - 35, x + 45, y + 35), outline=colour, width=2)
        ink, expected = load(marked).ink, load(plain).ink
        # The lines under the ring are cut, no more.
        assert np.count_nonzero(ink > 128) < 1.02 * np.count_nonzero(expected > 128)
        assert np.count_nonzero((ink < 64) & (expected > 192)) < 60


def untouched(image: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the picture is taken for a frame, a ring or a ground."""
    ink = load(image).ink
    with monkeypatch.context() as patch:
        patch.setattr(paper, "_unframed", lambda ink: (ink, None))
        patch.setattr(paper, "_unringed", lambda _, ink: ink)
        patch.setattr(paper, "_may_have_grounds", lambda _: False)
        assert np.array_equal(ink, load(image).ink)


@pytest.mark.parametrize(
    "smiles",
    [
        "C1CCC1",
        "C1=CC=C1",
        "OC1CCC1",
        "C12C3C4C1C5C2C3C45",
        "C=C",
        "CC",
        "C#C",
        "CC.O",
        "C[N+](C)(C)C.[Cl-]",
        "c1ccccc1",
        "Clc1ccccc1",
        "O=C1C=CC(=O)C=C1",
        "C1CC2CCC1CC2",
        "[2H]C(Cl)(Cl)Cl",
        "c1ccc2ccccc2c1",
        "O",
        "[O-]S(=O)(=O)[O-].[Na+].[Na+]",
    ],
)
@pytest.mark.parametrize("is_plain", [True, False])
def test_nothing_of_a_molecule_is_a_frame(
    smiles: str, is_plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = molecule(smiles)
    if not is_plain:  # in RDKit's colours, bold
        pen = rdMolDraw2D.MolDraw2DCairo(200, 200)
        pen.drawOptions().bondLineWidth = 4
        pen.DrawMolecule(Chem.MolFromSmiles(smiles))
        pen.FinishDrawing()
        image = Image.open(io.BytesIO(pen.GetDrawingText())).convert("RGB")
    untouched(image, monkeypatch)


def test_squares_rings_and_brackets_are_no_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    # Cyclobutadiene, upright.
    square = Image.new("L", (140, 140), 255)
    pen = ImageDraw.Draw(square)
    pen.rectangle((30, 30, 110, 110), outline=0, width=2)
    pen.line((38, 45, 38, 95), fill=0, width=2)
    pen.line((102, 45, 102, 95), fill=0, width=2)
    untouched(square, monkeypatch)
    # A Fischer cross with four labels.
    cross = Image.new("L", (200, 200), 255)
    pen = ImageDraw.Draw(cross)
    pen.line((100, 40, 100, 160), fill=0, width=2)
    pen.line((40, 100, 160, 100), fill=0, width=2)
    for place in ((92, 20), (92, 162), (20, 92), (166, 92)):
        pen.text(place, "OH", fill=0)
    untouched(cross, monkeypatch)
    # A repeat unit in brackets.
    unit = Image.new("L", (340, 260), 255)
    unit.paste(molecule()[0].convert("L").crop((10, 10, 290, 230)), (30, 20))
    pen = ImageDraw.Draw(unit)
    for x, foot in ((12, 12), (326, -12)):
        pen.line((x, 8, x, 250), fill=0, width=2)
        for y in (8, 250):
            pen.line((x, y, x + foot, y), fill=0, width=2)
    untouched(unit, monkeypatch)
    # A benzene in a colour of its own, with black substituents, and a circle in a black ring.
    for colour, circle in (((220, 0, 0), False), ((0, 0, 0), True)):
        ring = Image.new("RGB", (240, 160), "white")
        pen = ImageDraw.Draw(ring)
        corners = [
            (80 + 50 * math.cos(k * math.pi / 3), 80 + 50 * math.sin(k * math.pi / 3))
            for k in range(7)
        ]
        pen.line(corners, fill=colour, width=2, joint="curve")
        if circle:
            pen.ellipse((50, 50, 110, 110), outline="black", width=2)
        pen.line((130, 80, 180, 80), fill="black", width=2)
        pen.line((180, 80, 210, 40), fill="black", width=2)
        untouched(ring, monkeypatch)


def test_empty_frame_is_kept() -> None:
    frame = Image.new("L", (200, 160), 255)
    ImageDraw.Draw(frame).rectangle((10, 10, 190, 150), outline=0, width=2)
    assert load(frame).ink.max() == 255
