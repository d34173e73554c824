"""Reading scans: every point-cloud format behind one function, and nothing in a file is trusted.

`read_points` opens a file (or standard input), tells its format by content, reads it with that format's
reader, and judges the points under one policy. Readers are one module per format, listed in `registry`.
"""

from foundry_edge_runtime.readers.arrays import as_cloud
from foundry_edge_runtime.readers.folders import find_scans, is_scan_name
from foundry_edge_runtime.readers.reading import read_points, read_scans

__all__ = ["as_cloud", "find_scans", "is_scan_name", "read_points", "read_scans"]
