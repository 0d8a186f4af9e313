import io
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from paper import HEXAGON, pdf, scan
from PIL import Image

from molgaze import document
from molgaze.document import Document, is_pdf
from molgaze.picture import PictureError


def ink_box(sheet):
    ys, xs = np.nonzero(sheet.ink >= 128)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def first(source):
    with Document(source) as opened:
        return opened.page(1)


def refused(source, kind, page=1):
    with pytest.raises(PictureError) as caught, Document(source) as opened:
        opened.page(page)
    assert caught.value.kind == kind
    return str(caught.value)


def test_vectors_lie_where_they_are_drawn():
    page = first(pdf([HEXAGON]))
    assert page.size == (400, 300)
    assert page.scale * 72 == pytest.approx(200, rel=0.01)
    # 80 to 120 points from the left, 260 to 300 points from the top, and half a point of line
    want = np.array([80, 260, 120, 300]) * page.scale
    assert np.abs(np.array(ink_box(page.sheet)) - want).max() <= 3


def test_words_of_the_text_layer_have_boxes_in_points():
    page = first(pdf(["BT /F 12 Tf 50 300 Td (Compound 12a) Tj ET"]))
    assert [w.text for w in page.words] == ["Compound", "12a"]
    left, top, right, bottom = page.words[0].box
    assert left == pytest.approx(50, abs=2)
    assert 85 < top < 95  # the top of a capital: 400 - 300 less the height of a letter
    assert bottom == pytest.approx(100, abs=4)
    assert right < page.words[1].box[0]
    # the ink of the words is where the boxes say
    x0, y0, *_ = ink_box(page.sheet)
    assert x0 / page.scale == pytest.approx(left, abs=1.5)
    assert y0 / page.scale == pytest.approx(top, abs=1.5)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_pages_are_as_they_are_seen(turn):
    text = "BT /F 12 Tf 50 300 Td (12a) Tj ET"
    page = first(pdf([text], page=f"/Rotate {turn}"))
    assert page.size == ((300, 400) if turn != 180 else (400, 300))
    ink = np.array(ink_box(page.sheet)) / page.scale
    assert np.abs(ink - np.array(page.words[0].box)).max() < 2


def test_cropped_pages_begin_at_their_crop():
    page = first(pdf([HEXAGON], page="/CropBox [60 80 200 200]"))
    assert page.size == (120, 140)
    want = np.array([20, 60, 60, 100]) * page.scale
    assert np.abs(np.array(ink_box(page.sheet)) - want).max() <= 3


def test_a_scan_is_taken_at_its_own_resolution():
    image = Image.new("L", (750, 1000), 255)  # 180 dots an inch
    image.paste(0, (100, 200, 160, 210))
    page = first(scan(image))
    assert page.sheet.size == (1000, 750)
    assert ink_box(page.sheet) == pytest.approx([100, 200, 160, 210], abs=1)


def test_a_coarse_scan_is_enlarged_and_a_fine_one_reduced():
    coarse = first(scan(Image.linear_gradient("L").resize((150, 200))))
    fine = first(scan(Image.linear_gradient("L").resize((1800, 2400))))
    assert coarse.scale * 72 == pytest.approx(150, rel=0.02)
    assert fine.scale * 72 == pytest.approx(200, rel=0.02)


def test_an_empty_page_is_a_page_without_ink():
    page = first(pdf([""]))
    assert not page.sheet.ink.any()
    assert page.sheet.size[0] > 1000


def test_pages_are_counted_from_one():
    with Document(pdf([HEXAGON, "", HEXAGON])) as opened:
        assert len(opened) == 3
        assert opened.is_pdf
        assert opened.page(3).number == 3
        assert opened.page(3).sheet.ink.any()
        for number in (0, 4, -1):
            with pytest.raises(PictureError, match="no page") as caught:
                opened.page(number)
            assert caught.value.kind == "page"


def test_what_cannot_be_opened_says_why(tmp_path):
    assert "needs no password" in refused(pdf([HEXAGON], encrypt=True), "encrypted")
    assert "without pages" in refused(pdf([]), "format")
    refused(b"%PDF-1.7\n" + bytes(200), "format")
    refused(pdf([HEXAGON])[:60], "format")
    refused(b"no picture", "format")
    refused(str(tmp_path / "none.pdf"), "missing")
    refused(tmp_path, "format")
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"%PDF-1.4 nothing")
    assert "bad.pdf" in refused(bad, "format")


def test_a_page_as_large_as_a_house_is_refused():
    message = refused(pdf([HEXAGON], size=(14400, 14400 * 20)), "large")
    assert "inches" in message


def test_a_poster_is_drawn_smaller():
    page = first(pdf([HEXAGON], size=(2384, 3370)))
    assert page.sheet.ink.size <= 20_100_000
    want = np.array([80, 3260, 120, 3300]) - [0, 30, 0, 30]
    assert np.abs(np.array(ink_box(page.sheet)) / page.scale - want).max() < 3


def test_a_picture_that_would_fill_the_memory_is_refused():
    entries = "/Width 60000 /Height 60000 /ColorSpace /DeviceGray /BitsPerComponent 8"
    stream = "q 300 0 0 400 0 0 cm /I0 Do Q"
    assert "3,600,000,000 pixels" in refused(pdf([stream], images=[(entries, b"x")]), "large")


def test_a_stream_that_swells_is_refused(tmp_path):
    page = pdf(["@" * 64]).replace(b"/Length 64 >>", b"/Length 64 /Filter /FlateDecode >>")
    for size, is_bomb in ((20_000_000, False), (150_000_000, True)):
        packed = zlib.compress(b"0 0 m 9 9 l S\n" + b" " * size, 9)
        data = page.replace(b"@" * 64, packed).replace(
            b"/Length 64", f"/Length {len(packed)}".encode()
        )
        path = tmp_path / "page.pdf"
        path.write_bytes(data)
        for source in (data, path):
            if is_bomb:
                assert "unpacks" in refused(source, "large")
            else:
                assert first(source).sheet.ink.any()


def test_a_page_that_takes_for_ever_is_given_up(monkeypatch):
    monkeypatch.setattr(document, "DRAWING_SECONDS", 0.02)
    many = "0 0 m 300 400 l S 0 400 m 300 0 l S\n" * 60_000
    began = time.monotonic()
    assert "to draw" in refused(pdf([many]), "large")
    assert time.monotonic() - began < 20


def test_pictures_and_tiffs_are_pages_too(tmp_path):
    frames = [Image.new("L", (60, 40 + i), 255) for i in range(3)]
    for frame in frames:
        frame.paste(0, (10, 10, 30, 20))
    path = tmp_path / "fax.tif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for source in (str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        with Document(source) as opened:
            assert len(opened) == 3
            assert not opened.is_pdf
            assert opened.page(3).size == (42, 60)
            assert opened.page(3).scale == 1
    blank = Image.new("L", (50, 30), 255)
    for source in (blank, np.full((30, 50), 255, np.uint8)):
        page = first(source)
        assert page.size == (30, 50)
        assert not page.sheet.ink.any()
    blank.save(tmp_path / "blank.png")
    assert first(tmp_path / "blank.png").size == (30, 50)


def test_a_page_to_be_shown():
    with Document(pdf([HEXAGON])) as opened:
        shown = opened.picture(1, 100)
        assert shown.mode == "RGB"
        assert shown.width == pytest.approx(300 / 72 * 100, abs=1)
    with Document(Image.new("L", (50, 30), 0)) as opened:
        assert opened.picture(1).size == (50, 30)


def test_two_threads_share_pdfium():
    data = pdf([HEXAGON] * 4)
    faults = []

    def look():
        try:
            with Document(data) as opened:
                for number in range(1, 5):
                    assert ink_box(opened.page(number).sheet)[2] > 100
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults


def test_what_is_no_path_is_told_as_for_a_picture():
    assert "there is no such file" in refused("missing.pdf", "missing")
    assert "is an address" in refused("https://example.org/paper.pdf", "missing")
    assert refused(io.BytesIO(), "format") == "document: empty file"


def test_without_pdfium_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdfium2.raw", None)
    assert "pip install pypdfium2" in refused(pdf([HEXAGON]), "format")


def test_the_mark_of_a_pdf_may_stand_behind_other_bytes():
    assert is_pdf(b"\r\n" * 20 + b"%PDF-1.4")
    assert not is_pdf(b"x" * 2000 + b"%PDF-1.4")
    assert first(b"junk\n" + pdf([HEXAGON])).sheet.ink.any()
