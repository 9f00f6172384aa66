"""The channels of a dense block in one place, fp32: what goes in and out of it, by `planes.c`."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
from torch import Tensor

from fmnist_tui.models.kernels import build


class PlanesGrad(NamedTuple):
    """The gradient of planes while those who read them have their turns."""

    values: Tensor
    """fp32, as `Planes.values`."""
    later: Tensor
    """(C', 2) float64: the slope and the level that are still to be added to a channel's when all have had theirs."""


class Planes(NamedTuple):
    """All channels of a block as `planes.h` has them, and what they are of: images (B, C', H, W)."""

    values: Tensor
    shape: tuple[int, int, int, int]

    @classmethod
    def of(cls, *shape: int) -> Planes:
        """With nothing in them yet."""
        images, wide, height, width = shape
        room = build.library(torch.float32).planes_room(images * height * width, wide)
        return cls(torch.empty(room), (images, wide, height, width))

    @property
    def wide(self) -> int:
        """Channels."""
        return self.shape[1]

    @property
    def rows(self) -> int:
        """Pixels of all images."""
        return self.shape[0] * self.shape[2] * self.shape[3]

    @property
    def library(self) -> ctypes.CDLL:
        """That has the loops."""
        return build.library(self.values.dtype)

    def images_of(self, channels: int) -> Tensor:
        """Room for images (B, channels, H, W) in channels_last."""
        images, _, height, width = self.shape
        return torch.empty((images, channels, height, width), memory_format=torch.channels_last)

    def write(self, x: Tensor, first: int, moments: Tensor | None) -> None:
        """Put x (B, C, H, W), channels_last, in the planes from `first` on, and its moments among those of all.

        moments (C', 2) float64: a channel's mean and its sum of squared distances from it.
        """
        channels, threads = x.shape[1], torch.get_num_threads()
        own = torch.empty(threads, channels, 2, dtype=torch.float64)
        self.library.planes_append(
            x.data_ptr(),
            self.rows,
            channels,
            self.values.data_ptr(),
            self.wide,
            first,
            None if moments is None else moments[first].data_ptr(),
            own.data_ptr(),
            threads,
        )

    def activated(self, coefficients: Tensor) -> Tensor:
        """ReLU(scale * x + shift) of all channels, (B, C', H, W) in channels_last.

        coefficients (4, C'): scale, shift, mean, 1 / deviation of a batch norm.
        """
        found = self.images_of(self.wide)
        self.library.planes_forward(
            self.values.data_ptr(),
            self.rows,
            self.wide,
            coefficients.data_ptr(),
            found.data_ptr(),
            torch.get_num_threads(),
        )
        return found

    def gradient(self, coefficients: Tensor, activated_grad: Tensor) -> tuple[PlanesGrad, Tensor]:
        """By that of `activated`'s result, in channels_last; and those of batch norm's weight and bias, (2, C')."""
        threads = torch.get_num_threads()
        grad = PlanesGrad(torch.empty_like(self.values), torch.zeros(self.wide, 2, dtype=torch.float64))
        norm_grads = torch.empty(2, self.wide)
        sums = torch.empty(threads, 2, self.wide, dtype=torch.float64)
        self.library.planes_backward(
            self.values.data_ptr(),
            self.rows,
            self.wide,
            coefficients.data_ptr(),
            activated_grad.data_ptr(),
            grad.values.data_ptr(),
            grad.later.data_ptr(),
            norm_grads.data_ptr(),
            sums.data_ptr(),
            threads,
        )
        return grad, norm_grads

    def images_grad(self, grad: PlanesGrad, first: int, end: int) -> Tensor:
        """The gradient of the channels from `first` to `end`, whole: (B, end - first, H, W) in channels_last."""
        found = self.images_of(end - first)
        self.library.planes_rest(
            self.values.data_ptr(),
            grad.values.data_ptr(),
            self.rows,
            self.wide,
            first,
            end - first,
            grad.later.data_ptr(),
            found.data_ptr(),
            torch.get_num_threads(),
        )
        return found
