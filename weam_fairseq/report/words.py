"""What a report says in words: about the models, and about how its figures were measured."""

MODELS = {
    "base": "trained from scratch on single sentences with masked pieces; every other model goes on from it",
    "mlm": "goes on as the base did, on the same sentences, never paired",
    "tlm": "reads each pair as one sequence and predicts masked pieces from their own states",
    "weam": "as tlm, and also predicts them after the states of aligned words were exchanged",
    "shuffled": "control: as weam, with wrong links, as many as the right ones",
    "identity": "control: as weam, with an exchange that changes nothing",
}

WHAT_THIS_IS = (
    "WEAM goes on training a multilingual masked language model on sentence pairs and exchanges the states of aligned "
    "words between the two sentences, so that each must be predicted from its translation (Yang et al. 2021). "
    "This page sets it beside the same training without the exchange and beside controls: same base model, same "
    "pairs, same number of updates. All figures come from held-out text and from the exported Hugging Face folders."
)

MEASURES = (
    "Sentence and word retrieval are means of both directions, by cosine of mean-pooled states. The layer is chosen on "
    "the even lines of the held-out file and the figure is that of the odd ones. Word retrieval uses the links of "
    "another aligner than the one that made the training links. Shared pieces alone are what names, numbers and loan "
    "words find without any model: no lower bound for a small model, but a measure of what needs no translation. "
    "A masked piece is right when it is among the model's first five guesses; the unigram bound is the best that any "
    "five constant guesses can reach on the same pieces."
)

SAMPLING = (
    "The sampling error is half the 95 % interval of one figure, as if its decisions were independent; it says "
    "nothing about how much another training run would differ."
)


def caution(trainings: int) -> str:
    """How far the figures may be trusted, by the number of trainings of each model."""
    if trainings == 1:
        return "One seed: a direction, not a result. The best of each column is marked; another seed may mark another."
    return f"Means over {trainings} trainings of each model. The best of each column is marked."
