"""The choice by budget, as properties over arbitrary ladders and measurements."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.manifest import Accuracy, Fidelity, FileRef, Manifest, Parity, Rung
from foundry_edge_runtime.choice import Choice, choose, to_measure
from foundry_edge_runtime.errors import BackendError, InputError
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.profile.model import EngineFailure, EngineProfile, Profile, Quantiles

TOKENS, PRECISIONS = (1, 2, 4, 8, 16), ("fp32", "fp16", "int8")


def make_rung(
    tokens: int, precision: str, accuracy: float | None, cosine: float, size: int, gate: bool = True
) -> Rung:
    file = FileRef(name=f"s{tokens}-{precision}.onnx", bytes=size, sha256="0" * 64)
    return Rung(
        tokens=tokens,
        precision=precision,
        graph=file,
        weights=FileRef(name=f"{precision}.bin", bytes=1000, sha256="1" * 64),
        macs={"all": 1},
        parity=Parity(reference="torch", max_abs=0, cosine_mean=1, cosine_worst=1, samples=1),
        fidelity=Fidelity(cosine_mean=cosine, cosine_worst=0, smooth_l1=0, samples=1, data="d"),
        accuracy=None if accuracy is None else Accuracy(value=accuracy, samples=1, data="d"),
        gates={"parity": gate},
    )


def make_manifest(*rungs: Rung) -> Manifest:
    return Manifest(
        id="m",
        created="now",
        student_sha256="",
        teacher_sha256="",
        width=4,
        preprocessing=Preprocessing(),
        rungs=rungs,
    )


def measured(
    rung: Rung, latency: float, memory: float | None = None, backend: str = "onnxruntime"
) -> EngineProfile:
    times = Quantiles(p50=latency / 2, p90=latency, p99=2 * latency)
    return EngineProfile(
        tokens=rung.tokens,
        precision=rung.precision,
        backend=backend,
        graph_sha256=rung.graph.sha256,
        weights_sha256=rung.weights.sha256,
        group_ms=times,
        engine_ms=times,
        total_ms=times,
        load_ms=1,
        memory_mb=memory,
        runs=1,
    )


def make_profile(*engines: EngineProfile, failures: tuple[EngineFailure, ...] = ()) -> Profile:
    return Profile(bundle_id="m", device={}, versions={}, engines=engines, failures=failures)


# Few values each, so that ties, dominated and equal engines are common.
small = st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0])
accuracies = st.sampled_from([50.0, 60.0, 70.0, 70.0, 90.0])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Manifest, Profile]:
    """A ladder with accuracies and everything measured, some rungs on two backends."""
    pairs = draw(
        st.lists(
            st.tuples(st.sampled_from(TOKENS), st.sampled_from(PRECISIONS)),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    rungs = [
        make_rung(
            t, p, draw(accuracies), draw(st.floats(0.5, 1)), draw(st.integers(1, 3)), draw(st.booleans())
        )
        for t, p in pairs
    ]
    engines = [measured(rung, draw(small), draw(small)) for rung in rungs]
    engines += [measured(rung, draw(small), draw(small), "fake") for rung in rungs if draw(st.booleans())]
    return make_manifest(*rungs), make_profile(*engines)


budgets = st.builds(
    Budget,
    max_latency_ms=st.none() | small,
    min_accuracy=st.none() | accuracies,
    max_memory_mb=st.none() | small,
)


def keeps(choice: Choice, budget: Budget) -> bool:
    """Whether the chosen engine is within the budget, said anew and without the code under test."""
    engine = choice.measured
    assert engine is not None
    assert engine.memory_mb is not None
    return (
        (budget.max_latency_ms is None or engine.total_ms.p90 <= budget.max_latency_ms)
        and (budget.max_memory_mb is None or engine.memory_mb <= budget.max_memory_mb)
        and (budget.min_accuracy is None or accuracy(choice) >= budget.min_accuracy)
    )


def accuracy(choice: Choice) -> float:
    assert choice.rung.accuracy is not None
    return choice.rung.accuracy.value


def possible(manifest: Manifest, profile: Profile) -> list[Choice]:
    """Every engine that may be chosen without a pin."""
    sound = [rung for rung in manifest.rungs if not rung.forced] or manifest.rungs
    engines = [Choice(rung, one.backend, "", True, one) for rung in sound for one in profile.measured(rung)]
    single = {rung.tokens for rung in sound if rung.precision == "fp32"}
    return [
        one
        for one in engines
        if not (one.backend == "onnxruntime" and one.rung.precision == "fp16" and one.rung.tokens in single)
    ]


@given(worlds(), budgets)
def test_never_violates_a_satisfiable_budget(world: tuple[Manifest, Profile], budget: Budget) -> None:
    choice = choose(*world, budget)
    satisfiable = [one for one in possible(*world) if keeps(one, budget)]
    assert choice.met == bool(satisfiable) == keeps(choice, budget)
    if satisfiable:
        assert accuracy(choice) == max(accuracy(one) for one in satisfiable)


@given(worlds(), budgets, budgets)
def test_more_budget_never_lowers_accuracy(
    world: tuple[Manifest, Profile], one: Budget, other: Budget
) -> None:
    more = Budget(
        max_latency_ms=_loosest(one.max_latency_ms, other.max_latency_ms, max),
        max_memory_mb=_loosest(one.max_memory_mb, other.max_memory_mb, max),
        min_accuracy=_loosest(one.min_accuracy, other.min_accuracy, min),
    )
    less_choice, more_choice = choose(*world, one), choose(*world, more)
    assert more_choice.met >= less_choice.met
    if less_choice.met:
        assert accuracy(more_choice) >= accuracy(less_choice)


def _loosest(one: float | None, other: float | None, of: object) -> float | None:
    assert callable(of)
    return None if one is None or other is None else float(of(one, other))


@given(worlds(), budgets, st.randoms(use_true_random=False))
def test_order_of_rungs_and_measurements_does_not_matter(
    world: tuple[Manifest, Profile], budget: Budget, random: object
) -> None:
    manifest, profile = world
    rungs, engines = list(manifest.rungs), list(profile.engines)
    random.shuffle(rungs)  # type: ignore[attr-defined]
    random.shuffle(engines)  # type: ignore[attr-defined]
    again = choose(make_manifest(*rungs), make_profile(*engines), budget)
    assert again == choose(manifest, profile, budget)


@given(worlds(), budgets, st.sampled_from(["accuracy", "latency", "memory"]))
def test_measuring_only_what_is_needed_gives_the_same_choice(
    world: tuple[Manifest, Profile], budget: Budget, prefer: str
) -> None:
    manifest, everything = world
    everything = make_profile(*(one for one in everything.engines if one.backend == "onnxruntime"))
    budget = replace(budget, prefer=prefer)  # type: ignore[arg-type]
    known, rounds = make_profile(), 0
    while needed := to_measure(manifest, known, budget):
        known = known.add(*(one for asked in needed for one in everything.measured(asked.rung)))
        rounds += 1
    assert rounds <= len(manifest.rungs)
    lazy, full = choose(manifest, known, budget), choose(manifest, everything, budget)
    assert lazy.met == full.met
    assert accuracy(lazy) == accuracy(full)
    if known.engines:
        assert lazy.rung == full.rung


@given(worlds(), budgets)
def test_unknown_engine_never_counts_as_within_a_measured_limit(
    world: tuple[Manifest, Profile], budget: Budget
) -> None:
    choice = choose(world[0], None, budget)
    assert choice.measured is None
    assert not (choice.met and (budget.max_latency_ms or budget.max_memory_mb))


@given(worlds(), st.sampled_from(["latency", "memory"]))
def test_preference_for_latency_or_memory(world: tuple[Manifest, Profile], prefer: str) -> None:
    best = choose(*world, Budget(prefer=prefer)).measured  # type: ignore[arg-type]
    engines = [one.measured for one in possible(*world) if one.measured]
    assert best is not None
    if prefer == "latency":
        assert best.total_ms.p90 == min(one.total_ms.p90 for one in engines)
    else:
        assert best.memory_mb == min(one.memory_mb or math.inf for one in engines)


BIG, SMALL = make_rung(16, "fp32", 90, 0.99, 300), make_rung(4, "int8", 85, 0.97, 100)


def test_nothing_fits_takes_the_closest_and_says_so() -> None:
    profile = make_profile(measured(BIG, 40), measured(SMALL, 12))
    choice = choose(make_manifest(BIG, SMALL), profile, Budget(max_latency_ms=10))
    assert (choice.rung, choice.met) == (SMALL, False)
    assert choice.reason == "none keeps within 10 ms; this is the closest (12.0 ms p90, accuracy 85.0 %)"


def test_no_budget_takes_the_most_accurate_and_needs_no_measurement() -> None:
    manifest = make_manifest(SMALL, BIG)
    assert to_measure(manifest, None, Budget()) == ()
    choice = choose(manifest, None, Budget())
    assert (choice.rung, choice.met, choice.reason) == (BIG, True, "the most accurate of 2 (accuracy 90.0 %)")


def test_tie_goes_to_the_smaller_rung() -> None:
    light = make_rung(8, "int8", 90, 0.9, 50)
    assert choose(make_manifest(BIG, light), None, Budget()).rung == light


def test_quality_is_fidelity_when_a_rung_states_no_accuracy() -> None:
    faithful = make_rung(8, "fp32", None, 0.999, 300)
    assert choose(make_manifest(BIG, SMALL, faithful), None, Budget()).rung == faithful


def test_failed_gate_is_passed_over_unless_pinned() -> None:
    forced = make_rung(8, "int8", 99, 1.0, 1, gate=False)
    manifest = make_manifest(SMALL, forced)
    assert choose(manifest, None, Budget()).rung == SMALL
    pinned = choose(manifest, None, Budget(tokens=8))
    assert pinned.rung == forced
    assert "gate" in pinned.reason


def test_pins() -> None:
    manifest = make_manifest(BIG, SMALL)
    assert choose(manifest, None, Budget(tokens=4)).rung == SMALL
    assert choose(manifest, None, Budget(precision="fp32")).rung == BIG
    assert choose(manifest, None, Budget(backend="fake")).backend == "fake"
    with pytest.raises(InputError, match="no rung for --tokens 4 --precision fp32; it has s16-fp32, s4-int8"):
        choose(manifest, None, Budget(tokens=4, precision="fp32"))


def test_accuracy_asked_of_rungs_that_state_none() -> None:
    silent = make_rung(8, "fp32", None, 0.999, 300)
    with pytest.raises(InputError, match="--min-accuracy was given, but no rung"):
        choose(make_manifest(silent), None, Budget(min_accuracy=80))
    assert choose(make_manifest(silent, SMALL), None, Budget(min_accuracy=80)).rung == SMALL


def test_engine_that_failed_is_not_chosen() -> None:
    broken = EngineFailure(tokens=16, precision="fp32", backend="onnxruntime", reason="it broke")
    profile = make_profile(measured(SMALL, 1), failures=(broken,))
    assert choose(make_manifest(BIG, SMALL), profile, Budget()).rung == SMALL
    with pytest.raises(BackendError, match="it broke"):
        choose(make_manifest(BIG, SMALL), profile, Budget(tokens=16))


def test_measurement_of_other_files_does_not_count() -> None:
    old = measured(SMALL, 1).model_copy(update={"graph_sha256": "f" * 64})
    assert not choose(make_manifest(SMALL), make_profile(old), Budget(max_latency_ms=10)).met


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_latency_ms": 0},
        {"max_latency_ms": -1},
        {"max_latency_ms": math.nan},
        {"max_memory_mb": math.inf},
        {"min_accuracy": 0.9},
        {"min_accuracy": 101},
        {"min_accuracy": math.nan},
        {"prefer": "speed"},
    ],
)
def test_budget_that_makes_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong)).replace('_', '-')} must be"):
        Budget(**wrong)  # type: ignore[arg-type]


def test_reason_names_what_decided() -> None:
    faithful, blind = make_rung(8, "fp32", None, 0.999, 300), make_rung(4, "fp32", None, 0.9, 300)
    reasons = [
        choose(make_manifest(SMALL, BIG), None, Budget()).reason,
        choose(make_manifest(SMALL, faithful), None, Budget()).reason,
        choose(
            make_manifest(*(rung.model_copy(update={"fidelity": None}) for rung in (faithful, blind))),
            None,
            Budget(),
        ).reason,
        choose(make_manifest(SMALL, BIG), None, Budget(tokens=4)).reason,
        choose(make_manifest(SMALL), None, Budget()).reason,
    ]
    assert reasons == [
        "the most accurate of 2 (accuracy 90.0 %)",
        "the most faithful to its teacher of 2 (cosine 0.9990)",
        "the one with most tokens of 2",
        "the one asked for",
        "the only one in the bundle",
    ]


def test_half_precision_on_the_cpu_is_passed_over_for_the_same_in_single() -> None:
    half, single = make_rung(8, "fp16", 95, 0.99, 100), make_rung(8, "fp32", 94, 0.99, 200)
    manifest = make_manifest(half, single)
    assert choose(manifest, None, Budget()).rung == single
    assert choose(manifest, None, Budget(precision="fp16")).rung == half
    assert choose(manifest, None, Budget(backend="onnxruntime:cuda")).rung == half
    assert choose(make_manifest(half, SMALL), None, Budget()).rung == half
    broken = EngineFailure(tokens=8, precision="fp32", backend="onnxruntime", reason="it broke")
    assert choose(manifest, make_profile(failures=(broken,)), Budget()).rung == half


def test_half_precision_around_int8_is_passed_over_too_but_not_for_another_number_of_bypassed_tokens() -> (
    None
):
    half, single = make_rung(8, "int8-fp16", 95, 0.99, 100), make_rung(8, "int8", 94, 0.99, 200)
    past = half.model_copy(update={"bypassed": 3})
    assert (half.name, past.name, past.encoded) == ("s8-int8-fp16", "s8k3-int8-fp16", "8+3")
    assert choose(make_manifest(half, single), None, Budget()).rung == single
    assert choose(make_manifest(past, single), None, Budget()).rung == past


def test_what_fails_with_bypassed_tokens_is_not_held_against_the_rung_without() -> None:
    plain = make_rung(8, "fp32", 94, 0.99, 200)
    past = make_rung(8, "fp32", 95, 0.99, 200).model_copy(update={"bypassed": 3})
    broken = EngineFailure(tokens=8, bypassed=3, precision="fp32", backend="onnxruntime", reason="it broke")
    manifest = make_manifest(plain, past)
    assert choose(manifest, None, Budget()).rung == past
    assert choose(manifest, make_profile(failures=(broken,)), Budget()).rung == plain
    found = measured(plain, 2)
    assert found.of(plain)
    assert not found.of(past)
    assert (manifest.rung(8, "fp32"), manifest.rung(8, "fp32", 3)) == (plain, past)
