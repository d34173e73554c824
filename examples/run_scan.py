"""Name the object in a scan, without torch: python examples/run_scan.py examples/chair.pcd."""

import sys

from foundry_edge_runtime import Budget, Session, load_bundle, read_points

points = read_points(sys.argv[1])
result = Session(load_bundle(), Budget(max_latency_ms=50)).run(points)
print(f"{len(points)} points: {result.choice.reason}")
for guess in result.top or ():
    print(f"{guess.score:6.1%}  {guess.label}")
