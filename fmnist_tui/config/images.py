"""The data and augment sections: which images a run sees, and what is done to one before the network sees it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from fmnist_tui.config.section import Section, unit
from fmnist_tui.wording import cross_field

IMAGE_SIZE = 28
"""Side of a Fashion-MNIST image in pixels."""

DATA_SIZES: dict[str, tuple[int, int]] = {"full": (60_000, 10_000), "sample": (6_000, 2_000)}
"""Official training and test images of each source."""

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""The ten class names in label order."""


class DataConfig(Section):
    """Which images are trained on and which are tested on."""

    source: Literal["full", "sample"] = Field(
        "full", description="The full data set, or the small sample shipped with the program."
    )
    split: Literal["custom", "standard"] = Field(
        "custom",
        description="custom: train on the first half of the training images, test on the official test images and "
        "the other half (30,000 / 40,000). standard: the official 60,000 / 10,000.",
    )
    hold_out: int = Field(
        0,
        ge=0,
        le=DATA_SIZES["full"][0] - 1,
        description="Train without so many of the training images and test on those, no test image is looked at: to "
        "choose hyperparameters by. 0 trains on all and tests on the test images.",
        json_schema_extra=unit("images"),
    )
    fold: int = Field(
        0,
        ge=0,
        le=DATA_SIZES["full"][0] - 1,
        description="Which images are held out: 0 the last ones, 1 those before them, and so on.",
    )

    @property
    def sizes(self) -> tuple[int, int]:
        """Images to train and to test on."""
        train, test = DATA_SIZES[self.source]
        if self.split == "custom":
            train, test = train // 2, test + train - train // 2
        return (train - self.hold_out, self.hold_out) if self.hold_out else (train, test)

    @property
    def words(self) -> str:
        """'custom split of the full data', '5,000 held-out training images (fold 0) of the custom split of ...'."""
        whole = f"{self.split} split of the {self.source} data"
        if not self.hold_out:
            return whole
        return f"{self.hold_out:,} held-out training images (fold {self.fold}) of the {whole}"

    @model_validator(mode="after")
    def _held_out(self) -> DataConfig:
        of_all = self.sizes[0] + self.hold_out if self.hold_out else self.sizes[0]
        if self.hold_out >= of_all:
            message = (
                f"must be below the {of_all:,} training images of the {self.split} split of the {self.source} data"
            )
            raise cross_field("data.hold_out", self.hold_out, message)
        folds = of_all // self.hold_out if self.hold_out else 1
        if self.fold >= folds:
            message = "needs data.hold_out, which says how many images a part has"
            if self.hold_out:
                message = f"must be below {folds}: {of_all:,} images have so many parts of {self.hold_out:,}"
            raise cross_field("data.fold", self.fold, message)
        return self


class AugmentConfig(Section):
    """What is done to a training image before the network sees it."""

    crop_padding: int = Field(
        4,
        ge=0,
        le=IMAGE_SIZE // 2,
        description="Random crop: pad by this much on each side, crop 28x28; 0 is off.",
        json_schema_extra=unit("pixels"),
    )
    flip: bool = Field(True, description="Mirror an image horizontally with probability 0.5.")
    flip_mode: Literal["random", "alternating"] = Field(
        "random",
        description="random: drawn for each image in each epoch. alternating: drawn in the first epoch, then mirrored "
        "in every second one (arXiv 2404.00498).",
    )
    cutout_size: int = Field(
        0,
        ge=0,
        le=IMAGE_SIZE,
        description="Side of the square Cutout fills with the mean; 0 is off (arXiv 1708.04552).",
        json_schema_extra=unit("pixels"),
    )
    cutout_probability: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Share of the images that get a Cutout.",
        json_schema_extra=unit("probability"),
    )
    cutout_inside: bool = Field(False, description="Keep the whole square inside the image; else only its centre.")
    cutmix_probability: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share of the batches in which a rectangle of each image is another image's, and the label by its "
        "share of the pixels as well; 0 is off (CutMix, arXiv 1905.04899).",
        json_schema_extra=unit("probability"),
    )
    cutmix_share: float = Field(
        1.0,
        ge=0.0,
        le=1.0,
        description="Share of the epochs, from the first, that have CutMix. The last ones train on whole images, as "
        "evaluations have them.",
        json_schema_extra=unit("share"),
    )
    low_resolution: int = Field(
        IMAGE_SIZE,
        ge=8,
        le=IMAGE_SIZE,
        multiple_of=4,
        description="Side of the images in the first part of the run, resized with antialiasing; 28 is full size.",
        json_schema_extra=unit("pixels"),
    )
    low_resolution_share: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Share of the epochs, from the first, that train at the low resolution. Evaluations are at full "
        "size, where the network knows little until then.",
        json_schema_extra=unit("share"),
    )
