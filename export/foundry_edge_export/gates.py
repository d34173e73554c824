"""Quality gates: a rung that fails one is not kept, unless forced."""

from __future__ import annotations

from foundry_edge_runtime.bundle.manifest import Accuracy, Parity

FP32_MAX_ABS = 1e-4
FP16_COSINE = 0.9999
INT8_COSINE_MEAN = 0.999
INT8_COSINE_WORST = 0.98
ACCURACY_DROP = 0.5
ACCURACY_DROP_MOST = 5.0

_HELP = {
    "parity": "this is a defect of the export or of ONNX Runtime: please report it",
    "cosine": "--precision fp32 or int8 instead",
    "cosine_mean": "--quantize auto, another --calibration-method, or --keep-float with a block",
    "cosine_worst": "--quantize auto, more --samples, other --calibration-data, or --keep-float with a block",
    "accuracy_drop": "another --calibration-method, more --samples, or --keep-float with a block",
}


def fp32_gates(parity: Parity) -> dict[str, bool]:
    """Largest difference from torch at most 1e-4."""
    return {"parity": parity.max_abs <= FP32_MAX_ABS}


def fp16_gates(parity: Parity) -> dict[str, bool]:
    """Mean token cosine to FP32 at least 0.9999."""
    return {"cosine": parity.cosine_mean >= FP16_COSINE}


def int8_gates(parity: Parity, accuracy: Accuracy | None, fp32: Accuracy | None) -> dict[str, bool]:
    """Mean token cosine to FP32 at least 0.999, worst cloud at least 0.98, drop as `allowed_drop`."""
    gates = {
        "cosine_mean": parity.cosine_mean >= INT8_COSINE_MEAN,
        "cosine_worst": parity.cosine_worst >= INT8_COSINE_WORST,
    }
    if accuracy is not None and fp32 is not None:
        gates["accuracy_drop"] = fp32.value - accuracy.value <= allowed_drop(accuracy.samples) + 1e-9
    return gates


def allowed_drop(samples: int) -> float:
    """Points of accuracy that INT8 may lose on so many clouds: half a point, or one cloud if that is more.

    A test set of fewer than 200 clouds cannot resolve half a point. Where one cloud is worth more than five
    points, none may change.
    """
    return min(max(ACCURACY_DROP, 100 / samples), ACCURACY_DROP_MOST)


def advice(gates: dict[str, bool]) -> str:
    """What may help against the first failed gate."""
    return next((_HELP[name] for name, passed in gates.items() if not passed), "")
