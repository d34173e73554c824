"""``python -m foundry_edge``: the same as ``foundry-edge``, and a module that torchrun can start."""

from foundry_edge.cli.app import main

if __name__ == "__main__":
    main()
