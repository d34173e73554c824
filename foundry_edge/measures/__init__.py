"""What features are worth and cost, as plain functions: probe, fidelity, CKA, part mIoU, MACs."""
