"""A user's pictures as the network wants them: formats, transparency, orientation, backgrounds, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from fmnist_tui.data import pictures
from fmnist_tui.data.pictures import PictureError, find_pictures, has_bright_background, read_picture
from fmnist_tui.data.source import load_full, load_sample

SAMPLE = load_sample().test_images
BOOT = SAMPLE[int(np.flatnonzero(load_sample().test_labels == 9)[0])]


def large(pixels: np.ndarray = BOOT, side: int = 280) -> Image.Image:
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


ABOUT = 10.0
"""Grey levels that blur makes; off by a single pixel the boot differs by 26."""


def difference(pixels: np.ndarray, other: np.ndarray = BOOT) -> float:
    """Mean absolute difference of two images in grey levels."""
    return float(np.abs(pixels.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "webp"])
def test_an_image_of_the_data_set_is_taken_as_it_is(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"boot.{ending}"
    options: dict[str, Any] = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(BOOT).save(path, **options)
    picture = read_picture(path)
    assert (picture.pixels == BOOT).all() and picture.pixels.dtype == np.uint8
    assert (picture.inverted, picture.notes) == (False, ())


@pytest.mark.parametrize(
    "mode",
    ["1", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"],
)
def test_every_mode_becomes_the_same_grey(tmp_path: Path, mode: str) -> None:
    if mode in ("I;16", "I"):
        image = Image.fromarray(BOOT.astype(np.uint16) * 257)
        image = image if mode == "I;16" else image.convert("I")
    elif mode == "F":
        image = Image.fromarray(BOOT.astype(np.float32) / 255)
    else:
        image = Image.fromarray(BOOT).convert(mode)
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 can't read the TIFF it writes of such a picture")
    path = tmp_path / ("boot.tiff" if mode in ("CMYK", "YCbCr", "F", "I") else "boot.png")
    image.save(path)
    picture = read_picture(path)
    if mode == "1":
        assert set(np.unique(picture.pixels)) <= {0, 255}
    else:
        assert difference(picture.pixels) < 1.5


def test_grey_values_from_0_to_1_are_not_stretched(tmp_path: Path) -> None:
    pale = (BOOT // 2 + 60).astype(np.uint8)
    Image.fromarray(pale.astype(np.float32) / 255).save(tmp_path / "pale.tiff")
    assert (read_picture(tmp_path / "pale.tiff", "no").pixels == pale).all()


def test_a_product_picture_on_white_becomes_what_the_data_set_holds(tmp_path: Path) -> None:
    photo = Image.new("RGB", (640, 480), "white")
    photo.paste(Image.fromarray(255 - np.asarray(large())).convert("RGB"), (200, 90))
    photo.save(tmp_path / "boot.jpg", quality=95)
    picture = read_picture(tmp_path / "boot.jpg")
    assert picture.inverted and difference(picture.pixels) < ABOUT
    said = " / ".join(picture.notes)
    assert "bright background: inverted" in said and "margins trimmed" in said and "from 640x480" in said


def test_transparent_parts_are_a_white_background(tmp_path: Path) -> None:
    ink = np.zeros((28, 28, 4), np.uint8)
    ink[..., 3] = BOOT  # a black boot, as opaque as the data set's is bright
    Image.fromarray(ink).save(tmp_path / "boot.png")
    picture = read_picture(tmp_path / "boot.png")
    assert picture.inverted and difference(picture.pixels) < 1.5
    assert any("transparent" in note for note in picture.notes)


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it upright
    large().rotate(90).save(tmp_path / "boot.jpg", exif=exif, quality=95)
    picture = read_picture(tmp_path / "boot.jpg")
    assert difference(picture.pixels) < ABOUT and "turned upright" in picture.notes


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.fromarray(pixels) for pixels in (BOOT, 255 - BOOT, SAMPLE[1])]
    frames[0].save(tmp_path / "boot.gif", save_all=True, append_images=frames[1:])
    picture = read_picture(tmp_path / "boot.gif")
    assert difference(picture.pixels) < 1.5 and picture.notes == ("first of 3 frames",)


def test_other_shapes_are_padded_in_the_middle(tmp_path: Path) -> None:
    bar = np.zeros((100, 400), np.uint8)
    bar[10:90, 20:380] = 200
    Image.fromarray(bar).save(tmp_path / "bar.png")
    picture = read_picture(tmp_path / "bar.png")
    filled = np.flatnonzero(picture.pixels.max(1) > 100)
    assert (filled[0], filled[-1]) == (11, 16) and "padded to a square" in picture.notes
    assert picture.pixels[13, 2:-2].min() > 150


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    checker = np.indices((560, 560)).sum(0) % 2 * 255
    checker[0], checker[-1] = 0, 0
    Image.fromarray(checker.astype(np.uint8)).save(tmp_path / "checker.png")
    middle = read_picture(tmp_path / "checker.png", "no").pixels[4:-4, 4:-4]
    assert middle.min() > 100 and middle.max() < 155, "neither black nor white is left"


def test_a_user_may_say_what_is_inverted(tmp_path: Path) -> None:
    path = tmp_path / "boot.png"
    Image.fromarray(BOOT).save(path)
    assert (read_picture(path, "yes").pixels == 255 - BOOT).all()
    Image.fromarray(255 - BOOT).save(path)
    assert (read_picture(path, "no").pixels == 255 - BOOT).all()
    assert (read_picture(path, "auto").pixels == BOOT).all()


def test_no_image_of_the_sample_is_taken_for_inverted_and_every_inverted_one_is() -> None:
    assert not any(has_bright_background(image) for image in SAMPLE)
    assert all(has_bright_background(255 - image) for image in SAMPLE)


@pytest.mark.full_data
def test_nor_is_any_of_the_full_data(full_data_dir: Path) -> None:
    full = load_full(full_data_dir)
    for images in (full.train_images[::5], full.test_images):
        assert not any(has_bright_background(image) for image in images)
        assert all(has_bright_background(255 - image) for image in images)


def test_an_empty_picture_is_said_to_be_one(tmp_path: Path) -> None:
    Image.new("L", (50, 50), 255).save(tmp_path / "white.png")
    assert "nothing but background" in read_picture(tmp_path / "white.png").notes[-1]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be this large and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello", "is no picture"),
        (b"", "is no picture"),
        (png_header(11_000, 10_000), "has 11,000x10,000 pixels; pictures of up to 100 million"),
        (png_header(60_000, 60_000), "pictures of up to 100 million pixels are read"),
        (png_header(100, 100), "cannot be read"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    assert said in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("ending", "found", "damage"),
    [
        ("tiff", struct.pack("<HHL", 256, 4, 1), struct.pack("<HHL", 300, 4, 1)),  # no width: Pillow's TypeError
        ("blp", b"BLP2\x01\x00\x00\x00\x01", b"BLP2\x01\x00\x00\x00\x00"),  # no encoding: NotImplementedError
    ],
)
def test_damage_of_every_kind_names_the_file(tmp_path: Path, ending: str, found: bytes, damage: bytes) -> None:
    path = tmp_path / f"bad.{ending}"
    several: Any = {"save_all": True, "append_images": [large()]} if ending == "tiff" else {}
    Image.fromarray(BOOT).convert("P").save(path, **several)
    before, found, after = path.read_bytes().rpartition(found)
    path.write_bytes(before + damage + after)
    with pytest.raises(PictureError, match=r"bad\.\w+: is damaged: "):
        read_picture(path)


def test_files_that_are_huge_or_no_files_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large().save(tmp_path / "large.png")
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 100)
    with pytest.raises(PictureError, match="pictures up to"):
        read_picture(tmp_path / "large.png")
    with pytest.raises(PictureError, match="is no file"):
        read_picture(tmp_path)


def test_directories_give_their_pictures_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    assert [path.name for path in find_pictures(tmp_path)] == ["a.JPG", "b.png"]
    assert find_pictures(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(PictureError, match="holds no pictures"):
        find_pictures(tmp_path / "sub")
    with pytest.raises(PictureError, match="no such file"):
        find_pictures(tmp_path / "nothing.png")
