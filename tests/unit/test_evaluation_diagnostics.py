"""The judge of labels: its measurements against brute force and closed forms, and each rule of the verdict."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import permutations, product
from math import exp, log
from random import Random
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.config import DiagnosticsSettings, SearchSettings
from icm_api.consistency import asymmetric, compile_relations, equivalent, exactly_one, mutually_exclusive
from icm_api.evaluation.answers import headline_of, meaning_of, next_steps
from icm_api.evaluation.bootstrap import bootstrap_chain, debiased, opinion_spread, zero_shot
from icm_api.evaluation.checked import Check
from icm_api.evaluation.coherence import (
    Coherence,
    agreement_renamed,
    coherence,
    core_share,
    label_entropy,
    rename,
    renamings,
    shuffled,
)
from icm_api.evaluation.diagnostics import Diagnosis, diagnose
from icm_api.evaluation.distance import agreement
from icm_api.evaluation.measures import Chance, Judged, Measures, Opinion, Orders, Rival
from icm_api.evaluation.naming import Pair, Prior, Reading, auroc_of, leaning_of, name, weakest_pair
from icm_api.evaluation.null import Null
from icm_api.evaluation.posterior import legal_posterior
from icm_api.evaluation.thresholds import (
    COHERENT,
    FEWEST,
    INCOHERENT,
    LITTLE,
    NAMED,
    NAMING_SPREAD,
    OPINIONATED,
    PART_GAP,
    SHARED,
)
from icm_api.evaluation.verdict import judge, one_sided
from icm_api.objective import Objective
from icm_api.search import build_objective
from icm_api.types import (
    Dataset,
    Example,
    Label,
    LabelDistribution,
    Labeling,
    Prompt,
    PromptTemplate,
    Score,
    Task,
    logsumexp,
)
from tests import bayes
from tests.bayes import BayesModel, candidates, pairs

TWO = ("True", "False")
LABELINGS = st.dictionaries(st.integers(0, 30).map(str), st.sampled_from("ABCD"), min_size=1)


class Unsure(BayesModel):
    """Leans to the wrong side, and little, on claims that are hard for it."""

    def __init__(self, truth: dict[str, bool], hard: frozenset[str]) -> None:
        super().__init__(truth)
        self._hard = hard

    def _answer(self, prompt: Prompt) -> LabelDistribution:
        if prompt.query not in self._hard:
            return super()._answer(prompt)
        p = 0.42 if self._truth[prompt.query] else 0.58
        return LabelDistribution(TWO, (log(p), log(1 - p)), 1.0, "exact")


def inverse(labeling: Labeling) -> Labeling:
    return rename(labeling, {"True": "False", "False": "True"})


def world(count: int = 12, *, constrained: bool = True, noise: float = 0.05) -> tuple[Objective, Labeling]:
    """Both orders of `count` pairs before an ideal learner, and the truth."""
    dataset, truth = pairs(count)
    constraints = (asymmetric("True", total=True),) if constrained else ()
    task = Task(PromptTemplate(separator="\n"), constraints=constraints)
    objective = build_objective(dataset, BayesModel(truth, noise=noise), task, SearchSettings())
    return objective, Labeling({key: str(so) for key, so in truth.items()})


async def judged(objective: Objective, labeling: Labeling, fixed: Labeling | None = None) -> Diagnosis:
    return await diagnose(objective, Judged(await objective(labeling), fixed=fixed or Labeling()))


# coherence


@given(LABELINGS)
def test_label_entropy_is_what_guessing_by_shares_costs(labels: dict[str, Label]) -> None:
    shares = Counter(labels.values())
    cost = -sum(log(shares[label] / len(labels)) for label in labels.values()) / len(labels)
    assert label_entropy(labels) == pytest.approx(cost, abs=1e-12)


def scored(probabilities: dict[str, float], labels: dict[str, Label]) -> Score:
    reads = {key: LabelDistribution(TWO, (log(p), log(1 - p)), 1.0, "exact") for key, p in probabilities.items()}
    logprobs = {key: read.logprob(labels[key]) for key, read in reads.items()}
    return Score(Labeling(labels), -1.0, -1.0, -9.0, 0.0, logprobs, reads, frozenset(), "exact")


def test_predictions_by_label_shares_explain_nothing_and_certain_ones_everything() -> None:
    labels = {"a": "True", "b": "True", "c": "True", "d": "False"}
    by_shares = coherence(scored(dict.fromkeys(labels, 0.75), labels))
    assert by_shares.share == pytest.approx(0)
    assert by_shares.gain == pytest.approx(0)
    assert by_shares.majority == 0.75
    sure = coherence(scored({"a": 1 - 1e-12, "b": 1 - 1e-12, "c": 1 - 1e-12, "d": 1e-12}, labels))
    assert sure.share == pytest.approx(1)
    assert coherence(scored({"a": 0.9}, {"a": "True"})).share == 0.0


def test_the_core_is_the_best_foretold_two_thirds_of_the_groups() -> None:
    labels = {"a": "True", "b": "False", "c": "True"}
    score = scored({"a": 0.9, "b": 0.2, "c": 0.1}, labels)
    expected = 1 + (log(0.9) + log(0.8)) / 2 / log(2)
    assert core_share(score, [("a",), ("b",), ("c",)]) == pytest.approx(expected)


# relabelings


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("ABC")), min_size=1, max_size=20))
def test_agreement_up_to_names_is_the_best_of_all_renamings(rows: list[tuple[str, str]]) -> None:
    one = {str(at): a for at, (a, _) in enumerate(rows)}
    other = {str(at): b for at, (_, b) in enumerate(rows)}
    best = max(agreement(one, rename(other, dict(zip("ABC", way, strict=True)))) for way in permutations("ABC"))
    assert agreement_renamed(one, other, "ABC") == pytest.approx(best)


def test_agreement_up_to_names_of_many_labels_is_a_lower_bound_that_finds_a_pure_renaming() -> None:
    labels = "ABCDEFGH"
    one = {str(at): label for at, label in enumerate(labels)}
    assert agreement_renamed(one, rename(one, dict(zip(labels, labels[1:] + labels[0], strict=True))), labels) == 1.0


def test_two_labels_have_one_renaming_and_more_have_sampled_ones_that_all_rename() -> None:
    assert renamings(TWO, 4, Random(0)) == [{"True": "False", "False": "True"}]
    for labels in ("ABC", "ABCDEFGH"):
        found = renamings(labels, 4, Random(0))
        assert len(found) == 4
        assert all(sorted(way.values()) == list(labels) and way != {label: label for label in labels} for way in found)


@given(st.integers(0, 10_000), st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_shuffle_of_pairs_keeps_every_relation_and_all_counts(seed: int, first: list[bool]) -> None:
    dataset, _ = pairs(6)
    relations = compile_relations(dataset, TWO, [asymmetric("True", total=True)])
    labeling = Labeling({one.id: str(first[at // 2] != bool(at % 2)) for at, one in enumerate(dataset)})
    found = shuffled(labeling, relations, Random(seed))
    assert not relations.broken(found)
    assert Counter(found.values()) == Counter(labeling.values())


@given(st.integers(0, 10_000), st.lists(st.sampled_from(TWO), min_size=5, max_size=5))
def test_a_shuffle_of_unrelated_examples_is_a_permutation_of_their_labels(seed: int, labels: list[Label]) -> None:
    dataset = Dataset(Example(str(at), {"text": str(at)}) for at in range(5))
    labeling = Labeling({str(at): label for at, label in enumerate(labels)})
    found = shuffled(labeling, compile_relations(dataset, TWO, ()), Random(seed))
    assert Counter(found.values()) == Counter(labels)


def test_shuffles_reach_every_legal_labeling_with_the_same_counts() -> None:
    dataset, _ = candidates(2, 3)
    relations = compile_relations(dataset, TWO, [mutually_exclusive("True")])
    labeling = Labeling({one.id: str(one.answer == "0") for one in dataset})
    reached = {shuffled(labeling, relations, Random(seed)) for seed in range(200)}
    ids = dataset.ids
    every = (Labeling(dict(zip(ids, way, strict=True))) for way in product(TWO, repeat=len(ids)))
    legal = {way for way in every if all(sum(way[f"q{q}={a}"] == "True" for a in range(3)) == 1 for q in range(2))}
    assert reached == legal


def test_a_shuffle_does_not_earn_by_what_the_constraints_settle() -> None:
    """Two equal answers and two others: only one labeling with two True is legal, so others are drawn."""
    dataset = Dataset(Example(f"e{at}", {"text": str(at)}, "q", answer) for at, answer in enumerate("xxyz"))
    relations = compile_relations(dataset, TWO, [mutually_exclusive("True"), equivalent()])
    labeling = Labeling({"e0": "True", "e1": "True", "e2": "False", "e3": "False"})
    reached = {shuffled(labeling, relations, Random(seed)) for seed in range(100)}
    assert len(reached) == 4
    assert not any(relations.broken(one) for one in reached)


# second opinion


def reads_of(*probabilities: float) -> dict[str, LabelDistribution]:
    return {str(at): LabelDistribution(TWO, (log(p), log(1 - p)), 1.0, "exact") for at, p in enumerate(probabilities)}


def test_debiasing_takes_off_what_is_common_to_all() -> None:
    odds = [read.logprobs[0] - read.logprobs[1] for read in debiased(reads_of(0.9, 0.8, 0.6)).values()]
    raw = [log(p / (1 - p)) for p in (0.9, 0.8, 0.6)]
    assert odds == pytest.approx([one - sum(raw) / 3 for one in raw])


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=9))
def test_the_spread_of_two_labels_is_the_standard_deviation_of_log_odds(ps: list[float]) -> None:
    assert opinion_spread(reads_of(*ps)) == pytest.approx(pstdev([log(p / (1 - p)) for p in ps]), abs=1e-9)


async def test_the_chain_finds_the_truth_legally_and_counts_its_rounds() -> None:
    objective, truth = world()
    chain = await bootstrap_chain(objective, await zero_shot(objective), 3, debias=False)
    assert chain.labeling == truth
    assert chain.rounds == 2  # the second changes nothing


# diagnose


async def test_the_truth_is_coherent_and_its_opposite_is_not() -> None:
    objective, truth = world()
    found = await judged(objective, truth)
    assert found.verdict.name == "coherent"
    assert found.measures.opinion.rival.agreement == 1.0
    assert found.measures.orders is not None
    assert found.measures.orders.flipped == 0.0
    wrong = await judged(objective, inverse(truth))
    assert wrong.verdict.name == "unsure"
    assert "search stopped short" in wrong.verdict.reasons[0]


async def test_labels_all_alike_have_collapsed_where_the_concept_is_there() -> None:
    objective, truth = world(constrained=False)
    found = await judged(objective, Labeling(dict.fromkeys(truth, "True")))
    assert found.verdict.name == "collapsed"
    assert found.measures.chance is not None
    assert found.measures.chance.of == "second opinion"


async def test_given_labels_that_encode_the_opposite_are_named_as_the_reason() -> None:
    objective, truth = world()
    wrong = inverse(truth)
    found = await judged(objective, wrong, fixed=Labeling({key: wrong[key] for key in list(wrong)[::3]}))
    assert found.verdict.name == "unsure"
    assert found.verdict.reasons[0].startswith("the given labels contradict")
    assert found.measures.opinion.given == 8
    assert found.measures.opinion.given_shared == 0


async def test_an_inverse_as_coherent_as_the_labels_is_a_question_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bayes.PRIORS, "opposite", bayes.PRIORS["truth"] * 0.8)
    objective, truth = world(noise=0.01)
    found, exchanged = await judged(objective, truth), await judged(objective, inverse(truth))
    assert abs(found.measures.renamed[0].coherence.gain - found.measures.found.gain) < 0.05
    assert exchanged.measures.prior.auroc == pytest.approx(1 - (found.measures.prior.auroc or 0))
    # Exchanged names are said to be, and shown beside those found, where the prior does not name them.
    assert exchanged.naming.answer == "unsettled"
    shown = [(each.found, each.exchanged) for each in exchanged.naming.readings]
    assert len(shown) == 3
    assert all(one != other for one, other in shown)
    assert "about as coherent" not in "".join(found.lines())


async def test_a_witness_scores_the_labels_once_more_before_another_model() -> None:
    objective, truth = world(constrained=False)
    doubter = BayesModel({key: value == "False" for key, value in truth.items()})
    judged_by = Judged(await objective(truth))
    both = await diagnose(
        objective, judged_by, witness=BayesModel({key: value == "True" for key, value in truth.items()})
    )
    # The objective has all its own answers now.
    again = await diagnose(objective, judged_by, witness=doubter)
    assert again.measures.requests == again.usage.requests == len(truth)
    assert both.measures.witness is not None
    assert both.measures.witness.agreement == 1.0
    assert any("a witness, " in reason for reason in both.verdict.reasons)
    assert again.measures.witness is not None
    assert again.measures.witness.share < both.measures.witness.share


async def test_judging_takes_no_more_requests_than_stated_and_the_same_input_gives_the_same_bytes() -> None:
    settings = DiagnosticsSettings()
    for labels in (0, 1):
        objective, truth = world(constrained=False)
        labeling = truth if labels else Labeling(dict.fromkeys(truth, "True"))
        score = await objective(labeling)
        ends = (labeling, inverse(truth), Labeling(dict.fromkeys(truth, "False")))
        first = await diagnose(objective, Judged(score, ends, path=(Labeling(), labeling)), settings, seed=3)
        asked = first.usage.requests
        assert asked == first.measures.requests <= settings.most_requests(len(truth), 2)
        again = await diagnose(objective, Judged(score, ends, path=(Labeling(), labeling)), settings, seed=3)
        written = json.dumps(
            replace(again, measures=replace(again.measures, requests=asked, tokens=first.usage.prompt_tokens)).as_json()
        )
        assert written == json.dumps(first.as_json())


async def test_what_is_left_open_is_listed() -> None:
    dataset, truth = candidates(3, 4)
    task = Task(PromptTemplate(separator="\n"), constraints=(exactly_one("True"),))
    objective = build_objective(dataset, BayesModel(truth), task, SearchSettings())
    labeling = Labeling({key: str(so) for key, so in truth.items()}).assign({"q0=1": "True"})
    path = (Labeling({"q0=0": "True"}), labeling)
    found = await diagnose(objective, Judged(await objective(labeling), path=path), DiagnosticsSettings(contested=2))
    assert found.measures.margins[0].id == "q0=1"
    assert found.measures.margins[0].margin < 0
    assert len(found.measures.margins) == 2
    assert list(found.measures.conflicts.values()) == [1]
    assert any("1 relation of exactly_one" in line for line in found.lines())
    assert found.measures.drift[0] == {"True": 1.0, "False": 0.0}
    assert found.measures.drift[-1] == {"True": pytest.approx(1 / 3), "False": pytest.approx(2 / 3)}


# verdict


def a_coherence(share: float, *, size: int = 20, true: int = 10, utility: float = -5.0) -> Coherence:
    labeling = Labeling({str(at): TWO[at >= true] for at in range(size)})
    entropy = label_entropy(labeling)
    return Coherence(labeling, utility, utility, (share - 1) * entropy, entropy, 0.0)


def a_rival(share: float, agreeing: float, *, renamed: float | None = None, utility: float = -6.0) -> Rival:
    found = a_coherence(share, utility=utility)
    return Rival("rival", found, agreeing, max(agreeing, 1 - agreeing) if renamed is None else renamed)


def measures(share: float = 0.9) -> Measures:
    """Of coherent labels, unless something is changed."""
    return Measures(
        labels=TWO,
        found=a_coherence(share),
        one_sided=False,
        core=share,
        counts={"True": 10, "False": 10},
        drift=(),
        chance=Chance("found", 0.5, (0.0, 0.1, -0.1)),
        renamed=(a_rival(0.1, 0.0),),
        ends=(),
        ends_agreeing=4,
        orders=Orders((-0.1,), 0.0),
        opinion=Opinion(a_rival(0.9, 1.0), 2, False, 0, 0),
        prior=Prior(1.5, 0.98, 0.4, 0.9, 1.3),
        coverage=(1.0, 1.0),
        margins=(),
        conflicts={},
        requests=0,
    )


def test_nothing_against_labels_leaves_them_coherent() -> None:
    assert judge(measures()).name == "coherent"
    assert judge(measures(COHERENT)).name == "coherent"


def test_shares_below_the_thresholds_are_unsure_and_then_not_coherent() -> None:
    weak = replace(measures(), opinion=Opinion(a_rival(0.1, 0.5), 3, False, 0, 0))
    assert judge(replace(weak, found=a_coherence(INCOHERENT), core=0.5)).name == "unsure"
    assert judge(replace(weak, found=a_coherence(INCOHERENT - 0.01), core=0.5)).name == "not coherent"
    assert judge(replace(weak, chance=Chance("found", 0.5, (0.0, 0.5)))).name == "not coherent"


@pytest.mark.parametrize(
    ("found", "noise", "told", "said"),
    [
        (0.4, 0.0, LITTLE, "coherent"),
        (0.4, 0.0, LITTLE - 0.01, "not coherent"),
        (0.2, 0.0, LITTLE, "unsure"),
        (0.2, 0.0, LITTLE - 0.01, "not coherent"),
        (0.2, 0.15, LITTLE, "not coherent"),
    ],
)
def test_what_texts_tell_alone_and_together_is_enough_or_no_concept_is_found(
    found: float, noise: float, told: float, said: str
) -> None:
    null = Null(found, noise, error=0.05, guessed=1.0, examples=24, noise_guessed=1.0)
    verdict = judge(replace(measures(), null=null, prior=Prior(1.5, 0.98, 0.4, found, told)))
    assert verdict.name == said


def test_a_coherent_part_of_incoherent_labels_is_said() -> None:
    verdict = judge(replace(measures(0.3), core=0.9, opinion=Opinion(a_rival(0.1, 0.5), 3, False, 0, 0)))
    assert verdict.name == "unsure"
    assert "only a part of the examples is coherent" in verdict.reasons[0]
    assert judge(replace(measures(0.7), core=0.7 + PART_GAP - 0.01)).name == "coherent"
    assert judge(replace(measures(0.7), core=0.7 + PART_GAP)).name == "unsure"


@pytest.mark.parametrize(
    ("rival", "said"),
    [
        (a_rival(0.9, 0.5, utility=0.0), "search stopped short"),
        (a_rival(0.9, 0.0, utility=0.0), "search stopped short"),
        (a_rival(0.9, 0.5), "more than one concept"),
    ],
)
def test_a_rival_as_coherent_makes_unsure_wherever_it_comes_from(rival: Rival, said: str) -> None:
    for changed in (
        replace(measures(), opinion=Opinion(rival, 2, False, 0, 0)),
        replace(measures(), ends=(rival,)),
    ):
        verdict = judge(changed)
        assert verdict.name == "unsure"
        assert said in verdict.reasons[0]
    less_coherent = a_rival(0.6, 0.5)
    assert judge(replace(measures(), ends=(less_coherent,))).name == "coherent"


def test_a_rival_is_no_doubt_if_the_texts_alone_clearly_prefer_the_labels_found_where_both_differ() -> None:
    rival = replace(a_rival(0.9, 0.5), leaning=0.1)
    assert judge(replace(measures(), ends=(rival,))).name == "coherent"
    assert judge(replace(measures(), ends=(replace(rival, leaning=-0.1),))).name == "unsure"
    blind = replace(measures(), prior=Prior(NAMING_SPREAD - 0.01, 0.98, 0.4, 0.9, 1.3), ends=(rival,))
    assert judge(blind).name == "unsure"


def test_a_rival_is_no_doubt_if_the_prior_names_the_labels_found_alone_or_most_labels_are_the_same() -> None:
    named = replace(a_rival(0.9, 0.5), auroc=NAMED)
    assert judge(replace(measures(), ends=(named,))).name == "unsure"
    unnamed = replace(named, auroc=NAMED - 0.01)
    assert judge(replace(measures(), ends=(unnamed,))).name == "coherent"
    assert judge(replace(measures(), prior=Prior(1.5, NAMED - 0.01, 0.4, 0.9, 1.3), ends=(unnamed,))).name == "unsure"
    assert judge(replace(measures(), ends=(a_rival(0.9, SHARED - 0.01),))).name == "unsure"
    assert judge(replace(measures(), ends=(a_rival(0.9, SHARED),))).name == "coherent"


def test_texts_alone_prefer_labels_clearly_only_if_most_examples_that_differ_say_so() -> None:
    found = dict.fromkeys("012345", "True")
    other = dict.fromkeys("012345", "False")
    surely, hardly = ([0.8, 0.9, 0.7, 0.8, 0.9, 0.75], [0.99, 0.3, 0.2, 0.4, 0.9, 0.3])
    for ps, clearly in ((surely, True), (hardly, False), ([1 - p for p in surely], False)):
        limit = leaning_of(reads_of(*ps), found, other, str)
        assert limit is not None
        assert (limit > 0) is clearly
    apart = leaning_of(reads_of(*surely), found, other, str)
    paired = leaning_of(reads_of(*surely), found, other, {"0": 1, "1": 1}.get)
    assert apart is not None
    assert paired is not None
    assert paired < apart
    assert leaning_of(reads_of(0.9, 0.9), {"0": "True", "1": "True"}, {"0": "True", "1": "False"}, str) is None


def test_given_labels_that_a_coherent_opinion_does_not_share_make_unsure() -> None:
    opinion = Opinion(a_rival(0.6, 0.1, renamed=0.7), 2, False, 10, 3, contradicted=0.6)
    verdict = judge(replace(measures(), opinion=opinion))
    assert verdict.name == "unsure"
    assert "3 of the 10 given labels" in verdict.reasons[0]
    assert (
        judge(
            replace(measures(), opinion=replace(opinion, rival=a_rival(0.6, 0.9), given_shared=9, contradicted=0.1))
        ).name
        == "coherent"
    )
    collapsed = replace(measures(), found=a_coherence(0.0, true=20), one_sided=True, opinion=opinion)
    assert "3 of the 10 given labels" in judge(collapsed).reasons[0]
    single = Opinion(a_rival(0.6, 0.1, renamed=0.7), 2, False, 2, 0, contradicted=1.0)
    assert "given labels" not in "".join(judge(replace(measures(), opinion=single)).reasons)
    several = judge(replace(measures(), opinion=replace(single, given=3)))
    assert "has only 0 of the 3 given labels" in several.reasons[0]
    incoherent = replace(opinion, rival=a_rival(0.2, 0.1))
    assert judge(replace(measures(), opinion=incoherent)).name == "coherent"


def test_given_labels_that_exchange_the_names_name_labels_and_raise_no_doubt() -> None:
    """The model divides the examples as is meant, and calls each side by the other's name."""
    exchanged = Opinion(a_rival(0.95, 0.05, utility=0.0), 2, False, 6, 0, contradicted=0.9)
    told = replace(measures(), opinion=exchanged, ends=(a_rival(0.95, 0.0, utility=0.0),))
    assert judge(told).name == "coherent"
    untold = replace(told, opinion=replace(exchanged, given=0, contradicted=0.0))
    assert "search stopped short" in judge(untold).reasons[0]


@pytest.mark.parametrize(
    ("found", "noise", "error", "answer"),
    [
        (0.60, 0.10, 0.05, "coherent"),
        (0.60, 0.45, 0.05, "unsure"),
        (0.60, 0.45, 0.10, "not coherent"),
        (0.60, 0.60, 0.05, "not coherent"),
        (0.25, 0.10, 0.05, "unsure"),
        (0.15, 0.10, 0.05, "not coherent"),
    ],
)
def test_labels_that_are_ahead_of_made_up_words_by_more_than_chance_but_not_far_are_unsure(
    found: float, noise: float, error: float, answer: str
) -> None:
    null = Null(found, noise, error, log(2), 24, log(2))
    assert judge(replace(measures(), null=null)).name == answer


@pytest.mark.parametrize(
    ("found", "noise", "examples", "beaten"),
    [
        (0.31, 0.0, 24, True),
        (0.29, 0.0, 24, False),
        # What made-up words leave is less than 0.3, and most of it is told.
        (0.95, 0.7, 24, True),
        (0.89, 0.7, 24, False),
        # Of few examples, what made-up words tell is hardly known.
        (0.4, 0.0, 8, False),
        (0.44, 0.0, 8, True),
    ],
)
def test_how_far_ahead_of_made_up_words_is_enough(found: float, noise: float, examples: int, *, beaten: bool) -> None:
    null = Null(found * log(2), noise * log(2), 0.05, log(2), examples, log(2))
    assert null.beaten is beaten
    assert null.as_json()["needed"] == null.needed


async def test_related_examples_of_made_up_words_count_for_what_their_relations_leave_open() -> None:
    groups, claims = candidates(4, 3)
    for constraint, open_in_each in (
        (exactly_one("True"), log(3) / log(2)),
        (mutually_exclusive("True"), 2.0),
        (None, 3),
    ):
        task = Task(PromptTemplate(separator="\n"), constraints=() if constraint is None else (constraint,))
        objective = build_objective(groups, BayesModel(claims), task, SearchSettings())
        null = (await judged(objective, Labeling({key: str(so) for key, so in claims.items()}))).measures.null
        assert null is not None
        assert null.examples == 12
        assert (null.units or 12) == pytest.approx(4 * open_in_each)


def test_a_mirror_image_is_a_question_of_names_and_not_of_coherence() -> None:
    mirrored = replace(measures(), renamed=(a_rival(0.88, 0.0),), ends=(a_rival(0.9, 0.0),))
    alone = replace(mirrored, opinion=Opinion(a_rival(0.1, 0.5), 3, False, 0, 0))
    assert judge(mirrored).name == judge(alone).name == "coherent"


@pytest.mark.parametrize(
    ("prior", "given", "answer"),
    [
        (Prior(1.5, 0.98, 0.4, 0.9, 1.3), 0, "by the prior, strongly"),
        (Prior(0.6, 0.98, 0.4, 0.9, 1.3), 0, "by the prior, weakly"),
        (Prior(1.5, NAMED, 0.4, 0.9, 1.3), 0, "by the prior, weakly"),
        (Prior(1.5, NAMED - 0.01, 0.4, 0.9, 1.3), 0, "unsettled"),
        (Prior(1.5, 0.06, 0.4, 0.9, 1.3), 0, "unsettled"),
        (Prior(NAMING_SPREAD - 0.01, 1.0, 0.0, 0.9, 0.9), 0, "unsettled"),
        (Prior(1.5, None, 0.0, 0.0, 0.0), 0, "unsettled"),
        (Prior(0.1, 0.5, 0.0, 0.9, 0.9), 3, "by given labels"),
        (Prior(1.5, 0.9, 0.4, 0.9, 1.3, Pair("1", "2", 1 - NAMED)), 0, "unsettled"),
        (Prior(1.5, 0.9, 0.4, 0.9, 1.3, Pair("1", "2", 0.5)), 0, "by the prior, weakly"),
    ],
)
def test_the_prior_names_labels_or_a_person_does_or_nothing(prior: Prior, given: int, answer: str) -> None:
    assert name(prior, given).answer == answer


def test_names_that_nothing_settles_are_explained_by_what_was_seen() -> None:
    assert (
        "nearly no difference between the examples (spread 0.10 nats)" in name(Prior(0.1, 1.0, 0.0, 0.9, 0.9), 0).says
    )
    faint = name(Prior(3.2, 0.8, 0.04, 0.9, 0.94), 0).says
    assert "orders 80% of the pairs with different labels as the labels do, but that tells only 4%" in faint


def test_the_opposite_of_the_prior_is_said_to_be_exchanged() -> None:
    assert "probably exchanged" in name(Prior(1.5, 0.06, 0.4, 0.9, 1.3), 0).says


@pytest.mark.parametrize("labels", [("1", "2", "3", "4"), ("sport", "food", "weather", "money", "other")])
def test_two_of_many_names_that_are_exchanged_are_said_whether_or_not_labels_are_numbers(
    labels: tuple[str, ...],
) -> None:
    count = len(labels)

    def seen(place: int, at: int) -> LabelDistribution:
        """Sure of its place, less so of the places near it, and a little different for each text."""
        raw = [-1.2 * abs(place - other) + 0.1 * ((at * 7 + other) % 3) for other in range(count)]
        return LabelDistribution(labels, tuple(value - logsumexp(raw) for value in raw), 1.0, "exact")

    reads = {str(at): seen(at % count, at) for at in range(6 * count)}
    right = {key: labels[int(key) % count] for key in reads}
    names = {**dict(zip(labels, labels, strict=True)), labels[0]: labels[1], labels[1]: labels[0]}
    wrong = {key: names[label] for key, label in right.items()}
    answers = []
    for found in (right, wrong):
        auroc = auroc_of(reads, found)
        assert auroc is not None
        assert auroc >= NAMED
        answers.append(name(Prior(1.0, auroc, 0.4, 0.9, 1.3, weakest_pair(reads, found)), 0))
    assert answers[0].settled
    assert answers[1].answer == "unsettled"
    assert f"{min(labels[:2])!r} and {max(labels[:2])!r} each other's name" in answers[1].says


def test_a_second_opinion_without_zero_shot_spread_has_no_weight() -> None:
    blind = replace(measures(), prior=Prior(0.1, 0.5, 0.0, 0.9, 0.9))
    assert any("second opinion from zero-shot predictions has no weight" in line for line in judge(blind).reasons)
    assert any("second opinion from zero-shot predictions agrees" in line for line in judge(measures()).reasons)


def test_where_nothing_is_learned_in_context_the_labels_are_called_the_prior() -> None:
    assert "together with the other labels 90%" in judge(measures()).reasons[0]
    prior = judge(replace(measures(), prior=Prior(4.0, 1.0, 0.9, 0.91, 1.81)))
    assert prior.name == "coherent"
    assert "learns nothing from the other labels" in prior.reasons[0]


def test_drift_and_one_sidedness_are_said() -> None:
    lopsided = replace(measures(), found=a_coherence(0.9, true=15), counts={"True": 15, "False": 5})
    drifted = replace(lopsided, drift=({"True": 0.5, "False": 0.5}, {"True": 0.75, "False": 0.25}))
    assert any("75% of the labels are 'True'" in reason for reason in judge(lopsided).reasons)
    assert any("rose from 50% to 75%" in reason for reason in judge(drifted).reasons)
    assert not any("rose" in reason for reason in judge(lopsided).reasons)


def test_order_coverage_and_size_make_unsure() -> None:
    assert "orders" in judge(replace(measures(), orders=Orders((-0.1,), 0.3))).reasons[0]
    assert "probability fell on the labels" in judge(replace(measures(), coverage=(0.3, 0.1))).reasons[0]
    few = replace(measures(), found=a_coherence(0.9, size=FEWEST - 1, true=3))
    assert "too few" in judge(few).reasons[0]


def test_labels_all_alike_are_judged_by_what_else_is_there() -> None:
    alike = replace(
        measures(), found=a_coherence(0.0, true=20), one_sided=True, core=0.0, counts={"True": 20, "False": 0}
    )
    assert judge(alike).name == "collapsed"
    nothing = replace(alike, opinion=Opinion(a_rival(0.2, 0.5), 3, True, 0, 0))
    assert judge(nothing).name == "unsure"
    assert "nearly all may truly be 'True'" in judge(nothing).reasons[1]
    assert judge(replace(nothing, prior=replace(nothing.prior, spread=OPINIONATED - 0.01))).name == "not coherent"
    some = replace(
        nothing, prior=replace(nothing.prior, spread=0.0), opinion=Opinion(a_rival(0.45, 0.5), 3, True, 0, 0)
    )
    assert judge(some).name == "unsure"


def test_imbalance_is_no_collapse_where_the_few_are_foretold() -> None:
    lopsided = a_coherence(0.8, size=40, true=38)
    assert not one_sided(lopsided)
    assert one_sided(a_coherence(0.3, size=40, true=38))
    verdict = judge(replace(measures(), found=lopsided, counts={"True": 38, "False": 2}))
    assert verdict.name == "coherent"
    assert any("95% of the labels are one and the same" in reason for reason in verdict.reasons)


def test_labels_that_a_person_gave_do_not_hide_a_collapse_of_the_others() -> None:
    found = a_coherence(0.1, size=20, true=15)
    assert not one_sided(found)
    assert one_sided(found, given=[str(at) for at in range(15, 20)])


def test_the_first_lines_say_what_to_do_next() -> None:
    verdict = judge(replace(measures(0.1), core=0.1, opinion=Opinion(a_rival(0.1, 0.5), 3, False, 0, 0)))
    lines = Diagnosis(verdict, name(measures().prior, 0), measures()).lines()
    means = "  what it means: the model sees no pattern in the texts that these labels follow"
    assert lines[:3] == ["verdict: not coherent, unchecked", means, "  what to do next: don't use these labels"]
    assert lines[3].startswith("  what to do next: ask for a concept")
    assert "  named by what? nothing to name: names matter once there is a pattern to name" in lines
    good = Diagnosis(judge(measures()), name(measures().prior, 0), measures())
    assert good.lines()[0] == f"verdict: {good.as_json()['verdict']}" == "verdict: coherent, unchecked"
    assert good.lines()[1].endswith("; only a person can say whether it is the one you asked for")
    assert "icm-api queue RUN --random 20 --blind" in good.lines()[2]
    assert "at least 16 of the 20" in good.lines()[2]
    few = replace(measures(), counts={"True": 10, "False": 5}, opinion=replace(measures().opinion, given=4))
    asked = Diagnosis(judge(few), name(few.prior, 4), few).lines()[2]
    assert "check 11 labels by hand: icm-api queue RUN --random 11 --blind" in asked
    assert "at least 9 of the 11" in asked
    questions = [line.split("?")[0] for line in good.lines()[3:6]]
    assert questions == ["  coherent", "  named by what", "  checked by anyone"]
    unsettled = Diagnosis(judge(measures()), name(Prior(0.1, 0.5, 0.0, 0.9, 0.9), 0), measures())
    assert unsettled.lines()[0] == "verdict: coherent, names unsettled, unchecked"
    assert "nothing says which side of it has which name" in unsettled.lines()[1]
    assert "icm-api queue RUN --names" in unsettled.lines()[2]
    assert unsettled.lines()[3] == "  what to do next: then check some labels of that run by hand, as it will tell"


def test_whatever_makes_unsure_is_said_in_plain_words_before_what_to_do() -> None:
    alike = replace(measures(), found=a_coherence(0.0, true=20), one_sided=True, core=0.0, counts={"True": 20})
    null = Null(0.5, 0.4, 0.01, log(2), 24, log(2))
    doubted = {
        "nearly all texts got the label 'True'": replace(alike, opinion=Opinion(a_rival(0.2, 0.5), 3, True, 0, 0)),
        "the labels that you gave": replace(measures(), opinion=Opinion(a_rival(0.9, 0.5), 3, False, 20, 2, 0.9)),
        "two ways to label these texts": replace(measures(), ends=(a_rival(0.9, 0.5),)),
        "the search stopped too early": replace(measures(), ends=(a_rival(0.9, 0.5, utility=0.0),)),
        "mostly wants to say something else": replace(measures(), coverage=(0.3, 0.1)),
        "too few texts": replace(measures(), found=a_coherence(0.9, size=FEWEST - 1, true=3)),
        "how the texts look": replace(measures(), null=null),
        "a part of the texts": replace(measures(0.7), core=0.7 + PART_GAP),
        "which may be chance": replace(measures(INCOHERENT), core=0.5),
        "changes with the order": replace(measures(), orders=Orders((-0.1,), 0.3)),
    }
    for said, measured in doubted.items():
        verdict = judge(measured)
        lines = Diagnosis(verdict, name(measured.prior, 0), measured).lines()
        assert lines[0] == "verdict: unsure, unchecked", said
        assert lines[1].startswith("  what it means: ")
        assert said in lines[1]
        assert lines[2].startswith("  what to do next: ")


def test_both_readings_are_shown_only_of_labels_that_may_be_used() -> None:
    readings = (Reading("e1", "some text", "True", "False"),)
    naming = name(Prior(0.1, 0.5, 0.0, 0.9, 0.9), 0, readings)
    weak = replace(measures(0.1), core=0.1, opinion=Opinion(a_rival(0.1, 0.5), 3, False, 0, 0))
    shown = [any("some text" in line for line in Diagnosis(judge(m), naming, m).lines()) for m in (measures(), weak)]
    assert shown == [True, False]


def test_a_rival_s_advice_names_the_command_for_this_run() -> None:
    diagnosis = Diagnosis(judge(replace(measures(), ends=(a_rival(0.9, 0.5),))), name(measures().prior, 0), measures())
    first, *_ = next_steps({"diagnosis": diagnosis.as_json()}, "runs/claims")
    assert "icm-api queue runs/claims --out answers.csv lists first the examples on which the two differ" in first


@pytest.mark.parametrize(
    ("right", "names", "means", "step"),
    [
        (
            18,
            2,
            "; a person found 18 of 20 labels drawn at random right",
            "use the labels, of which a few may be wrong",
        ),
        (12, 2, "; a person found only 12 of 20 labels drawn at random right", "too many are wrong"),
        (3, 2, "; a person found only 3 of 20 labels drawn at random right", "each other's name"),
        (3, 4, "; a person found only 3 of 20 labels drawn at random right", "too many are wrong"),
    ],
)
def test_a_check_says_what_it_means_and_what_to_do(right: int, names: int, means: str, step: str) -> None:
    check = Check(right, 20, 20, 100, names=names)
    diagnosis = Diagnosis(judge(measures()), name(measures().prior, 0), measures()).as_json()
    about = {"diagnosis": diagnosis, "check": {**check.as_json(), "advice": check.advice("RUN")}}
    assert (meaning_of(about) or "").endswith(means)
    (said,) = next_steps(about, "RUN")
    assert step in said
    one_sided_truth = {**about, "diagnosis": {**diagnosis, "coherent": "collapsed", "advice": ["add constraints"]}}
    assert ("don't use" in next_steps(one_sided_truth, "RUN")[0]) is (right < 16)


def test_a_check_is_what_makes_labels_salient() -> None:
    diagnosis = Diagnosis(judge(measures()), name(measures().prior, 0), measures()).as_json()
    passed, failed = (Check(right, 20, 20, 100).as_json() for right in (18, 12))
    assert headline_of({"diagnosis": diagnosis, "check": passed}) == "salient: coherent and checked"
    assert headline_of({"diagnosis": diagnosis, "check": failed}) == "coherent, check failed"
    assert headline_of({"diagnosis": {"verdict": "salient"}}) == "coherent, unchecked"
    assert headline_of({}) is None


# related examples, given labels, ordinal labels


def test_related_examples_are_judged_by_the_posterior_over_their_legal_labelings() -> None:
    """Against brute force over all labelings of two groups of three, one True at most in each."""
    dataset, _ = candidates(2, 3)
    relations = compile_relations(dataset, TWO, [mutually_exclusive("True")])
    ids, rng = dataset.ids, Random(3)
    p = {key: rng.uniform(0.1, 0.9) for key in ids}
    labels = {key: str(key in (ids[0], ids[4])) for key in ids}
    found = coherence(scored(p, labels), relations)
    every = [dict(zip(ids, way, strict=True)) for way in product(TWO, repeat=len(ids))]
    legal = [way for way in every if not relations.broken(way)]

    def logprob(way: dict[str, Label], of: dict[str, float]) -> float:
        return sum(log(of[key] if way[key] == "True" else 1 - of[key]) for key in ids)

    shares = dict.fromkeys(ids, 1 / 3)
    for of, measured in ((p, found.predictability), (shares, -found.entropy)):
        whole = log(sum(exp(logprob(way, of)) for way in legal))
        assert measured == pytest.approx((logprob(labels, of) - whole) / len(ids))
    sure = legal_posterior(scored(p, labels).distributions, relations)
    weight = sum(exp(logprob(way, p)) for way in legal)
    for key in ids:
        marginal = sum(exp(logprob(way, p)) for way in legal if way[key] == "True") / weight
        assert sure[key].probability("True") == pytest.approx(marginal)


async def test_gold_answers_to_what_the_model_is_unsure_of_do_not_lower_a_good_run() -> None:
    """A model that is wrong, and unsure, on a third of the claims; a person gives the truth of those."""
    dataset, truth = pairs(12)
    hard = frozenset(dataset.ids[::3])
    task = Task(PromptTemplate(separator="\n"))
    objective = build_objective(dataset, Unsure(truth, hard), task, SearchSettings())
    gold = Labeling({key: str(so) for key, so in truth.items()})
    answered = await judged(objective, gold, gold.without(set(gold) - hard))
    assert answered.measures.opinion.given_shared == 0
    assert answered.measures.opinion.contradicted < 0.2
    assert answered.verdict.name == "coherent", answered.lines()
    assert answered.naming.answer == "by given labels"


async def test_a_person_who_labels_all_of_the_few_that_differ_makes_no_collapse() -> None:
    dataset, truth = pairs(12)
    false = [key for key in dataset.ids if not truth[dataset.get(key).fields["text"]]][:3]
    kept = [key for key in dataset.ids if truth[dataset.get(key).fields["text"]]] + false
    few = Dataset(dataset.get(key) for key in kept)
    objective = build_objective(few, BayesModel(truth), Task(PromptTemplate(separator="\n")), SearchSettings())
    gold = Labeling({key: str(key not in false) for key in few.ids})
    told = await judged(objective, gold, Labeling(dict.fromkeys(false, "False")))
    assert not told.measures.one_sided
    assert told.verdict.name == "coherent", told.lines()
    wrongly = await judged(objective, Labeling(dict.fromkeys(few.ids, "True")), Labeling({kept[0]: "True"}))
    assert wrongly.measures.one_sided


def test_a_few_answers_of_a_person_speak_against_a_second_opinion_and_many_for_a_doubt() -> None:
    rival = a_rival(0.95, 0.5)
    for answers, shared, said in ((1, 0, "coherent"), (3, 1, "coherent"), (8, 0, "unsure"), (4, 4, "unsure")):
        opinion = Opinion(rival, 2, False, answers, shared, contradicted=0.2)
        assert judge(replace(measures(), opinion=opinion)).name == said, (answers, shared)


def test_labels_that_a_person_gave_do_not_count_for_coherence() -> None:
    labels = {"a": "True", "b": "False", "c": "True", "d": "False", "e": "False"}
    score = scored({"a": 0.9, "b": 0.1, "c": 0.9, "d": 0.1, "e": 0.99}, labels)
    assert coherence(score).share < 0.5
    assert coherence(score, given=["e"]).share == pytest.approx(1 + log(0.9) / log(2))


def test_ordinal_labels_agree_by_how_near_they_are() -> None:
    one = {str(at): str(1 + at % 5) for at in range(20)}
    near = {key: str(min(5, int(label) + 1)) for key, label in one.items()}
    far = {key: str(6 - int(label)) for key, label in one.items()}
    labels = ("1", "2", "3", "4", "5")
    assert agreement(one, near, labels) > 0.7 > 0.5 > agreement(one, far, labels)
    assert agreement(one, near) < 0.3


def test_zero_shot_orders_ordinal_labels_by_their_expected_place() -> None:
    labels = ("1", "2", "10")
    reads = {
        key: LabelDistribution(labels, tuple(map(log, p)), 1.0, "exact")
        for key, p in {"a": (0.6, 0.3, 0.1), "b": (0.2, 0.6, 0.2), "c": (0.3, 0.4, 0.3), "d": (0.1, 0.2, 0.7)}.items()
    }
    expected = {"a": 0.5, "b": 1.0, "c": 1.0, "d": 1.6}
    found = {"a": "1", "b": "2", "c": "10", "d": "2"}
    rank = dict(zip(labels, range(3), strict=True))
    pairs_ = [(x, y) for x in found for y in found if rank[found[x]] < rank[found[y]]]
    won = [(expected[x] < expected[y]) + (expected[x] == expected[y]) / 2 for x, y in pairs_]
    assert auroc_of(reads, found) == pytest.approx(sum(won) / len(won))


@given(st.lists(st.tuples(st.sampled_from(TWO), st.sampled_from([0.2, 0.4, 0.6, 0.8])), min_size=2, max_size=12))
def test_auroc_is_the_share_of_pairs(rows: list[tuple[Label, float]]) -> None:
    reads = reads_of(*(p for _, p in rows))
    found = {str(at): label for at, (label, _) in enumerate(rows)}
    wins = [(p > q) + (p == q) / 2 for a, p in rows for b, q in rows if a == "True" and b == "False"]
    assert auroc_of(reads, found) == (pytest.approx(sum(wins) / len(wins)) if wins else None)
