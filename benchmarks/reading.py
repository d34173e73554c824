"""Readers side by side on the same files: this package, pypcd4, laspy, trimesh and numpy.

    python benchmarks/reading.py --speed                      # 1M points in every format: time and memory
    python benchmarks/reading.py --outcomes ../shared/corpus  # malformed and odd files

Every measurement runs in a process of its own. Prints the tables of docs/reading.md.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Array = npt.NDArray[np.floating]
READERS = ("foundry-edge", "pypcd4", "laspy", "trimesh", "numpy")
_SUFFIXES = {
    "pypcd4": (".pcd",),
    "laspy": (".las", ".laz"),
    "trimesh": (".ply", ".off", ".obj", ".stl", ".glb", ".xyz"),
    "numpy": (".npy", ".npz", ".bin", ".xyz", ".csv"),
}
_TIMEOUT = 20
_HANG = 5.0
_REPEATS = 5


def load(reader: str, path: Path) -> Array:
    """(N, 3) points of a file, by one of `READERS`."""
    loaders: dict[str, Callable[[Path], Array]] = {
        "foundry-edge": _ours, "pypcd4": _pypcd4, "laspy": _laspy, "trimesh": _trimesh, "numpy": _numpy,
    }  # fmt: skip
    return loaders[reader](path)


def _ours(path: Path) -> Array:
    from foundry_edge_runtime.readers import read_points

    cloud = read_points(path, vertices=True)
    return cloud.xyz + cloud.origin


def _pypcd4(path: Path) -> Array:
    from pypcd4 import PointCloud

    return np.asarray(PointCloud.from_path(path).numpy(("x", "y", "z")))


def _laspy(path: Path) -> Array:
    import laspy

    return np.asarray(laspy.read(path).xyz)


def _trimesh(path: Path) -> Array:
    import trimesh

    loaded: Any = trimesh.load(path, process=False)
    if isinstance(loaded, trimesh.Scene):
        loaded = loaded.to_geometry()
    return np.asarray(loaded.vertices)


def _numpy(path: Path) -> Array:
    if path.suffix == ".bin":
        return np.fromfile(path, "<f4").reshape(-1, 4)[:, :3]
    if path.suffix in (".xyz", ".csv"):
        comma = path.suffix == ".csv"
        return np.loadtxt(path, delimiter="," if comma else None, skiprows=int(comma), ndmin=2)[:, :3]
    loaded = np.load(path, allow_pickle=False)
    return np.asarray(loaded[loaded.files[0]] if path.suffix == ".npz" else loaded)[:, :3]


def worker(reader: str, path: Path, repeats: int) -> dict[str, Any]:
    """Read a file ``repeats`` times; the best time, the extra memory of the first, and what was read.

    Time is processor time over all threads: it does not depend on what else the machine does.
    """
    _import_all(reader)
    before = _peak_kib()
    seconds: list[float] = []
    extra = 0.0
    for _ in range(repeats):
        start = time.process_time()
        points = load(reader, path)
        seconds.append(time.process_time() - start)
        extra = extra or (_peak_kib() - before) / 1024
    finite = points[np.isfinite(points).all(axis=1)]
    box = [finite.min(axis=0).tolist(), finite.max(axis=0).tolist()] if len(finite) else None
    return {
        "seconds": min(seconds),
        "extra_mib": extra,
        "points": len(points),
        "valid": len(finite),
        "box": box,
    }


def _peak_kib() -> int:
    """Peak resident memory of this process; unlike ru_maxrss it does not start at the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def _import_all(reader: str) -> None:
    """Import what a reader needs, so that its memory does not count as the file's."""
    if reader == "foundry-edge":
        from foundry_edge_runtime.readers import registry

        for name in registry.FORMATS:
            registry.scans_of(name)
    elif reader != "numpy":
        __import__(reader)


def measure(reader: str, path: Path, repeats: int = 1) -> dict[str, Any]:
    """`worker` in a fresh process; "error", "crash" or "hang" instead where it came to that."""
    command = [sys.executable, __file__, "--worker", reader, str(path), str(repeats)]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT * repeats, check=False
        )
    except subprocess.TimeoutExpired:
        return {"hang": _TIMEOUT * repeats}
    if time.perf_counter() - start > _HANG + 3 and repeats == 1:
        return {"hang": time.perf_counter() - start}
    if done.returncode < 0:
        return {"crash": -done.returncode}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or [""])[-1]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def write_files(folder: Path, count: int) -> list[Path]:
    """One cloud of x, y, z, intensity in every format that the table compares."""
    import laspy

    from benchmarks.scan_samples import pcd_header, ply_header

    generator = np.random.default_rng(0)
    table = np.column_stack([generator.uniform(-50, 50, (count, 3)), generator.uniform(0, 1, count)]).astype(
        "<f4"
    )
    rows = b"".join(b"%.6f %.6f %.6f %.4f\n" % tuple(row) for row in table.tolist())
    ply = {name: ply_header(name).replace(b"vertex 120", b"vertex %d" % count) for name in _PLY}
    files = {
        "binary.pcd": pcd_header(count, "binary") + table.tobytes(),
        "compressed.pcd": pcd_header(count, "binary_compressed") + _lzf(np.round(table, 1).T.tobytes()),
        "ascii.pcd": pcd_header(count, "ascii") + rows,
        "little.ply": ply["binary_little_endian"] + table.tobytes(),
        "big.ply": ply["binary_big_endian"] + table.astype(">f4").tobytes(),
        "ascii.ply": ply["ascii"] + rows,
        "kitti.bin": table.tobytes(),
        "plain.xyz": rows,
        "named.csv": b"x,y,z,intensity\n" + rows.replace(b" ", b","),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    np.save(folder / "array.npy", table)
    np.savez(folder / "stored.npz", points=table)
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales = np.full(3, 0.001)
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = table[:, 0], table[:, 1], table[:, 2]
    for name in ("cloud.las", "cloud.laz"):
        cloud.write(folder / name)
    return sorted(folder.iterdir())


_PLY = ("ascii", "binary_little_endian", "binary_big_endian")


def _lzf(data: bytes) -> bytes:
    import lzf

    packed: bytes = lzf.compress(data)
    return struct.pack("<II", len(packed), len(data)) + packed


def print_speed(count: int) -> None:
    """Time and extra memory of every reader on every file."""
    print(f"{count} points of x, y, z, intensity; best processor time of {_REPEATS} reads, extra memory\n")
    print("| file | " + " | ".join(READERS) + " |\n" + "|---" * (1 + len(READERS)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for path in write_files(Path(folder), count):
            cells = [
                _speed(measure(reader, path, _REPEATS)) if _reads(reader, path) else "" for reader in READERS
            ]
            print(
                f"| {path.name} ({path.stat().st_size / 1e6:.0f} MB) | " + " | ".join(cells) + " |",
                flush=True,
            )


def _speed(found: dict[str, Any]) -> str:
    if "seconds" not in found:
        return ", ".join(f"{key}: {str(value)[:40]}" for key, value in found.items())
    return f"{found['seconds'] * 1000:.0f} ms, {found['extra_mib']:.0f} MiB"


def _reads(reader: str, path: Path) -> bool:
    return reader == "foundry-edge" or path.suffix in _SUFFIXES[reader]


def judge(found: dict[str, Any], expect: dict[str, Any]) -> str:
    """One of the columns of the outcome table."""
    if "crash" in found or "hang" in found:
        return "crash or hang"
    allowed = {expect["outcome"], *expect.get("also_ok", [])}
    if "error" in found:
        if "reject" not in allowed:
            return "refused a good file"
        said = found["error"].lower()
        clear = any(word.lower() in said for word in expect["message_must_contain_any"])
        return "clear error" if clear else "unclear error"
    if allowed == {"reject"}:
        return "silently wrong"
    counts = expect["points_valid"] in (None, found["valid"])
    box = expect["bbox_valid"]
    near = not box or (found["box"] is not None and np.allclose(found["box"], box, rtol=1e-6, atol=1e-4))
    return "right" if counts and near else "silently wrong"


COLUMNS = ("right", "clear error", "unclear error", "refused a good file", "silently wrong", "crash or hang")


def print_outcomes(corpus: Path) -> None:
    """What every reader makes of the malformed and odd files of the formats it reads."""
    cases = [
        case
        for manifest in sorted(corpus.glob("manifest*.json"))
        for case in json.loads(manifest.read_text()).get("cases", [])
        if case.get("kind") in ("bad", "good")
    ]
    print("| reader | files | " + " | ".join(COLUMNS) + " |\n" + "|---" * (2 + len(COLUMNS)) + "|")
    for other in READERS[1:]:
        mine = [case for case in cases if _reads(other, Path(case["file"]))]
        for reader in (other, "foundry-edge"):
            tally = Counter(judge(measure(reader, corpus / case["file"]), case["expect"]) for case in mine)
            name = f"{reader} on {', '.join(_SUFFIXES[other])}"
            cells = " | ".join(str(tally[column]) for column in COLUMNS)
            print(f"| {name} | {len(mine)} | {cells} |", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--outcomes", type=Path, metavar="CORPUS")
    parser.add_argument("--worker", nargs=3, metavar=("READER", "FILE", "REPEATS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        reader, path, repeats = arguments.worker
        print(json.dumps(worker(reader, Path(path), int(repeats))))
    if arguments.speed:
        print_speed(arguments.points)
    if arguments.outcomes:
        print_outcomes(arguments.outcomes)


if __name__ == "__main__":
    main()
