"""A depth camera that sees surfels: one viewpoint, exact occlusion, axial noise, a floor.

A shape is known only as points sampled from its surface. Each point is taken as a disc in the plane of its
neighbours, wide enough to touch them, and the camera keeps the nearest disc along every pixel's ray. So what
lies behind something, and the far side of the object itself, is missing as in a real scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
NEIGHBOURS = 8


@dataclass(frozen=True)
class Camera:
    """A pinhole depth camera above the floor, looking down by ``pitch`` at something ahead.

    The world frame is x forward, y left, z up, in metres, with its origin on the floor below the camera.
    """

    height: float = 1.3
    pitch: float = 25.0
    focal: float = 215.0
    width: int = 424
    rows: int = 240

    @property
    def axes(self) -> Array:
        """(3, 3) rows: image right, image down, optical axis, in the world frame."""
        tilt = radians(self.pitch)
        forward, down = [cos(tilt), 0.0, -sin(tilt)], [-sin(tilt), 0.0, -cos(tilt)]
        return np.array([[0.0, -1.0, 0.0], down, forward])

    def rays(self) -> Array:
        """(rows, width, 3) ray of each pixel in the camera frame, of depth 1."""
        u = (np.arange(self.width) - (self.width - 1) / 2) / self.focal
        v = (np.arange(self.rows) - (self.rows - 1) / 2) / self.focal
        return np.stack([*np.meshgrid(u, v), np.ones((self.rows, self.width))], axis=-1)

    def to_camera(self, world: Array) -> Array:
        """World points (N, 3) in the camera frame."""
        return (world - [0.0, 0.0, self.height]) @ self.axes.T

    def to_world(self, points: Array) -> Array:
        """Camera-frame points (N, 3) in the world frame."""
        return points @ self.axes + [0.0, 0.0, self.height]


def surfels(points: Array) -> tuple[Array, Array]:
    """Unit normals (N, 3) and disc radii (N,) of surface points (N, 3), from their nearest neighbours."""
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    near = np.argsort(squared, axis=1)[:, : NEIGHBOURS + 1]
    spread = points[near] - points[near].mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", spread, spread))
    radius = np.sqrt(np.take_along_axis(squared, near, axis=1)[:, NEIGHBOURS // 2])
    return axes[:, :, 0], np.minimum(radius, 2 * np.median(radius))


def splat(depth: Array, rays: Array, camera: Camera, disc: tuple[Array, Array, float]) -> None:
    """Lower ``depth`` (rows, width) where a disc (centre, normal, radius) in camera frame is nearer."""
    centre, normal, radius = disc
    reach = camera.focal * radius / max(centre[2] - radius, 1e-3) + 1
    column = centre[0] / centre[2] * camera.focal + (camera.width - 1) / 2
    row = centre[1] / centre[2] * camera.focal + (camera.rows - 1) / 2
    rows = slice(max(int(row - reach), 0), max(int(row + reach) + 2, 0))
    columns = slice(max(int(column - reach), 0), max(int(column + reach) + 2, 0))
    window = rays[rows, columns]
    slope = window @ normal
    distance = (centre @ normal) / np.where(np.abs(slope) < 1e-6, np.inf, slope)
    inside = ((window * distance[..., None] - centre) ** 2).sum(axis=-1) <= radius**2
    hit = inside & (
        np.abs(slope) > 0.1 * np.linalg.norm(window, axis=-1)
    )  # a grazing surface returns nothing
    np.minimum(depth[rows, columns], distance, out=depth[rows, columns], where=hit)


def axial_noise(depth: Array) -> Array:
    """Standard deviation of depth in metres (Nguyen, Izadi, Lovell, 3DIMPVT 2012, equation 4)."""
    return 0.0012 + 0.0019 * (depth - 0.4) ** 2


def floor(camera: Camera) -> Array:
    """Depth (rows, width) of the floor z = 0, infinite above the horizon."""
    down = -(camera.rays() @ camera.axes[:, 2])
    return np.where(down > 0, camera.height / np.maximum(down, 1e-9), np.inf)


def near_feet(ground: Array, shape: Array, margin: float) -> npt.NDArray[np.bool_]:
    """Which floor points (N, 3) lie within ``margin`` of the shape's lowest 10 cm."""
    feet = shape[shape[:, 2] < 0.1, :2]
    return np.array([((feet - point) ** 2).sum(axis=1).min() <= margin**2 for point in ground[:, :2]])


def scan(shape: Array, camera: Camera, margin: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """What the camera sees of a shape that stands on the floor.

    Args:
        shape: (N, 3) surface points in the world frame, metres, lowest point at z = 0.
        camera: the camera.
        margin: how much floor is kept around the shape's feet, metres; the rest is cut away.
        rng: source of the depth noise.

    Returns:
        (M, 3) float32 world points, one per pixel that hit the shape or the kept floor, in pixel order.
    """
    rays, ground = camera.rays(), floor(camera)
    depth, centres = ground.copy(), camera.to_camera(shape)
    for disc in zip(centres, *surfels(centres), strict=True):
        splat(depth, rays, camera, disc)
    hit = depth < ground
    bare = ~hit & (depth < 2 * centres[:, 2].max())
    hit[bare] = near_feet(camera.to_world(rays[bare] * depth[bare, None]), shape, margin)
    seen = depth[hit] + rng.standard_normal(int(hit.sum())) * axial_noise(depth[hit])
    return camera.to_world(rays[hit] * np.round(seen, 3)[:, None]).astype(np.float32)
