"""How far apart two colours look, also to eyes that lack one kind of cone."""

import numpy as np

SIMULATED = {  # of linear RGB: Machado, Oliveira and Fernandes 2009, at full severity
    "every cone": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_CONES = [  # of linear RGB, and TO_OKLAB of the cube roots: Ottosson 2020
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def distance(one, other):
    """In OKLab, of the eye that tells them apart the least; two shades of 0.02 are just told apart side by side."""
    return min(
        float(np.linalg.norm(_oklab(seen @ _linear(one)) - _oklab(seen @ _linear(other))))
        for seen in map(np.array, SIMULATED.values())
    )


def _linear(colour):
    shares = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def _oklab(linear):
    return np.array(TO_OKLAB) @ np.cbrt(np.array(TO_CONES) @ np.clip(linear, 0, 1))
