"""A picture in grey or colour -> ink on plain white paper, and nothing else.

The ground may be dark, tinted, shaded, or of several colours: a card on a page, a highlight behind
an atom. `plain_ink` measures each pixel against the ground around it, takes the card that holds
the drawing, and wipes away frames, rules, table lines and rings that were drawn round a part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from .components import DARK, Components, components, is_noise, strokes

MIN_CONTRAST = 20  # levels of 255 between paper and ink
MIN_INK_PIXELS = 6
_SAMPLED = 320  # px: side of the sample on which grounds are looked for
_TONE = 14  # levels of 255 by which a ground's colour may vary
_SHADED = 5.0  # levels of 255: standard deviation of a ground that is not flat
_MAX_GROUNDS = 6
_LEAST_GROUND = 0.0007  # of the picture: a highlight behind one atom
_VIVID = 60  # levels of 255 between the channels of a colour
_LEAST_RING = 24  # px: the least side of a ring round a part of a drawing
_PALE = 90  # levels of 255: a ground is lighter than the ink by so much
_CARD = 0.08  # of the picture: the least card

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


def plain_ink(image: Image.Image) -> tuple[Image.Image, Components | None] | None:
    """L or RGB -> L ink on flat paper (0), at full contrast (255), and the components of what is
    dark in it where they are known; None when blank.

    A channel at a time, and the strongest difference wins: yellow sulfur on white is nearly
    invisible in luminance and black in the blue channel.
    """
    channels = list(image.split())
    if len(channels) == 3 and _is_grey(channels):
        channels = channels[1:2]
    counts = [channel.histogram() for channel in channels]
    grounds = _grounds(channels) if _may_have_grounds(counts) else None
    raw = _ink_on(channels, grounds) if grounds else None
    ink = _stretch(raw) if raw else None
    if grounds and raw and ink:
        card = _card(grounds, ink)
        if card:
            alone = Image.new("L", raw.size)
            alone.paste(raw.crop(card), card[:2])
            ink = _stretch(alone)
    else:
        ink = _stretch(_on_paper(channels, counts))
    if ink is None:
        return None
    if len(channels) == 3:
        ink = _unringed(channels, ink)
    bare, found = _unframed(np.asarray(ink))
    return Image.fromarray(bare), found


def page_ink(image: Image.Image) -> Image.Image | None:
    """As :func:`plain_ink`, for a page of many things: its cards, frames and grounds stay in it."""
    channels = list(image.split())
    if len(channels) == 3 and _is_grey(channels):
        channels = channels[1:2]
    return _stretch(_on_paper(channels, [channel.histogram() for channel in channels]))


def _on_paper(channels: list[Image.Image], counts: list[list[int]]) -> Image.Image:
    """Ink on paper of one colour, darker than it or lighter, whichever is more.

    Args:
        channels: of the picture.
        counts: their histograms.
    """
    papers = [_paper(channel, levels) for channel, levels in zip(channels, counts, strict=True)]
    if len(channels) == 1 and isinstance(papers[0], int):
        return _on_flat(channels[0], counts[0], papers[0])
    darker, lighter = None, None
    for channel, level in zip(channels, papers, strict=True):
        paper = Image.new("L", channel.size, level) if isinstance(level, int) else level
        down = _ratio(ImageChops.subtract(paper, channel), paper)
        up = ImageChops.subtract(channel, paper)
        darker = down if darker is None else ImageChops.lighter(darker, down)
        lighter = up if lighter is None else ImageChops.lighter(lighter, up)
    assert darker is not None
    assert lighter is not None
    ramp = np.arange(256) * (np.arange(256) >= MIN_CONTRAST)
    masses = [float((np.array(side.histogram()) * ramp).sum()) for side in (darker, lighter)]
    return darker if masses[0] >= masses[1] else lighter


def _on_flat(channel: Image.Image, counts: list[int], paper: int) -> Image.Image:
    """The same for one channel and paper of one level, which its histogram alone tells."""
    levels = np.arange(256)
    sides = [np.maximum(paper - levels, 0), np.maximum(levels - paper, 0)]  # darker, lighter
    masses = [int((np.array(counts) * side * (side >= MIN_CONTRAST)).sum()) for side in sides]
    return channel.point(sides[masses[0] < masses[1]].tolist())


def _is_grey(channels: list[Image.Image]) -> bool:
    red, green, blue = channels
    apart = (ImageChops.difference(red, green), ImageChops.difference(green, blue))
    return all(int(side.getextrema()[1]) <= 24 for side in apart)  # type: ignore[arg-type]


def _paper(channel: Image.Image, counts: list[int]) -> Image.Image | int:
    """Grey level of the paper at each pixel, the medians of large blocks, smoothed; or one number
    where it is the same everywhere.
    """
    width, height = channel.size
    step = max(1, max(width, height) // 512)
    if max(counts) >= (1 - 0.12 / step**2) * width * height:
        # So few other pixels can't make up half of a quarter of the blocks.
        return counts.index(max(counts))
    small = np.asarray(channel.reduce(step) if step > 1 else channel)
    side = max(24, max(small.shape) // 12)  # px of a block: wider than a ring, narrower than a lamp
    rows, columns = max(1, small.shape[0] // side), max(1, small.shape[1] // side)
    blocks = _block_medians(small, rows, columns)
    level = float(np.median(blocks))
    spread = np.percentile(np.abs(blocks - level), 75)
    if spread < 4:
        return round(level)
    # A block inside a bold ring or a stray black bar must not pass for paper.
    padded = np.pad(blocks, 1, mode="edge")
    around = np.stack(
        [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)], axis=0
    )
    smooth = Image.fromarray(np.median(around, axis=0).astype(np.uint8))
    return smooth.resize(channel.size, Image.Resampling.BILINEAR)


def _block_medians(grey: Bytes, rows: int, columns: int) -> NDArray[np.float64]:
    """Medians (rows, columns) of as many blocks of a picture, by one histogram of all of them."""
    ys = np.linspace(0, grey.shape[0], rows + 1).astype(int)
    xs = np.linspace(0, grey.shape[1], columns + 1).astype(int)
    row = np.repeat(np.arange(rows), np.diff(ys))
    column = np.repeat(np.arange(columns), np.diff(xs))
    slots = (row[:, None] * columns + column) * 256 + grey
    counts = np.bincount(slots.ravel(), minlength=rows * columns * 256)
    below = counts.reshape(rows, columns, 256).cumsum(2)
    half = below[..., -1:] / 2
    low, high = (below >= half).argmax(2), (below > half).argmax(2)
    return np.asarray((low + high) / 2)


def _ratio(down: Image.Image, paper: Image.Image) -> Image.Image:
    """Loss of light in parts of the paper's own light, so that ink in the shade is still ink."""
    low, high = paper.getextrema()
    if low == high:
        return down  # the stretch does the same for a flat paper
    part = np.asarray(down, np.uint16) * np.uint16(255) // np.maximum(np.asarray(paper), 32)
    return Image.fromarray(np.minimum(part, 255).astype(np.uint8))


def _stretch(ink: Image.Image) -> Image.Image | None:
    """Ink at any contrast -> 0..255 with the paper's grain taken off; None when there is none."""
    counts = np.array(ink.histogram(), np.float64)
    if counts[MIN_CONTRAST:].sum() < MIN_INK_PIXELS:
        return None
    split = max(_otsu(counts), MIN_CONTRAST // 2)
    above = np.cumsum(counts[split + 1 :])
    if above[-1] == 0:
        return None
    top = split + 1 + int(np.searchsorted(above, 0.8 * above[-1]))
    floor = round(0.05 * top)
    if top >= 250:
        return ink
    ramp = (np.arange(256) - floor) * (255.0 / max(top - floor, 1))
    return ink.point(np.clip(np.rint(ramp), 0, 255).astype(int).tolist())


def _otsu(counts: NDArray[np.float64]) -> int:
    """Level that parts a histogram into two classes of least spread."""
    levels = np.arange(counts.size)
    below = np.cumsum(counts)
    mass = np.cumsum(counts * levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below - mass * below[-1]) ** 2 / (below * (below[-1] - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, 0.0)))


# --- grounds of several colours ---


@dataclass(frozen=True, eq=False)
class _Grounds:
    """The grounds of a picture, on a sample of its pixels.

    Attributes:
        step: pixels of the picture from one of the sample to the next.
        colours: (N, C) of the grounds, the largest first.
        label: (h, w) the ground of each pixel of the sample, under ink that of the nearest.
        bare: (h, w) True where the ground itself is seen.
    """

    step: int
    colours: NDArray[np.float64]
    label: NDArray[np.int8]
    bare: Mask


def _may_have_grounds(histograms: list[list[int]]) -> bool:
    """False for most pictures, at a glance: one colour of paper, one or more of thin ink."""
    counts = np.array(histograms, np.float64)
    total = counts[0].sum()
    least = _LEAST_GROUND * total
    dark, light = counts[:, :16].sum(axis=1), counts[:, 240:].sum(axis=1)
    if min(dark.max(), light.max()) > 0.12 * total:
        return True  # a card on a page
    # Black lines are black in all channels; a yellow ground is so in the blue one alone.
    if np.ptp(dark) > least or np.ptp(light) > least:
        return True
    for row in counts:
        wide = np.convolve(row, np.ones(5), "same")  # for the noise of compression
        paper = int(wide.argmax())
        wide[max(paper - 12, 0) : paper + 13] = 0
        if wide[16:240].max() > 4 * least or wide.max() > 0.12 * total:
            return True
    return False


def _grounds(channels: list[Image.Image]) -> _Grounds | None:
    """The grounds of a picture of flat colours; None where there is one, or too many."""
    width, height = channels[0].size
    step = max(1, round(max(width, height) / _SAMPLED))
    pixels = np.stack([np.asarray(channel)[::step, ::step] for channel in channels], 2)
    left = flat = _flat(pixels)
    least = _LEAST_GROUND * flat.size
    colours: list[NDArray[np.float64]] = []
    areas: list[Mask] = []
    tries = 0
    # Most pixels of most pictures have the colour of the paper.
    seen = pixels[::7, ::7].reshape(-1, len(channels))
    while tries == 0 or (seen.shape[0] > least and tries < _MAX_GROUNDS):
        packed = (seen // 8).astype(np.int32) @ (32 ** np.arange(seen.shape[1], dtype=np.int32))
        values, counts = np.unique(packed, return_counts=True)
        colour = np.rint(np.median(seen[packed == values[counts.argmax()]], axis=0))
        level = colour.astype(np.uint8)
        near = (np.maximum(pixels, level) - np.minimum(pixels, level) <= _TONE).all(axis=2)
        left = left & ~near
        seen = pixels[left]
        if tries == 0 and seen.shape[0] <= least:
            return None
        shaded = bool(pixels[near & flat].std(axis=0).max(initial=0.0) > _SHADED)
        if shaded and near.mean() > _CARD:
            return None  # a gradient or a lamp's light, which other means follow better
        if not shaded:
            colours.append(colour)
            areas.append(near)
        tries += 1
    if len(colours) < 2 or seen.shape[0] > 0.06 * flat.size:
        return None
    light = [float(colour.mean()) for colour in colours]
    grounds = [0]
    for number in range(1, len(colours)):
        if _is_ground(pixels, areas[number], areas[0], light[number], light[0]):
            grounds.append(number)
    if len(grounds) < 2:
        return None
    label = np.full(flat.shape, -1, np.int8)
    for place, number in enumerate(grounds):
        # Lines upon one ground may have the colour of another, and so may their soft edges.
        far = any(abs(light[other] - light[number]) > 255 - _PALE for other in grounds)
        area = _opened(areas[number], 4 if far else 1)
        label[area] = place
    if not (label >= 0).any():
        return None
    return _Grounds(step, np.array([colours[i] for i in grounds]), _spread(label), label >= 0)


def _flat(pixels: Bytes) -> Mask:
    """Pixels of the sample (h, w, C) whose neighbours at the four sides have their colour."""
    near = np.ones(pixels.shape[:2], bool)
    for one, other in (
        (np.s_[1:], np.s_[:-1]),
        (np.s_[:, 1:], np.s_[:, :-1]),
    ):
        apart = np.maximum(pixels[one], pixels[other]) - np.minimum(pixels[one], pixels[other])
        same = (apart <= _TONE // 2).all(axis=2)
        near[one] &= same
        near[other] &= same
    return near


def _is_ground(pixels: Bytes, area: Mask, paper: Mask, light: float, paper_light: float) -> bool:
    """True for a flat colour that ink lies upon; false for thick strokes and coloured letters."""
    share = float(area.mean())
    contrast = abs(light - paper_light)
    if contrast > 255 - _PALE:
        # As far from the paper as ink is: a page round a card or a bar along an edge, no bold bond.
        height, width = area.shape
        wide = components(_opened(area, 4))
        edges = (wide.boxes[:, :2] == 0).sum(axis=1) + (wide.boxes[:, 2:] == (width, height)).sum(1)
        return share > 0.12 or bool(((edges > 1) & (wide.areas > 0.01 * area.size)).any())
    thick = _eroded(area, 4)
    if thick.sum() > max(40, 0.5 * _LEAST_GROUND * area.size):
        return True
    # Ink between two pixels of the colour, up and down or left and right.
    darkness = 1 if light < paper_light or paper_light > 128 else -1
    ink = darkness * (light - pixels.mean(axis=2)) > 50
    ink &= ~area & ~paper
    reach = 6
    sides = [np.zeros_like(area) for _ in range(4)]
    for distance in range(1, reach + 1):
        sides[0][distance:] |= area[:-distance]
        sides[1][:-distance] |= area[distance:]
        sides[2][:, distance:] |= area[:, :-distance]
        sides[3][:, :-distance] |= area[:, distance:]
    inside = ink & ((sides[0] & sides[1]) | (sides[2] & sides[3]))
    return bool(inside.sum() > max(12, 0.08 * area.sum()))


def _eroded(mask: Mask, by: int) -> Mask:
    """Pixels that are farther than `by`, up to 6, from any outside the mask."""
    image = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    blurred = np.asarray(image.filter(ImageFilter.BoxBlur(by)))  # much faster than MinFilter
    return np.asarray(blurred == 255)


def _opened(mask: Mask, by: int) -> Mask:
    """What of a mask is wider than twice `by` and a pixel."""
    image = Image.fromarray(_eroded(mask, by).astype(np.uint8) * np.uint8(255))
    return (np.asarray(image.filter(ImageFilter.BoxBlur(by))) > 0) & mask


def _spread(label: NDArray[np.int8]) -> NDArray[np.int8]:
    """Pixels of no ground (-1) get that of the nearest one."""
    found = label.copy()
    while True:
        missing = found < 0
        if not missing.any():
            return found
        padded = np.pad(found, 1, constant_values=-1)
        near = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        found = np.where(missing, np.maximum.reduce(near), found)


def _ink_on(channels: list[Image.Image], grounds: _Grounds) -> Image.Image:
    """Ink against the ground of each pixel; at a border between two, against both."""
    width, height = channels[0].size
    step = grounds.step
    light = grounds.colours.mean(axis=1)
    inks = [np.zeros((height, width), np.uint8)]
    for number, channel in enumerate(channels):
        levels = np.rint(grounds.colours[:, number]).astype(np.uint8)[grounds.label]
        ground = Image.fromarray(levels)
        low, high = (
            np.repeat(np.repeat(np.asarray(ground.filter(room)), step, 0), step, 1)
            for room in (ImageFilter.MinFilter(5), ImageFilter.MaxFilter(5))
        )
        low = low[:height, :width].astype(np.int32)
        high = high[:height, :width].astype(np.int32)
        pixels = np.asarray(channel).astype(np.int32)
        if light.max() > 128:
            darker = 255 * (low - pixels) // np.maximum(low, 64)
            inks.append(np.clip(darker, 0, 255).astype(np.uint8))
        if light.min() < 100:
            lighter = 255 * (pixels - high) // np.maximum(255 - high, 64)
            inks.append(np.clip(lighter, 0, 255).astype(np.uint8))
    return Image.fromarray(np.maximum.reduce(inks))


def _card(grounds: _Grounds, ink: Image.Image) -> tuple[int, int, int, int] | None:
    """Box of the card that holds the drawing; None if it lies on the page as a whole."""
    step = grounds.step
    dark = np.asarray(ink) >= DARK
    height, width = dark.shape
    best, most = None, -1.0
    sampled = np.zeros(grounds.label.shape)
    rows, columns = np.nonzero(dark)
    np.add.at(sampled, (rows // step, columns // step), 1.0)
    for number in range(len(grounds.colours)):
        found = components(grounds.label == number)
        for which in np.flatnonzero(found.areas > _CARD * grounds.label.size):
            # Not its rim, where the shadow of another card may lie.
            mask = found.mask(np.array([which]))
            mass = float(sampled[_eroded(mask, 6)].sum())
            if mass > most:
                ys, xs = np.nonzero(mask & grounds.bare)
                best, most = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), mass
    if best is None:
        return None
    left, top, right, bottom = (int(v) * step for v in best)
    right, bottom = min(right, width), min(bottom, height)
    inset = step + 2
    box = (
        left + inset if left else 0,
        top + inset if top else 0,
        right - inset if right < width else width,
        bottom - inset if bottom < height else height,
    )
    if box == (0, 0, width, height) or box[2] <= box[0] or box[3] <= box[1]:
        return None
    if is_noise(dark):
        return None
    # What crosses the border of a tinted box belongs to the drawing: no card.
    out = 3 * inset
    lines = components(dark)
    inside = (lines.boxes[:, :2] < (box[2] - out, box[3] - out)).all(axis=1)
    inside &= (lines.boxes[:, 2:] > (box[0] + out, box[1] + out)).all(axis=1)
    across = inside & (
        (lines.boxes[:, 0] < left - out)
        | (lines.boxes[:, 1] < top - out)
        | (lines.boxes[:, 2] > right + out)
        | (lines.boxes[:, 3] > bottom + out)
    )
    # Rings round the card, such as its shadow, touch all sides of it.
    ring = (lines.boxes[:, :2] < (left + out, top + out)).all(axis=1)
    ring &= (lines.boxes[:, 2:] > (right - out, bottom - out)).all(axis=1)
    return None if (across & ~ring).any() else box


# --- frames, rules, rings ---


def _unringed(channels: list[Image.Image], ink: Image.Image) -> Image.Image:
    """Ink without ellipses and boxes that were drawn in a colour of their own round a part."""
    red, green, blue = channels
    highest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    lowest = ImageChops.darker(ImageChops.darker(red, green), blue)
    apart = ImageChops.subtract(highest, lowest)
    count = sum(apart.histogram()[_VIVID + 1 :])
    if not 4 * _LEAST_RING <= count < 0.2 * ink.width * ink.height:
        return ink  # neither lines in colour nor a photograph
    pixels = np.stack([np.asarray(channel) for channel in channels], 2)
    high, low = np.asarray(highest), np.asarray(lowest)
    vivid = np.asarray(apart) > _VIVID
    marks = np.asarray(ink) >= DARK
    middle = (high // 2 + low // 2)[..., None]
    hue = (pixels > middle) @ np.array([1, 2, 4], np.uint8)
    cleared = None
    for name in range(1, 7):
        mask = vivid & (hue == name)
        if np.count_nonzero(mask) < 4 * _LEAST_RING or is_noise(mask):
            continue
        # Lines that cross the ring may break it.
        whole = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(3))) > 0
        found = components(whole)
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        for number in map(int, np.flatnonzero(sides.min(axis=1) >= _LEAST_RING)):
            left, top, right, bottom = (int(v) for v in found.boxes[number])
            box = (slice(top, bottom), slice(left, right))
            ring = found.mask(np.array([number]), (left, top, right, bottom))
            other = marks[box] & ~ring & ~mask[box]
            if other.sum() < 0.4 * max(right - left, bottom - top):
                continue
            if _is_ellipse(ring) or _runs_round(found, number):
                if cleared is None:
                    cleared = np.array(ink)
                faint = Image.fromarray(ring).convert("L").filter(ImageFilter.MaxFilter(3))
                gone = (np.asarray(faint) > 0) & (np.asarray(apart)[box] > _VIVID // 3)
                cleared[box][gone] = 0
    return ink if cleared is None else Image.fromarray(cleared)


def _is_ellipse(ring: Mask) -> bool:
    """True for a ring (H, W) that fills its box as an ellipse; the rings of molecules have
    corners.
    """
    ys, xs = np.nonzero(ring)
    half = np.array([ring.shape[1], ring.shape[0]]) / 2
    x, y = (xs + 0.5) / half[0] - 1, (ys + 0.5) / half[1] - 1
    radius = np.hypot(x, y)
    around = np.pi * (3 * half.sum() - np.sqrt((3 * half[0] + half[1]) * (half[0] + 3 * half[1])))
    spread = float(np.subtract(*np.percentile(radius, [96, 4]))) * half.min()
    turn = np.unique(((np.arctan2(y, x) / np.pi + 1) * 18).astype(int))
    return bool(spread < len(xs) / around + 1 and turn.size > 32)


def _unframed(ink: Bytes) -> tuple[Bytes, Components | None]:
    """Ink without frames, rules and table lines round the drawing, and without a screen's edge; and
    its components, if there are none of these.
    """
    found = strokes(ink)
    if found is None or len(found) < 2:
        return ink, found
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    low, high = found.boxes[:, :2].min(axis=0), found.boxes[:, 2:].max(axis=0)
    whole = high - low
    gone = np.zeros(len(found), bool)
    for number in map(int, np.flatnonzero((sides > 0.6 * whole).any(axis=1))):
        others = ~gone
        others[number] = False
        if _is_frame(found, number, others) or _is_ruled(found, number, others, low, high):
            gone[number] = True
    if not gone.any() or gone.all():
        return ink, found
    cleared = ink.copy()
    grown = Image.fromarray(found.mask(gone).astype(np.uint8) * np.uint8(255))
    near = np.asarray(grown.filter(ImageFilter.MaxFilter(5))) > 0
    kept = Image.fromarray(found.mask(~gone).astype(np.uint8) * np.uint8(255))
    near &= np.asarray(kept.filter(ImageFilter.MaxFilter(3))) == 0
    cleared[near] = 0
    return cleared, None


def _is_drawing(found: Components, others: Mask, side: float) -> bool:
    """True if some components are more than the letters or inner lines of one small ring."""
    sides = found.boxes[others, 2:] - found.boxes[others, :2]
    large = sides.max(axis=1) > 0.25 * side
    return bool((large & (sides.min(axis=1) > 0.12 * side)).any() or len(sides) >= 6)


def _is_frame(found: Components, number: int, others: Mask) -> bool:
    """True for a component that runs along the four sides of its box, round a drawing."""
    left, top, right, bottom = (int(v) for v in found.boxes[number])
    wide, tall = right - left, bottom - top
    boxes = found.boxes
    inside = others & (boxes[:, :2] >= (left, top)).all(axis=1)
    inside &= (boxes[:, 2:] <= (right, bottom)).all(axis=1)
    if min(wide, tall) < 24 or not inside.any() or not _is_drawing(found, inside, min(wide, tall)):
        return False
    return _runs_round(found, number)


def _runs_round(found: Components, number: int) -> bool:
    """True for a component that runs along the four sides of its box."""
    left, top, right, bottom = (int(v) for v in found.boxes[number])
    wide, tall = right - left, bottom - top
    row, start, end = found.runs[found.owner == number].T
    near = max(5, round(0.03 * min(wide, tall)))
    size = int((end - start).sum())
    level = (row < top + near) | (row >= bottom - near)
    upright = np.minimum(end, left + near) - np.minimum(start, left + near)
    upright += np.maximum(end, right - near) - np.maximum(start, right - near)
    at_sides = int(np.where(level, end - start, upright).sum())
    if at_sides < 0.85 * size:
        return False
    covered = [
        np.unique(row[start < left + near]).size / tall,
        np.unique(row[end > right - near]).size / tall,
    ]
    for band in (row < top + near, row >= bottom - near):
        marks = np.zeros(wide + 1, np.int64)
        np.add.at(marks, start[band] - left, 1)
        np.add.at(marks, end[band] - left, -1)
        covered.append(np.count_nonzero(np.cumsum(marks)[:-1]) / wide)
    # A side may lie outside the picture.
    height, width = found.size
    outside = [left == 0, right == width, top == 0, bottom == height]
    if sum(outside) == 1:
        covered[outside.index(True)] = 1.0
    return min(covered) > 0.7


def _is_ruled(found: Components, number: int, others: Mask, low: Ints, high: Ints) -> bool:
    """True for lines across all of the ink, alone or as a table's, beside a drawing."""
    left, top, right, bottom = (int(v) for v in found.boxes[number])
    wide, tall = right - left, bottom - top
    whole = high - low
    if not others.any():
        return False
    row, start, end = found.runs[found.owner == number].T
    size = int((end - start).sum())
    lines = 0
    level = np.zeros(len(row), bool)
    if wide > 0.9 * whole[0]:
        level = end - start > 0.45 * wide
        lines = int((end - start)[level].sum())
    if tall > 0.9 * whole[1]:
        columns = np.zeros(wide + 1, np.int64)
        np.add.at(columns, start[~level] - left, 1)
        np.add.at(columns, end[~level] - left, -1)
        counts = np.cumsum(columns)[:-1]
        lines += int(counts[counts > 0.45 * tall].sum())
    if lines < 0.9 * size:
        return False
    short, long = sorted((wide, tall))
    if short < 0.5 * long and short > 2.5 * size / long + 0.01 * long:
        return False  # a bracket
    largest = (found.boxes[others, 2:] - found.boxes[others, :2]).max()
    return bool(largest > 0.25 * max(wide, tall)) and _is_drawing(found, others, float(largest))
