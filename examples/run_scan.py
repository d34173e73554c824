"""Name the object in a scan, without torch: python examples/run_scan.py examples/chair.pcd."""

import argparse
import sys

from foundry_edge_runtime import Budget, FoundryEdgeError, Session, load_bundle, read_points


def name_object(scan: str) -> None:
    """Print the probable classes of a scan, best first."""
    points = read_points(scan)
    with Session(load_bundle(), Budget(max_latency_ms=50)) as session:
        result = session.run(points)
    print(f"{len(points)} points: {result.choice.reason}")
    for guess in result.top or ():
        print(f"{guess.score:6.1%}  {guess.label}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", help="a file in any format that `foundry-edge inspect` reads")
    try:
        name_object(parser.parse_args().scan)
    except FoundryEdgeError as error:  # one line: what is wrong, where, and what to do about it
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
