"""All numbers that the judge's answers depend on, in one place; what they are applied to is in every summary.

They come from a few small models and worlds (`python -m tests.benchmarks`), and for another model are a starting point.
Shares are of the most that is possible; "explained" is `Coherence.share`.
"""

COHERENT = 0.5
"""Share of the label entropy explained from which labels count as coherent. Concepts that the embedded model holds
explain 0.64 to 0.98, and once 0.50; the most coherent labels of its concept-free task up to 0.36, of its noise 0.15."""
INCOHERENT = 0.4
"""Below this share, labels are not coherent; between the two, it is too close to say."""
WEAK = 0.3
"""Share of the label entropy that is information below which labels are not coherent: at most 0.26 on two sets that
SmolLM2-135M knows nothing of, 0.32 or more on five that it does."""
LITTLE = 0.5
"""What the texts tell of labels, alone and with the others in context, added up as shares of what they cost to guess:
below this, labels are not coherent. Labels under 60% right of two real models 0.15 to 0.44, others 0.67 to 1.98; it
takes no coherent labels of the worlds away."""
AHEAD = 0.3
"""By which that share must be ahead of what a search of made-up words finds, as a share too. In the worlds learned on,
good labels are 0.35 ahead or more, and labels under 60% right at most 0.21, unless they are about the looks of texts,
which made-up words keep in part and which `naming` leaves unsettled."""
BEYOND = 2 / 3
"""Or by this share of what made-up words leave, if that is less: a model that sees a pattern in any words leaves little
to be ahead by. Chosen on families of whims and of belief noise that are in no table of the guide."""
NULL_ENOUGH = 16
"""Unrelated examples of made-up words from which what they tell is as good as known; of n fewer, the labels must be
ahead by sqrt(NULL_ENOUGH / n) times as much, as the error of a mean grows, n taken as 8 at least."""
CORE_COHERENT = 0.6
"""Share explained of the best two thirds of the components from which a part may be coherent by itself. Chosen for
being best, such a part of noise explains up to 0.4; if a third of the questions had no answer, 0.68 to 0.95."""
PART_GAP = 0.25
"""And by which the best two thirds must be ahead of all: 0.26 or more ahead if a third of the questions had no
answer, at most 0.24 if all had."""
ONE_SIDED = 0.9
"""A label that more examples have than this is nearly all there is: unless the few others are predicted too (share
explained at least `COHERENT`), the labels have collapsed."""
LOPSIDED = 0.7
"""Share of the commonest label from which it is said beside the verdict."""
DRIFTED = 0.15
"""By which the share of the commonest label may grow while the search goes on before it is said."""
AGREEING = 0.8
"""Two labelings that agree on fewer examples than this are two opinions; noise and myths cost less than a fifth."""
SHARED = 0.7
"""Another labeling that agrees on this share of the examples or more is no rival: whichever of the two is meant, about
that share is right, and what they differ on is for the queue. Chosen on families with a second concept."""
CONTRADICTED = 0.3
"""Given labels contradict the model if more than this share of them does, each weighed by how sure the model is, and
surely so, by a 95% limit of their number: of a good run's labels a fifth may be wrong, and one answer says nothing."""
RIVAL_MARGIN = 0.1
"""By how much less another labeling may explain and still count as equally coherent: several times what another order
of the demonstrations changes. Shares are compared, not nats, of which labels in uneven shares can have but few."""
OPINIONATED = 0.38
"""Standard deviation, in nats, of zero-shot log-odds from which the model sees the examples as different: at most
0.31 if the embedded model knows nothing of them, 0.45 or more if it does, also if nearly all are true."""
FLIPPING = 0.25
"""Share of examples whose most probable label may change with the order of demonstrations: at most 0.17 of good labels
in worlds without recency, and up to 0.31 with it."""
COVERED = 0.5
"""Less probability than this on the labels, on average, and the model was mostly about to say something else."""
FEWEST = 8
"""With fewer examples, no share explained means much."""
NAMED = 0.75
"""AUROC of zero-shot log-odds against the labels from which the prior names them. On real models 0.92 to 1.00 for the
truth, 0.47 to 0.50 for random labels, 0.06 to 0.31 for the inverse; in worlds where a coherent division has nothing to
do with what is meant, 0.41 to 0.75; where the model weakly knows what is meant, 0.81 or more."""
TOLD = 0.12
"""Share of what could be known of the labels that zero-shot predictions tell, from which the prior names them: at most
0.10 where a division is one by looks, 0.16 or more where it is the one that is meant."""
NAMING_SPREAD = 0.42
"""Standard deviation of zero-shot log-odds below which the prior says nothing that could name labels."""
STRONGLY, STRONG_SPREAD = 0.95, 0.8
"""AUROC and spread from which the prior names them strongly."""
LEARNED = 0.05
"""Share of what could be known that the other labels must add to what the texts alone tell, to be called learned."""
