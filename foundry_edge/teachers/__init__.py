"""Published teacher checkpoints: read safely, recognised, converted. One adapter class per format."""
