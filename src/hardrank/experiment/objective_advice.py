"""What no class says of itself: when an objective is worth trying, and when it is not."""

from dataclasses import dataclass

__all__ = ["ADVICE", "Advice"]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Of one objective; Markdown that stands in a cell."""

    changes: str
    take: str
    leave: str
    source: str = ""
    """As in the docstring, where the address is read from."""
    where: str = "nothing is perturbed"
    """Of an objective without a choice of sites."""
    needs: str = ""
    """Beside what its fields and its check say."""


ADVICE = {
    "adversarial": Advice(
        changes="adds the loss at the worst point of a ball",
        take="first: the reference for small changes of vectors",
        leave="alone, against rewritten texts: a ball of vectors holds few of them",
        source="Madry et al. 2018",
    ),
    "apr": Advice(
        changes="adds the loss with several tables of vectors moved at once, in one step",
        take="matrix factorisation; `item-vectors` with `history-vectors` on sequence models",
        leave="where one step is defeated and many are not: see `adversarial` with `pgd`",
        source="He et al. 2018",
    ),
    "awp": Advice(
        changes="takes the gradient at weights moved to where the loss is worse",
        take="the most robust epoch is long before the last one",
        leave="robust error does not rise in late epochs: nothing is there to cure",
        source="Wu et al. 2020",
        needs="`inner` and `radius`, or neither",
    ),
    "discrete": Advice(
        changes="texts that real attacks write stand among the candidates as wrong answers",
        take="rewritten listings are the threat",
        leave="vectors or tokens are the threat: it bounds neither",
        source="Ivgi & Berant 2021",
        where="whole texts",
        needs="a `forge`; a model that reads item texts",
    ),
    "free": Advice(
        changes="each batch several times in a row; the perturbation climbs in between",
        take="a perturbation of the whole catalogue, at no passes beyond plain training's",
        leave="`epochs` cannot be divided by `replays`; sites whose shape changes by batch",
        source="Shafahi et al. 2019",
    ),
    "freelb": Advice(
        changes="the mean of the losses at all points that an ascent passes through",
        take="several steps, where `adversarial` with `pgd` is too slow",
        leave="the loss at the strongest point is what counts: points on the way are weaker",
        source="Zhu et al. 2020",
    ),
    "generalised-cross-entropy": Advice(
        changes="rows that the model finds unlikely pull less, by p^q",
        take="an unknown share of events is noise",
        leave="texts are attacked, not the log; rare items matter: they are unlikely rows, too",
        source="Zhang and Sabuncu 2018",
    ),
    "gradient-penalty": Advice(
        changes="adds the squared slope of the loss by the input",
        take="a flat loss without a search, for very small radii",
        leave="large radii (the slope tells nothing there); little memory",
        source="Ross and Doshi-Velez 2018",
    ),
    "kl-consistency": Advice(
        changes="adds the divergence from a random or the farthest neighbour's ranking",
        take="stable lists under noise; with a maximiser, as SMART without its second term",
        leave="memory is short: it holds whole rows of scores several times",
        source="Zheng et al. 2016",
    ),
    "logit-pairing": Advice(
        changes="adds the adversarial loss and the squared distance of both scores",
        take="as one more row in a comparison",
        leave="alone: the published form was broken, so judge it by converged attacks",
        source="Kannan, Kurakin and Goodfellow 2018",
    ),
    "mart": Advice(
        changes="cross-entropy at the worst point, more of it for rows that are wrong anyway",
        take="few classes, some of them often wrong",
        leave="thousands of items: nearly every row is wrong there, so it does what `trades` does",
        source="Wang et al. 2020",
    ),
    "mixture": Advice(
        changes="draws one of several adversarial trainings for each batch",
        take="several radii or attacks are feared, and none may be learned by heart",
        leave="parts at different sites: they have to share one",
        source="Cai et al. 2018",
        where="the site of its parts",
    ),
    "pama-cf": Advice(
        changes="as `apr`, with a radius for each user by the length of the user's vector",
        take="poisoned logs and matrix factorisation, where a target is to be kept off the lists",
        leave="sequence models: they have no vectors of users, see `user-adaptive`",
        source="Zhang et al. 2024",
        where="`user-vectors` and `item-vectors`",
        needs="vectors of users",
    ),
    "r-drop": Advice(
        changes="adds the divergence of two draws of dropout",
        take="a regulariser without any attack",
        leave="as a defence: nothing seeks what is worst",
        source="Liang et al. 2021",
        needs="`dropout` above 0; `negatives = 0`",
    ),
    "recognition": Advice(
        changes="a head on the shared text vectors learns to tell attacked texts from clean ones",
        take="the served model itself shall say which listings read like attacks",
        leave="as a defence of the ranking: it moves no item; against copied titles, clean texts "
        "elsewhere",
        source="Metzen et al. 2017",
        where="whole texts",
        needs="a `forge`; a `text-sequence` or `hybrid` model with a frozen encoder",
    ),
    "reweighted": Advice(
        changes="weighs rows by given trust in users and items",
        take="a detector or a moderator gives suspects of a poisoned log",
        leave="without such weights; against attacks on texts",
        source="Zhang et al. 2024",
        needs="trust by `users` or `items`",
    ),
    "reweighted-cross-entropy": Advice(
        changes="weighs rows by p^beta, held fixed",
        take="noisy clicks, in mild form",
        leave="few classes, where a small beta changes little",
        source="Wang et al. 2021",
    ),
    "sample-masking": Advice(
        changes="adversarial loss without the rows whose perturbation is over-strong",
        take="adversarial training costs too much clean quality at the radius that is wanted",
        leave="the masked share in the log is near 0: it is then `adversarial`",
        source="Zhang et al. 2020",
    ),
    "smart": Advice(
        changes="adds the farthest neighbour's divergence and nearness to recent weights",
        take="fine-tuning a trained encoder on little data",
        leave="memory is short: it keeps a copy of what learns, and whole rows of scores",
        source="Jiang et al. 2020",
    ),
    "text-augmentation": Advice(
        changes="some items read as attacks rewrote them, and stay what they are",
        take="as the control of `discrete`",
        leave="as a defence: it teaches that a stuffed title keeps its users",
        where="whole texts",
        needs="a `forge`; a model that reads item texts",
    ),
    "trades": Advice(
        changes="adds the divergence of the worst neighbour's ranking; no label in the search",
        take="price and robustness shall be traded by one weight",
        leave="memory is short: it holds whole rows of scores several times",
        source="Zhang et al. 2019",
    ),
    "truncated-cross-entropy": Advice(
        changes="drops the rows of largest loss in each batch",
        take="the share of noise is roughly known",
        leave="rare tastes matter: they look like noise early on",
        source="Wang et al. 2021",
    ),
    "user-adaptive": Advice(
        changes="as `apr`, with a radius for each user",
        take="poisoned logs, where some users are easier to move than others",
        leave="attacks on texts; models that do not say whose a row is",
        source="Zhang et al. 2024",
        needs="losses by user",
    ),
    "vat": Advice(
        changes="adds the divergence in the direction of sharpest curvature; reads no label",
        take="many rows have no label",
        leave="all rows have one, and labels may steer the search: see `adversarial`",
        source="Miyato et al. 2018",
    ),
}  # fmt: skip
