"""How good features are: probes, few-shot, part segmentation, fine-tuning, fidelity to the teacher."""
