"""Make the example scans: three pieces of furniture as a depth camera sees them.

    python scripts/make_examples.py furniture.npz          (from ../shared/data)

The shapes are test shapes of the embedded sample set, so no model here was trained on them. The source file
is needed for its 2048 points per shape and the sizes in centimetres.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import numpy.typing as npt

from depth_camera import Array, Camera, scan

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CAMERA = Camera()
MARGIN = 0.08

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """One example: which shape, how far ahead of the camera in metres, turned by how many degrees."""

    file: str
    shape: str
    distance: float
    turn: float


SCENES = (
    Scene("chair.pcd", "Blend Swap CC-BY#kitchenChair", 1.7, -55.0),
    Scene("table_ascii.pcd", "Scopia#white_kitchen_table", 2.0, 60.0),
    Scene("sofa.ply", "Blend Swap CC-0#sofa2", 2.4, -65.0),
)


def standing(xyz: Array, size_cm: Array, scene: Scene) -> Array:
    """A normalised y-up shape (N, 3) in metres on the floor of the camera's world frame."""
    upright = np.stack([xyz[:, 0], -xyz[:, 2], xyz[:, 1]], axis=1)
    upright *= size_cm[2] / 100 / np.ptp(upright[:, 2])
    c, s = cos(radians(scene.turn)), sin(radians(scene.turn))
    turned = upright @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]).T
    centre = (turned.min(axis=0) + turned.max(axis=0)) / 2
    place: Array = turned - np.array([centre[0] - scene.distance, centre[1], turned[:, 2].min()])
    return place


def pcd_header(count: int, data: str) -> str:
    """A PCD 0.7 header for float32 x y z, with the camera as the viewpoint."""
    return (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\n"
        f"COUNT 1 1 1\nWIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 {CAMERA.height} 1 0 0 0\nPOINTS {count}\n"
        f"DATA {data}\n"
    )


def pcd_binary(points: Points) -> bytes:
    """PCD with raw little-endian float32."""
    return pcd_header(len(points), "binary").encode() + points.astype("<f4").tobytes()


def pcd_ascii(points: Points) -> bytes:
    """PCD with one line of text per point, to a tenth of a millimetre."""
    lines = "".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in points.tolist())
    return (pcd_header(len(points), "ascii") + lines).encode()


def ply_binary(points: Points) -> bytes:
    """PLY 1.0 with raw little-endian float32."""
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}end_header\n"
    return header.encode() + points.astype("<f4").tobytes()


def writer(name: str) -> Callable[[Points], bytes]:
    """The format that a file name asks for."""
    if name.endswith(".ply"):
        return ply_binary
    return pcd_ascii if name.endswith("_ascii.pcd") else pcd_binary


def main() -> None:
    """Write the scans into examples/."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("furniture", type=Path, help="furniture.npz")
    parser.add_argument("--out", type=Path, default=EXAMPLES)
    options = parser.parse_args()
    data = np.load(options.furniture, allow_pickle=False)
    for seed, scene in enumerate(SCENES):
        index = data["id"].tolist().index(scene.shape)
        shape = standing(data["points"][index] / 32767.0, data["size_cm"][index], scene)
        points = scan(shape, CAMERA, MARGIN, np.random.default_rng(seed))
        (options.out / scene.file).write_bytes(writer(scene.file)(points))
        print(f"{options.out / scene.file}: {len(points)} points of {scene.shape}")


if __name__ == "__main__":
    main()
