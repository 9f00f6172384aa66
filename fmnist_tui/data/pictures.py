"""A user's own picture as the network wants it: 28x28 grey pixels, bright on black, as Fashion-MNIST was made.

Called by `predict`. Pillow and NumPy; Pillow is imported with the first picture. The data set's
authors trimmed the margins, shrank the longer side to 28 pixels, centred it in a square, made it grey and negated
it (arXiv 1708.07747); so does this, but for what is already there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.config import IMAGE_SIZE

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_FILE_BYTES = 100_000_000
MAX_PIXELS = 100_000_000
"""A picture of this size takes 400 MB while it is prepared; the largest cameras make pictures of this size."""
CONTENT = 13
"""Pixels above this (5 %, as the data set's authors trimmed) are no background."""
Invert = Literal["auto", "yes", "no"]


class PictureError(ValueError):
    """A file that can't be taken for a picture; the text names it and says why."""


@dataclass(frozen=True)
class Picture:
    """A picture as the network sees it."""

    path: Path
    pixels: NDArray[np.uint8]
    """(28, 28) uint8, 0 is the background."""
    inverted: bool
    notes: tuple[str, ...]
    """What was done to it, in words."""


def find_pictures(path: Path) -> list[Path]:
    """The file named, or of a directory the files (by name, not of its subdirectories) that look like pictures.

    Raises PictureError for a path that is not there, and a directory without pictures or that can't be read.
    """
    from PIL import Image

    endings = Image.registered_extensions()
    try:
        if not path.exists():
            raise PictureError(f"{path}: no such file")
        if not path.is_dir():
            return [path]
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in endings and not p.name.startswith("."))
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror}") from None
    if not inside:
        raise PictureError(f"{path}: this directory holds no pictures")
    return inside


def read_picture(path: Path, invert: Invert = "auto") -> Picture:
    """A picture of any size and format Pillow reads. Raises PictureError where it can't be read or is too large.

    A picture of 28x28 is taken as it is. `invert` = "auto" negates one whose corners are bright.
    """
    image, notes = _open(path)
    pixels, transparent = _grey(image)
    if transparent:
        notes.append("transparent parts taken for white")
    inverted = invert == "yes" or (invert == "auto" and has_bright_background(pixels))
    if inverted:
        pixels = 255 - pixels
        why = "bright background: inverted" if invert == "auto" else "inverted"
        notes.append(f"{why}, as the data set is bright on black")
    if pixels.shape != (IMAGE_SIZE, IMAGE_SIZE):
        pixels, said = fit(pixels)
        notes += said
    if int(pixels.max()) - int(pixels.min()) < CONTENT:
        notes.append("nothing but background: the guesses mean nothing")
    return Picture(path, pixels, inverted, tuple(notes))


def _open(path: Path) -> tuple[Image, list[str]]:
    """The first frame, upright, in its own mode; and what to say of that."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if not path.is_file():
            raise PictureError(f"{path}: is no file")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise PictureError(
                f"{path}: has {size / 1e6:,.0f} MB; pictures up to {MAX_FILE_BYTES // 10**6} MB are read"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit warns below ours
            with Image.open(path) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise PictureError(_too_large(path, f"{width:,}x{height:,}"))
                frames = getattr(image, "n_frames", 1)
                image.load()
                upright = ImageOps.exif_transpose(image)
                turned = upright.size != image.size or (image.getexif().get(0x0112, 1) != 1)
    except Image.DecompressionBombError:
        raise PictureError(_too_large(path, "far too many")) from None
    except UnidentifiedImageError:
        raise PictureError(f"{path}: is no picture of a format that can be read") from None
    except OSError as error:  # Pillow's own for what is cut short
        raise PictureError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, SyntaxError, EOFError, MemoryError, RuntimeError, TypeError) as error:  # Pillow's, by format
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"{path}: is damaged: {error}") from None
    notes = [f"first of {frames} frames"] if frames > 1 else []
    return upright, notes + (["turned upright"] if turned else [])


def _too_large(path: Path, size: str) -> str:
    return f"{path}: has {size} pixels; pictures of up to {MAX_PIXELS // 10**6} million pixels are read"


def _grey(image: Image) -> tuple[NDArray[np.uint8], bool]:
    """(H, W) uint8, and whether it had transparent parts: these become white, the ground of product pictures."""
    from PIL import Image as images

    if image.mode.startswith(("I", "F")):  # 16 and 32 bits, which Pillow would clip
        return _eight_bits(np.asarray(image, dtype=np.float64)), False
    transparent = False
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        transparent = image.getchannel("A").getextrema()[0] < 255  # type: ignore[operator]
        white = images.new("RGBA", image.size, (255, 255, 255, 255))
        image = images.alpha_composite(white, image)
    return np.asarray(image.convert("L"), dtype=np.uint8), transparent


def _eight_bits(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """By the first of the ranges 0..1, 0..255 and 0..65535 that holds all values; those beyond by their own."""
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0.0 and high <= 65535.0:
        low, high = 0.0, next(most for most in (1.0, 255.0, 65535.0) if high <= most)
    return np.round(255.0 * (values - low) / max(high - low, 1e-12)).astype(np.uint8)


def has_bright_background(pixels: NDArray[np.uint8]) -> bool:
    """Whether most of the four corners, each a fourteenth of the sides, is bright.

    Right for each of the 70,000 images of the data set and for each of them inverted; the whole border would be
    wrong for 2 bags.
    """
    high, wide = (max(1, round(side / 14)) for side in pixels.shape)
    corners = [
        pixels[rows, columns]
        for rows in (slice(high), slice(-high, None))
        for columns in (slice(wide), slice(-wide, None))
    ]
    return float(np.median(np.concatenate([corner.ravel() for corner in corners]))) > 127.0


def fit(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[str]]:
    """(H, W) pixels bright on black as (28, 28): margins trimmed, padded to a square, resized with antialiasing."""
    from PIL import Image

    height, width = pixels.shape
    notes = []
    rows, columns = np.flatnonzero((pixels > CONTENT).any(1)), np.flatnonzero((pixels > CONTENT).any(0))
    if rows.size:
        pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if max(pixels.shape) < 0.95 * max(height, width):
            notes.append("margins trimmed")
    side = max(pixels.shape)
    if pixels.shape[0] != pixels.shape[1]:
        notes.append("padded to a square")
    scaled = [max(1, round(length * IMAGE_SIZE / side)) for length in pixels.shape]
    small = np.asarray(Image.fromarray(pixels).resize((scaled[1], scaled[0]), Image.Resampling.LANCZOS))
    result = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    # Centred; the odd pixel goes above and to the left, where the data set has it.
    top, left = ((IMAGE_SIZE - length + 1) // 2 for length in scaled)
    result[top : top + scaled[0], left : left + scaled[1]] = small
    return result, [*notes, f"resized from {width}x{height}"]
